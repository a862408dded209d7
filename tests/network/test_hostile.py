"""Models that lie: an answer or a sentence, never anything else. tests/network/hostile.py makes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import convmat
from tests.network.made import model, node, normal

ROOT = Path(__file__).parent.parent.parent

MOST = 1 << 30
"""Bytes that a process which tries hundreds of them may take at most."""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and time are Linux's here")
@pytest.mark.parametrize(
    ("first", "count"),
    [(0, 500), pytest.param(500, 30_000, marks=pytest.mark.slow)],
)
def test_mutated_models(first: int, count: int) -> None:
    paths = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.network.hostile", str(first), str(count)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        timeout=60 + count,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout[-2000:]}\n{run.stderr[-2000:]}"
    *failures, last = map(json.loads, run.stdout.splitlines())
    assert not failures
    assert last["counts"]["answer"] > count / 20  # some still are networks
    assert last["counts"]["error"] > count / 20
    assert last["peak"] < MOST


def refusal(source: bytes) -> str:
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(source)
    return str(error.value)


def test_operators_with_too_many_outputs_or_inputs() -> None:
    assert refusal(model([node("Relu", "x", "y z")], {"x": (1,)}, "y")) == (
        "load: the model: Relu 'Relu_y' has 2 outputs\n  the operator has 1"
    )
    assert refusal(model([node("Split", "", "y")], {"x": (1,)}, "y")) == (
        "load: the model: Split 'Split_y' has 0 inputs\n  the operator has 1 to 2"
    )
    assert refusal(model([node("Concat", "", "y", axis=0)], {"x": (1,)}, "y")) == (
        "load: the model: Concat 'Concat_y' has 0 inputs\n  the operator has at least 1"
    )


def test_attributes_of_another_type() -> None:
    assert refusal(model([node("LeakyRelu", "x", "y", alpha=[1, 2])], {"x": (1,)}, "y")) == (
        "load: the model: LeakyRelu 'LeakyRelu_y': its attribute 'alpha' is of type 7\n  the operator has FLOAT, 1"
    )


def test_attributes_that_the_standard_does_not_know_change_nothing() -> None:
    """Not even where a rewritten node has one of that name."""
    made = model(
        [node("Conv", "x w", "y", activation="relu")], {"x": (1, 1, 3)}, "y", {"w": -(normal(1, 1, 1) ** 2)}
    )
    assert (convmat.load(made)(np.ones((1, 1, 3), np.float32)) < 0).all()


def test_names_that_are_no_text() -> None:
    made = model([node("Relu", "x", "y")], {"x": (1,)}, "y").replace(b"Relu_y", b"Rel\xff_y")
    assert refusal(made) == "load: the model: a name in it is no text\n  b'Rel\\xff_y' is not UTF-8"


@pytest.mark.parametrize(
    "op",
    [
        "Range",
        "Tile",
        "OneHot",
        "Expand",
        "ConstantOfShape",
        "Pad",
        "HannWindow",
        "RandomNormal",
        "CenterCropPad",
    ],
)
def test_large_results_are_refused_before_they_are_made(op: str) -> None:
    i = np.array
    nodes = {
        "Range": node("Range", "zero many one", "y"),
        "Tile": node("Tile", "x many1", "y"),
        "OneHot": node("OneHot", "zero1 many two", "y"),
        "Expand": node("Expand", "x many1", "y"),
        "ConstantOfShape": node("ConstantOfShape", "many1", "y"),
        "Pad": node("Pad", "x pads", "y"),
        "HannWindow": node("HannWindow", "many", "y"),
        "RandomNormal": node("RandomNormal", "", "y", shape=[2**29]),
        "CenterCropPad": node("CenterCropPad", "x many1", "y"),
    }
    constants = {"zero": i(0), "one": i(1), "many": i(2**29), "many1": i([2**29]), "zero1": i([0]),
                 "two": i([0.0, 1.0], np.float32), "pads": i([0, 2**29])}  # fmt: skip
    net = convmat.load(model([nodes[op]], {"x": (None,)}, "y", constants, opset=18), memory_limit=2**24)
    with pytest.raises(convmat.NetworkError) as error:
        net(np.ones(1, np.float32))
    assert "too much memory" in str(error.value)


def test_looking_for_a_shape_that_runs_keeps_to_the_memory_limit() -> None:
    """The shape is open, so examples are tried: none of them makes what the limit forbids."""
    nodes = [node("Range", "zero many one", "r"), node("Relu", "x", "y")]
    constants = {"zero": np.array(0), "one": np.array(1), "many": np.array(2**29)}
    net = convmat.load(model(nodes, {"x": (None, 2)}, "y r", constants), memory_limit=2**24)
    tracemalloc.start()
    try:
        with pytest.raises(convmat.NetworkError, match="the shape of the input 'x' is not known"):
            net.summary()
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()
