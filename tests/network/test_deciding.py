"""Inputs that decide which branch of an If runs: a network is prepared for their values, as long as they are few."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import convmat
from convmat.network.graph import Spec
from convmat.network.preparing.deciding import MOST_VALUES

TEXT = """
<ir_version: 8, opset_import: ["": 17]>
g (float[n] x, int64 rate) => (float[m] y) {
    wanted = Constant<value = int64 {16}>()
    high = Equal(rate, wanted)
    y = If(high) <
        then_branch = a () => (float[k] p) { two = Constant<value = float {2.0}>() p = Mul(x, two) },
        else_branch = b () => (float[k] q) { q = Concat<axis = 0>(x, x) }
    >
}
"""


@pytest.fixture
def net() -> convmat.Network:
    return convmat.load(onnx.parser.parse_model(TEXT))


def given(rate: int) -> dict[str, Any]:
    return {"x": np.array([1.0, -3.0], np.float32), "rate": np.array(rate)}


def test_each_value_has_its_branch_and_no_body(net: convmat.Network) -> None:
    for rate in (16, 8, 16):
        right = [2.0, -6.0] if rate == 16 else [1.0, -3.0, 1.0, -3.0]
        np.testing.assert_array_equal(net(given(rate)), np.array(right, np.float32))
    kept = net._programs.kept
    assert [[node.op for node in program.graph.nodes] for program in kept] == [["Concat"], ["Mul"]]
    assert not any(program.bodies for program in kept)


def test_many_values_are_no_constants(net: convmat.Network) -> None:
    for rate in (*range(MOST_VALUES + 3), 16):
        assert net(given(rate)).shape == ((2,) if rate == 16 else (4,))
    latest = net._programs.latest
    assert latest is not None
    assert [node.op for node in latest.graph.nodes] == ["Equal", "If"]
    assert net(given(0)).shape == (4,)


def test_a_network_prepared_without_values_takes_any(net: convmat.Network) -> None:
    specs = {name: Spec(x.shape, x.dtype) for name, x in given(16).items()}
    program = net.program(specs)
    for rate, shape in ((16, (2,)), (8, (4,))):
        assert program(given(rate))["y"].shape == shape


def test_values_are_copied(net: convmat.Network) -> None:
    about = given(16)
    assert net(about).shape == (2,)
    about["rate"][...] = 8
    assert net(about).shape == (4,)
