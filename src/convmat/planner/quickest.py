"""The way that is predicted quickest, found without preparing the others.

    seconds of a way >= the multiplications that its lowering cannot do without / the rate of its engine
                        + what it packs and stores, where it packs panels, or waits for, where NumPy runs it

Ways are prepared and weighed in the order of these bounds, until the next one's bound is above what the quickest so far
is predicted to take: that one would be chosen among all of them too. A bound needs a geometry, and no product; in a
network two or three ways of two dozen are prepared. What another way spares is left out from the start.

A problem that differs from one that was searched like this in its extents alone is given what was near the quickest
there (see `kinds`): of these the first is prepared, and others where their bounds are below what it takes.
Land and Doig, "An automatic method of solving discrete programming problems", 1960 (branch and bound).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..engine import ENGINES, blas_work, host
from ..engine import effort as kernel_effort
from ..errors import EngineError
from ..lazy_dataclass import dataclass
from ..lowering import ALL, Lowering
from ..problem import Problem
from ..product import Fourier, Packing, Transform
from .candidates import Candidate, weigh_way
from .cost import START, count_waited, error_estimate
from .jitcost import CALL, EFFICIENCY, STORE, STORE_APART
from .kept_kinds import KeptKinds
from .kinds import NEAR, TILED_NEAR, Kinds, Member

if TYPE_CHECKING:
    from ..engine import Machine, Peaks
    from ..geometry import Geometry
    from .candidates import Program

Way = tuple[Lowering, Packing, str]

ROUNDED_DOWN = 1 - 1e-9
"""A prediction adds the same figures up in another order."""

BOUNDED = ("float32", "float64", "float16")
"""Types whose products are taken at the rates of float32 or float64, whatever the kernel."""


def always_refuses(engine: str, lowering: Lowering, packing: Packing) -> bool:
    """Whether an engine refuses a way whatever the problem: no product is made to hear it."""
    if engine == "jit":
        return packing is Packing.WHOLE or lowering.transform is Fourier or lowering.adds
    return lowering.transform is Transform


@dataclass(frozen=True)
class Quickest:
    """The candidate that was found, its program and, where it was looked for among few, whose they were."""

    candidate: Candidate
    program: Program
    like: Geometry | None = None


KNOWN = Kinds(KeptKinds())
"""What was near the quickest, by the kinds of problems."""


def keep_kinds() -> None:
    """Put on disk what was found of kinds: other processes then plan their problems sooner."""
    KNOWN.keep()


def find_quickest(problem: Problem, lowering: str | None, engine: str | None) -> Quickest | None:
    """The candidate predicted quickest of the lowering and engine asked for.

    None where nothing keeps to the limits, or this machine compiles no kernels: then all ways have to be looked at.
    """
    from ..engine import machine, peaks

    try:
        figures = machine(problem.threads), peaks(problem.threads)
    except EngineError:
        return None
    known = KNOWN.nearest(problem, lowering, engine)
    if known is not None and (found := _find_among(problem, known, *figures)) is not None:
        return found
    search = _Search(problem, lowering, engine, *figures)
    best = search.find_best()
    if best is None:
        return None
    tiled = search.nears_tiles(best[0])
    KNOWN.add(problem, search.list_near(best[0]), lowering, engine, tiled=tiled)
    return Quickest(*best)


def _find_among(problem: Problem, known: Member, machine: Machine, peaks: Peaks) -> Quickest | None:
    """The quickest of the ways that were near the quickest for another problem of the kind; None where none can run."""
    best: tuple[float, Candidate, Program] | None = None
    for name in known.near_at(problem.geometry):
        if best is not None and bound(problem, WAYS[name], machine, peaks) > best[0]:
            continue
        candidate, program = weigh_way(problem, *WAYS[name], machine, peaks)
        if candidate.cost is None or program is None:
            continue
        if best is None or candidate.cost.seconds < best[0]:
            best = candidate.cost.seconds, candidate, program
    same = known.geometry == problem.geometry  # what a search found, here or in another process
    return None if best is None else Quickest(best[1], best[2], None if same else known.geometry)


class _Search:
    """The ways of a problem that are left, and what was found of those that were weighed."""

    def __init__(
        self, problem: Problem, lowering: str | None, engine: str | None, machine: Machine, peaks: Peaks
    ) -> None:
        self.problem, self.machine, self.peaks = problem, machine, peaks
        ways = [
            (way, packing, each)
            for way in ALL
            if lowering in (None, way.name)
            and way.refuses(problem) is None
            and (way.exact or not problem.exact)
            for packing in way.packings
            for each in ENGINES
            if engine in (None, each) and not always_refuses(each, way, packing)
        ]
        if set(problem.geometry.e) == {1}:
            spared = {(name, *way[1:]) for way in ways for name in way[0].spares}
            ways = [way for way in ways if (way[0].name, *way[1:]) not in spared]
        self.order = {_name(way): at for at, way in enumerate(ways)}
        self.bounds = {_name(way): bound(problem, way, machine, peaks) for way in ways}
        self.waiting = sorted(ways, key=lambda way: (self.bounds[_name(way)], self.order[_name(way)]))
        self.disturbing = engine is None and problem.threads > 1
        self.found: dict[str, tuple[Candidate, Program | None]] = {}

    def find_best(self) -> tuple[Candidate, Program] | None:
        """The quickest of those that may be chosen."""
        best: tuple[float, int, Candidate, Program] | None = None
        for way in self.waiting:
            if best is not None and self.bounds[_name(way)] > best[0]:
                break
            if not self._close(way[0]) or (way[2] == "blas" and self.disturbing and self._by_jit(way[0])):
                continue
            candidate, program = self._weigh(way)
            if candidate.cost is None or program is None:
                continue
            made = candidate.cost.seconds, self.order[_name(way)], candidate, program
            if best is None or made[:2] < best[:2]:
                best = made
        return None if best is None else best[2:]

    def nears_tiles(self, best: Candidate) -> bool:
        """Whether transformed products take at most TILED_NEAR times the quickest one's seconds; they are weighed."""
        assert best.cost is not None
        most = TILED_NEAR * best.cost.seconds
        for way in self.waiting:
            if self.bounds[_name(way)] > most:
                break
            if way[0].transform is not None and self._close(way[0]):
                cost = self._weigh(way)[0].cost or self._weigh(way)[0].beyond
                if cost is not None and cost.seconds <= most:
                    return True
        return False

    def list_near(self, best: Candidate) -> dict[str, float]:
        """The ways that take at most NEAR times the quickest's seconds, or may do so, the quickest first: and how many.

        What was not weighed counts by its bound. A way that a limit alone refuses may be admitted elsewhere.
        """
        assert best.cost is not None
        taken: dict[str, float] = {}
        most = NEAR * best.cost.seconds
        for way in self.waiting:
            name = _name(way)
            if self.bounds[name] > most:
                break
            if name in self.found:
                cost = self.found[name][0].cost or self.found[name][0].beyond
                seconds = float("inf") if cost is None else cost.seconds
            elif self._close(way[0]) and not (way[2] == "blas" and self.disturbing and self._by_jit(way[0])):
                seconds = self.bounds[name]
            else:
                continue
            if seconds <= most and name != best.way:
                taken[name] = seconds
        ordered = sorted(taken, key=taken.__getitem__)
        return {best.way: 1.0} | {name: taken[name] / best.cost.seconds for name in ordered}

    def _close(self, lowering: Lowering) -> bool:
        """Whether a lowering may keep to the tolerance; of phases only its products say."""
        p = self.problem
        if lowering.rounds_least(p) or set(p.geometry.e) != {1}:
            return True
        return error_estimate(p, lowering.roundings(p)) <= p.rtol

    def _by_jit(self, lowering: Lowering) -> bool:
        """Whether the jit runs this lowering, whose BLAS is then left alone: see `choose`."""
        alike = [way for way in self.waiting if way[0] is lowering or lowering.name in way[0].spares]
        ours = [way for way in alike if way[2] == "jit"]
        return any(self._weigh(way)[0].cost is not None for way in ours)

    def _weigh(self, way: Way) -> tuple[Candidate, Program | None]:
        name = _name(way)
        if name not in self.found:
            self.found[name] = weigh_way(self.problem, *way, self.machine, self.peaks)
        return self.found[name]


def _name(way: Way) -> str:
    return f"{way[2]}: {way[0].name}, {way[1].value}"


WAYS: dict[str, Way] = {
    _name(way): way
    for way in [
        (lowering, packing, engine) for lowering in ALL for packing in lowering.packings for engine in ENGINES
    ]
}


def bound(problem: Problem, way: Way, machine: Machine, peaks: Peaks) -> float:
    """Seconds that a way is predicted to take at least."""
    lowering, packing, engine = way
    if problem.dtype not in BOUNDED or problem.counted:
        return 0.0
    wide = np.dtype(problem.work_dtype).itemsize / 4
    flops = _least_flops(lowering, problem)
    if engine == "jit":
        # Products that round their operands are of 16-bit numbers, at a rate of their own.
        narrow = not lowering.exact and lowering.transform is None
        if lowering.transform is Transform:
            flops *= _fill_share(problem)
        flops /= EFFICIENCY
        if packing is Packing.PANEL and lowering.transform is None and not narrow:
            flops += _flops_beside(problem)
        rate = max(peaks.fma_flops, peaks.bf16_flops, peaks.tile_flops) if narrow else peaks.fma_flops
        least = CALL + flops * wide / rate
        return least * ROUNDED_DOWN
    g, full = problem.squeezed.geometry, 1 / machine.blas_flops
    # With a matrix of one row or column each multiplication takes an element of the other one, at no rate of FLOPs.
    thin = blas_work.VECTOR * 1e-9 / problem.threads / 2
    each = thin if g.m == 1 or g.n == 1 else full if lowering.exact else min(thin, full)
    transforms = lowering.least_transformed(problem) * blas_work.TRANSFORM_SCIPY * 1e-9 / problem.threads
    waited = _count_waited(problem) / machine.copy_bandwidth
    return (START + (flops * each + transforms) * wide + waited) * ROUNDED_DOWN


@lru_cache(maxsize=64)
def _least_flops(lowering: Lowering, problem: Problem) -> float:
    """FLOPs of a lowering, remembered for its other packings and the other engine."""
    return lowering.least_flops(problem)


_count_waited = lru_cache(maxsize=4)(count_waited)
"""Remembered for the other ways of a problem."""


@lru_cache(maxsize=4)
def _flops_beside(problem: Problem) -> float:
    """FLOPs in the time that panels take beside multiplying: each element is packed, and each output is stored.

    0 where x is dilated: of phases only their products say how much they pack.
    """
    g = problem.squeezed.geometry
    if set(g.e) != {1}:
        return 0.0
    lanes = host().lanes(np.dtype(problem.work_dtype).itemsize)
    packed, stored = g.G * g.k * g.n // lanes, g.G * g.m * g.n // lanes
    return 2 * lanes * (packed * kernel_effort.FUSED_PACK + stored * min(STORE, STORE_APART * lanes))


def _fill_share(problem: Problem) -> float:
    """Factor by which the rows of a product grow to fill whole vectors: lanes of transformed products go along them."""
    rows, lanes = problem.squeezed.geometry.m, host().lanes(np.dtype(problem.work_dtype).itemsize)
    return -(-rows // lanes) * lanes / max(rows, 1)


__all__ = ["Quickest", "bound", "find_quickest", "keep_kinds"]
