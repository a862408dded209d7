"""The quickest way is found without preparing the others: it is the one that all of them, weighed, would give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from convmat.cases import CASES
from convmat.geometry import Geometry
from convmat.lowering import find_lowering
from convmat.planner import candidates, choose, nominal, quickest
from convmat.problem import Problem
from tests.support import problem_of

THREADS = (1, 2)
WIDE = {
    "3x3": Geometry.of((1, 64, 56, 56), (64, 64, 3, 3), padding=1),
    "1x1": Geometry.of((1, 128, 28, 28), (256, 128, 1, 1)),
    "depthwise": Geometry.of((1, 96, 56, 56), (96, 1, 3, 3), padding=1, groups=96),
    "stem": Geometry.of((1, 3, 96, 96), (32, 3, 7, 7), stride=2, padding=3),
    "dense": Geometry.of((1, 2048, 1), (1000, 2048, 1)),
    "long": Geometry.of((2, 16, 4000), (16, 16, 129), padding=64),
}
PROBLEMS = {
    **{
        f"{case.name}-{direction}": problem_of(case, "float32", direction=direction)
        for direction, cases in (("forward", CASES[::2]), ("weight", CASES[1::4]))
        for case in cases
    },
    **{
        f"{name}-{dtype}": Problem.of(g, dtype)
        for name, g in WIDE.items()
        for dtype in ("float32", "float64")
    },
}


def _seconds(candidate: candidates.Candidate) -> float:
    assert candidate.cost is not None
    return candidate.cost.seconds


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_quickest_is_that_of_all(name: str) -> None:
    for threads in THREADS:
        problem = replace(PROBLEMS[name], threads=threads)
        machine, peaks = nominal.machine(threads), nominal.peaks(threads)
        weighed = candidates.weigh(problem, machine, peaks).candidates
        possible = tuple(c for c in weighed if c.cost is not None)
        possible = possible if threads == 1 else choose._drop_disturbing(possible)
        search = quickest._Search(problem, None, None, machine, peaks)
        found = search.find_best()
        assert found is not None
        # A way that another one spares has the same product in other tiles: little quicker at most, and never weighed.
        best = min((c for c in possible if c.way in search.order), key=_seconds)
        assert (found[0], found[0].way) == (best, best.way)
        assert _seconds(best) < 1.1 * min(map(_seconds, possible))
        for each in weighed:
            cost = each.cost or each.beyond
            if cost is not None:
                way = find_lowering(each.lowering), each.packing, each.engine
                assert quickest.bound(problem, way, machine, peaks) <= cost.seconds, each.way
            if quickest.always_refuses(each.engine, find_lowering(each.lowering), each.packing):
                assert each.refusal is not None, each.way


def test_few_are_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem.of(WIDE["3x3"])
    prepared: list[object] = []

    def weighed(*given: Any) -> Any:
        prepared.append(given)
        return candidates.weigh_way(*given)

    monkeypatch.setattr(quickest, "weigh_way", weighed)
    search = quickest._Search(problem, None, None, nominal.machine(1), nominal.peaks(1))
    assert search.find_best() is not None
    assert 0 < len(prepared) < len(search.waiting)


@pytest.mark.parametrize(("name", "spared"), [("depthwise", ("im2col", "winograd")), ("1x1", ("im2col",))])
def test_what_another_way_spares_is_not_prepared(name: str, spared: tuple[str, ...]) -> None:
    problem = Problem.of(WIDE[name])
    search = quickest._Search(problem, None, None, nominal.machine(1), nominal.peaks(1))
    assert search.find_best() is not None
    assert search.found
    for way in search.found:
        alike = "in place" in way or name == "1x1"
        assert not (alike and way.startswith(tuple(f"jit: {each}" for each in spared))), way
        assert name == "1x1" or "winograd" not in way, way


def test_what_is_left_is_weighed_when_somebody_asks() -> None:
    problem = Problem.of(Geometry.of((1, 5, 11, 9), (7, 5, 3, 3), padding=1))
    decision, _ = choose.choose(problem)
    choose.admit_candidates.cache_clear()
    assert choose.admit_candidates.cache_info().currsize == 0
    assert sum(c is decision.chosen for c in decision.candidates) == 1
    assert choose.admit_candidates.cache_info().currsize == 1


def test_limits_and_what_was_asked_for_hold() -> None:
    geometry = WIDE["3x3"]
    exact, _ = choose.choose(Problem.of(geometry, exact=True))
    assert exact.exact
    forced, _ = choose.choose(Problem.of(geometry), "kn2row", "blas")
    assert (forced.chosen.way, forced.forced) == ("blas: kn2row, a panel at a time", True)
    small, _ = choose.choose(Problem.of(geometry, weight_limit=4 * 64 * 64 * 9))
    assert small.chosen.cost is not None
    assert small.chosen.cost.weight_bytes <= 4 * 64 * 64 * 9
