"""Whether layers take the time that their plans predict, and whether another way would have been quicker.

    off(way)   its measured seconds / its predicted ones, the shortest of many calls
    lost       the chosen way's measured seconds / those of the quickest way

The twenty layers of the benchmark, and those whose predictions were once far off. float32, NCHW, weights bound, `out=`
reused, so that all arrays of a call lie in the caches that hold them. Ways predicted to take more than `FAR` times the
chosen one's time are left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from convmat.cases import LAYERS, Case, select_layers
from convmat.geometry import Geometry
from convmat.planner import Candidate, Decision, Prepared
from convmat.planner.choose import admit_candidates
from convmat.planner.columns import align_columns
from convmat.planner.tuning import choose_rivals
from convmat.planner.units import format_seconds
from convmat.problem import Problem

FAR = 3.0
RIGHT, NEAR = 1.25, 1.10
"""Up to which factor a prediction counts as right, and a choice as near the quickest."""

HARD: tuple[Case, ...] = (
    Case("3-D, 4->6 @8x8x8, stride 3 along rows", (2, 4, 8, 8, 8), (6, 4, 3, 3, 3), {"stride": (1, 1, 3)}),
    Case("3-D, 64->64 @16x16x16", (1, 64, 16, 16, 16), (64, 64, 3, 3, 3), {"padding": 1}),
    Case("1x1 16->16 @610x1", (1, 16, 610, 1), (16, 16, 1, 1)),
    Case("3x1 16->16 @610x1", (1, 16, 610, 1), (16, 16, 3, 1), {"padding": (1, 0)}),
    Case("depthwise s2 512 @4", (1, 512, 4, 4), (512, 1, 3, 3), {"padding": 1, "stride": 2, "groups": 512}),
    Case("depthwise 64 @25x5", (1, 64, 25, 5), (64, 1, 3, 3), {"padding": 1, "groups": 64}),
    Case("3x3 256 groups 64 @60x88", (1, 256, 60, 88), (256, 4, 3, 3), {"padding": 1, "groups": 64}),
    Case("1x1 16->2 @532", (1, 16, 532, 532), (2, 16, 1, 1)),
    Case("1x1 24->24 @128", (1, 24, 128, 128), (24, 24, 1, 1)),
    Case("1x1 24->10 @120x160", (1, 24, 120, 160), (10, 24, 1, 1)),
    Case("10x4 s2 1->64 @49x10", (1, 1, 49, 10), (64, 1, 10, 4), {"padding": (5, 1), "stride": 2}),
    Case(
        "transposed 4x4 s2 32->3 @32",
        (1, 32, 32, 32),
        (32, 3, 4, 4),
        {"padding": 1, "stride": 2},
        transposed=True,
    ),
    Case(
        "transposed 2x2 s2 24->1 @120x160", (1, 24, 120, 160), (24, 1, 2, 2), {"stride": 2}, transposed=True
    ),
)
"""Small 3-D maps, tall narrow ones, small depthwise ones, few channels: what one model for all is least made for."""

ALL = (*LAYERS, *HARD)


@dataclass(frozen=True)
class Timed:
    """A layer's seconds by way, predicted and measured; the first way is the one chosen."""

    name: str
    predicted: dict[str, float]
    measured: dict[str, float]

    @property
    def chosen(self) -> str:
        """The way of the plan."""
        return next(iter(self.measured))

    @property
    def quickest(self) -> str:
        """The way measured quickest."""
        return min(self.measured, key=lambda way: self.measured[way])

    @property
    def off(self) -> float:
        """The chosen way's measured seconds by its predicted ones."""
        return self.measured[self.chosen] / self.predicted[self.chosen]

    @property
    def lost(self) -> float:
        """The chosen way's measured seconds by the quickest's."""
        return self.measured[self.chosen] / self.measured[self.quickest]


def measure(case: Case, threads: int, seconds: float) -> Timed:
    """A layer's ways, each for about so many seconds."""
    y = np.empty(case.geometry.y_shape, np.float32)
    problem = Problem.of(case.geometry, threads=threads)
    if (
        case.transposed
    ):  # as `conv_transpose` has it: the input gradient of the layer that leads the other way
        problem = Problem.of(Geometry.of(y.shape, case.w_shape, **case.options), threads=threads).grad_input()
    rivals = choose_rivals(admit_candidates(problem, None, None).possible, "full")
    running = [each for each in rivals if _seconds(each) <= FAR * _seconds(rivals[0])]
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape, np.float32) for shape in (case.x_shape, case.w_shape))
    measured: dict[str, float] = {}
    for each in running:
        bound = Prepared(Decision(problem, tuple(running), each, forced=True)).bind(w)
        measured[each.way] = _shortest(partial(bound, x, out=y), seconds)
    return Timed(case.name, {each.way: _seconds(each) for each in running}, measured)


def _seconds(candidate: Candidate) -> float:
    """Seconds that the chosen way is predicted to take."""
    assert candidate.cost is not None
    return candidate.cost.seconds


def _shortest(call: Callable[[], object], seconds: float) -> float:
    """Of the calls that fit in so many seconds, three at least, after one that is not counted."""
    call()
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def summary(timed: Sequence[Timed]) -> str:
    """A line for each layer, then how many were predicted and chosen well.

    >>> one = Timed("a layer", {"jit": 1e-3, "blas": 2e-3}, {"jit": 1.5e-3, "blas": 1.2e-3})
    >>> print(summary([one]).splitlines()[-1])
    predicted within 25 %: 0 of 1; quickest or within 10 % of it: 0 of 1
    """
    rows = []
    for each in timed:
        better = f"{each.quickest} {format_seconds(each.measured[each.quickest])}" if each.lost > NEAR else ""
        seconds = (format_seconds(some[each.chosen]) for some in (each.predicted, each.measured))
        rows.append((each.name, each.chosen, *seconds, f"{each.off:.2f}", better))
    lines = align_columns(("layer", "way", "predicted", "took", "off", "quicker"), rows, words=2)
    right = sum(1 / RIGHT <= each.off <= RIGHT for each in timed)
    near = sum(each.lost <= NEAR for each in timed)
    return "\n".join([
        *lines, "",
        f"predicted within {100 * RIGHT - 100:.0f} %: {right} of {len(timed)}; "
        f"quickest or within {100 * NEAR - 100:.0f} % of it: {near} of {len(timed)}",
    ])  # fmt: skip


def run(
    names: Sequence[str], threads: int, seconds: float, tell: Callable[[str], object] = lambda name: None
) -> list[Timed]:
    """Measure the layers of these names, numbers or parts of them; `tell` hears which one is measured."""
    chosen = select_layers(names, ALL, call="predictions")
    found: list[Timed] = []
    for case in ALL:
        if case.name in chosen:
            tell(case.name)
            found.append(measure(case, threads, seconds))
    return found


__all__ = ["ALL", "HARD", "Timed", "measure", "run", "summary"]
