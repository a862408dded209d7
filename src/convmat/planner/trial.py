"""Ways to the same output, run in turns and held to each other.

round     a sample of every way (`sampling`), so that a disturbance meets each of them
seconds   the median of a way's samples
memory    bytes that one call allocates at most, by tracemalloc (Python's objects and NumPy's arrays), the output
          and packed weights apart
apart     |y - y0| / |y0| from the output of the first way, or from the one computed in float64
"""

from __future__ import annotations

import math
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import buffers
from ..lazy_dataclass import dataclass
from ..problem import Problem
from .candidates import Candidate, dtype_of
from .choose import choose
from .cost import Cost
from .prepared import Prepared
from .sampling import FEWEST, Sample, calls_in_sample, calm_samples, take_sample

Array = npt.NDArray[Any]
Call = Callable[[], Array]
Tell = Callable[[str], object]

MOST = 25
"""Rounds, however short the calls are; at least FEWEST, however long."""


@dataclass(frozen=True)
class Way:
    """One way: what it is called and how it is run.

    `call` gives the output, or the part of it that `part` cuts out of the others'; its seconds count `scale` times.
    """

    name: str
    call: Call
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
            "predicted_error": cost.error if cost else None,
            "scaled_from": way.note or None,
        }


class Operands:
    """A problem's arrays: x, w, and where the epilogue asks for them bias and residual; the same numbers each time.

    Floats are about normal, the weights so much smaller that outputs are too; integers are small.
    """

    def __init__(self, problem: Problem, x: Array | None = None, w: Array | None = None) -> None:
        rng = np.random.default_rng(0)
        g, out = problem.geometry, dtype_of(problem.out_dtype)
        drawn = partial(_draw, rng, dtype_of(problem.dtype))
        self.problem = problem
        self.x = drawn(problem.shape("x"), 1.0) if x is None else x
        self.w = drawn(problem.shape("w"), max(g.k, 1) ** -0.5) if w is None else w
        epilogue = problem.epilogue
        self.bias = np.ones(g.O, out) if epilogue.bias else None
        self.residual = np.ones(problem.shape("y"), out) if epilogue.residual else None

    def way(self, plan: Prepared, out: Array) -> Way:
        """The plan's chosen candidate, its weights bound if the problem reuses them, writing to `out`."""
        if plan.problem.reuse_weights:
            bound = plan.bind(self.w, self.bias)
            call = partial(bound, self.x, self.residual, out=out)
        else:
            call = partial(plan, self.x, self.w, self.bias, residual=self.residual, out=out)
        return Way(plan.chosen.name, call, plan.chosen)

    def truth(self) -> Array:
        """The output in float64 (or complex128), whatever the problem's element type, by the definition's products."""
        kind = "complex128" if self.problem.dtype.startswith("complex") else "float64"
        exact = replace(
            self.problem,
            dtype=kind,
            exact=True,
            deterministic=True,
            reuse_weights=False,
            workspace_limit=None,
        )
        wide = [
            each if each is None else each.astype(kind) for each in (self.x, self.w, self.bias, self.residual)
        ]
        return Prepared(*choose(exact, engine="blas"))(*wide[:3], residual=wide[3])


def _draw(rng: np.random.Generator, kind: np.dtype[Any], shape: tuple[int, ...], scale: float) -> Array:
    if kind.kind in "iu":
        return rng.integers(0, 8, shape).astype(kind)
    if kind.kind == "c":
        return (scale * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))).astype(kind)
    return (rng.standard_normal(shape, np.float32) * np.float32(scale)).astype(kind)


def runnable_ways(plan: Prepared, x: Array | None = None, w: Array | None = None) -> list[Way]:
    """Every candidate that does not refuse, its weights packed, all writing to one output; the chosen one first."""
    operands = Operands(plan.problem, x, w)
    out = np.empty(plan.problem.shape("y"), dtype_of(plan.problem.out_dtype))
    running = [c for c in plan.candidates if c.cost is not None]
    return [
        operands.way(Prepared(plan.decision.force(candidate)), out)
        for candidate in sorted(running, key=lambda c: c is not plan.chosen)
    ]


def measure_ways(
    ways: Sequence[Way],
    seconds: float = 3.0,
    tell: Tell = lambda text: None,
    truth: Array | None = None,
) -> list[Measured]:
    """Run all ways in turns for about so many seconds, each at least three times. `tell` hears what is going on.

    `truth` is what the outputs are held to; without it the first way's.
    """
    memories: list[int] = []
    apart: list[float] = []
    whole = copy_answer(ways[0].call) if truth is None else truth
    for way in ways:
        tell(f"checking {way.name}")
        y = copy_answer(way.call)
        apart.append(distance(y, whole[way.part] if way.part else whole))
        memories.append(measure_allocation(way.call))
    race = Race([way.call for way in ways])
    for part in race.rounds(seconds):
        tell(f"timing {len(ways)} ways in turns: {part:.0%}")
    return [
        Measured(
            way,
            way.scale * statistics.median(taken),
            way.scale * min(taken),
            way.scale * max(taken),
            len(taken),
            memory,
            far,
        )
        for way, taken, memory, far in zip(ways, race.select_calm(), memories, apart, strict=True)
    ]


class Race:
    """Calls timed in turns: `samples` holds those of each, one a round."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.samples: list[list[Sample]] = [[] for _ in calls]
        self._calls = calls
        self._counts = [0] * len(calls)

    def rounds(self, seconds: float, hopeless: float = math.inf) -> Iterator[float]:
        """Run rounds for about so many seconds, FEWEST at least and MOST at most; gives how much is done.

        Each round has an order of its own: what a call leaves behind (warm caches, threads of a BLAS that stay awake)
        falls on another one each time. A call that in FEWEST rounds never came within `hopeless` times the quickest is
        left out of further ones.
        """
        order = random.Random(0)
        start = time.perf_counter()
        for turn in range(1, MOST + 1):
            least = [min((each.seconds for each in taken), default=math.inf) for taken in self.samples]
            best = min(least, default=math.inf)
            for at in order.sample(range(len(self.samples)), len(self.samples)):
                taken = self.samples[at]
                if len(taken) < FEWEST or least[at] <= hopeless * best:
                    taken.append(self._sample(at))
            spent = time.perf_counter() - start
            if turn >= FEWEST and spent >= seconds:
                break
            yield min(max(turn / MOST, min(turn / FEWEST, spent / seconds if seconds else 1.0)), 1.0)
        yield 1.0

    def medians(self) -> list[float | None]:
        """Seconds of each call, None for one that was not timed yet."""
        return [statistics.median(taken) if taken else None for taken in self.select_calm()]

    def select_calm(self) -> list[list[float]]:
        """Seconds of each call's samples that count."""
        return [calm_samples(taken) for taken in self.samples]

    def _sample(self, at: int) -> Sample:
        call = self._calls[at]
        call()
        if not self._counts[at]:
            # A first call finds nothing in caches: samples of fewer calls, each colder, would be its share for good.
            start = time.perf_counter()
            call()
            self._counts[at] = calls_in_sample(time.perf_counter() - start)
        return take_sample(call, self._counts[at])


def copy_answer(call: Call) -> Array:
    """A copy of what a call gives; the array it gave, which the next call may be to write to, is blanked.

    >>> out = np.ones(2)
    >>> copy_answer(lambda: out), out
    (array([1., 1.]), array([nan, nan]))
    """
    given = call()
    kept = given.copy()
    if given.flags.writeable:
        given.fill(np.iinfo(given.dtype).max if given.dtype.kind in "iu" else np.nan)
    return kept


def measure_allocation(call: Callable[[], object]) -> int:
    """Bytes that a call allocates at most at once, where it finds no memory kept from earlier calls.

    >>> measure_allocation(lambda: np.empty(10**6, np.uint8)) // 10**5
    10
    """
    began = tracemalloc.is_tracing()
    if not began:
        tracemalloc.start()
    try:
        # Scratch is kept for each thread and in a store: a thread of its own and an empty store have none.
        buffers.clear()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        with ThreadPoolExecutor(1) as fresh:
            fresh.submit(call).result()
        return max(tracemalloc.get_traced_memory()[1] - before, 0)
    finally:
        if not began:
            tracemalloc.stop()


def distance(y: Array, whole: Array) -> float:
    """|y - whole| / |whole|, norm-wise; |y| where `whole` is 0.

    >>> distance(np.array([3.0, 4.5]), np.array([3.0, 4.0]))
    0.1
    """
    wide = np.complex128 if np.iscomplexobj(y) else np.float64
    a, b = y.astype(wide), whole.astype(wide)
    scale = float(np.linalg.norm(b))
    far = float(np.linalg.norm(a - b))
    return far / scale if scale else far
