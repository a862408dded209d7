"""Ways to the same output, timed in turns and held to each other.

seconds   median of several runs; all ways take turns, so that a disturbance meets each of them
memory    bytes that one run allocates at most, by tracemalloc (Python's objects and NumPy's arrays), the output
          and packed weights apart
apart     |y - y0| / |y0| from the output of the first way, norm-wise
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from convmat.engine import blasthreads, recycle
from convmat.geometry import Geometry
from convmat.planner import Candidate, Cost, Plan
from convmat.planner.candidates import dtype_of
from convmat.problem import Problem
from convmat.reference import convolve

Array = npt.NDArray[Any]

FEWEST, MOST = 3, 25
"""Runs of each way, however long or short they are."""


@dataclass(frozen=True)
class Way:
    """One way: what it is called and how it is run.

    `call` gives the output, or the part of it that `part` cuts out of the others'; its seconds count `scale` times.
    """

    name: str
    call: Callable[[], Array]
    candidate: Candidate | None = None
    part: tuple[slice, ...] = ()
    scale: float = 1.0
    note: str = ""


@dataclass(frozen=True)
class Measured:
    """What a way took: seconds (median, least, most) for the whole output, bytes of memory, and how far apart."""

    way: Way
    seconds: float
    least: float
    most: float
    runs: int
    memory: int
    apart: float

    @property
    def predicted(self) -> Cost | None:
        """What the plan expected, if it knew the way."""
        return self.way.candidate.cost if self.way.candidate else None

    @property
    def flops_rate(self) -> float:
        """FLOP/s of a way that the plan knew, 0 for others."""
        return self.predicted.flops / self.seconds if self.predicted else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The figures, for JSON."""
        way, cost = self.way, self.predicted
        return {
            "way": way.name,
            "engine": way.candidate.engine if way.candidate else None,
            "seconds": self.seconds,
            "seconds_least": self.least,
            "seconds_most": self.most,
            "runs": self.runs,
            "memory_bytes": self.memory,
            "apart": self.apart,
            "predicted_seconds": cost.seconds if cost else None,
            "predicted_bytes": cost.workspace if cost else None,
            "scaled_from": way.note or None,
        }


def of_plan(plan: Plan, x: Array, w: Array) -> list[Way]:
    """Every candidate that does not refuse, its weights packed, all writing to one output; the chosen one first."""
    problem = plan.problem
    out = np.empty(problem.shape("y"), dtype_of(problem.out_dtype))
    bias, residual = (
        np.ones(shape, out.dtype) if wanted else None
        for wanted, shape in (
            (problem.epilogue.bias, (problem.geometry.O,)),
            (problem.epilogue.residual, out.shape),
        )
    )
    found = []
    for candidate in sorted(plan.candidates, key=lambda c: c is not plan.chosen):
        if candidate.cost is not None:
            bound = Plan(problem, plan.candidates, candidate, forced=True).bind(w, bias)
            found.append(Way(candidate.name, partial(bound, x, residual, out=out), candidate))
    return found


def by_definition(x: Array, w: Array, g: Geometry, filters: int, pixels: int) -> Way:
    """The definition's loops over some filters and a block of pixels amid the output: the rest would take minutes."""
    filters = min(filters, g.O // g.G)
    pieces, borders, cut = [], [], []
    for a in range(g.rank):
        count = min(pixels, g.P[a])
        first = (g.P[a] - count) // 2
        start = first * g.s[a] - g.lo[a]
        stop = start + (count - 1) * g.s[a] + g.reach[a]
        pieces.append(slice(max(start, 0), min(stop, g.I[a])))
        borders.append((max(-start, 0), max(stop - g.I[a], 0)))
        cut.append(slice(first, first + count))
    piece = x[(slice(None), slice(None), *pieces)][:, : g.C // g.G]
    some = w[:filters]
    small = Geometry.of(piece.shape, some.shape, stride=g.s, dilation=g.d, padding=borders)
    return Way(
        "the definition, loops",
        partial(convolve, piece, some, small),
        part=(slice(None), slice(filters), *cut),
        scale=g.flops / small.flops,
        note=f"{filters} of {g.O} filters and {'x'.join(map(str, small.P))} of {'x'.join(map(str, g.P))} pixels",
    )


def by_hand(x: Array, w: Array, g: Geometry, threads: int) -> Way:
    """im2col as one writes it with NumPy alone: pad, windows, copy, `@`. One group."""
    out = np.empty((g.B, g.O, *g.P), x.dtype)
    borders = ((0, 0), (0, 0), *zip(g.lo, g.hi, strict=True))
    axes = tuple(range(2, 2 + g.rank))
    every: tuple[Any, ...] = (..., *(slice(None, None, step) for step in (*g.s, *g.d)))
    taps = tuple(a + g.rank for a in axes)

    def call() -> Array:
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, borders), g.reach, axes)[every]
        unrolled = windows.transpose(0, 1, *taps, *axes).reshape(g.B, g.k, -1)
        with blasthreads.limit(threads):
            np.matmul(w.reshape(g.O, g.k), unrolled, out=out.reshape(g.B, g.O, -1))
        return out

    return Way("im2col in plain NumPy", call)


def measure(
    ways: Sequence[Way], seconds: float = 3.0, tell: Callable[[str], object] = lambda text: None
) -> list[Measured]:
    """Run all ways in turns for about so many seconds, each at least three times. `tell` hears what is going on."""
    firsts: list[float] = []
    memories: list[int] = []
    apart: list[float] = []
    whole = ways[0].call().copy()
    for way in ways:
        tell(f"checking {way.name}")
        start = time.perf_counter()
        y = way.call()
        firsts.append(time.perf_counter() - start)
        apart.append(_apart(y, whole[way.part] if way.part else whole))
        memories.append(allocated(way.call))
    rounds = min(max(int(seconds / max(sum(firsts), 1e-9)), FEWEST), MOST)
    samples: list[list[float]] = [[] for _ in ways]
    for turn in range(rounds):
        tell(f"timing {len(ways)} ways in turns: {turn + 1} of {rounds}")
        for way, taken in zip(ways, samples, strict=True):
            start = time.perf_counter()
            way.call()
            taken.append((time.perf_counter() - start) * way.scale)
    return [
        Measured(way, statistics.median(taken), min(taken), max(taken), rounds, memory, far)
        for way, taken, memory, far in zip(ways, samples, memories, apart, strict=True)
    ]


def allocated(call: Callable[[], object]) -> int:
    """Bytes that a call allocates at most at once, where it finds no memory kept from earlier calls.

    >>> allocated(lambda: np.empty(10**6, np.uint8)) // 10**5
    10
    """
    began = tracemalloc.is_tracing()
    if not began:
        tracemalloc.start()
    try:
        # Scratch is kept for each thread and in a store: a thread of its own and an empty store have none.
        recycle.clear()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        with ThreadPoolExecutor(1) as fresh:
            fresh.submit(call).result()
        return max(tracemalloc.get_traced_memory()[1] - before, 0)
    finally:
        if not began:
            tracemalloc.stop()


def operands(problem: Problem) -> tuple[Array, Array]:
    """Random x and w for a problem, the same each time: about normal, or small integers for integer types."""
    rng = np.random.default_rng(0)
    kind = dtype_of(problem.dtype)
    made = []
    for shape in (problem.shape("x"), problem.shape("w")):
        if kind.kind in "iu":
            made.append(rng.integers(0, 8, shape).astype(kind))
        elif kind.kind == "c":
            made.append((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(kind))
        else:
            made.append(rng.standard_normal(shape, np.float32).astype(kind))
    return made[0], made[1]


def _apart(y: Array, whole: Array) -> float:
    wide = np.complex128 if np.iscomplexobj(y) else np.float64
    a, b = y.astype(wide), whole.astype(wide)
    scale = float(np.linalg.norm(b))
    distance = float(np.linalg.norm(a - b))
    return distance / scale if scale else distance
