"""A problem of a kind that is known: few ways are weighed, and the choice is near that of all of them."""

from __future__ import annotations

import atexit
import random
from pathlib import Path
from typing import Any

import pytest

from convmat.engine import jit_cache
from convmat.geometry import Geometry
from convmat.planner import candidates, choose, kept_kinds, kinds, nominal, quickest, why
from convmat.planner.decision import Decision
from convmat.planner.kept_kinds import KeptKinds
from convmat.problem import Problem

LAYERS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "stem": ((32, 3, 3, 3), {"stride": 2, "padding": 1}),
    "1x1": ((96, 16, 1, 1), {}),
    "few rows": ((24, 144, 1, 1), {}),
    "1x1 s2": ((128, 64, 1, 1), {"stride": 2}),
    "depthwise": ((96, 1, 3, 3), {"padding": 1, "groups": 96}),
    "depthwise s2": ((96, 1, 3, 3), {"padding": 1, "groups": 96, "stride": 2}),
    "3x3": ((64, 64, 3, 3), {"padding": 1}),
    "5x5 grouped": ((64, 16, 5, 5), {"padding": 2, "groups": 4}),
    "7x7": ((48, 24, 7, 7), {"padding": 3}),
}


def problem(name: str, size: int, threads: int = 1) -> Problem:
    """A layer on a square map of so many pixels an axis."""
    w, words = LAYERS[name]
    return Problem.of(
        Geometry.of((1, w[1] * words.get("groups", 1), size, size), w, **words), threads=threads
    )


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> kinds.Kinds:
    """Kinds of which none is known yet, and a machine that is the same everywhere."""
    made = kinds.Kinds()
    monkeypatch.setattr(quickest, "KNOWN", made)
    monkeypatch.setattr("convmat.engine.measure.machine.machine", nominal.machine)
    monkeypatch.setattr("convmat.engine.measure.machine.peaks", nominal.peaks)
    return made


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", LAYERS)
def test_the_choice_is_near_that_of_all(name: str, threads: int, known: kinds.Kinds) -> None:
    rng, met = random.Random(name), 0
    for _ in range(6):
        first = rng.randint(14, 120)
        quickest.KNOWN = kinds.Kinds()
        assert quickest.find_quickest(problem(name, first, threads), None, None) is not None
        for _ in range(4):
            wanted = problem(name, max(round(first * rng.uniform(0.5, 2)), 8), threads)
            found = quickest.find_quickest(wanted, None, None)
            figures = nominal.machine(threads), nominal.peaks(threads)
            best = quickest._Search(wanted, None, None, *figures).find_best()
            assert found is not None
            assert best is not None
            ours, least = found.candidate.cost, best[0].cost
            assert ours is not None
            assert least is not None
            assert ours.seconds <= 1.1 * least.seconds, (wanted.geometry, found.candidate.way, best[0].way)
            assert ours == candidates.weigh_way(wanted, *quickest.WAYS[found.candidate.way], *figures)[0].cost
            met += found.like is not None
    assert met or name in ("3x3", "7x7", "5x5 grouped")  # transformed tiles are near: all ways are weighed


def test_fewer_ways_are_prepared(known: kinds.Kinds, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[Problem] = []

    def weighed(of: Problem, *rest: Any) -> Any:
        prepared.append(of)
        return candidates.weigh_way(of, *rest)

    monkeypatch.setattr(quickest, "weigh_way", weighed)
    sizes = (problem("depthwise s2", 56), problem("depthwise s2", 64))
    like = [found.like for each in sizes if (found := quickest.find_quickest(each, None, None)) is not None]
    assert like == [None, sizes[0].geometry]
    assert [prepared.count(each) for each in sizes][1] == 1


def test_what_differs_in_more_than_extents_is_of_another_kind(known: kinds.Kinds) -> None:
    quickest.find_quickest(problem("1x1", 56), None, None)
    assert known.nearest(problem("1x1", 60), None, None) is not None
    for other in (problem("1x1", 60, 2), problem("few rows", 60), problem("1x1", 200), problem("1x1", 1)):
        assert known.nearest(other, None, None) is None
    assert known.nearest(problem("1x1", 60), "im2col", None) is None


def test_another_process_weighs_what_was_the_quickest(
    known: kinds.Kinds, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The way of each problem that was met, also where transformed tiles are near; plans say nothing of it."""
    jit_cache.use_folder(tmp_path)
    try:
        wanted = [problem(name, 56, threads) for name in LAYERS for threads in (1, 2)]
        quickest.KNOWN = kinds.Kinds(KeptKinds())
        first = [quickest.find_quickest(each, None, None) for each in wanted]
        quickest.keep_kinds()
        prepared: list[Problem] = []

        def weighed(of: Problem, *rest: Any) -> Any:
            prepared.append(of)
            return candidates.weigh_way(of, *rest)

        monkeypatch.setattr(quickest, "weigh_way", weighed)
        quickest.KNOWN = kinds.Kinds(KeptKinds())  # as another process begins
        again = [quickest.find_quickest(each, None, None) for each in wanted]
        for one, two in zip(first, again, strict=True):
            assert one is not None
            assert two is not None
            assert (one.candidate, two.like) == (two.candidate, None)
        assert len(prepared) == len(wanted)
        tiled = quickest.KNOWN.nearest(problem("3x3", 56), None, None)
        assert tiled is not None
        assert tiled.tiled
        assert quickest.KNOWN.nearest(problem("3x3", 60), None, None) is not None
        # 29 fills tiles worse, 14 has few of them, and Fourier's windows are near a 7x7.
        for other in (problem("3x3", 29), problem("3x3", 14), problem("7x7", 60)):
            assert quickest.KNOWN.nearest(other, None, None) is None
    finally:
        jit_cache.use_folder(None)


@pytest.mark.parametrize(
    ("size", "times"), [(28, 1.0), (54, 60**2 / 56**2), (60, 60**2 / 56**2), (17, float("inf"))]
)
def test_tiles_that_are_filled_otherwise_are_further_apart(size: int, times: float) -> None:
    # 54 and 60 are 9 and 10 tiles of 6, and 56 takes 10, too; 17 takes 3.
    sizes = (problem("3x3", 56).geometry, problem("3x3", size).geometry)
    assert kinds._compare_filling(*sizes) == pytest.approx(times)


def test_those_who_never_write_keep_no_more_than_goes_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_kinds, "MOST", 3)
    found, written = KeptKinds(), dict[int, Any]()
    for kind in "abcd":
        for row in range(20):
            found.add(1, kind, [row, [8, 8], {}, False])
    monkeypatch.setattr(kept_kinds, "_read", lambda threads: {"a": [[0, [7, 7], {}, False]]})
    monkeypatch.setattr(kept_kinds, "_write", written.__setitem__)
    assert sum(map(len, found._new[1].values())) == 3 * kept_kinds.ROWS
    found.write()
    latest = list(range(20 - kept_kinds.ROWS, 20))
    assert [(kind, [row[0] for row in rows]) for kind, rows in written[1].items()] == [
        (kind, latest) for kind in "bcd"
    ]


def test_what_is_added_soon_after_is_written_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    found, written, at_exit = KeptKinds(), list[Any](), list[Any]()
    monkeypatch.setattr(kept_kinds, "_read", lambda threads: {})
    monkeypatch.setattr(kept_kinds, "_write", lambda threads, kinds: written.append(sorted(kinds)))
    monkeypatch.setattr(atexit, "register", at_exit.append)
    for kind in "abc":
        found.add(1, kind, [1, [8, 8], {}, False])
        found.write()
    assert written == [["a"]]
    [finish] = at_exit
    finish()
    assert written == [["a"], ["b", "c"]]
    monkeypatch.setattr(kept_kinds, "PAUSE", 0.0)
    found._next = 0.0
    for kind in "de":
        found.add(1, kind, [1, [8, 8], {}, False])
        found.write()
    assert written[2:] == [["d"], ["e"]]


@pytest.mark.parametrize("content", [b"", b"no JSON", b"[1]"])
def test_kinds_on_disk_that_are_none_are_passed_over(
    content: bytes, known: kinds.Kinds, tmp_path: Path
) -> None:
    jit_cache.use_folder(tmp_path)
    try:
        key = kept_kinds._key(1)
        assert key is not None
        jit_cache.disk().put(key, content)
        assert KeptKinds().find(1, "a kind") == []
    finally:
        jit_cache.use_folder(None)


def test_a_plan_says_that_it_was_chosen_among_few() -> None:
    small = problem("1x1", 28)
    found = choose.admit_candidates(small, None, None).candidates
    slow = max((c for c in found if c.cost), key=lambda c: c.cost.seconds if c.cost else 0)
    decision = Decision(small, found, slow, like=problem("1x1", 32).geometry)
    said = why.list_reasons(decision)[0]
    assert "among the ways that were near the quickest for x 1x16x32x32; all ways weighed, " in said
    assert Decision(*decision.__reduce__()[1]) == decision
