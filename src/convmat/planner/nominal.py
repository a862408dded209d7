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
    l1, l2, l3 = (rate * threads for rate in (200e9, 100e9, 70e9))
    return Peaks(threads, 110e9 * threads, 440e9 * threads, 220e9 * threads, l1, l2, l3, MEMORY)
