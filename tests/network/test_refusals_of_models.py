"""What reading, preparing and quantising say of models that do not fit: whole texts, and the fix where one is named."""

from __future__ import annotations

import sys
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper

import convmat
from convmat.network.files.to_onnx import to_model
from convmat.network.ops import dtypes
from convmat.network.quantising import ranges
from convmat.network.reading import read, sources
from tests.network.made import body, model, node, normal

X = normal(1, 3, 8, 8)
CONV = node("Conv", "x w", "y")
GOOD = model([CONV], {"x": (1, 3, 8, 8)}, "y", {"w": normal(4, 3, 3, 3)})


def refused(source: Any, x: Any = None, **options: Any) -> str:
    """What is said of a model as it is loaded or called."""
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(source, **options)(X if x is None else x)
    return str(error.value)


def changed(source: bytes, change: Any) -> bytes:
    proto = onnx.load_from_string(source)
    change(proto)
    made: bytes = proto.SerializeToString()
    return made


# -- reading -------------------------------------------------------------------------------------------------------


def test_models_that_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_BYTES", len(GOOD) - 1)
    size = f"{len(GOOD):,} bytes"
    assert refused(GOOD) == (
        f"load: the model is too large for an ONNX model\n  {size}, a model has at most {len(GOOD) - 1:,}\n"
        "  save its tensors as external data beside it"
    )
    monkeypatch.setattr(sources, "MOST_BYTES", len(GOOD))
    assert convmat.load(GOOD)(X).shape == (1, 4, 6, 6)
    monkeypatch.setattr(sources, "MOST_BYTES", len(GOOD))
    assert refused(onnx.load_from_string(GOOD)) == (
        f"load: the model is too large to be given as a message\n  {size}, one has at most {len(GOOD) - 1:,}\n"
        "  save it with external data, onnx.save(model, 'net.onnx', save_as_external_data=True), and load that"
    )


def test_onnx_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    convmat.load(GOOD)
    assert refused(model([node("Det", "x", "y")], {"x": (3, 3)}, "y")) == (
        "load: reading this ONNX file needs the onnx package\n  it is not installed\n  pip install 'convmat[onnx]'"
    )


def test_bodies_and_outputs() -> None:
    twice = body("a a", [node("Neg", "a", "b")], "b")
    assert refused(model([node("If", "x", "y", then_branch=twice, else_branch=twice)], {"x": (1,)}, "y")) == (
        "load: the model: two inputs of a body have the same name\n  its inputs: a, a"
    )
    assert refused(changed(GOOD, lambda proto: proto.graph.ClearField("output"))) == (
        "load: the model: the graph has no outputs"
    )
    both = model([node("Neg", "x", "y"), node("Abs", "x", "y")], {"x": (1,)}, "y")
    assert refused(both) == "load: the model: Abs 'Abs_y' writes 'y', which is there already"


def test_functions_that_call_themselves() -> None:
    def change(proto: Any) -> None:
        proto.functions.append(
            helper.make_function(
                "own", "F", ["a"], ["b"], [helper.make_node("F", ["a"], ["b"], domain="own")],
                [helper.make_opsetid("own", 1), helper.make_opsetid("", 17)],
            )
        )  # fmt: skip
        proto.opset_import.append(helper.make_opsetid("own", 1))
        proto.graph.node.insert(0, helper.make_node("F", ["x"], ["z"], domain="own"))

    assert refused(changed(GOOD, change)) == (
        "load: the model: its functions call each other without end\n  own.F <- own.F"
    )


def test_operator_sets_that_are_not_read() -> None:
    newest = onnx.defs.onnx_opset_version()

    def of_set(version: int) -> bytes:
        return model([CONV], {"x": (1, 3, 8, 8)}, "y", {"w": normal(4, 3, 3, 3)}, opset=version)

    for version, fix in (
        (newest + 1, "pip install --upgrade onnx"),
        (read.OLDEST - 1, "convert it, e.g. with onnx.version_converter.convert_version(model, 13)"),
    ):
        assert refused(of_set(version)) == (
            "load: the model: its operators are of a set that is not read\n"
            f"  operator set {version}; {read.OLDEST} to {newest} are read\n  {fix}"
        )
    assert convmat.load(of_set(newest))(X).shape == (1, 4, 6, 6)


def test_too_many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MOST_NODES", 0)
    assert refused(GOOD) == "load: the model: too many nodes\n  1, at most 0 are read"


def test_constants_and_inputs_without_values() -> None:
    empty = helper.make_node("Constant", [], ["c"])
    assert refused(model([empty, node("Neg", "c", "y")], {}, "y")) == (
        "load: the model: Constant 'c' holds no value\n  its attributes: none"
    )

    def untyped(proto: Any) -> None:
        proto.graph.input[0].ClearField("type")

    assert refused(changed(GOOD, untyped)) == (
        "load: the model: the input 'x' is no tensor\n  it is a value without a type"
    )

    def shorter(proto: Any) -> None:
        proto.graph.initializer[0].dims[0] = 5

    first, second = refused(changed(GOOD, shorter)).splitlines()
    assert first == "load: the model: the initializer 'w' does not hold what its shape says"
    assert second.startswith("  [5, 3, 3, 3] float32: ")


@pytest.mark.parametrize(
    ("name", "value", "kind"), [("value_int", 1.5, 2), ("value_ints", b"10", 7), ("value_float", 3, 1)]
)
def test_constants_of_other_types(name: str, value: Any, kind: int) -> None:
    """Such a number was cut off or read from a text; one of no type at all ended in a TypeError."""
    wrong = helper.make_node("Constant", [], ["c"], **{name: value})
    for _ in range(2):
        given = model([wrong, node("Identity", "c", "y")], {"x": (2,)}, "y")
        with pytest.raises(
            convmat.NetworkError, match=f"its attribute '{name}' is of type {wrong.attribute[0].type}\n"
        ):
            convmat.load(given)
        assert wrong.attribute[0].type != kind
        wrong.attribute[0].ClearField("type")


def test_element_types_without_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ml_dtypes, "bfloat16")
    with pytest.raises(convmat.NetworkError) as error:
        dtypes.dtype_named("bfloat16")
    assert str(error.value) == (
        "load: bfloat16 elements need the package ml_dtypes\n"
        "  it is not installed, or older than they are\n  pip install --upgrade ml_dtypes"
    )
    monkeypatch.undo()
    assert dtypes.dtype_named("bfloat16").itemsize == 2


# -- calling, writing ----------------------------------------------------------------------------------------------


def test_two_inputs_need_names() -> None:
    net = convmat.load(model([node("Add", "a b", "y")], {"a": (2,), "b": (2,)}, "y"))
    with pytest.raises(convmat.NetworkError) as error:
        net(normal(2))
    assert str(error.value) == (
        "call: the network has 2 inputs, one array was given\n  inputs: a: float32 2, b: float32 2\n"
        "  give a dict of arrays by name"
    )
    assert net({"a": normal(2), "b": normal(2)}).shape == (2,)


def test_onnxruntime_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    net = convmat.load(GOOD)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(convmat.NetworkError) as error:
        net.compare(X)
    assert str(error.value) == (
        "compare: onnxruntime is not installed\n  no module onnxruntime\n  pip install onnxruntime"
    )


# -- quantising ----------------------------------------------------------------------------------------------------


def quantised(batches: Any, source: Any = GOOD, **options: Any) -> str:
    with pytest.raises(convmat.NetworkError) as error:
        convmat.quantize(source, batches, **options)
    return str(error.value)


def test_examples_that_are_none_or_not_finite() -> None:
    assert quantised(7) == (
        "quantize: the examples are no sequence of inputs\n  batches = 7\n  give a list of arrays"
    )
    for none in ("a text", {"x": X}):
        assert quantised(none) == (
            "quantize: there are no examples\n  0 batches, no element in them\n"
            "  give arrays that the network takes, some dozens of them"
        )
    assert quantised(["a text"]) == (
        "quantize: example 0 does not fit the network\n"
        "  the input 'x' has another element type than the network's\n"
        "  <U6, expected float32\n  give an array of float32"
    )
    wrong = X.copy()
    wrong[0, 1, 2, 3] = np.nan
    assert quantised([X, wrong]) == (
        "quantize: example 1 has numbers that are not finite\n  1 of 192 in 'x', the first at (0, 1, 2, 3)\n"
        "  leave it out, or mend it"
    )
    for batches in ([X], [{"x": X}]):
        assert convmat.quantize(GOOD, batches) is not None


def test_networks_that_compute_what_is_not_finite() -> None:
    """Here the logarithm of nothing but zeros, which the next layer would multiply in 8 bits."""
    nodes = [CONV, node("Log", "y", "z"), node("Conv", "z v", "t")]
    zeros = np.zeros((4, 3, 3, 3), np.float32)
    made = model(nodes, {"x": (1, 3, 8, 8)}, "t", {"w": zeros, "v": normal(4, 4, 3, 3)})
    assert quantised([X], made) == (
        "quantize: the network computes numbers that are not finite\n  'z' reaches from -inf to -inf\n"
        "  give it examples as it was trained with"
    )


def test_ranges_of_nothing_change_nothing() -> None:
    seen = ranges.SeenRange()
    seen.look("x", np.empty((0, 3), np.float32), None)
    assert seen.low == np.inf


def test_what_is_not_written() -> None:
    branch = body("", [node("Neg", "x", "t")], "t")
    net = convmat.load(model([node("If", "c", "y", then_branch=branch, else_branch=branch)], {"x": (2,)}, "y",
                             {"c": np.array(True)}))  # fmt: skip
    with pytest.raises(convmat.NetworkError) as error:
        to_model(net.graph)
    assert str(error.value) == (
        "to_onnx: If 'If_y' has graphs in its attributes\n  control flow is not written yet"
    )
