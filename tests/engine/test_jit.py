"""The jit engine as a whole: right on random problems, within the estimate, compiled once, replaced where need be."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convmat
from convmat.cases import LAYERS, Case, case
from convmat.engine import jit, launch
from convmat.engine.cpu import Cpu, host
from convmat.engine.kernels.panel import plan as panel_plan
from convmat.engine.kernels.panel import tiling
from convmat.engine.kernels.text import kernel_text
from convmat.engine.runtime import jit_cache, preloaded, thread_pool
from convmat.errors import EngineError, PlanError
from convmat.geometry import Geometry
from convmat.lowering import ALL
from convmat.planner import candidates, make, prepared
from convmat.planner.cost import error_estimate
from convmat.problem import EpilogueForm, Problem
from convmat.product import Activation
from tests.engine.drawn import Drawn, exact, kind, programs, sized, views
from tests.engine.guarded import quick_kinds
from tests.support import (
    LAYOUTS,
    PASSES,
    Array,
    agree,
    by_taps,
    operands,
    problem_of,
    put,
    tolerance,
)

GUARDED = quick_kinds()
pytestmark = pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")


# -- right --------------------------------------------------------------------------------------------------------


@settings(max_examples=settings().max_examples // 4)
@given(st.data(), st.integers(0, 2**32 - 1), st.integers(1, 3), st.booleans(), st.booleans())
def test_random_problems(data: st.DataObject, seed: int, threads: int, bound: bool, in_place: bool) -> None:
    """Whole vectors and tails, many phases, every layout, type and epilogue; the residual may be the output.

    Of each kind several sizes: they have kernels in common. In quick runs the kinds are those of the guard pages, whose
    kernels are there already.
    """

    def pick(values: Sequence[Any]) -> Any:
        return data.draw(st.sampled_from(values))

    if settings().derandomize:
        made = pick(GUARDED)
    else:
        made = kind(pick)
    for drawn in (sized(made, pick), sized(made, pick)):
        check(drawn, seed, threads, bound, in_place)


def check(drawn: Drawn, seed: int, threads: int, bound: bool, in_place: bool) -> None:
    """Every program gives the definition's numbers."""
    expected = exact(drawn, seed)
    problem = drawn.problem(threads=threads, reuse_weights=bound)
    for name, program in programs(problem):
        y = np.full_like(expected.result, 77) if expected.residual is None else expected.residual.copy()
        arrays = {"x": expected.first, "w": expected.second, "y": y}
        if expected.bias is not None:
            arrays["bias"] = expected.bias
        if expected.residual is not None:
            arrays["residual"] = y if in_place else expected.residual
        with thread_pool.threads(threads):
            given_ = views(problem, arrays)
            program.run(given_, program.bind(given_["w"]) if bound else None, threads)
        agree(y, expected.result, tolerance(problem, name), f"{name}: {drawn}")


# -- exact to the estimate ----------------------------------------------------------------------------------------


def ran(problem: Problem, first: Array, second: Array) -> Iterator[tuple[str, Array]]:
    """What each of the jit's programs gives."""
    for name, program in programs(problem):
        y = np.full(problem.y.shape, np.nan, first.dtype)
        given_ = views(problem, {"x": first, "w": second, "y": y})
        program.run(given_, program.bind(given_["w"]) if problem.reuse_weights else None, problem.threads)
        yield name, y


SAMPLES = (
    Case("2d/long", (2, 200, 7, 9), (17, 200, 3, 3), {"padding": 1}),
    Case("2d/many-pixels", (2, 3, 50, 61), (9, 3, 3, 3), {"padding": 1, "stride": 2}),
    Case("2d/depthwise", (1, 20, 33, 35), (20, 1, 7, 7), {"padding": 3, "groups": 20}),
    Case("1d/pointwise", (1, 1500, 40), (33, 1500, 1)),
)


@cache
def normal(each: Case, dtype: str) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """(x, w, dy) of normal data, and (y, dx, dw) in extended precision."""
    g = each.geometry
    rng = np.random.default_rng(len(each.name))
    x, w, dy = (rng.standard_normal(s).astype(dtype) for s in (g.x_shape, g.w_shape, g.y_shape))
    return (x, w, dy), by_taps(x, w, dy, g, np.longdouble)


def operands_of(each: Case, dtype: str, layout: str, direction: str) -> tuple[Array, Array, Array]:
    """First and second operand of a pass, and what it should give."""
    (x, w, dy), (y, dx, dw) = normal(each, dtype)
    return {
        "forward": (put(x, layout), w, put(y, layout)),
        "input": (put(dy, layout), w, put(dx, layout)),
        "weight": (put(x, layout), put(dy, layout), dw),
    }[direction]


def error(y: Array, expected: Array) -> float:
    """Norm-wise and relative."""
    wide = expected.dtype
    return float(np.linalg.norm((y.astype(wide) - expected).ravel()) / np.linalg.norm(expected.ravel()))


ROUNDED = ("float32", "float64", "float16")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ROUNDED)
@pytest.mark.parametrize("direction", PASSES)
def test_the_error_is_within_the_estimate(dtype: str, layout: str, direction: str, slow: bool) -> None:
    """Of all samples with --slow, else of one in turn: each meets every type, every layout and every pass."""
    turn = ROUNDED.index(dtype) + 2 * LAYOUTS.index(layout) + PASSES.index(direction)
    if dtype == "float64" and np.finfo(np.longdouble).nmant <= 52:
        pytest.skip("no type here is wider than float64")
    for each in SAMPLES if slow else SAMPLES[turn % 4 :][:1]:
        problem = problem_of(each, dtype, layout, direction)
        one, other, expected = operands_of(each, dtype, layout, direction)
        for name, y in ran(problem, one, other):
            way = next(way for way in ALL if way.name == name)
            assert error(y, expected) <= error_estimate(problem, way.roundings(problem)), f"{name}: {each}"


@pytest.mark.outside
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_the_error_is_no_worse_than_twice_pytorchs(layer: Case) -> None:
    """All passes of a layer, against float64; PyTorch computes all three."""
    import torch

    g = layer.geometry
    rng = np.random.default_rng(g.k)
    x, w, dy = (rng.standard_normal(s).astype("float32") for s in (g.x_shape, g.w_shape, g.y_shape))

    def theirs(dtype: Any) -> dict[str, Array]:
        with torch.enable_grad():  # whatever other tests have turned off
            tensors = [torch.from_numpy(a).to(dtype).requires_grad_() for a in (x, w)]
            y = torch.nn.functional.conv2d(*tensors, stride=g.s, padding=g.lo, dilation=g.d, groups=g.G)
            y.backward(torch.from_numpy(dy).to(dtype))
        return dict(zip(PASSES, (y.detach().numpy(), *(t.grad.numpy() for t in tensors)), strict=True))

    exact_, other = theirs(torch.float64), theirs(torch.float32)
    for layout in LAYOUTS:
        for direction in PASSES:
            problem = problem_of(layer, "float32", layout, direction, threads=2)
            first = put(dy if direction == "input" else x, layout)
            second = put(dy, layout) if direction == "weight" else w
            allowed = 2 * error(other[direction], exact_[direction])
            for name, y in ran(problem, first, second):
                found = y if layout == "NCHW" or direction == "weight" else np.moveaxis(y, -1, 1)
                found_error = error(found, exact_[direction])
                way = next(way for way in ALL if way.name == name)
                assert found_error <= allowed or not way.exact, f"{name}, {layout}, {direction}"
                estimate = error_estimate(problem, way.roundings(problem))
                assert found_error <= estimate, f"{name}, {layout}, {direction}"


# -- compiled once ------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty cache for one test."""
    jit_cache.use_folder(tmp_path / "objects")
    yield tmp_path / "objects"
    jit_cache.use_folder(None)


def compiled(call: Callable[[], object]) -> int:
    """How many kernels a call compiles."""
    before = jit_cache.counts.compiled
    call()
    return jit_cache.counts.compiled - before


KINDS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "3x3": ((6,), (20, 6, 3, 3), {"padding": 1}),
    "1x1": ((40,), (12, 40, 1, 1), {}),
    "3x3 stride 2": ((6,), (20, 6, 3, 3), {"padding": 1, "stride": 2}),
    "depthwise": ((24,), (24, 1, 3, 3), {"padding": 1, "groups": 24}),
    "grouped": ((12,), (24, 4, 3, 3), {"padding": (0, 1), "groups": 3}),
}
FIRST = [(batch, *extents) for batch in (1, 2) for extents in ((16, 16), (17, 19), (16, 19), (17, 16))]
"""Even and odd: a stride's phases may be cut or not. One and several: small images of a batch share their columns."""

OTHERS = [(4, 16, 16), (3, 33, 20), (1, 56, 56), (2, 64, 31), (16, 21, 48), (1, 40, 97)]


def each_program(
    name: str, layout: str, direction: str, sizes: Sequence[tuple[int, ...]]
) -> Iterator[tuple[Problem, jit.JitProgram]]:
    """Every program at these batches and image sizes."""
    channels, w_shape, options = KINDS[name]
    for batch, *extents in sizes:
        each = Case(name, (batch, *channels, *extents), w_shape, options)
        problem = problem_of(each, "float32", layout, direction)
        for _, program in programs(problem):
            yield problem, program


def kernels(name: str, layout: str, direction: str, sizes: Sequence[tuple[int, ...]]) -> set[str]:
    """The names of all kernels of these programs: each is compiled once."""
    found = each_program(name, layout, direction, sizes)
    return {preloaded.kernel_name(recipe, host()) for _, program in found for recipe in program.recipes}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("direction", ["forward", "input"])
@pytest.mark.parametrize("name", KINDS)
def test_a_new_batch_or_image_size_needs_no_other_kernel(name: str, layout: str, direction: str) -> None:
    known = kernels(name, layout, direction, FIRST)
    assert known
    assert kernels(name, layout, direction, OTHERS) <= known


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["3x3", "1x1"])
def test_nor_does_a_weight_gradient(name: str, layout: str) -> None:
    """Whose filter is the image: it is summed over, packed, however large."""
    known = kernels(name, layout, "weight", FIRST)
    assert known
    assert kernels(name, layout, "weight", OTHERS) <= known


@pytest.mark.parametrize("direction", ["forward", "weight"])
def test_a_new_batch_or_image_size_compiles_nothing(direction: str, folder: Path) -> None:
    """What the names promise, counted where it is compiled and run."""

    def run(sizes: Sequence[tuple[int, ...]]) -> None:
        for problem, program in each_program("1x1", "NCHW", direction, sizes):
            given_ = {n: np.ones(problem.shape(n), "float32") for n in "xwy"}
            operands_ = views(problem, given_)
            program.run(operands_, program.bind(operands_["w"]) if problem.reuse_weights else None, 1)

    names = kernels("1x1", "NCHW", direction, FIRST)
    assert 0 < compiled(lambda: run(FIRST)) <= len(names)  # two may have one text
    assert compiled(lambda: run(OTHERS)) == 0


SCRIPT = """
import numpy as np
import convmat
from convmat.engine.runtime import jit_cache
plan = convmat.plan((2, 5, 12, 13), (7, 5, 3, 3), padding=1, engine="jit")
y = plan(np.ones((2, 5, 12, 13), np.float32), np.ones((7, 5, 3, 3), np.float32))
assert y[0, 0, 1, 1] == 45
print(jit_cache.counts.compiled, jit_cache.counts.disk)
"""


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    def process() -> tuple[int, int]:
        printed = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True, text=True, timeout=300, check=True,
        ).stdout  # fmt: skip
        made, read = map(int, printed.split())
        return made, read

    made, read = process()
    assert made > 0
    assert read == 0
    none, read = process()
    assert none == 0
    assert read > 0
    for path in (tmp_path / "convmat" / "objects").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert process() == (read, 0), "cut files were run"


# -- replaced where it cannot be ----------------------------------------------------------------------------------


def test_where_no_code_can_be_made_blas_computes_with_one_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter(range(100))

    def fails(*arguments: object, **options: object) -> object:
        raise EngineError(f"compiler: no code for this CPU, attempt {next(failures)}")

    case_ = case("2d/3x3/tail")
    given_ = {direction: operands(case_, "float32", "NCHW", direction) for direction in PASSES}
    made = {
        direction: make(problem_of(case_, "float32", "NCHW", direction, rtol=0.25), engine="jit")
        for direction in PASSES
    }
    again = make(problem_of(case_, "float32", "NHWC", rtol=0.25))
    monkeypatch.setattr(jit_cache, "load", fails)
    monkeypatch.setattr(prepared, "_warned", False)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for direction, plan in made.items():
            first, second, expected = given_[direction]
            np.testing.assert_array_equal(plan(first, second), expected)
            assert plan.chosen.engine == "blas"
        first, second, expected = operands(case_, "float32", "NHWC", "forward")
        np.testing.assert_array_equal(again(first, second), expected)
    assert [each.category for each in said] == [RuntimeWarning]
    assert re.fullmatch(
        r"convmat computes with NumPy's BLAS, more slowly: compiler: no code for this CPU, attempt \d+",
        str(said[0].message),
    )


def test_an_engine_that_was_asked_for_says_why_it_makes_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason, not what the first of the lowerings is refused for."""

    def fails(*arguments: object, **options: object) -> object:
        raise EngineError("compiler: no code for native (a CPU)\n  No module named 'llvmlite'")

    monkeypatch.setattr(candidates, "jit_cost", fails)  # who asks what the CPU reaches makes code for it
    x, w = np.ones((1, 5, 13, 11), np.float32), np.ones((6, 5, 3, 2), np.float32)
    with pytest.raises(PlanError) as error:
        convmat.conv(x, w, engine="jit")
    assert str(error.value) == (
        "plan: the engine 'jit' refuses this problem: compiler: no code for native (a CPU): No module"
        " named 'llvmlite'\n"
        "  1x5x13x11 * 6x5x3x2 -> 1x6x11x10, float32\n"
        "  omit engine=, or use lowering='im2col' with engine='blas', which refuses nothing but memory limits"
    )
    assert np.array_equal(convmat.conv(x, w, lowering="im2col", engine="blas"), np.full((1, 6, 11, 10), 30))


def test_a_cpu_without_fused_multiply_add_is_left_to_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = replace(Cpu.named("x86-64"), model="an old one")
    monkeypatch.setattr(jit, "host", lambda: plain)
    plan = make(problem_of(case("2d/3x3/tail"), "float32", rtol=0.125))
    assert plan.chosen.engine == "blas"
    refusals = {c.refusal for c in plan.candidates if c.engine == "jit" and c.lowering == "im2col"}
    assert refusals == {"makes code for CPUs with fused multiply-add, this one is an old one"}


def test_a_recipe_says_all_that_its_text_is_made_from() -> None:
    """Kernels are found by it: no two texts have one, and it is the same in every process."""
    texts: dict[str, str] = {}
    some = [(each, layout, way) for each in LAYERS[::4] for layout in LAYOUTS for way in PASSES]
    for each, layout, way in some:
        for _, program in programs(problem_of(each, "float32", layout, way)):
            for step in program.steps:
                said = f"{type(step.recipe).__module__} {step.recipe}"
                assert " at 0x" not in said
                assert "frozenset" not in said
                assert texts.setdefault(said, written := kernel_text(step.recipe, program.cpu)) == written
    assert len(texts) > 20


# -- the text -----------------------------------------------------------------------------------------------------


def test_a_register_tile_in_ir(golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows, one vector of AVX2, bias and relu."""
    monkeypatch.setattr(
        tiling, "choose_tiling", lambda m, k, lanes, registers, fused: tiling.Tiling(False, 2, lanes)
    )
    monkeypatch.setattr(jit, "host", lambda: Cpu.named("x86-64-v3"))
    epilogue = EpilogueForm(bias=True, activation=Activation("relu"))
    problem = Problem.of(Geometry.of((1, 3, 4, 9), (2, 3, 1, 3), padding=(0, 1)), epilogue=epilogue)
    program = next(p for name, p in programs(problem) if isinstance(p.steps[0], panel_plan.PanelPlan))
    text = kernel_text(program.steps[0].recipe, program.cpu)
    golden(
        "tile.ll",
        text[text.index("define void @tile_8_2(") : text.index("\n}\n", text.index("@tile_8_2(")) + 3],
    )


def test_what_packing_leaves_out_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what lay there before: an address in it would keep a network from being recorded."""
    made: list[Array] = []

    def allocate_aligned(count: int) -> Array:
        for old in [np.full(count + 64, 255, np.uint8) for _ in range(8)]:
            del old
        made.append(launch.allocate_aligned(count))
        return made[-1]

    monkeypatch.setattr(jit, "allocate_aligned", allocate_aligned)
    plan = convmat.plan((1, 64, 14, 14), (30, 64, 3, 3), padding=1, lowering="winograd 2")
    plan.bind(np.ones((30, 64, 3, 3), np.float32))
    assert any(each.any() for each in made)
    assert not any((each == 255).any() for each in made)
