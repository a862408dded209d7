"""What this machine measured: the constants of the planner's cost model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

import numpy as np


@dataclass(frozen=True)
class Machine:
    """Rates of one process: `blas_flops` of NumPy's float32 product a second, `copy_bandwidth` bytes a second."""

    blas_flops: float
    copy_bandwidth: float


@cache
def machine() -> Machine:
    """Measured once a process."""
    a = np.ones((512, 512), np.float32)
    b = np.ones((4 << 20,), np.uint8)
    c = np.empty_like(b)

    def best(call: object) -> float:
        assert callable(call)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return min(times)

    return Machine(2 * 512**3 / best(lambda: a @ a), len(b) / best(lambda: np.copyto(c, b)))
