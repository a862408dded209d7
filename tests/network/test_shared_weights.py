"""Weights that several nodes share are packed once."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper as oh
import pytest
from onnx import TensorProto, numpy_helper

import convmat
from convmat import nn
from convmat.network.preparing import binding

from .made import normal

NODES, SIZE = 80, 64


def chain(op: str, *, alike: bool = True) -> onnx.ModelProto:
    """NODES products one after the other, by the same weights and each with a bias of its own."""
    rng = np.random.default_rng(0)
    shape = (SIZE, SIZE, 1, 1) if op == "Conv" else (SIZE, SIZE)
    weights = [
        rng.standard_normal(shape).astype(np.float32) / SIZE**0.5 for _ in range(1 if alike else NODES)
    ]
    kept = [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)]
    kept += [
        numpy_helper.from_array(rng.standard_normal(SIZE).astype(np.float32), f"b{i}") for i in range(NODES)
    ]
    nodes = [
        oh.make_node(
            op, [f"y{i}", f"w{0 if alike else i}", *([f"b{i}"] if op != "MatMul" else [])], [f"y{i + 1}"]
        )
        for i in range(NODES)
    ]
    dims = [1, SIZE, 3, 3] if op == "Conv" else [3, SIZE]
    graph = oh.make_graph(
        nodes,
        "chain",
        [oh.make_tensor_value_info("y0", TensorProto.FLOAT, dims)],
        [oh.make_tensor_value_info(f"y{NODES}", TensorProto.FLOAT, dims)],
        kept,
    )
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)


def right(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The chain in float64."""
    held = {each.name: numpy_helper.to_array(each).astype(float) for each in model.graph.initializer}
    y = x.astype(float)
    for node in model.graph.node:
        w, bias = held[node.input[1]], held[node.input[2]] if len(node.input) > 2 else 0.0
        if node.op_type == "Conv":
            y = np.einsum("oc,bchw->bohw", w[:, :, 0, 0], y) + np.reshape(bias, (-1, 1, 1))
        else:
            y = y @ w + bias
    return y


@pytest.mark.parametrize("op", ["Gemm", "MatMul", "Conv"])
def test_shared_weights_are_packed_once(op: str) -> None:
    model = chain(op)
    x = np.random.default_rng(1).standard_normal(
        [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    )
    x = x.astype(np.float32)
    net = convmat.load(model)
    wanted = right(model, x)
    np.testing.assert_allclose(net(x), wanted, atol=1e-4 * np.abs(wanted).max())
    assert net.memory().weights < 2 * SIZE * SIZE * 4 + 4096


def test_shared_weights_are_packed_once_by_threads_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding, "LEAST_BYTES", 1)
    model, rng = chain("Conv"), np.random.default_rng(1)
    with convmat.threads(2):
        net = convmat.load(model)
        x = rng.standard_normal((1, SIZE, 3, 3)).astype(np.float32)
        wanted = right(model, x)
        np.testing.assert_allclose(net(x), wanted, atol=1e-4 * np.abs(wanted).max())
        assert net.memory().weights < 2 * SIZE * SIZE * 4 + 4096


def test_weights_of_their_own_are_not() -> None:
    net = convmat.load(chain("Gemm", alike=False))
    net(np.ones((3, SIZE), np.float32))
    assert net.memory().weights >= NODES * SIZE * SIZE * 4


def test_constants_are_read_where_they_lie() -> None:
    """Winograd's filters and the matrix of one row: nothing of them is copied, and packed bytes say so."""
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[1,8,16,16] x) => (float[1,24] z)
    <float[8,8,3,3] w, float[24,2048] d> { y = Conv <pads = [1, 1, 1, 1]> (x, w) f = Flatten (y)
    z = Gemm <transB = 1> (f, d) }"""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    model.graph.ClearField("initializer")
    for name, shape in (("w", (8, 8, 3, 3)), ("d", (24, 2048))):
        made = rng.integers(-2, 3, shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(made, name))
    net = convmat.load(model.SerializeToString())
    x = rng.integers(-2, 3, (1, 8, 16, 16)).astype(np.float32)
    expected = convmat.load(model.SerializeToString(), rewrite=False, exact=True)(x)
    np.testing.assert_allclose(net(x), expected, rtol=1e-4)
    program = net.program({"x": convmat.network.graph.Spec((1, 8, 16, 16), np.dtype(np.float32))})
    plans = {task.node.op: task.run for task in program.tasks if hasattr(task.run, "bound")}
    assert plans["Gemm"].bound.weight_bytes == 0
    raw = net.graph.constants["w"]
    for packed, held in plans["Conv"].bound._weights:
        assert not held.size or np.shares_memory(held, raw)
        assert not np.shares_memory(packed, raw) or packed.nbytes == raw.nbytes


@pytest.mark.parametrize("writeable", [True, False])
def test_what_a_network_is_built_of_may_change_later(writeable: bool) -> None:
    """Its own layers' arrays are copied: a view that nobody may write to may show one that is written to."""
    base = normal(3, 64)
    shown = base[:]
    shown.flags.writeable = writeable
    net = nn.build(lambda builder, x: builder.op("Gemm", x, builder.parameter("w", shown), transB=1), (64,))
    x = normal(2, 64, seed=1)
    expected = net(x)
    base[:] = 0
    for given in (x, np.concatenate([x, x])):
        np.testing.assert_allclose(net(given)[:2], expected, rtol=1e-5, atol=1e-5)
