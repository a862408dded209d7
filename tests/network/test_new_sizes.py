"""A network at another size of its input: weights stay packed, and bits are those of a network loaded anew."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import pytest
from onnx import TensorProto, numpy_helper

import convmat
from convmat.engine.ir.arguments import Arguments
from convmat.engine.kernels.base import DEPTHS
from convmat.engine.kernels.text import kernel_text
from convmat.network.preparing import programs
from convmat.network.preparing.program import Program
from convmat.network.rewriting.rewrite import rewrite

CHANNELS = 16


def network() -> onnx.ModelProto:
    """3x3, with what BatchNormalization leaves, depthwise, strided 3x3, 1x1 and a dense layer behind a pool."""
    rng = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        values = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        return numpy_helper.from_array(values.astype(np.float32), name)

    kept = [
        weights("w0", CHANNELS, CHANNELS, 3, 3), weights("w1", CHANNELS, 1, 3, 3), weights("w2", 32, CHANNELS, 3, 3),
        weights("w3", 24, 32, 1, 1), weights("w4", 24, 10),
        *(numpy_helper.from_array(np.linspace(0.5, 2, CHANNELS, dtype=np.float32), name) for name in ("g", "v")),
        *(numpy_helper.from_array(np.zeros(CHANNELS, np.float32), name) for name in ("b", "m")),
    ]  # fmt: skip
    nodes = [
        oh.make_node("Conv", ["x", "w0"], ["a"], pads=[1] * 4),
        oh.make_node("BatchNormalization", ["a", "g", "b", "m", "v"], ["n"]),
        oh.make_node("Conv", ["n", "w1"], ["c"], pads=[1] * 4, group=CHANNELS),
        oh.make_node("Conv", ["c", "w2"], ["d"], pads=[1] * 4, strides=[2, 2]),
        oh.make_node("Conv", ["d", "w3"], ["e"]),
        oh.make_node("GlobalAveragePool", ["e"], ["p"]),
        oh.make_node("Flatten", ["p"], ["f"]),
        oh.make_node("Gemm", ["f", "w4"], ["y"]),
    ]
    graph = oh.make_graph(
        nodes, "sizes", [oh.make_tensor_value_info("x", TensorProto.FLOAT, ["n", CHANNELS, "h", "w"])],
        [oh.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])], kept,
    )  # fmt: skip
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)


def image(*shape: int) -> Any:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def packed(net: convmat.Network) -> list[dict[int, int]]:
    return [program.packed for program in net._programs.kept]


def test_another_size_shares_packed_weights() -> None:
    # By measured rates, or near a border, the sizes might be multiplied differently: then there is nothing to share.
    net = convmat.load(network(), exact=True, deterministic=True)
    x, wider = image(1, CHANNELS, 80, 80), image(1, CHANNELS, 80, 96)
    net(x)
    found = net(wider)
    first, second = packed(net)
    assert first
    assert first == second
    np.testing.assert_array_equal(found, convmat.load(network(), exact=True, deterministic=True)(wider))
    assert net._programs._weight_bytes() == sum(first.values())


def test_what_nobody_holds_is_packed_anew() -> None:
    net, x = convmat.load(network()), image(1, CHANNELS, 40, 40)
    answer = net(x)
    known = net._programs._packed
    assert known._known
    net._programs._kept.clear()
    net._programs.latest = net._latest = None
    gc.collect()
    assert all(bound() is None for several in known._known.values() for _, bound, _ in several)
    np.testing.assert_array_equal(net(x), answer)


@pytest.mark.parametrize(
    ("w", "words"),
    [
        ((16, 16, 3, 3), {"padding": 1}),
        ((16, 16, 3, 3), {"padding": 1, "exact": True}),
        ((16, 16, 3, 3), {"padding": 1, "layout": "NHWC"}),
        ((32, 16, 3, 3), {"stride": 2, "padding": 1}),
        ((24, 32, 1, 1), {}),
        ((16, 1, 3, 3), {"groups": 16, "padding": 1}),
        ((16, 1, 3, 3), {"groups": 16, "padding": 1, "layout": "NHWC"}),
        ((300, 200, 1, 1), {"dtype": "float64"}),
        ((16, 16, 3, 3), {"transposed": True, "stride": 2}),
    ],
)
def test_packing_reads_the_words_that_it_is_told_apart_by(
    w: tuple[int, ...], words: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = w[0] if words.get("transposed") else w[1] * words.get("groups", 1)
    x = (1, 24, 24, channels) if words.get("layout") == "NHWC" else (1, channels, 24, 24)
    plan, read = convmat.plan(x, w, engine="jit", **words), set()
    load = Arguments.load

    def noted(self: Arguments, fn: Any, args: Any, name: str, *type: Any) -> Any:
        if fn.name == "weights":
            read.add(name)
        return load(self, fn, args, name, *type)

    monkeypatch.setattr(Arguments, "load", noted)
    for step in plan.program.steps:
        read.clear()
        kernel_text(step.recipe, plan.program.cpu)
        others = {each for each in read if each[:2] not in ("a ", "w ") and each not in (*DEPTHS, "a", "w")}
        assert {each for each in others if not each.startswith("count ")} == set()
        for each in others:  # along which neither w nor A moves, where it is no batch of theirs
            assert f"w {each[6:]}" in step.words


def test_another_size_is_not_rewritten_again(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [image(2, CHANNELS, 40, 40), image(2, CHANNELS, 48, 32), image(3, CHANNELS, 40, 40)]
    plain = convmat.load(network(), exact=True, rewrite=False)
    answers, specs = [plain(x) for x in images], []
    for x in images:
        alone = convmat.load(network(), exact=True)
        alone(x)
        specs.append(prepared(alone).specs)
    net, rewritten = convmat.load(network(), exact=True), []

    def noted(*given: Any) -> Any:
        rewritten.append(given)
        return rewrite(*given)

    monkeypatch.setattr(programs, "rewrite", noted)
    for x, answer, wanted in zip(images, answers, specs, strict=True):
        np.testing.assert_allclose(net(x), answer, rtol=1e-5, atol=1e-5)
        found = prepared(net).specs
        read = {name for node in prepared(net).graph.nodes for name in (*node.reads, *node.outputs)}
        assert {name: found[name] for name in read} == {name: wanted[name] for name in read}
    assert len(rewritten) == 1


def prepared(net: convmat.Network) -> Program:
    """What a network was prepared to last."""
    assert net._programs.latest is not None
    return net._programs.latest


def residual(broadcast: bool) -> onnx.ModelProto:
    """Two layers added: of the same extents at every size of x, or such that one of them has but one row at some."""
    rng = np.random.default_rng(0)
    kept = [
        numpy_helper.from_array(rng.standard_normal((8, 8, 3, 3)).astype(np.float32), name) for name in "vw"
    ]
    far = {"strides": [2, 1], "pads": [0, 1, 0, 1]} if broadcast else {"pads": [1] * 4}
    nodes = [
        oh.make_node("Conv", ["x", "v"], ["a"], **far),
        oh.make_node("Conv", ["x", "w"], ["b"], pads=[0, 1, 0, 1] if broadcast else [1] * 4),
        oh.make_node("Add", ["a", "b"], ["y"]),
    ]
    given = oh.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8, "h", "w"])
    graph = oh.make_graph(
        nodes, "sum", [given], [oh.make_tensor_value_info("y", TensorProto.FLOAT, None)], kept
    )
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("broadcast", [False, True])
def test_extents_that_were_one_for_one_by_chance_are_rewritten_anew(broadcast: bool) -> None:
    # Of 3 rows both layers leave one: y is their sum element by element; of 4 rows one leaves 1 and the other 2.
    net = convmat.load(residual(broadcast), exact=True)
    for rows in (3, 4, 3):
        x = image(1, 8, rows, 20)
        plain = convmat.load(residual(broadcast), exact=True, rewrite=False)(x)
        np.testing.assert_allclose(net(x), plain, rtol=1e-5, atol=1e-5)


def test_a_size_that_does_not_fit_says_so_by_the_files_nodes() -> None:
    net, alone = convmat.load(network()), convmat.load(network())
    net(image(1, CHANNELS, 24, 24))
    said = []
    for each in (net, alone):
        with pytest.raises(convmat.NetworkError) as refused:
            each(image(1, CHANNELS + 1, 32, 32))
        said.append(str(refused.value))
    assert said[0] == said[1]
