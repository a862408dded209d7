"""Every lowering, engine and packing x every case x element type x layout x pass, against the definition.

Data are small integers whose sums stay below 2^24, so results are equal, not close: float32 exactly, 16-bit types
the exact sum rounded once, 8-bit integers in int32. Quick runs take every case in float32 in both layouts, and the
tails in every element type; `--slow` takes all of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from convmat.cases import CASES, Case, case
from convmat.lowering import ALL
from tests.support import DTYPES, LAYOUTS, PASSES, TAILS, Way, check, problem_of, way_name, ways


def _combinations(slow: bool) -> Iterator[tuple[Case, str, str, Way]]:
    for each in CASES:
        tail = each in TAILS
        for dtype, layout in itertools.product(DTYPES, LAYOUTS):
            if slow or dtype == "float32" or (tail and layout == "NCHW"):
                for way in ways():
                    yield each, dtype, layout, way


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "way" in metafunc.fixturenames:
        found = list(_combinations(metafunc.config.getoption("--slow")))
        names = [f"{each}-{dtype}-{layout}-{way_name(way)}" for each, dtype, layout, way in found]
        metafunc.parametrize(("each", "dtype", "layout", "way"), found, ids=names)


def test_every_way_gives_what_the_definition_gives(each: Case, dtype: str, layout: str, way: Way) -> None:
    refusals = {check(way, each, dtype, layout, direction) for direction in PASSES}
    if None not in refusals:
        pytest.skip("; ".join(sorted(str(refusal) for refusal in refusals)))


# What each lowering is for: were it to refuse more than this, the matrix would skip in silence.
TAKES = {
    "pointwise": ["2d/1x1/tail", "2d/1x1/strided-tail", "2d/grouped-1x1/plain", "1d/1/tail", "2d/deep"],
    "depthwise": ["2d/depthwise/tail", "2d/depthwise-multiplier/plain", "2d/transposed-depthwise/tail"],
    "im2col": [each.name for each in CASES],
    "mec": [
        "2d/3x3/tail",
        "2d/grouped/strided-tail",
        "2d/transposed-depthwise/tail",
        "3d/3x3x3/tail",
        "4d/dense/tail",
    ],
    "kn2row": [
        "2d/3x3/tail",
        "2d/grouped/plain",
        "2d/dilated-apart/tail",
        "1d/long-filter/tail",
        "4d/dense/plain",
    ],
}


@pytest.mark.parametrize(("name", "takes"), TAKES.items())
def test_a_lowering_takes_what_it_is_for(name: str, takes: list[str]) -> None:
    lowering = next(each for each in ALL if each.name == name)
    assert [t for t in takes if lowering.refuses(problem_of(case(t), "float32")) is not None] == []


def test_every_lowering_is_held_to_something() -> None:
    assert set(TAKES) <= {each.name for each in ALL}
    assert {name for _, name, _ in ways()} == {each.name for each in ALL}
