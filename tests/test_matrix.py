"""Every lowering, engine and packing x every case x element type x layout x pass, against the definition.

Data are small integers whose sums stay below 2^24, so results are equal, not close: float32 exactly, 16-bit types
the exact sum rounded once, 8-bit integers in int32. Quick runs take every case in float32, the tails in both
layouts and in every third of the other element types; of kernels, which take a tenth of a second each to compile, a set
that has all that they differ in, and in float32, channels first, every two such differences together (`covering`).
`--slow` takes all of it.
"""

from __future__ import annotations

import itertools
from functools import cache

import pytest

from convmat.cases import CASES, Case, case
from convmat.engine import jit
from convmat.engine.cpu import Cpu
from convmat.lowering import ALL, Lowering
from convmat.product import Packing
from tests.covering import compiled_passes, traits_of
from tests.support import (
    DTYPES,
    LAYOUTS,
    PASSES,
    REFUSED_BY_JIT,
    TAILS,
    Way,
    check,
    problem_of,
    way_name,
    ways,
)

Combination = tuple[Case, str, str, Way, tuple[str, ...]]
"""A case, element type, layout, way, and passes."""


def _quick_passes(each: Case, dtype: str, layout: str, way: Way) -> tuple[str, ...]:
    """The passes that a quick run takes."""
    engine, lowering, _ = way
    if engine == "jit":
        return compiled_passes(each, dtype, layout, way)
    if dtype == "float32":
        taken = each in TAILS or (layout == "NCHW" and lowering != "fft")
    else:  # in turn: each case in every third of the other types
        taken = each in TAILS and layout == "NCHW" and (TAILS.index(each) + DTYPES.index(dtype)) % 3 == 0
    return PASSES if taken else ()


def _compiled(each: Case, dtype: str, layout: str, way: Way) -> bool:
    """Whether it has kernels that the quick ones stand for."""
    engine, lowering, packing = way
    if engine != "jit" or packing is Packing.WHOLE or lowering in REFUSED_BY_JIT:
        return False
    if dtype == "float32":
        return layout == "NCHW" or each in TAILS
    return each in TAILS and layout == "NCHW" and (dtype == "float64" or each.name.startswith("2d"))


EXACT = {way.name for way in ALL if way.exact}


@cache
def _combinations(slow: bool) -> tuple[Combination, ...]:
    """All that some pass of the case may take: what a lowering refuses whole is held by TAKES below."""
    found, every = [], ways()
    for each in CASES:
        problems = [problem_of(each, "float32", direction=direction) for direction in PASSES]
        taken = {way.name for way in ALL if any(way.refuses(problem) is None for problem in problems)}
        for dtype, layout, way in itertools.product(DTYPES, LAYOUTS, every):
            passes = PASSES if slow else _quick_passes(each, dtype, layout, way)
            if passes and way[1] in taken and (way[1] in EXACT or (way[0] == "blas") == (way[1] == "fft")):
                found.append((each, dtype, layout, way, passes))
    return tuple(found)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "way" in metafunc.fixturenames:
        found = _combinations(metafunc.config.getoption("--slow"))
        names = [f"{each}-{dtype}-{layout}-{way_name(way)}" for each, dtype, layout, way, _ in found]
        metafunc.parametrize(("each", "dtype", "layout", "way", "passes"), found, ids=names)


def test_every_way_gives_what_the_definition_gives(
    each: Case, dtype: str, layout: str, way: Way, passes: tuple[str, ...]
) -> None:
    refusals = {check(way, each, dtype, layout, direction) for direction in passes}
    if None not in refusals:
        pytest.skip("; ".join(sorted(str(refusal) for refusal in refusals)))


def test_every_way_meets_every_type() -> None:
    """Of the jit those that it has for a type: their kernels are held to their traits below."""
    quick = {(dtype, way) for _, dtype, _, way, _ in _combinations(False) if way[0] == "blas"}
    assert quick == {(dtype, way) for _, dtype, _, way, _ in _combinations(True) if way[0] == "blas"}


@cache
def compiled(dtype: str, layout: str) -> tuple[tuple[Case, str, str, Way, str], ...]:
    """All that has kernels which the quick ones stand for."""
    found = (c for c in _combinations(True) if c[1:3] == (dtype, layout) and _compiled(*c[:4]))
    return tuple(
        (case, kind, order, way, direction)
        for case, kind, order, way, passes in found
        for direction in passes
    )


def _no_trait_is_missing(dtype: str, layout: str, cpu: str = "host") -> None:
    every = compiled(dtype, layout)
    quick = [c for c in every if c[4] in compiled_passes(*c[:4])]
    assert len(quick) < len(every)
    missing = traits_of(every, cpu=cpu) - traits_of(quick, cpu=cpu)
    if (dtype, layout) == ("float32", "NCHW"):
        missing |= traits_of((c for c in every if c[0] in TAILS), 2, cpu) - traits_of(quick, 2, cpu)
    where = {
        trait: next(
            f"{each} {way_name(way)} {direction}"
            for each, dtype, layout, way, direction in every
            if trait in traits_of([(each, dtype, layout, way, direction)], len(trait), cpu)
        )
        for trait in missing
    }
    assert not where, (
        f"tests/covering.py lacks what the kernels of these have (tests/find_covering.py): {where}"
    )


@pytest.mark.parametrize(("dtype", "layout"), [("float32", "NCHW"), ("float32", "NHWC"), ("float64", "NCHW")])
def test_the_quick_kernels_are_of_every_way_and_pass(dtype: str, layout: str) -> None:
    """And in float32, channels first, of every tail."""
    every = [c for c in compiled(dtype, layout) if traits_of([c])]
    quick = [c for c in every if c[4] in compiled_passes(*c[:4])]
    assert {c[3:] for c in quick} == {c[3:] for c in every}
    if (dtype, layout) == ("float32", "NCHW"):
        assert {c[0] for c in quick} >= {c[0] for c in every if c[0] in TAILS}


@pytest.mark.parametrize(
    ("dtype", "layout"),
    [("float32", "NCHW"), ("float32", "NHWC"), ("float64", "NCHW"), ("float16", "NCHW"), ("int8", "NCHW")],
)
def test_the_quick_kernels_have_every_trait(dtype: str, layout: str) -> None:
    _no_trait_is_missing(dtype, layout)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if not dtype.startswith("complex")])
def test_the_quick_kernels_have_every_trait_on_other_cpus(
    dtype: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jit, "host", lambda: Cpu.named(target))
    _no_trait_is_missing(dtype, "NCHW", target)


TRANSFORMING = [way for way in ALL if not way.exact and way.name != "bfloat16"]


@pytest.mark.parametrize("transforming", TRANSFORMING, ids=lambda way: way.name)
def test_each_engine_has_transforms_of_its_own(transforming: Lowering) -> None:
    engine, sentence = "blas", "transforms by Fourier's matrices alone"
    if transforming.name == "fft":
        engine, sentence = "jit", "transforms by small constant matrices, Fourier's are the blas engine's"
    way = engine, transforming.name, Packing.PANEL
    direction = "weight" if transforming.name == "pieces" else "forward"
    assert check(way, case("2d/3x3/tail"), "float32", "NCHW", direction) == sentence


STORING = [w for w in ways() if w[0] == "jit" and (w[1] in REFUSED_BY_JIT or w[2] is Packing.WHOLE)]


@pytest.mark.parametrize("storing", STORING, ids=way_name)
def test_the_jit_never_stores_the_unrolled_input(storing: Way) -> None:
    refusal = check(storing, case("2d/3x3/tail"), "float32", "NCHW", "forward")
    assert refusal is not None
    assert "never stores" in refusal


# What each lowering is for: were it to refuse more than this, the matrix would skip in silence.
TAKES = {
    "pointwise": ["2d/1x1/tail", "2d/1x1/strided-tail", "2d/grouped-1x1/plain", "1d/1/tail", "2d/deep"],
    "depthwise": ["2d/depthwise/tail", "2d/depthwise-multiplier/plain", "2d/transposed-depthwise/tail"],
    "dots": ["2d/one-pixel", "2d/one-pixel-padded", "1d/one-element"],
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
    "winograd 2": ["2d/3x3/tail", "2d/grouped/plain", "2d/dilated/tail"],
    "winograd 4": ["2d/3x3/tail", "2d/grouped/plain", "2d/dilated/tail", "2d/1x7/tail"],
    "winograd 6": ["2d/3x3/tail", "2d/grouped/plain", "2d/dilated/tail"],
    "pieces": ["2d/valid/plain", "2d/crop/plain", "1d/long-filter/tail"],
    "bfloat16": ["2d/3x3/tail", "2d/grouped/strided-tail", "2d/transposed-gaps/tail", "4d/dense/tail"],
    "fft": [
        "2d/3x3/tail",
        "2d/grouped/strided-tail",
        "2d/depthwise/tail",
        "1d/long-filter/tail",
        "4d/dense/tail",
    ],
}


@pytest.mark.parametrize(("name", "takes"), TAKES.items())
def test_a_lowering_takes_what_it_is_for(name: str, takes: list[str]) -> None:
    lowering = next(each for each in ALL if each.name == name)
    assert [t for t in takes if lowering.refuses(problem_of(case(t), "float32")) is not None] == []


def test_every_lowering_is_held_to_something() -> None:
    assert set(TAKES) <= {each.name for each in ALL}
    assert {name for _, name, _ in ways()} == {each.name for each in ALL}
