"""What Loop, Scan, SequenceMap and the operators of sequences refuse while they run: whole texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import convmat
from tests.network.made import body, model, node, normal, typed

X = normal(2, 3)
KEEP = node("Identity", "go", "on")


def said(
    nodes: list[Any],
    outputs: str,
    given: dict[str, Any],
    constants: dict[str, Any] | None = None,
    *,
    opset: int = 17,
    **kinds: Any,
) -> str:
    """What the network of these nodes says to these inputs; `kinds`: which of them are sequences or optionals."""
    shapes = {name: np.shape(x) if isinstance(x, np.ndarray) else (2,) for name, x in given.items()}
    open_shapes = {name: (None,) * len(shape) for name, shape in shapes.items()}
    made = typed(model(nodes, open_shapes, outputs, constants, opset=opset), **kinds)
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(made)(given)
    return str(error.value)


def test_loops() -> None:
    inner = body("i go a", [node("Neg", "a", "b"), KEEP], "on b")
    loop = node("Loop", "n - x", "y", body=inner)
    assert said([loop], "y", {"x": X, "n": np.ones(2, np.float32)}) == (
        "load: Loop 'Loop_y' cannot run\n  its trip count is not one number\n  float32[2]"
    )
    np.testing.assert_array_equal(
        convmat.load(model([loop], {"x": (2, 3)}, "y", {"n": np.array([1])}))(X), -X
    )


def unknown_rows(declared: bool) -> Any:
    """A body whose rows depend on numbers: of which shape they would be is not known before it runs."""
    inner = body("i go s", [node("Identity", "s", "t"), node("SequenceAt", "s i", "r"), KEEP], "on t r")
    if declared:
        inner.output[2].CopyFrom(helper.make_tensor_value_info("r", TensorProto.FLOAT, [2]))
    return node("Loop", "n - s", "y rows", body=inner)


def test_no_turn_of_rows_that_nobody_knows() -> None:
    """The fix is to declare the type: then there are no rows of it."""
    given, none = {"s": [normal(2)]}, {"n": np.array(0)}
    assert said([unknown_rows(False)], "rows", given, none, s="sequence") == (
        "load: Loop 'Loop_y' cannot run\n"
        "  it takes no turn, and its body does not say of which type 'r' would be\n"
        "  export it with the types of its outputs"
    )
    made = typed(model([unknown_rows(True)], {"s": (2,)}, "rows", none), s="sequence")
    assert convmat.load(made)(given).shape == (0, 2)


SUMS = body("s a", [node("Add", "s a", "t")], "t t")


@pytest.mark.parametrize(
    ("given", "kinds", "opset", "text"),
    [
        (
            {"s": np.array(1, np.float32), "a": np.array(2, np.float32)}, {}, 17,
            "load: Scan 'Scan_t' cannot run\n  it scans an input without axes\n  float32[]",
        ),
        (
            {"s": np.array(1, np.float32), "a": [normal(2)]}, {"a": "sequence"}, 17,
            "load: Scan 'Scan_t' cannot run\n  it scans what is no tensor\n  a sequence of 1",
        ),
        (
            {"s": [normal(3)], "a": normal(2, 5, 4)}, {"s": "sequence"}, 8,
            "load: Scan 'Scan_t' cannot run\n  its inputs have no batch axis\n  a sequence of 1, float32[2,5,4]",
        ),
        (
            {"s": normal(2, 4), "a": normal(3, 5, 4)}, {}, 8,
            "load: Scan 'Scan_t' cannot run\n  its inputs are not of one batch\n  float32[2,4], float32[3,5,4]",
        ),
        (
            {"lens": np.array([9, 1]), "s": normal(2, 4), "a": normal(2, 5, 4)}, {}, 8,
            "load: Scan 'Scan_t' cannot run\n  its sequence_lens do not fit it\n  [9, 1] for 2 of 5",
        ),
    ],
)  # fmt: skip
def test_scans(given: dict[str, Any], kinds: dict[str, str], opset: int, text: str) -> None:
    names = f"{'lens ' if 'lens' in given else '- ' if opset < 9 else ''}s a"
    constants = {"lens": given["lens"]} if "lens" in given else {}
    scan = node("Scan", names, "t u", body=SUMS, num_scan_inputs=1)
    inputs = {name: x for name, x in given.items() if name != "lens"}
    words: dict[str, Any] = {"opset": opset, **kinds}
    assert said([scan], "t u", inputs, constants, **words) == text


def test_maps_of_sequences() -> None:
    def mapped(inner: Any, given: dict[str, Any]) -> str:
        sequences: dict[str, Any] = {n: "sequence" for n, x in given.items() if isinstance(x, list)}
        names = " ".join(given)
        return said([node("SequenceMap", names, "y", body=inner)], "y", given, **sequences)

    added = body("a b", [node("Add", "a b", "c")], "c")
    one, two = [normal(2)], [normal(2), normal(2)]
    assert mapped(added, {"s": two, "x": one}) == (
        "load: SequenceMap 'SequenceMap_y' cannot run\n  its inputs are no sequences of one length\n"
        "  a sequence of 2, a sequence of 1"
    )
    listed = body("a", [node("SequenceConstruct", "a", "c")], "c")
    assert mapped(listed, {"s": one}) == (
        "load: SequenceMap 'SequenceMap_y' cannot run\n  its body gives what is no tensor\n  a sequence of 1"
    )


def test_what_is_no_sequence_and_what_is_no_tensor() -> None:
    count, x = node("SequenceLength", "x", "y"), {"x": X}
    assert said([count], "y", x) == (
        "load: SequenceLength 'SequenceLength_y' cannot run\n  its input is no sequence\n  float32[2,3]"
    )
    listed = node("SequenceConstruct", "s", "y")
    assert said([listed], "y", {"s": [X[0]]}, s="sequence") == (
        "load: SequenceConstruct 'SequenceConstruct_y' cannot run\n  its input is no tensor\n  a sequence of 1"
    )


def test_tensors_that_cannot_be_joined_or_split() -> None:
    joined = node("ConcatFromSequence", "s", "y", axis=0, new_axis=1)
    assert said([joined], "y", {"s": [normal(2), normal(3)]}, s="sequence") == (
        "load: ConcatFromSequence 'ConcatFromSequence_y' cannot run\n"
        "  its tensors cannot be joined along axis 0\n  float32[2], float32[3]"
    )
    split, text = (
        node("SplitToSequence", "x n", "y", axis=1),
        "load: SplitToSequence 'SplitToSequence_y' cannot run\n",
    )
    assert said([split], "y", {"x": X}, {"n": np.array([1, 1])}) == (
        f"{text}  its parts [1, 1] do not make 3\n  along axis 1 of float32[2,3]"
    )
    assert said([split], "y", {"x": X}, {"n": np.array(0)}) == (
        f"{text}  its parts 0 do not make 3\n  along axis 1 of float32[2,3]"
    )
    assert said([node("SplitToSequence", "x", "y")], "y", {"x": np.array(1, np.float32)}) == (
        f"{text}  its input has no axis to be split along"
    )
