"""Networks in which a shape is known only once a value is computed: what is behind is prepared for what comes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import convmat
from convmat.network.graph import Spec
from convmat.network.preparing.programs import MOST_CHANGES, PROGRAMS
from tests.network.made import Array, model, node, normal

W, V = normal(8, 5, seed=1), normal(4, 3, 3, 3, seed=2)
CHOSEN = [
    node("ReduceSum", "x one", "sums", keepdims=0),
    node("Greater", "sums zero", "which"),
    node("NonZero", "which", "places"),
    node("Squeeze", "places none", "rows"),
    node("Gather", "x rows", "some", axis=0),
    node("MatMul", "some w", "p"),
    node("Relu", "p", "y"),
    node("Shape", "y", "shape"),
]
CONSTANTS = {"one": np.array([1]), "zero": np.float32(0), "none": np.array([0]), "w": W}


def chosen() -> convmat.Network:
    """The rows of x whose sum is above 0, by a matrix; and how many they are."""
    return convmat.load(model(CHOSEN, {"x": ("n", 8)}, "y shape x sums", CONSTANTS))


def rows(count: int, of: int = 20) -> Array:
    x = np.abs(normal(of, 8, seed=count))
    x[count:] *= -1
    return x


def spec(x: Array) -> dict[str, Spec]:
    return {"x": Spec(x.shape, x.dtype)}


def test_what_is_behind_a_found_shape_is_prepared_for_it() -> None:
    net = chosen()
    for count in (3, 7, 0, 3):
        x = rows(count)
        found = net(x)
        np.testing.assert_allclose(found["y"], np.maximum(x[:count] @ W, 0), rtol=1e-5, atol=1e-5)
        assert found["shape"].tolist() == [count, 5]
        np.testing.assert_array_equal(found["x"], x)
        np.testing.assert_allclose(found["sums"], x.sum(1), rtol=1e-5)
        found["x"][:] = 0
        assert x.any()  # the answer is the caller's alone
    program = net.program(spec(rows(3)))
    first, second = program.stages()
    assert [task.node.op for task in first.tasks][-1] == "NonZero"
    assert second.specs["y"].shape == (3, 5)
    assert program.rest is not None
    assert len(program.rest.met) == 3
    layers = {each.op: each for each in net.with_shapes(x=(20, 8)).summary().layers}
    assert layers["MatMul"].way == "once shapes are known"
    net.profile(rows(3), seconds=0.01)
    layers = {each.op: each for each in net.profile(rows(3), seconds=0.01).layers}
    assert layers["MatMul"].product == (3, 5, 8)
    assert layers["MatMul"].engine in ("jit", "blas")


def test_shapes_that_are_new_each_time_are_not_prepared_for() -> None:
    """Nor are more kept than a few; the answers are the same."""
    net = chosen()
    of = 2 * MOST_CHANGES
    for count in range(of):
        x = rows(count, of)
        np.testing.assert_allclose(net(x)["y"], np.maximum(x[:count] @ W, 0), rtol=1e-5, atol=1e-5)
    rest = net.program(spec(rows(0, of))).rest
    assert rest is not None
    few = min(PROGRAMS, MOST_CHANGES)
    assert len(rest.met) == few
    assert len(rest.kept) == few + 1


def asked(data: bytes, *names: str) -> bytes:
    """The model with further inputs, of whole numbers."""
    proto = onnx.load_from_string(data)
    for name in names:
        proto.graph.input.append(helper_input(name))
    made: bytes = proto.SerializeToString()
    return made


def helper_input(name: str) -> Any:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, [None])


def test_convolutions_behind_shapes_that_are_inputs_are_planned() -> None:
    nodes = [
        node("Reshape", "x to", "a"),
        node("Conv", "a v", "b", pads=[1, 1, 1, 1]),
        node("Relu", "b", "c"),
        node("Reshape", "c back", "y"),
    ]
    net = convmat.load(asked(model(nodes, {"x": ("n",)}, "y", {"v": V}), "to", "back"), exact=True)
    for shape in ((1, 3, 8, 10), (2, 3, 5, 8)):
        x = normal(*shape)
        b = np.maximum(convmat.conv(x, V, padding=1, exact=True), 0)
        found = net({"x": x.ravel(), "to": np.array(shape), "back": np.array([-1])})
        np.testing.assert_allclose(found, b.ravel(), rtol=1e-5, atol=1e-5)
    given = {
        "x": Spec((240,), V.dtype),
        "to": Spec((4,), np.dtype(np.int64)),
        "back": Spec((1,), np.dtype(np.int64)),
    }
    middle = net.program(given).stages()[1]
    assert [node.op for node in middle.graph.nodes] == ["Conv", "Reshape"]  # Relu is in the epilogue


@pytest.mark.skipif(onnx.defs.onnx_opset_version() < 26, reason="CumProd is of operator set 26")
def test_what_is_behind_the_reference_is_planned() -> None:
    """The standard's own inference knows the shapes that it makes."""
    nodes = [node("CumProd", "x axis", "a"), node("Conv", "a v", "b"), node("Relu", "b", "y")]
    made = model(nodes, {"x": (1, 3, 9, 9)}, "y", {"v": V, "axis": np.array(3)}, opset=26)
    net, x = convmat.load(made, exact=True), normal(1, 3, 9, 9)
    wanted = np.maximum(convmat.conv(np.cumprod(x, 3), V, exact=True), 0)
    np.testing.assert_allclose(net(x), wanted, rtol=1e-5, atol=1e-5)
    program = net.program(spec(x))
    assert program.rest is None
    assert [task.node.op for task in program.tasks] == ["CumProd", "Conv"]


@pytest.mark.parametrize("count", [3, 250])
def test_as_many_stages_as_there_are_shapes_to_wait_for(count: int) -> None:
    nodes = [node("Reshape", f"v{i} {'ab'[i % 2]}", f"v{i + 1}") for i in range(count)]
    net = convmat.load(asked(model(nodes, {"v0": (2, 6)}, f"v{count}"), "a", "b"))
    x = normal(2, 6)
    for _ in range(2):
        found = net({"v0": x, "a": np.array([3, 4]), "b": np.array([12])})
        np.testing.assert_array_equal(found, x.reshape([(12,), (3, 4)][count % 2]))
    whole = np.dtype(np.int64)
    given = {"v0": Spec((2, 6), x.dtype), "a": Spec((2,), whole), "b": Spec((1,), whole)}
    assert net.program(given).weight_bytes == 0
