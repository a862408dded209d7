"""What holds for every convolution, on random geometries of ranks 1 to 4.

200 of them against the definition, 60 of what follows from it; with --slow, 1,000 and 300.
Data are small integers in float64 unless said otherwise, so that equality is meant. The definition is summed tap by
tap, a product of matrices each; test_reference.py holds that to the loops of the definition.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import convmat
from convmat.geometry import Geometry
from convmat.planner import error_bound
from convmat.problem import Problem
from tests.strategies import SIZES, SOME, Drawn, convolutions, laid_out, transposes
from tests.support import (
    Array,
    agree,
    blank,
    by_taps,
    defined,
    dtype_of,
    hedged,
    integers,
    kind_of,
    plans,
    put,
    tolerance,
    turned,
    written_alone,
)

seeds = st.integers(0, 2**32 - 1)
many = settings(max_examples=settings().max_examples * 6 // 10)
"""For what goes every way of each: five of each kind in quick runs."""

some = settings(max_examples=settings().max_examples * 2 // 10)
"""For what follows from the definition, which is tested on all: again five of each kind."""


def data(seed: int, *shapes: tuple[int, ...], kind: str = "real") -> list[Array]:
    rng = np.random.default_rng(seed)
    return [integers(rng, shape, kind) for shape in shapes]


@many
@given(convolutions(), seeds)
def test_every_way_gives_the_definition(drawn: Drawn, seed: int) -> None:
    g, dtype, layout = drawn.geometry, drawn.dtype, drawn.layout
    x, w = data(seed, g.x_shape, g.w_shape, kind=kind_of(dtype))
    problem = Problem.of(g, dtype, x=layout, y=layout)
    every_way(problem, put(x, layout), w, put(defined(x, w, g), layout))


def every_way(problem: Problem, x: Array, w: Array, expected: Array) -> None:
    """Every candidate gives `expected`, reads nothing outside its operands and writes all of y and nothing else."""
    kind = dtype_of(problem.dtype)
    x, w = hedged(x.astype(kind)), hedged(w.astype(kind))
    for chosen, plan in plans(problem):
        out = blank(expected.shape, dtype_of(problem.out_dtype))
        found = plan(x, w, out=out)
        agree(found, expected.astype(out.dtype), tolerance(problem, chosen.lowering), str(chosen))
        written_alone(out)


@many
@given(convolutions(input_dilation=True), seeds)
def test_every_way_gives_the_definition_with_input_dilation_and_stride(drawn: Drawn, seed: int) -> None:
    g = drawn.geometry
    x, w = data(seed, g.x_shape, g.w_shape)
    every_way(Problem.of(g, "float64"), x, w, defined(x, w, g))


@some
@given(convolutions(kinds=SOME, sizes=SIZES), seeds, st.sampled_from(["float64", "complex128"]))
def test_gradients_are_the_definition_scattered_back(drawn: Drawn, seed: int, dtype: str) -> None:
    g, layout = drawn.geometry, drawn.layout
    x, w, dy = data(seed, g.x_shape, g.w_shape, g.y_shape, kind=kind_of(dtype))
    _, dx, dw = by_taps(x, w, dy, g, x.dtype)
    problem = Problem.of(g, dtype, x=layout, y=layout)
    every_way(problem.grad_input(), put(dy, layout), w, put(dx, layout))
    every_way(problem.grad_weight(), put(x, layout), put(dy, layout), dw)


@some
@given(transposes(), seeds)
def test_the_transposed_convolution_is_the_adjoint_run_forward(drawn: Drawn, seed: int) -> None:
    g = Geometry.transposed(drawn.x_shape, drawn.w_shape, **drawn.options)
    x, w = data(seed, g.x_shape, drawn.w_shape)
    y = convmat.conv_transpose(x, w, **drawn.options)
    np.testing.assert_array_equal(y, defined(x, turned(w, g.G), g))
    # <conv_transpose(x), t> == <x, conv(t)>: the same w read as the (O, C//G, *F) of the convolution back.
    (t,) = data(seed + 1, y.shape)
    options = {k: v for k, v in drawn.options.items() if k != "output_padding"}
    back = convmat.conv(t, w, **options)
    # output_padding may let the convolution back see further positions than x has
    seen = back[tuple(slice(n) for n in x.shape)]
    assume(seen.shape == x.shape)
    assert np.vdot(y, t) == np.vdot(x, seen)


@some
@given(convolutions(kinds=SOME), seeds, st.integers(-3, 3), st.integers(-3, 3))
def test_linear_in_both_arguments(drawn: Drawn, seed: int, a: int, b: int) -> None:
    x1, x2, w1, w2 = data(seed, drawn.x_shape, drawn.x_shape, drawn.w_shape, drawn.w_shape)

    def conv(x: Array, w: Array) -> Array:
        return convmat.conv(x, w, **drawn.options)

    np.testing.assert_array_equal(conv(a * x1 + b * x2, w1), a * conv(x1, w1) + b * conv(x2, w1))
    np.testing.assert_array_equal(conv(x1, a * w1 + b * w2), a * conv(x1, w1) + b * conv(x1, w2))


@some
@given(st.data(), st.sampled_from([1, 2, 3, 4]), seeds)
def test_a_delta_filter_shifts(draw: st.DataObject, rank: int, seed: int) -> None:
    I = draw.draw(st.tuples(*[st.integers(1, 5)] * rank))
    F = draw.draw(st.tuples(*[st.integers(1, 4)] * rank))
    at = draw.draw(st.tuples(*[st.integers(0, f - 1) for f in F]))
    (x,) = data(seed, (2, 1, *I))
    w = np.zeros((1, 1, *F))
    w[(0, 0, *at)] = 1
    y = convmat.conv(x, w, padding=tuple((f - 1, f - 1) for f in F))
    expected = np.zeros_like(y)
    where: tuple[Any, ...] = (
        ...,
        *(slice(f - 1 - a, f - 1 - a + i) for f, a, i in zip(F, at, I, strict=True)),
    )
    expected[where] = x
    np.testing.assert_array_equal(y, expected)


@some
@given(convolutions(kinds=SOME, sizes=SIZES), seeds)
def test_adjoint_identities(drawn: Drawn, seed: int) -> None:
    """<conv(x, w), dy> == <x, conv_input_grad(dy, w)> == <w, conv_weight_grad(x, dy)>."""
    g = drawn.geometry
    x, w, dy = data(seed, g.x_shape, g.w_shape, g.y_shape)
    whole = np.vdot(convmat.conv(x, w, **drawn.options), dy)
    assert np.vdot(x, convmat.conv_input_grad(dy, w, x.shape, **drawn.options)) == whole
    assert np.vdot(w, convmat.conv_weight_grad(x, dy, w.shape, **drawn.options)) == whole


@some
@given(convolutions(), seeds)
def test_complex_adjoints_conjugate(drawn: Drawn, seed: int) -> None:
    g = drawn.geometry
    x, w, dy = data(seed, g.x_shape, g.w_shape, g.y_shape, kind="complex")
    options = {**drawn.options, "exact": True}
    whole = np.vdot(dy, convmat.conv(x, w, **options))
    assert np.vdot(convmat.conv_input_grad(dy, w, x.shape, **options), x) == whole
    assert np.vdot(convmat.conv_weight_grad(x, dy, w.shape, **options), w) == whole


@some
@given(convolutions(kinds=SOME), seeds)
def test_groups_are_concatenation(drawn: Drawn, seed: int) -> None:
    g = drawn.geometry
    x, w = data(seed, g.x_shape, g.w_shape)
    options = {**drawn.options, "groups": 1}
    parts = zip(np.split(x, g.G, axis=1), np.split(w, g.G, axis=0), strict=True)
    expected = np.concatenate([convmat.conv(part, filters, **options) for part, filters in parts], axis=1)
    np.testing.assert_array_equal(convmat.conv(x, w, **drawn.options), expected)


@given(convolutions(input_dilation=True))
def test_phases_write_every_output_once_and_read_every_tap(drawn: Drawn) -> None:
    g = drawn.geometry
    for a in range(g.rank):
        outputs: list[int] = []
        reads: set[tuple[int, int, int]] = set()
        seen = set()
        for phase in g.phases():
            key = (phase.start[a], phase.tap_start[a])
            dense = phase.geometry
            assert set(dense.e) == {1}
            if key in seen:
                continue
            seen.add(key)
            for r, j in itertools.product(range(phase.count[a]), range(dense.P[a])):
                p = phase.start[a] + r * phase.apart[a] + j * phase.step[a]
                outputs.append(p)
                for t in range(dense.F[a]):
                    i = j * dense.s[a] + t * dense.d[a] - dense.lo[a]
                    reads.add((p, phase.tap_start[a] - r * phase.back[a] + t * phase.tap_step[a], i))
        assert sorted(outputs) == list(range(g.P[a]))
        expected = {
            (p, f, at // g.e[a])
            for p in range(g.P[a])
            for f in range(g.F[a])
            if (at := p * g.s[a] + f * g.d[a] - g.lo[a]) % g.e[a] == 0
        }
        assert reads == expected


@some
@given(convolutions(kinds=SOME), seeds, st.data())
def test_memory_layout_changes_nothing(drawn: Drawn, seed: int, draw: st.DataObject) -> None:
    g = drawn.geometry
    x, w, residual, bias = data(seed, g.x_shape, g.w_shape, g.y_shape, (g.O,))
    expected = convmat.conv(x, w, bias, residual=residual, **drawn.options)
    out = draw.draw(laid_out(np.full(g.y_shape, np.nan)))
    out.flags.writeable = True
    found = convmat.conv(
        draw.draw(laid_out(x)), draw.draw(laid_out(w)), draw.draw(laid_out(bias)),
        residual=draw.draw(laid_out(residual)), out=out, **drawn.options,
    )  # fmt: skip
    assert found is out
    np.testing.assert_array_equal(out, expected)


@some
@given(convolutions(kinds=SOME, sizes=SIZES), seeds, st.data())
def test_broadcast_inputs(drawn: Drawn, seed: int, draw: st.DataObject) -> None:
    """Stride 0: one value shown many times."""
    x, w, dy = data(seed, drawn.x_shape, drawn.w_shape, drawn.geometry.y_shape)

    def shown(a: Array) -> Array:
        kept = tuple(slice(1) if draw.draw(st.booleans()) else slice(None) for _ in a.shape)
        return np.broadcast_to(a[kept], a.shape)

    x, w, dy = shown(x), shown(w), shown(dy)
    np.testing.assert_array_equal(
        convmat.conv(x, w, **drawn.options), convmat.conv(x.copy(), w.copy(), **drawn.options)
    )
    np.testing.assert_array_equal(
        convmat.conv_input_grad(dy, w, x.shape, **drawn.options),
        convmat.conv_input_grad(dy.copy(), w.copy(), x.shape, **drawn.options),
    )
    np.testing.assert_array_equal(
        convmat.conv_weight_grad(x, dy, w.shape, **drawn.options),
        convmat.conv_weight_grad(x.copy(), dy.copy(), w.shape, **drawn.options),
    )


@some
@given(convolutions(kinds=SOME), seeds)
def test_residual_may_be_out(drawn: Drawn, seed: int) -> None:
    g = drawn.geometry
    x, w, residual = data(seed, g.x_shape, g.w_shape, g.y_shape)
    expected = np.maximum(defined(x, w, g) + residual, 0)
    out = residual.copy()
    assert convmat.conv(x, w, residual=out, out=out, activation="relu", **drawn.options) is out
    np.testing.assert_array_equal(out, expected)


@some
@given(convolutions(kinds=SOME, sizes=SIZES), seeds)
def test_channels_last_is_the_same_numbers(drawn: Drawn, seed: int) -> None:
    g = drawn.geometry
    x, w, dy = data(seed, g.x_shape, g.w_shape, g.y_shape)
    xl, dyl = put(x, "NHWC"), put(dy, "NHWC")
    options: dict[str, Any] = {**drawn.options, "layout": "NHWC"}
    np.testing.assert_array_equal(
        convmat.conv(xl, w, **options), put(convmat.conv(x, w, **drawn.options), "NHWC")
    )
    dx = convmat.conv_input_grad(dy, w, x.shape, **drawn.options)
    np.testing.assert_array_equal(convmat.conv_input_grad(dyl, w, xl.shape, **options), put(dx, "NHWC"))
    dw = convmat.conv_weight_grad(x, dy, w.shape, **drawn.options)
    np.testing.assert_array_equal(convmat.conv_weight_grad(xl, dyl, w.shape, **options), dw)


ROUNDED = ("float32", "float64", "float16", "bfloat16", "complex64")


@some
@given(convolutions(kinds=SOME, empty=False), seeds)
def test_rounding_stays_within_the_proven_bound(drawn: Drawn, seed: int) -> None:
    g, dtype = drawn.geometry, drawn.dtype if drawn.dtype in ROUNDED else "float32"
    rng = np.random.default_rng(seed)
    x, w = (rng.standard_normal(shape).astype(dtype_of(dtype)) for shape in (g.x_shape, g.w_shape))
    wide = "complex128" if dtype == "complex64" else "float64"
    exact = defined(x.astype(wide), w.astype(wide), g)
    size = defined(abs(x.astype(wide)), abs(w.astype(wide)), g)
    for _, plan in plans(Problem.of(g, dtype, exact=True)):
        # a complex product is four real ones; float64's own truth is rounded as well
        slack = 4 if dtype.startswith("complex") else 2
        assert np.all(abs(plan(x, w).astype(wide) - exact) <= slack * error_bound(plan.problem) * size)


@given(convolutions(), seeds, st.sampled_from("CF"))
def test_im2col_is_the_matrix_and_col2im_its_adjoint(drawn: Drawn, seed: int, order: str) -> None:
    g = drawn.geometry
    assume(g.G == 1)
    options = {k: v for k, v in drawn.options.items() if k != "groups"}
    x, w, cols = data(seed, g.x_shape, g.w_shape, (g.k, g.n))
    U = convmat.im2col(x, g.F, order=order, **options)
    assert U.shape == (g.k, g.n)
    assert U.flags.f_contiguous if order == "F" else U.flags.c_contiguous
    y = (w.reshape(g.O, g.k) @ U).reshape(g.O, g.B, *g.P).swapaxes(0, 1)
    np.testing.assert_array_equal(y, defined(x, w, g))
    back = convmat.col2im(cols, x.shape, g.F, **options)
    assert np.vdot(U, cols) == np.vdot(x, back)
    # every entry where the formula says
    expected = np.zeros((g.C, *g.F, g.B, *g.P))
    for p, f in itertools.product(itertools.product(*map(range, g.P)), itertools.product(*map(range, g.F))):
        i = tuple(p[a] * g.s[a] + f[a] * g.d[a] - g.lo[a] for a in range(g.rank))
        if all(0 <= at < extent for at, extent in zip(i, g.I, strict=True)):
            to: tuple[Any, ...] = (slice(None), *f, slice(None), *p)
            source: tuple[Any, ...] = (slice(None), slice(None), *i)
            expected[to] = x[source].T
    np.testing.assert_array_equal(U, expected.reshape(g.k, g.n))


@some
@given(
    convolutions(kinds=SOME, sizes=SIZES, empty=False),
    seeds,
    st.sampled_from(["reflect", "symmetric", "edge", "wrap"]),
)
def test_padding_modes_are_numpys(drawn: Drawn, seed: int, mode: Any) -> None:
    g = drawn.geometry
    assume(all(g.I))
    lo, hi = np.array(g.lo), np.array(g.hi)
    kept = np.array(g.I) + np.minimum(lo, 0) + np.minimum(hi, 0)
    assume((kept > 0).all())
    x, w, dy = data(seed, g.x_shape, g.w_shape, g.y_shape)
    crops = (slice(max(-a, 0), n - max(-b, 0)) for a, b, n in zip(lo, hi, g.I, strict=True))
    inside: tuple[Any, ...] = (..., *crops)
    widths = [(0, 0), (0, 0), *((max(a, 0), max(b, 0)) for a, b in zip(lo, hi, strict=True))]
    padded = np.pad(x[inside], widths, mode=mode)
    plain = {**drawn.options, "padding": 0}
    options: dict[str, Any] = {**drawn.options, "padding_mode": mode}
    y = convmat.conv(x, w, **options)
    np.testing.assert_array_equal(y, convmat.conv(padded, w, **plain))
    whole = np.vdot(y, dy)
    assert np.vdot(x, convmat.conv_input_grad(dy, w, x.shape, **options)) == whole
    assert np.vdot(w, convmat.conv_weight_grad(x, dy, w.shape, **options)) == whole


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_finite_differences(rank: int) -> None:
    """The derivative of a smooth loss, by central differences in float64."""
    rng = np.random.default_rng(rank)
    x = rng.standard_normal((2, 4, *(5, 4, 3)[:rank]))
    w = rng.standard_normal((6, 2, *(3, 2, 2)[:rank]))
    options: dict[str, Any] = {"stride": 2, "padding": 1, "groups": 2}

    def loss(x: Array, w: Array) -> float:
        return float(np.sum(np.sin(convmat.conv(x, w, **options))))

    dy = np.cos(convmat.conv(x, w, **options))
    dx = convmat.conv_input_grad(dy, w, x.shape, **options)
    dw = convmat.conv_weight_grad(x, dy, w.shape, **options)
    h = 1e-5
    calls: list[Callable[[Array], float]] = [lambda a: loss(a, w), lambda a: loss(x, a)]
    for array, gradient, call in zip((x, w), (dx, dw), calls, strict=True):
        for at in rng.choice(math.prod(array.shape), 25, replace=False):
            step = np.zeros(array.size)
            step[at] = h
            ahead, behind = call(array + step.reshape(array.shape)), call(array - step.reshape(array.shape))
            assert (ahead - behind) / (2 * h) == pytest.approx(gradient.flat[at], rel=1e-6, abs=1e-7)
