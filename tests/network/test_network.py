"""Networks as users call them."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np
import onnx
import pytest

import convmat
from convmat.engine import Sweep
from convmat.engine.cpu import host
from convmat.errors import EngineError
from convmat.network.graph import Spec
from convmat.network.ops.planned import Moved
from convmat.network.preparing import chains
from convmat.network.preparing.chains import Chain
from tests.allocations import Allocations
from tests.network.made import Array, model, node, normal

W, V = normal(4, 3, 3, 3, seed=1), normal(4, 4, 3, 3, seed=2)
SMALL = model(
    [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "b"),
        node("Conv", "b v", "c", pads=[1, 1, 1, 1]),
        node("Add", "c b", "y"),
    ],
    {"x": ("n", 3, None, None)},
    "y",
    {"w": W, "v": V},
)


def small(x: Array) -> Array:
    b = np.maximum(convmat.conv(x, W, padding=1, exact=True), 0)
    return convmat.conv(b, V, padding=1, exact=True) + b


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 3, 5, 9), (0, 3, 4, 4)])
def test_answers_for_any_batch_and_size(shape: tuple[int, ...]) -> None:
    net, x = convmat.load(SMALL), normal(*shape)
    np.testing.assert_allclose(net(x), small(x), rtol=1e-5, atol=1e-5)


def test_each_call_gives_arrays_of_its_own() -> None:
    net, x = convmat.load(SMALL), normal(1, 3, 8, 8)
    first = net(x)
    kept = first.copy()
    net(-x)
    assert np.array_equal(first, kept)


def test_many_threads_at_once() -> None:
    net = convmat.load(SMALL)
    inputs = [normal(1, 3, 16, 16, seed=i) for i in range(8)]
    alone = [net(x) for x in inputs]
    found: dict[int, list[Array]] = {}

    def work(i: int) -> None:
        found[i] = [net(inputs[i]) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert all(np.array_equal(y, alone[i]) for i, ys in found.items() for y in ys)


def refusal(x: object) -> str:
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(SMALL)(x)
    return str(error.value)


def test_inputs_that_do_not_fit() -> None:
    assert refusal(normal(3, 8, 8)) == (
        "call: the input 'x' has 3 axes, (3, 8, 8)\n  the network takes x: float32 nx3x?x?\n  e.g. x[None]"
    )
    assert refusal(normal(1, 3, 8, 8).astype(np.float64)) == (
        "call: the input 'x' has another element type than the network's\n"
        "  float64, expected float32\n  convert it, e.g. x.astype('float32')"
    )
    assert refusal({"z": normal(1, 3, 8, 8)}) == (
        "call: the inputs are not those of the network\n  given: 'z'\n  inputs: x: float32 nx3x?x?"
    )
    assert refusal(normal(1, 5, 8, 8)) == (
        "call: the network cannot run on an input 'x' of shape (1, 5, 8, 8)\n"
        "  it takes x: float32 nx3x?x?;  its input 'x' has 5 channels, its filters take 3\n"
        "  give an array of shape (1, 3, 8, 8)"
    )


def test_outputs_that_are_inputs_or_constants_or_named_twice() -> None:
    made = model([node("Relu", "x", "y")], {"x": (2,)}, "y x w", {"w": normal(2)})
    x = normal(2, seed=3)
    found = convmat.load(made)(x)
    assert list(found) == ["y", "x", "w"]
    assert np.array_equal(found["x"], x)
    assert found["x"] is not x
    found["w"][:] = 0
    assert np.array_equal(convmat.load(made)(x)["w"], normal(2))


def test_joined_values_lie_where_the_whole_has_them() -> None:
    """Concat of two convolutions is no step at batch 1, and one at batch 2; the answer is the same."""
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("Conv", "x u", "b"),
        node("Relu", "a", "c"),
        node("Concat", "b a", "d", axis=1),
        node("Conv", "d z", "e"),
        node("Concat", "e c", "y", axis=1),
    ]
    constants = {"w": W, "u": normal(2, 3, 1, 1), "z": normal(3, 6, 1, 1)}
    net = convmat.load(model(nodes, {"x": ("n", 3, "h", "w_")}, "y", constants), exact=True)
    x = normal(2, 3, 7, 7)
    both = net(x)
    np.testing.assert_allclose(both, np.concatenate([net(x[:1]), net(x[1:])]), rtol=1e-5, atol=1e-5)
    counts = [len(net.program({"x": Spec((n, 3, 7, 7), x.dtype)}).tasks) for n in (1, 2)]
    assert counts == [5, 6]


def test_of_a_join_only_what_no_step_wrote_is_copied() -> None:
    """Zeros behind a convolution's channels, as networks widen a residual; and an input of the network."""
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("Concat", "zeros a", "b", axis=1),
        node("Conv", "b z", "c"),
        node("Concat", "c x a", "d", axis=1),
        node("Relu", "d", "y"),
    ]
    constants = {"w": W, "zeros": np.zeros((1, 2, 64, 64), np.float32), "z": normal(3, 2 + len(W), 1, 1)}
    net = convmat.load(model(nodes, {"x": (1, 3, 64, 64)}, "y", constants), exact=True)
    x = normal(1, 3, 64, 64)
    a = convmat.conv(x, W, padding=1, exact=True)
    c = convmat.conv(np.concatenate([constants["zeros"], a], 1), constants["z"], exact=True)
    for _ in range(2):
        np.testing.assert_allclose(net(x), np.maximum(np.concatenate([c, x, a], 1), 0), rtol=1e-5, atol=1e-5)
    tasks = net.program({"x": Spec((1, 3, 64, 64), x.dtype)}).tasks
    copied = [len(each.run.moves) for each in tasks if isinstance(each.run, Moved)]
    assert copied == [1, 2]  # a lies in b, so it is copied to d, as x is


@pytest.mark.parametrize(
    ("batch", "lo", "hi", "copied"),
    [
        (1, 0, 5, [1, 2]),
        (1, 5, 0, [1, 2]),
        (1, 1, 3, [2, 3]),
        (1, 0, 0, [0, 1]),
        (1, -1, 3, [2, 2]),
        (2, 0, 5, [2, 2]),
    ],
)
def test_of_a_pad_of_channels_only_margins_are_copied(
    batch: int, lo: int, hi: int, copied: list[int]
) -> None:
    """What a convolution wrote lies in the first padded array, for all that read it; not where a pad cuts."""
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("Pad", "a pads value", "b"),
        node("Pad", "a pads value", "c"),
        node("Relu", "a", "d"),
        node("Relu", "b", "y"),
        node("Relu", "c", "z"),
    ]
    constants = {"w": W, "value": np.array(0.5, np.float32), "pads": np.array([0, lo, 0, 0, 0, hi, 0, 0])}
    made = model(nodes, {"x": (batch, 3, 64, 64)}, "y z d", constants)
    net, x = convmat.load(made, exact=True, rewrite=False), normal(batch, 3, 64, 64)
    a = convmat.conv(x, W, padding=1, exact=True)
    wide = np.pad(a[:, max(-lo, 0) :], ((0, 0), (max(lo, 0), hi), (0, 0), (0, 0)), constant_values=0.5)
    for _ in range(2):
        for name, expected in {"y": wide, "z": wide, "d": a}.items():
            np.testing.assert_array_equal(net(x)[name], np.maximum(expected, 0))
    tasks = net.program({"x": Spec(x.shape, x.dtype)}).tasks
    assert [len(each.run.moves) for each in tasks if isinstance(each.run, Moved)] == copied


@pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")
def test_a_chain_of_short_products_is_one_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two threads each would wait for what the other wrote; longer products are still shared out."""
    monkeypatch.setattr(chains, "handover_seconds", lambda threads: 5e-6 * (threads - 1))
    w = normal(16, 16, 3, 3) / 12
    nodes = [node("Conv", f"v{i} w", f"v{i + 1}", pads=[1] * 4) for i in range(4)]
    found, answers = [], []
    for size in (8, 128):
        with convmat.threads(2):
            net = convmat.load(model(nodes, {"v0": (1, 16, size, size)}, "v4", {"w": w}), exact=True)
            x = normal(1, 16, size, size)
            answers.append(net(x))
            [chain] = net.program({"v0": Spec(x.shape, x.dtype)}).state().work
        with convmat.threads(1):
            np.testing.assert_array_equal(net(x), answers[-1])
        assert isinstance(chain, Chain)
        found.append([ctypes.c_int64.from_address(block + 16).value for block in chain.addresses])
    assert found[0] == [1] * 4
    assert set(found[1]) == {2}


@pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")
@pytest.mark.parametrize("compiles", [True, False])
def test_where_threads_hand_over_quickly_short_products_are_shared_out(
    monkeypatch: pytest.MonkeyPatch, compiles: bool
) -> None:
    """As they are where that cannot be measured."""

    def quickly(threads: int) -> float:
        if not compiles:
            raise EngineError("pool: nothing is compiled here")
        return 1e-9

    monkeypatch.setattr(chains, "handover_seconds", quickly)
    w, x = normal(16, 16, 3, 3) / 12, normal(1, 16, 8, 8)
    nodes = [node("Conv", f"v{i} w", f"v{i + 1}", pads=[1] * 4) for i in range(4)]
    with convmat.threads(2):
        net = convmat.load(model(nodes, {"v0": x.shape}, "v4", {"w": w}), exact=True)
        [chain] = net.program({"v0": Spec(x.shape, x.dtype)}).state().work
    assert isinstance(chain, Chain)
    assert [ctypes.c_int64.from_address(block + 16).value for block in chain.addresses] == [2] * 4


def test_memory_is_used_again() -> None:
    """Twenty layers in a row need room for two."""
    nodes = [node("Conv", f"v{i} w", f"v{i + 1}") for i in range(20)]
    net = convmat.load(model(nodes, {"v0": (1, 4, 16, 16)}, "v20", {"w": normal(4, 4, 1, 1)}))
    memory = net.program({"v0": Spec((1, 4, 16, 16), np.dtype(np.float32))}).memory
    assert memory.size == memory.least == 2 * 4 * 16 * 16 * 4


def test_views_that_are_given_away_lie_outside_the_arena() -> None:
    """Their elements stay when the place of what they are views of is used again."""
    nodes = [
        node("Relu", "x", "a"),
        node("Reshape", "a shape", "y"),  # an output
        node("Relu", "x", "b"),
        node("Reshape", "b asked", "c"),  # its shape is known only when it runs
        node("Exp", "x", "d"),
        node("Neg", "x", "e"),
        node("Add", "d e", "f"),
        node("Mul", "f c", "z"),
    ]
    made = model(nodes, {"x": (6,)}, "y z", {"shape": np.array([2, 3])})
    proto = onnx.ModelProto.FromString(made)
    proto.graph.input.append(onnx.helper.make_tensor_value_info("asked", onnx.TensorProto.INT64, [1]))
    x = normal(6)
    found = convmat.load(proto.SerializeToString())({"x": x, "asked": np.array([6])})
    np.testing.assert_array_equal(found["y"], np.maximum(x, 0).reshape(2, 3))
    np.testing.assert_allclose(found["z"], (np.exp(x) - x) * np.maximum(x, 0), rtol=1e-6)


def test_views_of_what_a_call_brings_show_it() -> None:
    """The caller's array with other shapes, in whatever order it lies: nothing copies it or writes into it."""
    nodes = [
        node("Unsqueeze", "x one", "a"),
        node("Squeeze", "a one", "b"),  # a view of a view
        node("Reshape", "b shape", "c"),
        node("Relu", "c", "d"),
        node("MatMul", "d w", "e"),
        node("Neg", "e", "y"),
        node("Reshape", "x shape", "z"),  # an output: an array of its own
    ]
    constants = {"one": np.array([1]), "shape": np.array([0, -1]), "w": normal(12, 3)}
    net, x = convmat.load(model(nodes, {"x": ("n", 3, 4)}, "y z", constants)), normal(2, 3, 4)
    wanted = -(np.maximum(x, 0).reshape(2, 12) @ constants["w"])
    kept = x.copy()
    for given in (x, np.asfortranarray(x), x[:, ::-1].copy()[:, ::-1], x.copy()):
        found = net(given)
        np.testing.assert_allclose(found["y"], wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found["z"], kept.reshape(2, 12))
        np.testing.assert_array_equal(given, kept)
        assert not np.shares_memory(found["z"], given)
    program = net.program({"x": Spec(x.shape, x.dtype)})
    assert [task.node.outputs[0] for task in program.tasks] == ["d", "e", "y", "z"]
    assert net(np.zeros((0, 3, 4), np.float32))["y"].shape == (0, 3)


@pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")
def test_a_view_of_the_input_interrupts_no_row_of_layers() -> None:
    nodes = [
        node("Flatten", "x", "a"),
        node("Gemm", "a w", "b"),
        node("Relu", "b", "c"),
        node("Gemm", "c v", "y"),
    ]
    constants = {"w": normal(64, 32), "v": normal(32, 8)}
    net, x = convmat.load(model(nodes, {"x": (4, 8, 8)}, "y", constants)), normal(4, 8, 8)
    wanted = np.maximum(x.reshape(4, 64) @ constants["w"], 0) @ constants["v"]
    for given in (x, x.copy()):
        np.testing.assert_allclose(net(given), wanted, rtol=1e-5, atol=1e-5)
    program = net.program({"x": Spec(x.shape, x.dtype)})
    assert [type(each).__name__ for each in program.state().work] == ["Chain"]


def chained() -> convmat.Network:
    """Four layers that are machine code, two of them between values of the arena."""
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("Conv", "a v", "b", pads=[1, 1, 1, 1]),
        node("MaxPool", "b", "c", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "c v", "y", pads=[1, 1, 1, 1]),
    ]
    return convmat.load(model(nodes, {"x": ("n", 3, "h", "w_")}, "y", {"w": W, "v": V}), exact=True)


def test_a_steady_state_allocates_outputs_alone() -> None:
    net, x = chained(), normal(1, 3, 32, 32)
    y = net(x)
    net(x)
    with Allocations() as made:
        again = net(x)
    assert np.array_equal(again, y)
    assert made.peak <= y.nbytes + 4096
    assert not made.broken


@pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")
def test_layers_in_a_row_are_one_call() -> None:
    """Input and output lie elsewhere at each call, and may lie anyhow; what is between them does not."""
    net, x = chained(), normal(1, 3, 16, 16)
    y = net(x)
    for scattered in (x.copy(), np.asfortranarray(x), x[..., ::-1].copy()[..., ::-1]):
        assert np.array_equal(net(scattered), y)
    odd = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    odd[...] = x
    assert not odd.flags.aligned
    assert np.array_equal(net(odd), y)
    assert net(x) is not net(x)
    program = net.program({"x": Spec(x.shape, x.dtype)})
    assert [type(each).__name__ for each in program.state().work] == ["Chain"]
    watched: list[str] = []
    one_by_one = program({"x": x}, lambda task: watched.append(task.node.op))
    assert watched == ["Conv", "Conv", "MaxPool", "Conv"]
    assert np.array_equal(one_by_one["y"], y)


def test_the_same_again_needs_no_second_look() -> None:
    """What is no such array is looked at as ever: other shapes and types, lists, other numbers of threads."""
    net, x = chained(), normal(1, 3, 16, 16)
    wide = normal(2, 3, 16, 20)
    right = [net({"x": each}) for each in (x, wide)]
    for _ in range(2):
        for each, y in zip((x, wide, x, x), (*right, right[0], right[0]), strict=True):
            assert np.array_equal(net(each), y)
        with pytest.raises(convmat.NetworkError, match="another element type"):
            net(x.astype(np.float64))
        with pytest.raises(convmat.NetworkError, match="another element type"):
            net({"x": x.astype(np.float64)})
        for same in (x.tolist(), np.asfortranarray(x), {"x": x}, {"x": x.tolist()}):
            assert np.array_equal(net(same), right[0])
        for wrong in ({"x": x, "z": x}, {"z": x}, {}):
            with pytest.raises(convmat.NetworkError):
                net(wrong)
    before = convmat.threads()
    convmat.threads(1)
    try:
        assert np.array_equal(net(x), right[0])
        assert net._latest is not None
        assert net._latest.threads == 1
    finally:
        convmat.threads(before)


def test_the_latest_shapes_stay_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as their packed weights leave room for, one at least."""
    wide = normal(64, 64, 3, 3)  # so many that every CPU's choice packs them
    net = convmat.load(
        model([node("Conv", "x w", "y")], {"x": ("n", 64, "h", "w_")}, "y", {"w": wide}), exact=True
    )
    programs = [net.program({"x": Spec((1, 64, n, n), np.dtype(np.float32))}) for n in (8, 10)]
    assert programs[0].weight_bytes > 0
    assert len(net._programs.met) == 2
    monkeypatch.setattr("convmat.network.preparing.programs.WEIGHT_BYTES", 1)
    net.program({"x": Spec((1, 64, 12, 12), np.dtype(np.float32))})
    assert len(net._programs.met) == 1


def test_limits_of_plans_hold_for_each_layer() -> None:
    net, x = convmat.load(SMALL, weight_limit=16, rewrite=False), normal(1, 3, 8, 8)
    with pytest.raises(convmat.NetworkError) as error:
        net(x)
    assert str(error.value).startswith(
        "load: Conv 'Conv_a' cannot run\n  plan: nothing runs within the weight limit"
    )


def test_tuned_layers_give_the_same_answers() -> None:
    x = normal(1, 3, 8, 8)
    found = convmat.load(SMALL, tune="quick", exact=True)(x)
    np.testing.assert_allclose(found, small(x), rtol=1e-5, atol=1e-5)


def test_values_whose_shapes_are_known_late_keep_to_the_limit() -> None:
    net = convmat.load(
        model([node("ConstantOfShape", "n", "y")], {"n": (2,)}, "y", dtype=onnx.TensorProto.INT64),
        memory_limit=4000,
    )
    np.testing.assert_array_equal(net(np.array([20, 50])), np.zeros((20, 50)))
    with pytest.raises(convmat.NetworkError) as error:
        net(np.array([10**6, 10**6]))
    assert str(error.value) == (
        "load: ConstantOfShape 'ConstantOfShape_y' cannot run\n  its result takes too much memory\n"
        "  float32[1000000,1000000] is 4,000,000,000,000 bytes; memory_limit = 4,000"
    )


def swept() -> bytes:
    """A gate over channels, an enlargement, a softmax: nodes that are no products, between convolutions."""
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", "a", "b"),
        node("HardSigmoid", "b", "c"),
        node("Mul", "a c", "d"),
        node("Add", "d a", "e"),
        node("Upsample", "e times", "f"),
        node("Conv", "f v", "g"),
        node("Softmax", "g", "h", axis=3),
        node("Conv", "h v", "y"),
    ]
    constants = {"w": W, "v": V, "times": np.array([1, 1, 2, 2], np.float32)}
    return model(nodes, {"x": ("n", 3, "h", "w_")}, "y", constants, opset=9)


@pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")
def test_what_is_no_product_is_a_kernel_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same call as the products, and by NumPy where nothing can be compiled."""
    net, x = convmat.load(swept()), normal(2, 3, 24, 20)
    y = net(x)
    program = net.program({"x": Spec(x.shape, x.dtype)})
    assert [type(each).__name__ for each in program.state().work] == ["Chain"]
    shown = net.with_shapes(x=x.shape).summary()
    assert {each.engine for each in shown.layers} == {"jit"}
    ways = [(each.op, each.way) for each in shown.layers if each.op not in ("Conv", "HardSigmoid")]
    assert ways == [
        ("GlobalAveragePool", "reduced"),
        ("Elementwise", "one pass: Mul, Add"),
        ("Upsample", "repeated"),
        ("Softmax", "softmax"),
    ]
    with convmat.threads(1):
        np.testing.assert_array_equal(net(x), y)

    def refused(self: Sweep) -> None:
        raise EngineError("sweep: nothing is compiled here")

    monkeypatch.setattr(Sweep, "load", refused)
    plain = convmat.load(swept())
    np.testing.assert_allclose(plain(x), y, rtol=1e-4, atol=1e-5)
    shown = plain.with_shapes(x=x.shape).summary()
    assert {each.engine for each in shown.layers if each.op != "Conv"} == {"numpy"}


@pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")
@pytest.mark.parametrize("shape", [(1, 8, 128, 130), (2, 3, 25_000)])
def test_windows_side_by_side_are_one_product_and_a_kernel(shape: tuple[int, ...]) -> None:
    """Alone and in a row of jobs, within a limit of scratch, and by phases where that is too little."""
    F = (2, 3)[: len(shape) - 2]
    w, b, x = normal(shape[1], 4, *F, seed=3), normal(4, seed=4), normal(*shape, seed=5)
    nodes = [
        node("Neg", "x", "a"),
        node("ConvTranspose", "a w b", "c", strides=list(F)),
        node("Relu", "c", "d"),
        node("Abs", "d", "y"),
    ]
    source = model(nodes, {"x": shape}, "y", {"w": w, "b": b})
    expected = convmat.conv_transpose(-x, w, b, stride=F, activation="relu", exact=True)
    between = x.nbytes // shape[1] * 4 * int(np.prod(F))
    for limit, scratch in ((None, between), (4 * between, between), (between // 2, 0)):
        net = convmat.load(source, workspace_limit=limit)
        np.testing.assert_allclose(net(x), expected, rtol=1e-5, atol=1e-5)
        assert scratch <= net.memory().scratch <= (limit or 2 * between)


@pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")
def test_averages_of_full_windows_are_products() -> None:
    x = normal(2, 20, 15, 17)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 2), (2, 3))[:, :, ::3, ::2]
    whole = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 1)))
    padded = np.lib.stride_tricks.sliding_window_view(whole, (3, 2), (2, 3))[:, :, ::3, ::2]
    for attributes, expected, engine in (
        ({}, windows, "jit"),
        ({"pads": [1, 0, 1, 1], "count_include_pad": 1}, padded, "jit"),
        ({"pads": [1, 0, 1, 1]}, None, "numpy"),
    ):
        pool = node("AveragePool", "x", "y", kernel_shape=[3, 2], strides=[3, 2], **attributes)
        net = convmat.load(model([pool], {"x": x.shape}, "y"))
        y = net(x)
        assert [each.engine for each in net.summary().layers] == [engine]
        if expected is not None:
            np.testing.assert_allclose(y, expected.mean((4, 5)), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")
def test_channels_become_pixels() -> None:
    x = normal(2, 12, 15, 17)
    for mode, engine, order in (("CRD", "jit", (2, 3, 2, 2)), ("DCR", "jit", (2, 2, 2, 3))):
        net = convmat.load(
            model([node("DepthToSpace", "x", "y", blocksize=2, mode=mode)], {"x": x.shape}, "y")
        )
        parts = x.reshape(*order, 15, 17)
        axes = (0, 1, 4, 2, 5, 3) if mode == "CRD" else (0, 3, 4, 1, 5, 2)
        assert np.array_equal(net(x), parts.transpose(axes).reshape(2, 3, 30, 34))
        assert [each.engine for each in net.summary().layers] == [engine]


@pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_what_is_not_finite_reaches_what_the_definition_says(value: float) -> None:
    """Through layers of fewer multiplications that run one after the other in compiled code, with Relu and Add."""
    w, v = normal(64, 64, 3, 3, seed=3) / 24, normal(64, 64, 3, 3, seed=4) / 24
    net = convmat.load(
        model(
            [
                node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
                node("Relu", "a", "b"),
                node("Conv", "b v", "c", pads=[1, 1, 1, 1]),
                node("Add", "c x", "d"),
                node("Relu", "d", "y"),
            ],
            {"x": (1, 64, 28, 28)},
            "y",
            {"w": w, "v": v},
        )
    )
    assert convmat.plan((1, 64, 28, 28), (64, 64, 3, 3), padding=1).chosen.lowering.startswith("winograd")
    x = normal(1, 64, 28, 28, seed=5)
    x[0, 5, 13, 14] = value
    exact: dict[str, Any] = {"padding": 1, "exact": True, "activation": "relu"}
    expected = convmat.conv(convmat.conv(x, w, **exact), v, residual=x, **exact)
    with np.errstate(all="ignore"):
        y = net(x)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(y), np.isinf(expected))
    finite = np.isfinite(expected)
    np.testing.assert_allclose(y[finite], expected[finite], rtol=1e-4, atol=1e-4)
    assert np.isfinite(y[..., :10]).all()


def test_a_program_keeps_no_values_on_the_way_to_its_constants() -> None:
    """Of weights in 8 bits that are made float32 by nodes, what lies between is kept nowhere."""
    w, x = np.arange(-32, 32, dtype=np.int8).reshape(8, 8), normal(2, 8)
    nodes = [node("Cast", "w", "a", to=1), node("Mul", "a s", "b"), node("MatMul", "x b", "y")]
    net = convmat.load(model(nodes, {"x": x.shape}, "y", {"w": w, "s": np.float32(0.25)}))
    np.testing.assert_allclose(net(x), x @ (w * np.float32(0.25)), rtol=1e-5, atol=1e-4)
    program = net.program({"x": Spec(x.shape, x.dtype)})
    assert [name for name, spec in program.specs.items() if spec.value is not None] == list(
        program.graph.constants
    )
    assert "a" not in program.specs
