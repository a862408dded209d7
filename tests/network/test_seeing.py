"""Summaries, memory, profiles, shapes, intermediate outputs, comparisons: what they say of a network made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import convmat
from convmat.network.reports.compare import difference
from tests.network.made import model, node, normal
from tests.network.test_read import external

W, V = normal(4, 3, 3, 3, seed=1), normal(7, 5, seed=2)
SMALL = model(
    [
        node("Conv", "x w b", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "r"),
        node("Det", "d", "unused"),
        node("MatMul", "r v", "m"),
        node("Unique", "m", "y"),
    ],
    {"x": ("n", 3, 6, None), "d": ("n", 2, 2)},
    "y",
    {"w": W, "b": normal(4), "v": V},
)


def small() -> convmat.Network:
    return convmat.load(SMALL).with_shapes(x=(2, 3, 6, 7))


def inputs() -> dict[str, object]:
    return {"x": normal(2, 3, 6, 7), "d": normal(2, 2, 2)}


def test_shapes_are_filled_in_by_name() -> None:
    net = convmat.load(SMALL)
    assert str(net.inputs[1]) == "d: float32 nx2x2"
    assert [each.shape for each in small().inputs] == [(2, 3, 6, 7), (2, 2, 2)]
    assert [each.shape for each in net.with_shapes(n=5).inputs] == [(5, 3, 6, None), (5, 2, 2)]
    assert [each.shape for each in net.with_shapes({"d": (1, 2, 2)}).inputs] == [(1, 3, 6, None), (1, 2, 2)]
    assert [each.shape for each in net.inputs] == [("n", 3, 6, None), ("n", 2, 2)]  # as it was


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"z": 3}, "with_shapes: 'z' = 3 is no shape of this network\n  inputs: x: float32 nx3x6x?, d: float32 nx2x2\n"
                   "  name an input and its extents, or a word and its extent"),
        ({"x": (1, 2)}, "with_shapes: (1, 2) is no shape of the input 'x'\n  the network takes x: float32 nx3x6x?\n"
                        "  give 4 extents, whole numbers from 0 on, or None where any fits"),
        ({"x": (1, 3, -6, 6)}, "with_shapes: (1, 3, -6, 6) is no shape of the input 'x'\n"
                               "  the network takes x: float32 nx3x6x?\n"
                               "  give 4 extents, whole numbers from 0 on, or None where any fits"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit(given: dict[str, object], said: str) -> None:
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(SMALL).with_shapes(given)  # type: ignore[arg-type]
    assert str(error.value) == said


def test_a_summary_needs_shapes() -> None:
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(SMALL).summary()
    assert str(error.value) == (
        "summary: the shape of the input 'x' is not known\n  it is declared as x: float32 nx3x6x?\n"
        "  say which, e.g. net.with_shapes({'x': (1, 3, 6, 224), 'd': (1, 2, 2)})"
    )


def test_the_summary() -> None:
    found = small().summary()
    by_op = {each.op: each for each in found.layers}
    assert "Det" not in by_op  # nothing needs it
    conv, matmul = by_op["Conv"], by_op["MatMul"]
    assert conv.product == (4, 2 * 6 * 7, 27)
    assert (conv.flops, conv.parameters) == (2 * 4 * 84 * 27, W.size + 4)
    assert conv.engine in ("jit", "blas")
    assert conv.seconds
    assert conv.unrolled == 27 * 84 * 4
    assert matmul.parameters == V.size
    assert found.parameters == W.size + 4 + V.size
    assert matmul.product == (6, 5, 7)
    assert matmul.groups == 8
    assert found.slow[-1].name == "Unique_y"
    text = str(found)
    assert text.splitlines()[0] == "made: x 2x3x6x7, d 2x2x2 -> y ?"
    assert "4 x 84 x 27" in text
    assert text.splitlines()[-1].startswith("by the reference of the ONNX standard, slowly: ")
    assert text.endswith("Unique 'Unique_y'")
    assert json.loads(json.dumps(found.as_dict()))["reference"][-1] == "Unique_y"


def test_the_memory() -> None:
    found = small().memory()
    assert found.unrolled == found.largest == 27 * 84 * 4
    assert found.peak == found.weights + found.arena + found.outputs + found.scratch
    assert found.arena >= found.alive > 0
    assert str(found).splitlines()[0].split() == ["memory", "bytes"]
    assert json.loads(json.dumps(found.as_dict()))["peak"] == found.peak


@pytest.mark.parametrize("x", [None, inputs()])
def test_the_profile(x: object) -> None:
    found = small().profile(x, seconds=0.01)
    assert len(found.seconds) == len(found.layers)
    assert all(s > 0 for s, each in zip(found.seconds, found.layers, strict=True) if each.engine)
    assert "█" in str(found)
    assert f"median of {found.runs}" in str(found).splitlines()[-1]
    assert json.loads(json.dumps(found.as_dict()))["layers"][0]["seconds"] > 0


def test_outputs_by_name() -> None:
    net, given = small(), inputs()
    found = net(given, outputs=["Conv_a", "r", "y", "a", "x", "w"])
    assert list(found) == ["Conv_a", "r", "y", "a", "x", "w"]
    np.testing.assert_array_equal(found["r"], np.maximum(found["a"], 0))
    np.testing.assert_array_equal(found["Conv_a"], found["a"])
    np.testing.assert_array_equal(found["w"], W)
    np.testing.assert_allclose(found["y"], net(given), rtol=1e-5)


def test_outputs_that_are_not_there() -> None:
    with pytest.raises(convmat.NetworkError) as error:
        small()(inputs(), outputs=["Conv_b"])
    said = str(error.value)
    assert said.startswith(
        "call: there is no value or node of that name\n  outputs = 'Conv_b'\n  the nearest: 'Conv_a'"
    )
    with pytest.raises(convmat.NetworkError) as error:
        small()(inputs(), outputs="a")
    assert str(error.value) == "call: outputs is a text\n  outputs = 'a'\n  give names in a list: ['a']"


def test_how_far_apart() -> None:
    found = difference("y", np.array([1.0, 2.0, np.nan, np.inf]), np.array([1.0, 4.0, np.nan, np.inf]))
    assert (found.largest, found.relative) == (2, 0.5)
    assert found.norm == pytest.approx(2 / np.sqrt(17))
    shorter = difference("y", np.ones(2), np.ones(3))
    assert (shorter.largest, shorter.as_dict()["largest"]) == (np.inf, None)
    assert difference("y", np.ones(2), np.array([1, np.nan])).relative != 0
    assert difference("y", np.array([True]), np.array([True])).largest == 0


def test_comparisons_that_cannot_be() -> None:
    with pytest.raises(convmat.NetworkError) as error:
        small().compare(inputs(), "guess")
    assert str(error.value) == (
        "compare: there is no peer of that name\n  peer = 'guess'\n  onnxruntime is the one there is"
    )


def test_onnxruntime_says_the_same() -> None:
    simple = model(
        [node("Conv", "x w", "a"), node("Relu", "a", "y")], {"x": (1, 3, 32, 32)}, "y", {"w": W}, opset=17
    )
    found = convmat.load(simple).compare(normal(2, 3, 9, 9), seconds=0.01)
    assert found.outputs[0].relative < 1e-5
    assert found.outputs[0].shape == (2, 4, 7, 7)
    assert "times as fast" in str(found)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["outputs"][0]["name"] == "y"


def test_a_comparison_reads_external_data_where_it_was_checked(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = external(tmp_path)
    net = convmat.load(path)
    [found] = net.compare(np.zeros(3, np.float32), seconds=0).outputs
    assert found.largest == 0
    (tmp_path / "w.bin").unlink()
    (tmp_path / "w.bin").symlink_to("/etc/hostname")
    with pytest.raises(convmat.NetworkError) as error:
        net.compare(np.zeros(3, np.float32))
    assert str(error.value) == (
        "load: model.onnx: the file with the data of the initializer 'w' is not in the model's folder\n"
        "  location 'w.bin'\n  put it beside the model"
    )
    path.unlink()
    with pytest.raises(convmat.NetworkError) as error:
        net.compare(np.zeros(3, np.float32))
    assert str(error.value) == (
        f"load: {path} cannot be read\n  No such file or directory\n  give the path of a .onnx file"
    )
