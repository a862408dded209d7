"""What this machine can do, measured: the constants of the planner's cost model and of `convmat info`.

    machine(threads)   NumPy's float32 product at 512 x 512 x 512, FLOP/s; NumPy's copy, bytes/s     (no LLVM)
    peaks(threads)     products of float32, bfloat16 and bytes on registers, FLOP/s; reading from L1 .. memory, bytes/s

An FMA is two FLOPs. A figure is measured when it is first asked for, in 5 to 50 ms, and then kept (`store`);
`remeasure()` forgets them all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from convmat.processes import kept_property

from ...lazy_dataclass import dataclass

# Importing convmat imports this file: what measuring needs is imported where it is used.
if TYPE_CHECKING:
    from pathlib import Path

    from convmat.engine.measure.microbench import Kernels


@dataclass(frozen=True)
class Machine:
    """What the blas engine has: float32 FLOP/s of NumPy's product, bytes/s that one thread copies in cache."""

    blas_flops: float
    copy_bandwidth: float


class Peaks:
    """What compiled kernels have, all threads together, each figure worked out when it is first asked for.

    `figure` gives one by its name. Planning asks for a few of them, and reading from memory takes long to measure.
    """

    FIGURES = (
        "fma_flops",
        "dot_ops",
        "bf16_flops",
        "tile_ops",
        "tile_flops",
        "l1_bandwidth",
        "l2_bandwidth",
        "l3_bandwidth",
        "memory_bandwidth",
    )

    def __init__(self, threads: int, figure: Callable[[str], float]) -> None:
        self.threads, self._figure = threads, figure

    @kept_property
    def fma_flops(self) -> float:
        """FLOP/s of float32 numbers."""
        return self._figure("fma_flops")

    @kept_property
    def dot_ops(self) -> float:
        """Multiplications and additions of 8-bit integers a second."""
        return self._figure("dot_ops")

    @kept_property
    def bf16_flops(self) -> float:
        """FLOP/s of bfloat16 numbers, 0 where the CPU has no instruction for it."""
        return self._figure("bf16_flops")

    @kept_property
    def tile_ops(self) -> float:
        """Multiplications and additions of 8-bit integers a second by whole tiles, 0 where the CPU has none."""
        return self._figure("tile_ops")

    @kept_property
    def tile_flops(self) -> float:
        """FLOP/s of bfloat16 numbers by whole tiles, 0 where the CPU has none."""
        return self._figure("tile_flops")

    @kept_property
    def l1_bandwidth(self) -> float:
        """Bytes/s read from L1."""
        return self._figure("l1_bandwidth")

    @kept_property
    def l2_bandwidth(self) -> float:
        """Bytes/s read from L2."""
        return self._figure("l2_bandwidth")

    @kept_property
    def l3_bandwidth(self) -> float:
        """Bytes/s read from L3."""
        return self._figure("l3_bandwidth")

    @kept_property
    def memory_bandwidth(self) -> float:
        """Bytes/s read from memory."""
        return self._figure("memory_bandwidth")

    def figures(self) -> dict[str, float]:
        """All of them by name."""
        return {name: getattr(self, name) for name in self.FIGURES}


BLAS_AWAKE = 0.04
"""Seconds after which the threads of a BLAS have gone to sleep: until then they would slow what is measured next."""

_machines: dict[int, Machine] = {}
_peaks: dict[int, Peaks] = {}


def machine(threads: int | None = None) -> Machine:
    """The blas engine's figures with `threads` threads (default: as many as convmat uses).

    >>> machine().blas_flops > 1e6
    True
    """
    from convmat.engine.measure import store
    from convmat.engine.runtime import thread_pool

    n = threads or thread_pool.count()
    if n not in _machines:
        _machines[n] = Machine(
            _rate("blas_flops", n, _blas_flops),
            store.get("copy_bandwidth", _copy_bandwidth),
        )
    return _machines[n]


def peaks(threads: int | None = None) -> Peaks:
    """What compiled code reaches at best with `threads` threads (default: as many as convmat uses).

    Raises: EngineError where kernels cannot be compiled or run.
    """
    from convmat.engine.runtime import thread_pool

    n = threads or thread_pool.count()
    if n not in _peaks:
        made = Peaks(n, lambda name: _measure_peak(name, n))
        _ = made.fma_flops  # where no kernel runs, that is said here
        _peaks[n] = made
    return _peaks[n]


def handover_seconds(threads: int) -> float:
    """What sharing a job out among threads takes beside the share of each: a small map that they wrote otherwise.

    A job that is shared out, too, saves time if the others' shares of its work take longer.
    Raises: EngineError where kernels cannot be compiled or run.
    """
    from convmat.engine.measure import store
    from convmat.engine.measure.microbench import SWAPPED

    def seconds(n: int) -> float:
        return n * SWAPPED / store.get(f"swap/{n}", lambda: _kernels(n).swap())

    return max(seconds(threads) - seconds(1), 0.0)


MOST_READ = 8 << 20
"""Bytes that each thread reads from L3, which may hold hundreds of megabytes: layers do not, and writing them first
takes far longer than reading."""


def _measure_peak(name: str, threads: int) -> float:
    """The figure of Peaks of that name for so many threads."""
    from convmat.engine.cpu import host

    cpu = host()
    match name:
        case "fma_flops":
            return _rate(name, threads, lambda n: _kernels(n).fma())
        case "dot_ops":
            return _rate(name, threads, lambda n: _kernels(n).dot())
        case "bf16_flops":
            return _rate(name, threads, lambda n: _kernels(n).bf16()) if cpu.bf16 else 0.0
        case "tile_ops":
            return _rate(name, threads, lambda n: _kernels(n).tiles(8)) if cpu.amx else 0.0
        case "tile_flops":
            return _rate(name, threads, lambda n: _kernels(n).tiles(4)) if cpu.amx else 0.0
        # Half of a cache, to leave room for what else is in it.
        case "l1_bandwidth":
            return _reading(threads, "L1", cpu.l1 // 2)
        case "l2_bandwidth":
            return _reading(threads, "L2", cpu.l2 // 2)
        case "l3_bandwidth":
            return _reading(threads, "L3", min(cpu.l3 // 2 // threads, max(4 * cpu.l2, MOST_READ)))
    # Read from start to end through caches that hold less: between 64 and 256 MiB for all threads. Of twice what a
    # cache holds, one that keeps what others let go still had half.
    return _reading(threads, "memory", min(max(4 * cpu.l3, 64 << 20), 256 << 20) // threads)


def remeasure() -> None:
    """Forget all figures, in memory and on disk; the next question measures again."""
    from convmat.engine.measure import store

    store.forget()
    _machines.clear()
    _peaks.clear()


def use_rates_file(path: Path | None) -> None:
    """Keep figures in `path` (None: the user's cache folder), and forget those in memory."""
    from convmat.engine.measure import store

    store.use_file(path)
    _machines.clear()
    _peaks.clear()


def _reading(threads: int, name: str, chunk: int) -> float:
    return _rate(f"read/{name}/{chunk}", threads, lambda threads: _kernels(threads).read(chunk))


def _kernels(threads: int) -> Kernels:
    from convmat.engine.cpu import host
    from convmat.engine.measure.microbench import Kernels

    return Kernels(host(), threads)


def _rate(name: str, threads: int, measure: Callable[[int], float]) -> float:
    """A figure of so many threads: of one thread at least, where others used the CPUs meanwhile."""
    from convmat.engine.measure import store
    from convmat.engine.measure.calm import Disturbed

    found = store.get(f"{name}/{threads}", lambda: measure(threads))
    return max(found, _rate(name, 1, measure)) if threads > 1 and isinstance(found, Disturbed) else found


def _seconds_of(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _blas_flops(threads: int) -> float:
    from convmat.engine.blas import threads as blas_threads
    from convmat.engine.measure.calm import rate_of

    a = np.ones((512, 512), np.float32)
    out = np.empty_like(a)
    with blas_threads.limit(threads):
        found = rate_of(2 * 512**3, lambda: _seconds_of(lambda: np.matmul(a, a, out=out)))
    if threads > 1:
        time.sleep(BLAS_AWAKE)
    return found


def _copy_bandwidth() -> float:
    from convmat.engine.measure.calm import rate_of

    source = np.ones(4 << 20, np.uint8)
    target = np.empty_like(source)
    return rate_of(len(source), lambda: _seconds_of(lambda: np.copyto(target, source)))
