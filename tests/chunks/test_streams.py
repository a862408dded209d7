"""Networks fed block by block give what they give for the whole, whatever the blocks; what cannot is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import convmat
from convmat.errors import NetworkError, PlanError
from tests.chunks.networks import Built, onnx

Array = npt.NDArray[Any]


def signal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(-3, 4, shape).astype("float32")


def dilated(n: Built) -> None:
    """Residual blocks of causal convolutions: padded by a Pad, or at both ends and cut off; batch normalisation."""
    x = n.conv("x", "in", 2, 4, k=1, rank=1)
    for d in (1, 2, 4):
        ends = n.constant(f"p{d}", np.array([0, 0, 2 * d, 0, 0, 0]))
        padded = n.node("Pad", [x, ends], f"pad{d}")
        a = n.node("Conv", [padded, n.weights(f"w{d}", 4, 4, 3)], f"a{d}", dilations=[d])
        scaled = [a, *(n.constant(f"{w}{d}", np.full(4, v, "f4")) for w, v in
                       (("s", 2), ("b", 1), ("m", 0), ("v", 1)))]  # fmt: skip
        a = n.node("Relu", [n.node("BatchNormalization", scaled, f"n{d}", epsilon=0.0)], f"r{d}")
        both = n.node("Conv", [a, n.weights(f"u{d}", 4, 4, 3)], f"c{d}", dilations=[d], pads=[2 * d, 2 * d])
        cut = [n.constant(f"{w}{d}", np.array([v])) for w, v in (("lo", 0), ("hi", -2 * d), ("ax", 2))]
        x = n.node("Add", [x, n.node("Slice", [both, *cut], f"cut{d}")], f"x{d}")
    n.node("Identity", [x], "y")


def coder(n: Built) -> None:
    """Strides and pooling down, transposed convolutions up; branches of different delay are joined."""
    a = n.node("Relu", [n.conv("x", "a", 2, 4, k=5, s=2, rank=1)], "ra")
    b = n.node(
        "MaxPool", [n.conv(a, "b", 4, 6, d=3, rank=1)], "mb", kernel_shape=[3], strides=[2], pads=[1, 0]
    )
    up = n.node("ConvTranspose", [b, n.weights("tw", 6, 4, 4)], "up", strides=[2], pads=[1, 1])
    joined = n.node("Concat", [up, n.node("Identity", [a], "ia")], "cat", axis=1)
    g = n.conv(joined, "g", 8, 8, rank=1)
    n.nodes.append(onnx.helper.make_node("Split", [g], ["ga", "gb"], axis=1))
    m = n.node("Mul", ["ga", n.node("Relu", ["gb"], "rb")], "gated")
    up = n.node("Resize", [m, "", n.constant("sc", np.array([1, 1, 2], "f4"))], "wide", mode="nearest")
    n.conv(up, "y", 4, 2, rank=1)


def mirrored(n: Built) -> None:
    """Reflected borders, averages that count what is inside, a lookahead."""
    x = n.node("Pad", ["x", n.constant("p", np.array([0, 0, 3, 0, 0, 2]))], "px", mode="reflect")
    x = n.node("AveragePool", [n.conv(x, "a", 2, 4, rank=1)], "av", kernel_shape=[4], pads=[3, 0])
    x = n.node("Mul", [x, n.constant("twelve", np.float32(12))], "whole numbers")
    n.node("Conv", [x, n.weights("w", 2, 4, 3)], "y", pads=[0, 5])


NETWORKS: dict[str, tuple[Callable[[Built], None], int, int]] = {
    "dilated": (dilated, 0, 1),
    "coder": (coder, 15, 4),
    "mirrored": (mirrored, 3, 1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_of_any_size_give_the_whole(name: str) -> None:
    build, latency, period = NETWORKS[name]
    n = Built(integers=True)
    build(n)
    net, x = n.load("y", 2, ("t",), exact=True), signal(1, 2, 116)
    stream, wanted, pick = net.stream(), net(x), np.random.default_rng(4)
    assert (stream.latency, stream.line.period) == (latency, period)
    for cuts in (np.sort(pick.integers(0, 117, 5)), range(16, 116, 16), [116]):
        parts = [stream.push(block) for block in np.split(x, cuts, 2)] + [stream.flush()]
        np.testing.assert_array_equal(np.concatenate(parts, 2), wanted)
        assert not stream.state


def test_regular_blocks_prepare_nothing_new() -> None:
    n = Built(integers=True)
    coder(n)
    stream, x = n.load("y", 2, ("t",)).stream(), signal(1, 2, 16)
    for _ in range(4):
        stream.push(x)
    prepared = len(stream._prepared)
    for _ in range(20):
        assert stream.push(x).shape == (1, 2, 16)
    assert len(stream._prepared) == prepared <= 3
    carried = {name: array.shape[2] for name, array in stream.state.items()}
    assert sum(carried.values()) == sum(place.kept for place in stream._places.values()) < 40


def test_rows_of_images_and_time_that_lies_elsewhere() -> None:
    n = Built(integers=True)
    n.node("DepthToSpace", [n.conv(n.conv("x", "a", 3, 4, s=2), "b", 4, 8)], "y", blocksize=2)
    net, x = n.load("y", 3, ("h", "w"), exact=True), signal(2, 3, 24, 20)
    with pytest.raises(
        NetworkError, match=r"stream: the extent of axis 3 is open\n.*\n  fill it in, e\.g\. "
    ):
        net.stream()
    stream = net.with_shapes({"x": (2, 3, 24, 20)}).stream()
    parts = [stream.push(x[:, :, a : a + 5]) for a in range(0, 24, 5)] + [stream.flush()]
    np.testing.assert_array_equal(np.concatenate(parts, 2), net(x))
    n = Built(integers=True)
    a = n.node("MatMul", ["x", n.weights("w", 5, 8)], "a")
    a = n.node("Add", [a, n.constant("row", np.arange(8, dtype="f4"))], "added")
    a = n.node("Add", [n.node("MatMul", ["x", n.weights("z", 5, 8)], "other"), a], "both")
    a = n.node("LayerNormalization", [a, n.constant("g", np.ones(8, "f4"))], "l", axis=-1)
    a = n.conv(n.node("Transpose", [a], "t", perm=[0, 2, 1]), "c", 8, 6, rank=1)
    n.node("Softmax", [n.node("Transpose", [a], "u", perm=[0, 2, 1])], "y", axis=-1)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        n.nodes, "g", [value("x", 1, ["b", "t", 5])], [value("y", 1, None)], n.constants
    )
    net = convmat.load(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    )
    stream, x = net.stream(axis=1), signal(1, 40, 5)
    parts = [stream.push(x[:, a : a + 7]) for a in range(0, 40, 7)] + [stream.flush()]
    np.testing.assert_allclose(np.concatenate(parts, 1), net(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("shape", "axis"), [((1, 20, 1), 1), ((2, 20), 1), ((20, 3), 0), ((1, 20, 1, 1), 1)])
def test_time_where_images_have_channels(shape: tuple[int, ...], axis: int) -> None:
    """Beside one feature, or none: in tiles that would be what was pooled, computed as a whole."""
    n, value = Built(integers=True), onnx.helper.make_tensor_value_info
    n.node("Neg", [n.node("Relu", ["x"], "a")], "y")
    declared = ["t" if each == 20 else each for each in shape]
    graph = onnx.helper.make_graph(
        n.nodes, "g", [value("x", 1, declared)], [value("y", 1, None)], n.constants
    )
    opset = onnx.helper.make_opsetid("", 17)
    net = convmat.load(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8))
    stream, x = net.stream(axis=axis), signal(*shape)
    parts = [stream.push(np.take(x, range(a, min(a + 3, 20)), axis)) for a in range(0, 20, 3)]
    np.testing.assert_array_equal(np.concatenate([*parts, stream.flush()], axis), net(x))


def test_streams_of_the_strongest_channel() -> None:
    for op, words in (("ReduceMax", {"axes": [1]}), ("ArgMax", {"axis": 1})):
        n = Built(integers=True)
        n.node(op, [n.conv("x", "a", 2, 4, rank=1)], "y", keepdims=0, **words)
        net, x = n.load("y", 2, ("t",)), signal(1, 2, 40)
        stream = net.stream()
        parts = [stream.push(x[..., a : a + 7]) for a in range(0, 40, 7)] + [stream.flush()]
        np.testing.assert_array_equal(np.concatenate(parts, 1), net(x))


def test_causal_convolutions_with_state_are_carried() -> None:
    if onnx.defs.onnx_opset_version() < 27:
        pytest.skip(f"onnx {onnx.__version__} has no operator set 27")
    n = Built(integers=True)
    n.nodes.append(
        onnx.helper.make_node(
            "CausalConvWithState", ["x", n.weights("w", 2, 1, 4), "", "past"], ["y", "now"], "c"
        )
    )
    value = onnx.helper.make_tensor_value_info
    inputs = [value("x", 1, ["b", 2, "t"]), value("past", 1, ["b", 2, 3])]
    graph = onnx.helper.make_graph(
        n.nodes, "g", inputs, [value("y", 1, None), value("now", 1, None)], n.constants
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 27)], ir_version=13)
    net, x = convmat.load(model), signal(1, 2, 30)
    nothing = np.zeros((1, 2, 3), "f4")
    whole = net({"x": x, "past": nothing})
    first = net({"x": x[..., :8], "past": nothing})
    rest = net({"x": x[..., 8:], "past": first["now"]})
    np.testing.assert_array_equal(np.concatenate([first["y"], rest["y"]], 2), whole["y"])
    np.testing.assert_array_equal(rest["now"], x[..., -3:])
    stream = convmat.Stream(net)
    parts = [stream.push(x[..., :1]), stream.push(x[..., 1:9])]
    np.testing.assert_array_equal(stream.state["x"], x[..., 6:9])
    np.testing.assert_array_equal(np.concatenate([*parts, stream.push(x[..., 9:])], 2), whole["y"])


def recurrent(
    op: str, *, layout: int = 0, direction: str = "forward", last: bool = False, outside: bool = False
) -> Any:
    """A convolution over time, a recurrent layer that begins in a state of its own, and another convolution."""
    n, gates = Built(integers=False), {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    directions = 2 if direction == "bidirectional" else 1
    x = n.node(
        "Transpose", [n.conv("x", "a", 2, 5, rank=1)], "steps", perm=[0, 2, 1] if layout else [2, 0, 1]
    )
    weights = n.weights("W", directions, gates * 6, 5), n.weights("R", directions, gates * 6, 6)
    state = (1, directions, 6) if layout else (directions, 1, 6)
    begins = [n.weights(f"{each}0", *state) for each in ("h", "c")[: 2 if op == "LSTM" else 1]]
    if outside:
        begins, n.constants = [f"{name}_in" for name in begins], n.constants[: -len(begins)]
    makes = ["", "end"] if last else ["Y", "end"] if outside else ["Y"]
    inputs = [x, *weights, n.weights("B", directions, 2 * gates * 6), "", *begins]
    words = {"hidden_size": 6, "direction": direction, **({"layout": 1} if layout else {})}
    n.nodes.append(onnx.helper.make_node(op, inputs, makes, "layer", **words))
    if last:
        return n.load("end", 2, ("t",))
    flat = n.node("Squeeze", ["Y", n.constant("axes", np.array([2 if layout else 1]))], "flat")
    n.conv(n.node("Transpose", [flat], "back", perm=[0, 2, 1] if layout else [1, 2, 0]), "y", 6, 3, rank=1)
    if not outside:
        return n.load("y", 2, ("t",))
    value = onnx.helper.make_tensor_value_info
    given = [value("x", 1, [1, 2, "t"]), *(value(name, 1, state) for name in begins)]
    graph = onnx.helper.make_graph(
        n.nodes, "g", given, [value("y", 1, None), value("end", 1, None)], n.constants
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    return convmat.load(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8))


@pytest.mark.parametrize(("op", "layout"), [("RNN", 0), ("GRU", 1), ("LSTM", 0), ("LSTM", 1)])
def test_recurrent_layers_go_on_where_the_last_block_ended(op: str, layout: int) -> None:
    net, x = recurrent(op, layout=layout), signal(1, 2, 40)
    stream, whole = net.stream(), net(x)
    for cuts in ([1, 2, 9, 9, 30], [25]):  # the second time after flush: it begins anew
        parts = [stream.push(block) for block in np.split(x, cuts, 2)]
        names = {"Y/h", "Y/c"} if op == "LSTM" else {"Y/h"}
        assert names == {name for name in stream.state if name.startswith("Y/")}
        assert stream.state["Y/h"].shape == (1, 1, 6)
        assert f"  Y/h  1x1x6  24 B, for {op} 'layer'" in str(stream)
        np.testing.assert_allclose(np.concatenate([*parts, stream.flush()], 2), whole, rtol=1e-5, atol=1e-6)
    stream.push(x)
    stream.reset()
    assert not stream.state
    assert len(stream._prepared) < 12


def test_states_from_outside_are_the_streams_own() -> None:
    net, x = recurrent("LSTM", outside=True), signal(1, 2, 20)
    nothing = np.zeros((1, 1, 6), "f4")
    whole = net({"x": x, "h0_in": nothing, "c0_in": nothing})
    stream = net.stream()
    parts = [stream.push(x[..., :7]), stream.push(x[..., 7:]), stream.flush()]
    np.testing.assert_allclose(np.concatenate(parts, 2), whole["y"], rtol=1e-5, atol=1e-6)


def test_recurrent_layers_that_need_the_end_are_named() -> None:
    for words, said in (
        ({"direction": "reverse"}, "it runs backwards over time (direction = 'reverse')"),
        ({"last": True}, "it gives the state that it ends in, which the end of the signal decides"),
    ):
        with pytest.raises(NetworkError) as error:
            recurrent("GRU", **words).stream()
        assert str(error.value).splitlines()[:2] == [
            "stream: GRU 'layer' cannot be computed block by block", f"  {said}",
        ]  # fmt: skip


def test_what_it_says() -> None:
    n = Built(integers=True)
    n.conv(n.conv("x", "a", 2, 4, s=2, rank=1), "y", 4, 3, k=5, rank=1)
    stream = n.load("y", 2, ("t",)).stream()
    assert str(stream) == (
        "x: float32 1x2xn, in periods of 2\ny: 1/2 for each element, 5 behind\nafter 0 elements nothing is carried over"
    )
    stream.push(signal(1, 2, 20))
    assert str(stream) == (
        "x: float32 1x2xn, in periods of 2\ny: 1/2 for each element, 5 behind\n"
        "after 20 elements 72 B are carried over:\n"
        "  x  1x2x1  8 B, for Conv 'a'\n  a  1x4x4  64 B, for Conv 'y'"
    )


def refused(op: str, **attributes: Any) -> str:
    n = Built(integers=True)
    inputs = [n.conv("x", "a", 2, 4, rank=1)]
    if op == "InstanceNormalization":
        inputs += [n.constant("s", np.ones(4, "f4")), n.constant("b", np.zeros(4, "f4"))]
    if op == "Conv":
        inputs.append(n.weights("w", 4, 4, 3))
    n.node(op, inputs, "last", **attributes)
    with pytest.raises(NetworkError) as error:
        n.load("last", 2, ("t",)).stream()
    first, second, _ = str(error.value).splitlines()
    assert first == f"stream: {op} 'last' cannot be computed block by block"
    return second.strip()


def test_what_looks_at_all_of_the_axis_is_named() -> None:
    assert refused("GlobalAveragePool") == "it looks at every pixel"
    assert refused("InstanceNormalization") == "it normalises over pixels"
    assert refused("Softmax", axis=2) == "it looks at all of axis 2"
    assert refused("ReduceMean", axes=[2]) == "it reduces pixels"
    assert refused("Conv", auto_pad="SAME_UPPER", strides=[2]) == (
        "it takes its padding (SAME_UPPER with a stride) from the extent of the whole"
    )


def test_what_does_not_fit_says_what_does() -> None:
    n = Built(integers=True)
    n.conv("x", "y", 2, 3, rank=1)
    stream = n.load("y", 2, ("t",)).stream()
    with pytest.raises(PlanError) as error:
        stream.push(signal(2, 2, 5))
    assert str(error.value) == (
        "stream: the block does not fit the network's input\n  block.shape = (2, 2, 5)\n"
        "  give (1, 2, 5), with any extent along axis 2; other extents by net.with_shapes(...)"
    )
    assert stream.flush().shape == stream.push(signal(1, 2, 0)).shape == (1, 3, 0)
