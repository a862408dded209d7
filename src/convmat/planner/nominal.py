"""The machine that plans are made for with `deterministic=True`: figures that nobody measured here.

One of this machine's kind, a server core of 2023 with vectors of 512 bits, and what shares of its time NumPy's BLAS
and memory take. Predictions for it are off by the ratio of two machines; the order of candidates depends on little
else, and is then the same in every process.
"""

from __future__ import annotations

from ..engine import Machine, Peaks

MEMORY = 20e9
"""Bytes a second from memory: one core takes nearly all that there is."""


def machine(threads: int) -> Machine:
    """What the blas engine would have."""
    return Machine(blas_flops=100e9 * threads, copy_bandwidth=48e9)


def peaks(threads: int) -> Peaks:
    """What compiled kernels would have."""
    rates = {
        "fma_flops": 110e9, "dot_ops": 440e9, "bf16_flops": 220e9, "tile_ops": 3000e9, "tile_flops": 1500e9,
        "l1_bandwidth": 200e9, "l2_bandwidth": 100e9, "l3_bandwidth": 70e9,
    }  # fmt: skip
    figures = {name: rate * threads for name, rate in rates.items()} | {"memory_bandwidth": MEMORY}
    return Peaks(threads, figures.__getitem__)
