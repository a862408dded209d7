"""Inputs that a network cannot run on: the whole text, and that the shape it names does run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convmat
from convmat.network.input_shapes import example_shapes
from tests.network.made import model, node, normal

W = normal(4, 3, 3, 3, seed=1)
DENSE = normal(4 * 16 * 16, 10, seed=2)


def conv(*shape: Any) -> convmat.Network:
    return convmat.load(model([node("Conv", "x w", "y")], {"x": shape}, "y", {"w": W}))


def classifier(*shape: Any) -> convmat.Network:
    """A network whose dense layer fixes what its declaration leaves open: pictures of 16 by 16."""
    nodes = [
        node("Conv", "x w", "c", pads=[1, 1, 1, 1]),
        node("Flatten", "c", "f"),
        node("MatMul", "f d", "y"),
    ]
    return convmat.load(model(nodes, {"x": shape}, "y", {"w": W, "d": DENSE}))


CHANNELS = "its input 'x' has {} channels, its filters take 3"


@pytest.mark.parametrize(
    ("declared", "given", "said", "fix"),
    [
        ((1, 3, 16, 16), (1, 4, 16, 16), CHANNELS.format(4), "(1, 3, 16, 16)"),
        (("n", None, None, None), (2, 4, 9, 8), CHANNELS.format(4), "(2, 3, 9, 8)"),
        ((1, 3, 16, 16), (1, 16, 16, 3), CHANNELS.format(16), "(1, 3, 16, 16), e.g. x.transpose(0, 3, 1, 2)"),
        ((1, 3, 16, 16), (1, 3, 2, 2), "Conv 'Conv_y': the filter is wider than the padded input on axis H",
         "(1, 3, 16, 16)"),
        ((1, 3, "h", "w"), (1, 20, 30, 3), CHANNELS.format(20), "(1, 3, 20, 30), e.g. x.transpose(0, 3, 1, 2)"),
        ((1, 3, "h", "w"), (1, 3, 2, 30), "Conv 'Conv_y': the filter is wider than the padded input on axis H",
         "(1, 3, 8, 30)"),
    ],
)  # fmt: skip
def test_a_shape_that_fits_is_named(declared: Any, given: tuple[int, ...], said: str, fix: str) -> None:
    net = conv(*declared)
    with pytest.raises(convmat.NetworkError) as caught:
        net(np.ones(given, np.float32))
    assert str(caught.value) == (
        f"call: the network cannot run on an input 'x' of shape {given}\n  it takes {net.inputs[0]};  {said}\n"
        f"  give an array of shape {fix}"
    )
    shape = eval(fix.partition(", e.g.")[0])
    assert net(np.ones(shape, np.float32)).shape[:2] == (shape[0], 4)
    if "transpose" in fix:
        assert np.ones(given).transpose(0, 3, 1, 2).shape == shape


@pytest.mark.parametrize(
    ("declared", "given", "fix"),
    [
        ((1, 3, "h", "w"), (3, 20, 30), "e.g. x[None]"),
        ((1, 3, "h", "w"), (20, 30, 3), "e.g. x.transpose(2, 0, 1)[None]"),
        (("n", 3, 20, 30), (20, 30, 3), "e.g. x.transpose(2, 0, 1)[None]"),
        ((1, 3, 20, 30), (20, 30), "give an array with 4 axes"),
    ],
)
def test_axes_that_are_missing_are_named(declared: Any, given: tuple[int, ...], fix: str) -> None:
    net, x = conv(*declared), np.ones(given, np.float32)
    with pytest.raises(convmat.NetworkError) as caught:
        net(x)
    assert str(caught.value) == (
        f"call: the input 'x' has {len(given)} axes, {given}\n  the network takes {net.inputs[0]}\n  {fix}"
    )
    if fix.startswith("e.g."):
        assert net(eval(fix.removeprefix("e.g. "))).shape == (1, 4, 18, 28)


def test_wrong_channels_between_nodes_name_both() -> None:
    nodes = [node("Relu", "x", "r"), node("Conv", "r w", "y", group=2)]
    net = convmat.load(model(nodes, {"x": ("n", "c", None, None)}, "y", {"w": normal(4, 3, 1, 1, seed=1)}))
    with pytest.raises(convmat.NetworkError) as caught:
        net(np.ones((1, 4, 5, 5), np.float32))
    assert str(caught.value) == (
        "load: Conv 'Conv_y' cannot run\n  its input 'r' has 4 channels, its filters take 6\n"
        "  1x4x5x5 with filters 4x3x1x1 in 2 groups"
    )


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (classifier("n", 3, "h", "w"), (1, 3, 16, 16)),
        (classifier("n", None, None, None), (1, 3, 16, 16)),
        (conv("n", 3, 32, "w"), (1, 3, 32, 224)),
        (conv("n", "c", None, None), (1, 3, 224, 224)),
    ],
)
def test_the_shape_that_is_suggested_runs(net: convmat.Network, shape: tuple[int, ...]) -> None:
    with pytest.raises(convmat.NetworkError) as caught:
        net.summary()
    assert str(caught.value).endswith(f"  say which, e.g. net.with_shapes({{'x': {shape}}})")
    assert example_shapes(net.graph) == {"x": shape}
    net.with_shapes({"x": shape}).summary()
