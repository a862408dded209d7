"""Rows of tables in 8 bits: taken before they are made float32, to the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

import convmat
from convmat.network.graph import Spec

from .made import Array, model, node

DRAWN = np.random.default_rng(0)
W = DRAWN.integers(-128, 128, (9, 5)).astype(np.int8)
CONSTANTS: dict[str, Any] = {
    "w": W, "u": W.view(np.uint8), "f": DRAWN.standard_normal((9, 5)).astype(np.float32),
    "each": DRAWN.random((9, 1)).astype(np.float16), "columns": DRAWN.random(5).astype(np.float32),
    "row": DRAWN.random((1, 5)).astype(np.float32), "one": np.float32(0.03), "zero": np.uint8(7),
    "third": np.array(3), "scales": DRAWN.random(9).astype(np.float32), "v": DRAWN.random((5, 9)).astype(np.float32),
}  # fmt: skip
CAST = node("Cast", "w", "a", to=TensorProto.FLOAT)


def nets(nodes: list[Any], outputs: str = "y") -> tuple[convmat.Network, convmat.Network]:
    """The network, and the same as its nodes are; indices come in as i."""
    made = model(nodes, {"i": (None, None)}, outputs, CONSTANTS, dtype=TensorProto.INT64)
    return convmat.load(made), convmat.load(made, rewrite=False)


def tables(net: convmat.Network, i: Array) -> list[np.dtype[Any]]:
    """The element types of the tables that Gathers take rows of, in the prepared network."""
    program = net.program({"i": Spec(i.shape, i.dtype)})
    taken = [program.specs[n.inputs[0]] for n in program.graph.nodes if n.op == "Gather"]
    return [spec.dtype for spec in taken if spec.shape == W.shape]


@pytest.mark.parametrize(
    "nodes",
    [
        [CAST, node("Gather", "a i", "y")],
        [CAST, node("Mul", "a one", "t"), node("Gather", "t i", "y")],
        [CAST, node("Mul", "a columns", "t"), node("Gather", "t i", "y", axis=0)],
        [node("DequantizeLinear", "u one zero", "t"), node("Gather", "t i", "y")],
        [node("Cast", "u", "a", to=1), node("Cast", "zero", "z", to=1), node("Sub", "a z", "b"),
         node("Mul", "b one", "t"), node("Gather", "t i", "y")],
        [CAST, node("Cast", "each", "s", to=1), node("Mul", "a s", "t"), node("Gather", "t i", "y")],
        [CAST, node("Mul", "a one", "t"), node("Gather", "t i", "b"), node("Gather", "t i", "c"),
         node("Add", "b c", "y")],
    ],
)  # fmt: skip
def test_tables_stay_in_8_bits(nodes: list[Any]) -> None:
    net, plain = nets(nodes)
    for shape in ((2, 3), (1, 1)):
        i = DRAWN.integers(-9, 9, shape)
        np.testing.assert_array_equal(net(i), plain(i))
        assert {each.itemsize for each in tables(net, i)} == {1}
    with pytest.raises(convmat.NetworkError, match="there are 9 places"):
        net(np.array([[9]]))


@pytest.mark.parametrize(
    "nodes",
    [
        [CAST, node("Mul", "a row", "t"), node("Gather", "t i", "y")],  # its one row is all rows'
        [node("Mul", "f one", "t"), node("Gather", "t i", "y")],  # in float32 as it is
        [CAST, node("Mul", "a one", "t"), node("Gather", "t i", "y", axis=1)],
        [node("DequantizeLinear", "w scales", "t", axis=0), node("Gather", "t i", "y")],
        [CAST, node("Gather", "a i", "b"), node("MatMul", "v a", "c"), node("MatMul", "b c", "y")],  # read whole, too
    ],
)  # fmt: skip
def test_what_is_taken_of_the_whole(nodes: list[Any]) -> None:
    net, plain = nets(nodes)
    i = DRAWN.integers(-5, 5, (2, 3))
    np.testing.assert_allclose(net(i), plain(i), rtol=1e-5)
    assert {each.itemsize for each in tables(net, i)} == {4}


def test_a_table_that_is_given_away_stays() -> None:
    net, plain = nets([CAST, node("Gather", "a i", "y")], "y a")
    i = DRAWN.integers(0, 9, (2, 3))
    for name in ("y", "a"):
        np.testing.assert_array_equal(net(i)[name], plain(i)[name])


def test_rows_of_one_number() -> None:
    """Indices without axes take one row, without its axis."""
    made = model(
        [CAST, node("Cast", "each", "s", to=1), node("Mul", "a s", "t"), node("Gather", "t i", "y")],
        {"i": ()}, "y", CONSTANTS, dtype=TensorProto.INT64,
    )  # fmt: skip
    i = np.array(3)
    found = convmat.load(made)(i)
    assert found.shape == (5,)
    np.testing.assert_array_equal(found, convmat.load(made, rewrite=False)(i))
