"""Small models, made as their tests need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """A node; names apart by blanks, "-" for one omitted."""
    names = [["" if n == "-" else n for n in each.split()] for each in (inputs, outputs)]
    return helper.make_node(op, *names, name=f"{op}_{names[1][0]}", **attributes)


def model(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[int | str | None]],
    outputs: str,
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = 17,
    dtype: int = onnx.TensorProto.FLOAT,
    kinds: Mapping[str, int] | None = None,
) -> bytes:
    """A model's bytes; `kinds` are the element types of inputs that differ from `dtype`.

    Skips where the onnx that is there has no such operator set, or writes no such numbers.
    """
    newest = onnx.defs.onnx_opset_version()
    if opset > newest:
        pytest.skip(f"onnx {onnx.__version__} has operator sets up to {newest}, not {opset}")
    narrow = onnx.TensorProto.BFLOAT16 in (dtype, *(kinds or {}).values())
    narrow = narrow or any(np.asarray(a).dtype.kind == "V" for a in (constants or {}).values())
    if narrow and newest < 23:
        pytest.skip(f"onnx {onnx.__version__} has no numbers of ml_dtypes")
    graph = helper.make_graph(
        list(nodes),
        "made",
        [
            helper.make_tensor_value_info(name, (kinds or {}).get(name, dtype), list(shape))
            for name, shape in inputs.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs.split()],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in (constants or {}).items()],
    )
    made: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString()
    return made


def body(inputs: str, nodes: list[Any], outputs: str, constants: dict[str, Any] | None = None) -> Any:
    """A graph for an attribute: untyped inputs and outputs."""
    untyped = [[helper.make_empty_tensor_value_info(n) for n in each.split()] for each in (inputs, outputs)]
    kept = [numpy_helper.from_array(np.asarray(a), name) for name, a in (constants or {}).items()]
    return helper.make_graph(nodes, "body", *untyped, kept)


def typed(data: bytes, **kinds: str) -> bytes:
    """The model with some of its inputs as sequences or optionals."""
    proto = onnx.load_from_string(data)
    for value in proto.graph.input:
        if value.name in kinds:
            told = value.type
            for word in reversed(kinds[value.name].split()):
                make = getattr(helper, f"make_{word}_type_proto")
                told = make(told)
            value.type.CopyFrom(told)
    made: bytes = proto.SerializeToString()
    return made


def branching() -> list[Any]:
    """An If on c between two bodies of x and w, and a Clip of what it gives, from low on: nodes that make u."""
    value = helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, None)
    first, other = (
        helper.make_graph([made], made.name, [], [value])
        for made in (node("Mul", "x w", "z"), node("Elu", "x", "z", alpha=0.3))
    )
    return [node("If", "c", "y", then_branch=first, else_branch=other), node("Clip", "y low", "u")]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def by_onnxruntime(
    op: str, version: int, arrays: Sequence[Array | None], outputs: int = 1, **attributes: Any
) -> Any:
    """What onnxruntime computes of one node."""
    import onnxruntime

    names = ["" if array is None else f"x{i}" for i, array in enumerate(arrays)]
    given = {name: array for name, array in zip(names, arrays, strict=True) if array is not None}
    made = [f"y{i}" for i in range(outputs)]
    kind = helper.np_dtype_to_tensor_dtype
    graph = helper.make_graph(
        [helper.make_node(op, names, made, **attributes)],
        "one node",
        [
            helper.make_tensor_value_info(name, kind(array.dtype), array.shape)
            for name, array in given.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in made],
    )
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        whole.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, given)
