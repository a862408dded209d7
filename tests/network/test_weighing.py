"""Sums of quantised numbers by two factors: the very bytes of the nodes one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

import convmat
from convmat.engine import Expression, ExpressionStep, weigh
from convmat.network.graph import Node, Spec
from convmat.network.ops.pointwise import expression
from convmat.network.ops.weighing import find_factors
from tests.network.test_quantised import Drawn

Array = npt.NDArray[Any]
BYTES = [np.dtype(np.uint8), np.dtype(np.int8)]
Grains = list[tuple[float, int, Any]]


def number(value: float, kind: Any) -> Spec:
    return Spec.of(np.asarray(value, kind))


def added(grains: Grains, middle: tuple[ExpressionStep, ...] = ()) -> tuple[Expression, list[Spec]]:
    """The function of two bytes that their quantised sum is, and its inputs; grains: of a, b and y."""
    single, specs, made = np.dtype(np.float32), [], []
    for op, (scale, zero, kind) in zip(("DequantizeLinear",) * 2 + ("QuantizeLinear",), grains, strict=True):
        x = Spec((9,), single if op == "QuantizeLinear" else kind)
        own = [x, number(scale, single), number(zero, kind)]
        said = expression(Node(op, ("x", "s", "z"), ("y",), {}, "", 17), list(own))
        assert said is not None
        made.append(said)
        specs += own[1:] if op == "QuantizeLinear" else own
    between = Expression(("float32", "float32"), (ExpressionStep("add", (0, 1)), *middle))
    return made[2].after(0, between.after(1, made[1]).after(3, made[0])), specs


def every(grains: Grains, specs: list[Spec]) -> list[Array]:
    """All pairs of bytes, and the numbers beside them."""
    a, b = (np.arange(256, dtype=np.uint8).view(kind) for _, _, kind in grains[:2])
    pairs = {0: np.repeat(a, 256), 3: np.tile(b, 256)}
    return [np.asarray(pairs.get(i, spec.value)) for i, spec in enumerate(specs)]


def test_factors_give_every_value_of_a_sum() -> None:
    """Nearly always there are some; all 65,536 values are those of the nodes."""
    rng, found_ones = np.random.default_rng(2), 0
    for seed in range(40):
        kinds = [BYTES[int(at)] for at in rng.integers(0, 2, 3)]
        scales = np.exp(rng.uniform(-5, -2, 2)).astype(np.float32)
        scales = np.append(scales, np.float32(scales.max() * rng.uniform(0.7, 2.2)))
        zeros = [
            int(rng.integers(np.iinfo(k).min, np.iinfo(k).max + 1)) if rng.integers(2) else 0 for k in kinds
        ]
        grains = [(float(s), z, k) for s, z, k in zip(scales, zeros, kinds, strict=True)]
        relu = (ExpressionStep("relu", (2,)),) if seed % 3 == 0 else ()
        said, specs = added(grains, relu)
        factors = find_factors(said, specs, (0, 3))
        found_ones += factors is not None
        if factors is not None:
            inputs = every(grains, specs)
            given = weigh(inputs[0], inputs[3], *factors, kinds[2])
            np.testing.assert_array_equal(given, said(*inputs), err_msg=f"{seed}: {grains}")
    assert found_ones >= 25


@pytest.mark.parametrize("middle", ["mul", "max"])
def test_what_is_no_sum_has_no_factors(middle: str) -> None:
    grains: Grains = [
        (0.0213, 3, BYTES[0]),
        (0.0311, 9, BYTES[0]),
        (0.0371, 0, BYTES[0]),
    ]
    said, specs = added(grains, (ExpressionStep(middle, (2, 0)),))
    assert find_factors(said, specs, (0, 3)) is None


def test_ties_that_rounding_decides_either_way_have_no_factors() -> None:
    """Scales of few digits: sums lie in the middle between two numbers by the hundred."""
    grains: Grains = [
        (0.0213, 117, BYTES[0]),
        (0.031, 0, BYTES[0]),
        (0.037, 0, BYTES[0]),
    ]
    said, specs = added(grains)
    assert find_factors(said, specs, (0, 3)) is None


@pytest.mark.parametrize("kind", BYTES)
@pytest.mark.parametrize(
    "scales", [(0.02134721, 0.0311313, 0.0373377), (0.0213, 0.031, 0.037), (0.5, 0.5, 1.0)]
)
@pytest.mark.parametrize("relu", [False, True])
def test_quantised_sums_are_the_nodes_to_the_last_bit(
    kind: np.dtype[Any], scales: tuple[float, ...], relu: bool
) -> None:
    rng, d = np.random.default_rng(5), Drawn()
    a = d.node("DequantizeLinear", "x", *d.grain(scales[0], 117, np.uint8))
    b = d.node("DequantizeLinear", "z", *d.grain(scales[1], 3, np.uint8))
    y = d.node("Add", a, b)
    y = d.node("Relu", y) if relu else y
    d.node("QuantizeLinear", y, *d.grain(scales[2], int(np.iinfo(kind).min), kind), out="y")
    x, z = (rng.integers(0, 256, (1, 9, 47, 43)).astype(np.uint8) for _ in range(2))
    model = d.model(
        {"x": x.shape, "z": z.shape}, "y", TensorProto.INT8 if kind == np.int8 else TensorProto.UINT8
    )
    net, plain = convmat.load(model), convmat.load(model, rewrite=False)
    found = np.asarray(net({"x": x, "z": z}))
    np.testing.assert_array_equal(found, plain({"x": x, "z": z}))
    proto = onnx.load_from_string(model)
    proto.opset_import[0].version = 19  # the first that it knows of both
    (reference,) = ReferenceEvaluator(proto).run(None, {"x": x, "z": z})
    np.testing.assert_array_equal(found, reference)
    if scales[0] == 0.02134721:
        assert "by two factors" in str(net.summary())
