"""Fourier transforms: any geometry within its estimated error and its limit, with SciPy and without."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import convmat
from convmat import PlanError
from convmat.engine.blas import fft, fft_backend
from convmat.geometry import Geometry
from convmat.lowering.fft import choose_windows, dense_axes
from convmat.planner import Plan
from convmat.problem import EpilogueForm, Problem
from convmat.product import Activation
from tests.allocations import Allocations
from tests.support import Array, blank, by_taps, hedged, plans, written_alone

WIDE: dict[str, Any] = {
    "float32": np.float64,
    "float64": np.longdouble,
    "complex64": np.complex128,
    "complex128": np.clongdouble,
}


def _normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    made = rng.standard_normal(shape)
    return (made + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else made).astype(dtype)


def _geometry(pick: random.Random) -> Geometry:
    rank, groups = pick.choice([1, 2, 2, 2, 3]), pick.choice([1, 1, 2, 3])
    small = rank > 2
    F = tuple(pick.randint(1, 4 if small else 9) for _ in range(rank))
    s = tuple(pick.choice([1, 1, 1, 2, 3]) for _ in F)
    d = tuple(pick.choice([1, 1, 1, 2, 3, 4]) for _ in F)
    padding = tuple((pick.randint(-1, 9), pick.randint(0, 9)) for _ in F)
    extents = tuple(
        by * (f - 1) + 1 + pick.randint(1, 8 if small else 30) for f, by in zip(F, d, strict=True)
    )
    channels, filters = groups * pick.randint(1, 8), groups * pick.randint(1, 8)
    shape = (pick.randint(1, 3), channels, *extents)
    return Geometry.of(
        shape, (filters, channels // groups, *F), stride=s, dilation=d, padding=padding, groups=groups
    )


def _off(y: Array, expected: Array) -> float:
    return float(np.linalg.norm((y.astype(expected.dtype) - expected).ravel()))


def _fft(problem: Problem) -> Plan | None:
    return next((plan for chosen, plan in plans(problem) if chosen.lowering == "fft"), None)


@pytest.mark.parametrize("seed", range(60))
def test_the_error_stays_under_the_estimate(seed: int) -> None:
    """Any stride, dilation, padding and rank; nothing outside the arrays is read, all of y and nothing else written."""
    pick = random.Random(seed)
    g, dtype = _geometry(pick), pick.choice(list(WIDE))
    rng = np.random.default_rng(seed)
    x, w = _normal(rng, g.x_shape, dtype), _normal(rng, g.w_shape, dtype)
    problem = Problem.of(
        g, dtype, threads=pick.choice([1, 2]), rtol=1.0, workspace_limit=pick.choice([None, 1 << 30, 1 << 18])
    )
    plan = _fft(problem)
    if plan is None:
        assert g.y_shape == () or all(axis.taps == 1 for axis in dense_axes(g))
        return
    expected = by_taps(x, w, None, g, WIDE[dtype])[0]
    out = blank(g.y_shape, np.dtype(dtype))
    y = plan(hedged(x), hedged(w), out=out)
    written_alone(out)
    assert plan.chosen.cost is not None
    few = 1 + 6 / np.sqrt(max(y.size, 1))  # an expectation: a handful of elements may be beyond it
    assert _off(y, expected) <= few * plan.chosen.cost.error * np.linalg.norm(expected.ravel())


@pytest.mark.parametrize("direction", ["forward", "input", "weight"])
@pytest.mark.parametrize("there", [True, False], ids=["scipy", "numpy"])
def test_all_passes_with_scipy_and_without(
    direction: str, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not there:
        monkeypatch.setattr(fft_backend, "has_scipy", lambda: False)
    rng = np.random.default_rng(3)
    g = Geometry.of((2, 12, 40, 31), (10, 6, 7, 5), padding=2, stride=(1, 2), groups=2)
    x, w, dy = (_normal(rng, shape, "float32") for shape in (g.x_shape, g.w_shape, g.y_shape))
    made = Problem.of(g, threads=2, workspace_limit=600_000)
    problem = {"forward": lambda: made, "input": made.grad_input, "weight": made.grad_weight}[direction]()
    operands, at = {"forward": ((x, w), 0), "input": ((dy, w), 1), "weight": ((x, dy), 2)}[direction]
    plan = _fft(problem)
    assert plan is not None
    assert plan.chosen.cost is not None
    expected = by_taps(x, w, dy, g)[at]
    assert expected is not None
    out = np.empty(expected.shape, np.float32)
    plan(*operands, out=out)
    with Allocations() as counted:
        plan(*operands, out=out)
    assert counted.peak <= plan.workspace + plan.weight_bytes
    assert plan.workspace <= 600_000
    assert _off(out, expected) <= plan.chosen.cost.error * np.linalg.norm(expected)


@pytest.mark.parametrize("limit", [1 << 16, 1 << 18, 1 << 20, 1 << 23])
def test_blocks_of_rows_and_depth_keep_to_a_limit(limit: int) -> None:
    rng = np.random.default_rng(4)
    x, w = _normal(rng, (2, 24, 40, 40), "float32"), _normal(rng, (20, 24, 9, 9), "float32")
    bias, residual = _normal(rng, (20,), "float32"), _normal(rng, (2, 20, 40, 40), "float32")
    g = Geometry.of(x.shape, w.shape, padding=4)
    epilogue = EpilogueForm(bias=True, residual=True, activation=Activation.of("silu"))
    plan = _fft(Problem.of(g, epilogue=epilogue, workspace_limit=limit))
    assert plan is not None
    assert plan.workspace <= limit
    bound = plan.bind(w, bias)
    y = bound(x, residual=residual)
    with Allocations() as counted:
        bound(x, residual=residual, out=y)
    assert counted.peak <= plan.workspace
    sums = by_taps(x, w, None, g)[0] + bias[:, None, None] + residual
    expected = sums / (1 + np.exp(-sums))
    assert _off(y, expected) <= 1e-6 * np.linalg.norm(expected)


def test_windows_keep_to_the_room_there_is() -> None:
    g = Geometry.of((1, 1, 4096, 4096), (1, 1, 63, 63))
    assert [np.prod(choose_windows(g, room)) <= room for room in (1 << 14, 1 << 16, 1 << 18)] == [True] * 3
    assert choose_windows(g, 1) == (64, 64)  # the least that there is


@pytest.mark.parametrize("there", [True, False], ids=["scipy", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_windows_of_one_image_fit_the_default_workspace(
    dtype: str, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a filter that is called once runs by the definition, dozens of times slower, from some size on."""
    monkeypatch.setattr(fft_backend, "has_scipy", lambda: there)
    for n in (300, 512, 700, 1024, 1500, 2048, 4096):
        g = Geometry.of((1, 1, n, n), (1, 1, 63, 63), padding=31)
        plan = _fft(Problem.of(g, dtype, reuse_weights=False))
        assert plan is not None, n
        assert plan.workspace <= 16 << 20


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"exact": True}, "exact=True admits nothing else"),
        ({"rtol": 1e-8, "engine": "blas"}, "is expected to be off by"),
        ({"dtype": "int8"}, "rounds: sums of int8 are exact otherwise"),
        ({"stride": 15}, "needs two filter positions in a window: with one it multiplies no less"),
        ({"engine": "jit"}, "transforms by small constant matrices, Fourier's are the blas engine's"),
    ],
)
def test_it_refuses_with_a_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PlanError, match=sentence):
        convmat.plan((1, 2, 60, 60), (2, 2, 15, 15), lowering="fft", **given)


def test_the_plan_takes_it_for_large_filters_alone() -> None:
    image = (1, 1, 2048, 2048)
    assert convmat.plan(image, (1, 1, 63, 63), padding=31).chosen.lowering == "fft"
    assert convmat.plan(image, (1, 1, 63, 63), padding=31, exact=True).exact
    assert convmat.plan(image, (1, 1, 7, 7), padding=3).chosen.lowering != "fft"
    assert convmat.plan((1, 64, 56, 56), (64, 64, 3, 3), padding=1).chosen.lowering != "fft"


def test_the_plan_says_what_its_error_means_for_one_element() -> None:
    for dtype, most in (("float32", "2^40"), ("complex128", "2^400")):
        plan = convmat.plan((1, 1, 64, 64), (1, 1, 9, 9), padding=4, lowering="fft", dtype=dtype)
        assert (
            "One element may be off by so much of the largest in its window, not of itself. "
            f"A window with a sum that is not finite, or beyond {most}, is taken by the definition."
        ) in " ".join(str(plan).split())


def test_the_filter_of_a_single_call_is_transformed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each block of columns: it is as wide as a window by then."""
    many: list[int] = []

    def count(tiles: Any, axes: Any) -> Any:
        many.append(tiles.size)
        return forward(tiles, axes)

    forward = fft_backend.forward
    monkeypatch.setattr(fft_backend, "forward", count)
    monkeypatch.setattr(fft, "BUDGET", 1 << 16)
    pick = np.random.default_rng(0)
    x, w = (pick.integers(-4, 5, shape).astype(np.float64) for shape in ((5, 1, 90, 90), (1, 1, 9, 9)))
    with convmat.threads(1):
        y = convmat.conv(x, w, lowering="fft", engine="blas")
    assert np.allclose(y, convmat.conv(x, w, exact=True, engine="blas"), rtol=1e-10, atol=1e-10)
    assert many == [many[0]] * 6


@pytest.mark.parametrize("there", [True, False], ids=["scipy", "numpy"])
@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize(
    ("x", "w"),
    [
        ((1, 2, 4000), (3, 2, 700)),
        ((1, 1, 128, 128), (1, 1, 41, 41)),
        ((1, 2, 256, 256), (2, 2, 31, 31)),
        ((2, 3, 20, 21, 22), (2, 3, 7, 5, 9)),
    ],
    ids=str,
)
def test_large_windows_keep_to_the_workspace(
    x: tuple[int, ...], w: tuple[int, ...], dtype: str, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Complex ones, too, which NumPy does not transform where they are."""
    monkeypatch.setattr(fft_backend, "has_scipy", lambda: there)
    rng = np.random.default_rng(4)
    image, filters = _normal(rng, x, dtype), _normal(rng, w, dtype)
    plan = _fft(Problem.of(Geometry.of(x, w, padding=1), dtype))
    assert plan is not None
    out, layer = plan(image, filters), plan.bind(filters)
    with Allocations() as made:
        layer(image, out=out)
    assert made.peak <= plan.workspace
    with Allocations() as made:
        plan(image, filters, out=out)
    assert made.peak <= plan.workspace + plan.weight_bytes
