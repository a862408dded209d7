"""Bytes of a product that are rounded again, by a factor and with a residual: as by passes of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import convmat
from convmat.engine import jit, requantise, weigh
from convmat.engine.cpu import Cpu
from convmat.errors import GeometryError, PlanError
from convmat.geometry import Geometry
from convmat.lowering import find_lowering
from convmat.planner.candidates import dtypes_of, operand_extents
from convmat.problem import EpilogueForm, Problem
from convmat.product import Packing
from tests.engine.test_quads import targets, truth

Array = npt.NDArray[Any]

CASES: dict[str, tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "1x1": ("im2col", {}, (2, 64, 5, 9), (70, 64, 1, 1)),
    "3x3 padded": ("im2col", {"padding": 1}, (1, 19, 9, 7), (37, 19, 3, 3)),
    "grouped": ("im2col", {"groups": 2, "stride": 2}, (1, 24, 11, 9), (40, 12, 2, 2)),
    "depthwise": ("depthwise", {"groups": 21, "padding": 1}, (2, 21, 9, 19), (21, 1, 3, 3)),
}


class Drawn:
    """Operands of a case, and what each of its roundings gives."""

    def __init__(self, name: str, out: str) -> None:
        self.lowering, words, x_shape, w_shape = CASES[name]
        rng, self.limits = np.random.default_rng(len(name)), np.iinfo(out)
        self.g, self.out, self.zero = (
            Geometry.of(x_shape, w_shape, **words),
            np.dtype(out),
            self.limits.min + 9,
        )
        self.x, self.w = (
            rng.integers(0, 256, x_shape).astype("u1"),
            rng.integers(-128, 128, w_shape).astype("i1"),
        )
        sums, rows = truth(self.x, self.w, 4, np.zeros(1), words).astype(np.float32), (-1, 1, 1)
        self.scale = (rng.uniform(40, 90, self.g.O) / np.abs(sums).std()).astype(np.float32)
        self.factor = rng.uniform(-1.5, 1.5, self.g.O).astype(np.float32)
        self.offset = rng.uniform(self.limits.min, self.limits.max, self.g.O).astype(np.float32)
        self.residual = rng.integers(self.limits.min, self.limits.max + 1, sums.shape).astype(out)
        self.addition = np.array([0.7, -0.45, 31.5], np.float32)
        near = np.rint((sums * self.scale.reshape(rows)).astype(np.float64)) + self.zero
        self.once = np.clip(near, self.limits.min, self.limits.max).astype(out)
        self.again = requantise(self.once, self.zero, self.factor.reshape(rows), self.offset.reshape(rows))

    def wanted(self, again: bool, added: bool) -> Array:
        """y as passes make it."""
        q = self.again if again else self.once
        by, with_, add = self.addition
        return weigh(q, self.residual, by, with_, add, self.out) if added else q

    def rows(self, again: bool, added: bool) -> dict[str, Array]:
        """The numbers that an engine takes."""
        found = {"scale": self.scale}
        found |= {"factor": self.factor, "offset": self.offset} if again else {}
        return found | ({"addition": self.addition} if added else {})


def lie(array: Array, layout: str) -> Array:
    return array if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(array, 1, -1))


def run(d: Drawn, cpu: Cpu, layout: str, again: bool, added: bool) -> Array:
    """y by the kernels for a CPU."""
    form = EpilogueForm(scale=True, dtype=d.out.name, zero=d.zero, requantise=again, residual=added)
    problem = Problem.of(d.g, "uint8", x=layout, y=layout, w_dtype="int8", x_zero=4, epilogue=form)
    product = find_lowering(d.lowering).products(problem)
    packing = Packing.NOTHING if d.lowering == "depthwise" else Packing.PANEL
    program = jit.prepare(product, packing, dtypes_of(problem), operand_extents(problem), 1 << 24, cpu=cpu)
    assert isinstance(program, jit.JitProgram), program
    y, rows = np.empty(problem.shape("y"), d.out), d.rows(again, added)
    given = {"x": lie(d.x, layout), "y": y, **({"residual": lie(d.residual, layout)} if added else {})}
    program.run(given | rows, program.bind(d.w), 1)
    return y


@pytest.mark.parametrize(("name", "layout", "out"), [
    ("1x1", "NCHW", "uint8"), ("1x1", "NHWC", "int8"), ("3x3 padded", "NHWC", "uint8"), ("grouped", "NCHW", "int8"),
    ("depthwise", "NCHW", "uint8"), ("depthwise", "NHWC", "int8"),
])  # fmt: skip
def test_bytes_are_those_of_passes_on_every_instruction_set(
    name: str, layout: str, out: str, slow: bool
) -> None:
    d = Drawn(name, out)
    for turn, (again, added) in enumerate(((True, True), (True, False), (False, True))):
        for cpu in targets(turn + len(name), slow):
            found = run(d, cpu, layout, again, added)
            np.testing.assert_array_equal(found, lie(d.wanted(again, added), layout), err_msg=cpu.model)


@pytest.mark.parametrize("engine", ["jit", "blas"])
@pytest.mark.parametrize("name", CASES)
def test_calls_round_again(name: str, engine: str) -> None:
    """The residual may be the output itself; blocks without a kernel of bytes end in the same."""
    d = Drawn(name, "uint8")
    words: dict[str, Any] = CASES[name][1] | {
        "x_zero_point": 4, "scale": d.scale, "out_dtype": "uint8", "y_zero_point": d.zero, "engine": engine,
    }  # fmt: skip
    pair, out = (d.factor, d.offset), d.residual.copy()
    np.testing.assert_array_equal(convmat.conv(d.x, d.w, requantise=pair, **words), d.wanted(True, False))
    three = tuple(float(each) for each in d.addition)
    made = convmat.conv(d.x, d.w, requantise=pair, residual=out, residual_factors=three, out=out, **words)
    assert made is out
    np.testing.assert_array_equal(out, d.wanted(True, True))


@pytest.mark.parametrize("engine", ["jit", "blas"])
def test_sums_are_rounded_once(engine: str) -> None:
    """205 * factor is 2^-18 + 2^-48: float64 loses the last bit, and what is left ties between two of float32."""
    x, w = np.full((1, 8, 4, 4), 205, np.uint8), np.ones((8, 1, 1, 1), np.uint8)
    factor = 5237765 * 2.0**-48
    words: dict[str, Any] = {"groups": 8, "scale": 1.0, "out_dtype": "uint8", "engine": engine}
    assert (convmat.conv(x, w, requantise=(factor, 126.5), **words) == 127).all()
    assert (convmat.conv(x, w, residual=x, residual_factors=(factor, 0.0, 126.5), **words) == 127).all()
    assert (convmat.conv(x, w, residual=x, residual_factors=(0.0, factor, 126.5), **words) == 127).all()


def test_transposed_calls_round_each_phase_again() -> None:
    rng = np.random.default_rng(3)
    x, w = rng.integers(0, 256, (1, 8, 7, 5)).astype("u1"), rng.integers(-128, 128, (8, 6, 3, 2)).astype("i1")
    words: dict[str, Any] = {"stride": 2, "scale": 0.003, "out_dtype": "int8", "y_zero_point": -7}
    once = convmat.conv_transpose(x, w, **words)
    residual = rng.integers(-128, 128, once.shape).astype("i1")
    by, with_, add = np.array([1.25, 0.5, 3.0], np.float32)
    found = convmat.conv_transpose(x, w, residual=residual, residual_factors=(by, with_, add), **words)
    np.testing.assert_array_equal(found, weigh(once, residual, by, with_, add, np.dtype(np.int8)))


X, W, RESIDUAL = (np.ones(shape, np.uint8) for shape in ((1, 4, 3, 3), (2, 4, 1, 1), (1, 2, 3, 3)))
BYTES: dict[str, Any] = {"scale": 1.0, "out_dtype": "uint8"}
AGAIN: dict[str, Any] = BYTES | {"requantise": (0.5, 3.0)}
ADDED: dict[str, Any] = BYTES | {"residual": RESIDUAL, "residual_factors": (1.0, 0.5, 0.0)}


@pytest.mark.parametrize(("words", "said", "fix"), [
    (AGAIN | {"out_dtype": None}, r"made of sums by a scale\n.*, scale = True, requantise = True\n", AGAIN),
    (BYTES | {"requantise": 0.5}, "requantise is not understood", AGAIN),
    (BYTES | {"requantise": (np.nan, 3.0)}, "requantise is not understood", AGAIN),
    (BYTES | {"requantise": (np.ones(3), 3.0)}, "neither one number nor one for each", AGAIN),
    (ADDED | {"residual": None}, r"called with them\n.*\n  give a residual with them, ", ADDED),
    (ADDED | {"residual": None}, "or omit them$", BYTES),
    (ADDED | {"residual_factors": None}, r"called without them\n.*\n  give three numbers, ", ADDED),
    (ADDED | {"residual_factors": None}, "or omit the residual$", BYTES),
    (ADDED | {"residual_factors": (1.0, 2.0**30, 0.0)}, "residual_factors is not understood", ADDED),
    (ADDED | {"residual_factors": (1.0, np.ones(2), 0.0)}, "must be three numbers", ADDED),
    (ADDED | {"residual": RESIDUAL.view(np.int8)}, "another element type than the result", ADDED),
])  # fmt: skip
def test_what_does_not_fit_is_refused_with_a_fix(
    words: dict[str, Any], said: str, fix: dict[str, Any]
) -> None:
    with pytest.raises((GeometryError, PlanError), match=said):
        convmat.conv(X, W, **words)
    assert convmat.conv(X, W, **fix).dtype == np.uint8


@pytest.mark.parametrize("given", [{}, {"residual": np.ones((1, 2, 3, 3), np.float32)}])
def test_floats_have_no_factors_of_a_residual(given: dict[str, Any]) -> None:
    x, w = X.astype(np.float32), W.astype(np.float32)
    for call, weights in ((convmat.conv, w), (convmat.conv_transpose, w.swapaxes(0, 1))):
        with pytest.raises(PlanError, match="omit them: a residual of floats is added"):
            call(x, weights, residual_factors=(1.0, 0.5, 0.0), **given)
        assert call(x, weights, **given).dtype == np.float32


def test_what_is_rounded_again_costs_more() -> None:
    shape: tuple[int, ...] = (1, 64, 56, 56)
    words: dict[str, Any] = {"dtype": "uint8", "w_dtype": "int8", "scale": True, "out_dtype": "uint8"}
    again: tuple[dict[str, Any], ...] = ({}, {"requantise": True}, {"requantise": True, "residual": True})
    seconds = []
    for more in again:
        cost = convmat.plan(
            shape, (64, 64, 1, 1), engine="jit", lowering="pointwise", **words, **more
        ).chosen.cost
        assert cost is not None
        seconds.append(cost.seconds)
    assert seconds == sorted(set(seconds))
