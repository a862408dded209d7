"""Resize by weights between 8-bit numbers of one scale: on the bytes, rounded once, at most a step apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convmat
from convmat.network.graph import Node

from .made import model, node, normal
from .runtime import run

MODES: list[dict[str, Any]] = [
    {"mode": "linear"},
    {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
    {"mode": "linear", "antialias": 1},
    {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1},
]


def between(shape: tuple[int, ...], sizes: tuple[int, ...], zero: Any, **attributes: Any) -> bytes:
    """A Resize between 8-bit numbers of one scale."""
    nodes = [
        node("QuantizeLinear", "x scale zero", "q"),
        node("DequantizeLinear", "q scale zero", "d"),
        node("Resize", "d - - sizes", "r", **attributes),
        node("QuantizeLinear", "r scale zero", "y"),
    ]
    constants = {"scale": np.float32(0.125), "zero": zero, "sizes": np.array(sizes)}
    return model(nodes, {"x": shape}, "y", constants, opset=18)


@pytest.mark.parametrize(
    "sizes", [(2, 5, 40, 52), (2, 5, 9, 64), (2, 5, 11, 7)], ids=["grown", "both", "shrunk"]
)
@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("attributes", MODES, ids=lambda each: "-".join(map(str, each.values())))
def test_bytes_between_equal_scales(
    attributes: dict[str, Any], kind: type[np.integer[Any]], sizes: tuple[int, ...]
) -> None:
    """A scale that is a power of two makes float32's sums exact but for weights: ties alone may fall either way."""
    shape = (2, 5, 20, 26)
    zero, x = np.array(4, kind), normal(*shape) * 7  # beyond what bytes hold, too
    data = between(shape, sizes, zero, **attributes)
    net = convmat.load(data)
    found = net(x).astype(int)
    wanted = convmat.load(data, rewrite=False)(x).astype(int)
    assert np.abs(found - wanted).max() <= 1
    assert (found != wanted).mean() < 0.01
    layers = {layer.op: layer for layer in net.summary().layers}
    assert layers.keys() == {"QuantizeLinear", "Resize"}
    assert layers["Resize"].steps == 1
    if "antialias" not in attributes:
        assert layers["Resize"].way == "resampled"


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_bytes_of_images(kind: type[np.integer[Any]]) -> None:
    """Resize of bytes as the standard has it: by a kernel as by NumPy; halves are exact in float32."""
    x = (
        np.random.default_rng(3)
        .integers(*((0, 256) if kind is np.uint8 else (-128, 128)), (1, 3, 31, 33))
        .astype(kind)
    )
    sizes = np.array((1, 3, 62, 66))
    made = Node("Resize", ("x", "", "", "s"), ("y",), {"mode": "linear"}, "here", 18)
    (wanted,) = run(made, x, None, None, sizes)
    bytes_of = {np.uint8: 2, np.int8: 3}[kind]  # ONNX's numbers of the types
    net = convmat.load(
        model(
            [node("Resize", "x - - s", "y", mode="linear")],
            {"x": x.shape},
            "y",
            {"s": sizes},
            dtype=bytes_of,
            opset=18,
        )
    )
    found = net(x)
    assert [layer.way for layer in net.summary().layers] == ["resampled"]
    np.testing.assert_array_equal(found, wanted)


def test_scales_that_differ_and_crops_stay_floats() -> None:
    """What lies outside of a crop is a number of the graph's, not a mean."""
    shape, sizes = (1, 4, 32, 32), (1, 4, 64, 64)
    nodes = [
        node("DequantizeLinear", "q scale zero", "d"),
        node("Resize", "d - - sizes", "r", mode="linear"),
        node("QuantizeLinear", "r other zero", "y"),
    ]
    constants = {
        "scale": np.float32(0.1),
        "other": np.float32(0.2),
        "zero": np.uint8(3),
        "sizes": np.array(sizes),
        "roi": np.array([0, 0, -0.2, 0.1, 1, 1, 1.1, 0.9], "f"),
    }
    crop = [
        nodes[0],
        node("Resize", "d roi - sizes", "r", mode="linear", coordinate_transformation_mode="tf_crop_and_resize",
             extrapolation_value=7.0),
        node("QuantizeLinear", "r scale zero", "y"),
    ]  # fmt: skip
    q = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    for each in (nodes, crop):
        data = model(each, {"q": shape}, "y", constants, dtype=2, opset=18)
        net = convmat.load(data)
        assert "DequantizeLinear" in {layer.op for layer in net.summary().layers}
        found, wanted = (made(q).astype(int) for made in (net, convmat.load(data, rewrite=False)))
        assert np.abs(found - wanted).max() <= 1
