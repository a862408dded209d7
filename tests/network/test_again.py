"""Passes over the bytes of a product as a part of it: the very bytes of the nodes apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto, helper

import convmat
from convmat.engine import Peaks, thread_pool
from convmat.engine.measure import machine
from convmat.network.rewriting.rewrite import RULES
from tests.network.test_quantised import Drawn

Array = npt.NDArray[Any]

APART = [rule for rule in RULES if rule not in ("requantise_in_product", "add_in_product")]
C, P = 32, 23  # 16,928 elements, enough to look for factors; windows of 288
SHAPE = (1, C, P, P)


class Block(Drawn):
    """What blocks of residual networks consist of, between bytes."""

    def __init__(self, kind: Any = np.uint8) -> None:
        super().__init__()
        self.rng, self.kind = np.random.default_rng(11), kind
        self.least = int(np.iinfo(kind).min)

    def steps(self, x: str, scale: float, zero: int = 0, out: str = "") -> str:
        """A value in bytes, counted from `zero` above the least."""
        grain = self.grain(scale, self.least + zero, self.kind)
        q = self.node("QuantizeLinear", x, *grain, out=out)
        return q if out else self.node("DequantizeLinear", q, *grain)

    def conv(self, x: str, scale: float = 0.11, zero: int = 117, groups: int = 1, taps: int = 1) -> str:
        """A convolution of as many channels, in bytes."""
        w = self.rng.integers(-127, 128, (C, C // groups, taps, taps)).astype(np.int8)
        scales = self.rng.uniform(0.002, 0.01, C)
        made = self.node("Conv", x, self.weights(w, scales), pads=[taps // 2] * 4, group=groups)
        return self.steps(made, scale, zero)

    def norm(self, x: str, scale: float = 0.03, zero: int = 0, relu: bool = True) -> str:
        """A normalisation of its own scale, as onnxruntime's quantiser leaves it between."""
        rows = [self.rng.uniform(0.2, 1.6, C), self.rng.normal(0, 1, C), self.rng.normal(0, 1, C)]
        rows[0][3] = 0  # a channel that is one number
        rows[0][5] = -0.7
        names = [self.constant(each, np.float32) for each in (*rows, self.rng.uniform(1, 9, C))]
        made = self.node("BatchNormalization", x, *names)
        return self.steps(self.node("Relu", made) if relu else made, scale, zero)

    def given(self, x: str = "x", scale: float = 0.0513) -> str:
        """An input in bytes."""
        return self.node("DequantizeLinear", x, *self.grain(scale, 121, np.uint8))

    def finish(self, x: str, shape: tuple[int, ...] = SHAPE) -> bytes:
        """The model, whose output is x's bytes."""
        source = next(node for node in self.nodes if node.output[0] == x)
        kind = TensorProto.INT8 if self.kind == np.int8 else TensorProto.UINT8
        return self.model({"x": shape}, source.input[0], kind)


def residual(kind: Any = np.uint8, relu: bool = True, norm: bool = True, pixels: int = P) -> bytes:
    d = Block(kind)
    first = d.norm(d.conv(d.given()), relu=relu)
    second = d.conv(first, 0.0613, 131, taps=3)
    second = d.norm(second, 0.0417, 120, relu=False) if norm else second
    y = d.node("Add", second, first)
    return d.finish(d.steps(d.node("Relu", y) if relu else y, 0.0471), (1, C, pixels, pixels))


def two_products() -> bytes:
    d = Block()
    x = d.given()
    return d.finish(d.steps(d.node("Add", d.norm(d.conv(x), relu=False), d.conv(x, 0.0613)), 0.0471))


def depthwise() -> bytes:
    d = Block()
    x = d.given()
    return d.finish(d.steps(d.node("Add", d.norm(d.conv(x, groups=C, taps=3)), x), 0.0471))


def foreign() -> bytes:
    """onnxruntime's own QLinearConv and QLinearAdd, with a bias."""
    d = Block()
    grain, inner, last = (d.grain(s, z, np.uint8) for s, z in ((0.0513, 121), (0.0613, 131), (0.0471, 99)))
    w = d.constant(d.rng.integers(-127, 128, (C, C, 1, 1)), np.int8)
    bias = d.constant(d.rng.integers(-3000, 3000, C), np.int32)
    q = d.node("QLinearConv", "x", *grain, w, *d.grain(np.full(C, 0.004), np.zeros(C), np.int8), *inner, bias)
    d.node("QLinearAdd", q, *inner, "x", *grain, *last, out="y", domain="com.microsoft")
    return d.model({"x": SHAPE}, "y")


def forms(model: bytes, seed: int = 2, **words: Any) -> tuple[Array, str]:
    """What a network gives with these passes in its products and apart, which is the same; and its summary."""
    x = np.random.default_rng(seed).integers(0, 256, SHAPE).astype(np.uint8)
    net, apart = convmat.load(model, **words), convmat.load(model, rewrite=APART, **words)
    found = np.asarray(net(x))
    np.testing.assert_array_equal(found, apart(x))
    assert found.std() > 10
    assert "one pass" in str(apart.summary()) or "a table" in str(apart.summary())
    return found, str(net.summary())


MODELS: dict[str, tuple[bytes, int]] = {
    "uint8": (residual(), 2),
    "int8, no relu": (residual(np.int8, relu=False), 2),
    "no normalisation": (residual(norm=False), 2),
    "two products": (two_products(), 2),
    "depthwise": (depthwise(), 1),
    "foreign": (foreign(), 1),
}


@pytest.mark.parametrize("name", MODELS)
def test_products_round_again_as_passes_do(name: str) -> None:
    model, products = MODELS[name]
    _, said = forms(model)
    assert said.count("; then ") == products
    assert "Elementwise" not in said


@pytest.mark.parametrize("last", [0.0471, 0.5])
def test_ties_leave_a_pass_of_its_own(last: float) -> None:
    """Scales by whose sums hundreds lie in the middle between two numbers may have no factors."""
    d = Block()
    x, scale = d.given(scale=0.25), 0.25 if last == 0.5 else 0.0613
    _, said = forms(d.finish(d.steps(d.node("Add", d.conv(x, scale), x), last)))
    assert ("Elementwise" in said) == ("; then " not in said)


def test_what_is_no_line_stays_a_table() -> None:
    d = Block()
    hard = d.node("HardSwish", d.conv(d.given()))
    d.nodes[-1] = helper.make_node("HardSwish", [d.nodes[-1].input[0]], [hard])
    _, said = forms(d.finish(d.steps(hard, 0.05, 9)))
    assert "a table" in said
    assert "; then" not in said


def test_bytes_that_others_read_too_are_kept() -> None:
    d = Block()
    q = d.conv(d.given())
    both = d.node("Add", d.norm(q), d.node("Sigmoid", q))
    _, said = forms(d.finish(d.steps(both, 0.0471)))
    assert "; then" not in said


def test_float32_between_rounds_again_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU whose dot products of bytes are slow: kernels behind the product do it."""
    rates = dict.fromkeys(Peaks.FIGURES, 1e11) | {"dot_ops": 1e7, "tile_ops": 1e7}
    count = thread_pool.count()
    monkeypatch.setitem(machine._peaks, count, Peaks(count, rates.__getitem__))
    model = residual(pixels=P + 2)  # for which there are no choices yet
    x = np.random.default_rng(2).integers(0, 256, (1, C, P + 2, P + 2)).astype(np.uint8)
    net, integers = convmat.load(model), convmat.load(model, deterministic=True)
    said = str(net.summary())
    assert said.count(", in float32; then ") == 2
    apart = np.abs(np.asarray(net(x)).astype(int) - np.asarray(integers(x)).astype(int))
    assert apart.max() <= 2
    assert np.mean(apart) < 0.05


def test_networks_are_saved_and_tiled(tmp_path: Path) -> None:
    x = np.random.default_rng(2).integers(0, 256, SHAPE).astype(np.uint8)
    net = convmat.load(MODELS["uint8"][0])
    wanted = np.asarray(net(x))
    net.save(tmp_path / "net")
    np.testing.assert_array_equal(np.asarray(convmat.load(tmp_path / "net", trust=True)(x)), wanted)
    np.testing.assert_array_equal(net.tiled(x, tile=12), wanted)


def truth(x: Array, grain: tuple[float, int], w: Array, scales: Array, out: tuple[float, int]) -> Array:
    """A quantised convolution with windows of one pixel, in float64."""
    wide = (x.astype(float) - grain[1]) * np.float64(np.float32(grain[0]))
    sums = np.einsum("oc,bchw->bohw", w[..., 0, 0] * np.float32(scales).astype(float)[:, None], wide)
    return np.asarray(np.clip(np.rint(sums / np.float64(np.float32(out[0]))) + out[1], 0, 255))


def test_summaries_say_which_numbers_may_be_a_step_apart() -> None:
    """Beside the graph's meaning in float64: products by a step, their means too, what moves or looks up not at all."""
    d, rng = Block(), np.random.default_rng(11)
    d.conv(d.given())
    convolved = d.nodes[-2].output[0]
    w, scales = rng.integers(-127, 128, (C, C, 1, 1)).astype(np.int8), rng.uniform(0.002, 0.01, C)
    net = convmat.load(d.model({"x": SHAPE}, convolved))
    x = np.random.default_rng(2).integers(0, 256, SHAPE).astype(np.uint8)
    wanted = truth(x, (0.0513, 121), w, scales, (0.11, 117))
    apart = np.abs(np.asarray(net(x)) - wanted)
    assert apart.max() <= 1
    assert np.mean(apart) < 0.01
    assert [layer.steps for layer in net.summary().layers] == [1]
    d = Block()
    mean = d.steps(d.node("GlobalAveragePool", d.given()), 0.0213, 117)
    net = convmat.load(d.finish(mean))
    wide = ((x.astype(float) - 121) * np.float64(np.float32(0.0513))).mean((2, 3), keepdims=True)
    wanted = np.clip(np.rint(wide / np.float64(np.float32(0.0213))) + 117, 0, 255)
    assert np.abs(np.asarray(net(x)) - wanted).max() <= 1
    assert [layer.steps for layer in net.summary().layers] == [1]
    d = Block()
    y = d.node("MaxPool", d.given(), kernel_shape=[3, 3])
    net = convmat.load(d.finish(d.steps(y, 0.0377, 90)))
    best = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3)).max((4, 5))
    exact = (best.astype(float) - 121) * np.float64(np.float32(0.0513)) / np.float64(np.float32(0.0377))
    np.testing.assert_array_equal(net(x), np.clip(np.rint(exact) + 90, 0, 255))
    assert {layer.steps for layer in net.summary().layers if layer.steps is not None} == {0}
    assert ", 0 may be one step apart" in str(net.summary())


def test_steps_that_are_rounded_again_are_counted() -> None:
    """Behind a product of coarse steps: as far as its 256 numbers are from their neighbours."""
    d = Block()
    net = convmat.load(d.finish(d.steps(d.node("Relu", d.conv(d.given(), 0.11)), 0.03)))
    (layer,) = net.summary().layers
    assert "; then" in layer.way
    assert layer.steps == 4  # of 0.11 / 0.03 = 3.67
    assert ", 1 may be apart, by up to 4 steps" in str(net.summary())
