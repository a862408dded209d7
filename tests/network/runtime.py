"""One node by itself: as a network has it, its shapes first; and by onnxruntime, as an outside opinion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

import convmat
from convmat.network.graph import Node, Spec
from convmat.network.ops import OPERATORS, Unknown

from .cases import Array

onnxruntime.set_default_logger_severity(4)


def run(node: Node, *arrays: Array | None) -> list[Array]:
    """All outputs of a node whose shapes are told first, and right, if they can be."""
    operator = OPERATORS[node.key]
    try:
        specs = operator.shape(node, [None if x is None else Spec.of(x) for x in arrays])
    except Unknown:
        specs = ()
    found = [np.asarray(y) for y in operator(node, arrays)]
    for name, spec, y in zip(node.outputs, specs, found, strict=False):
        assert not name or spec == Spec.of(y), (spec, Spec.of(y))
    return found


def said(node: Node, *arrays: Array | None) -> str:
    """What the refusal of a node called 'here' says of it."""
    with pytest.raises(convmat.NetworkError) as error:
        run(node, *arrays)
    return str(error.value).removeprefix(f"load: {node.op} 'here' cannot run\n")


def outside(node: Node, *arrays: Array | None) -> list[Array] | None:
    """The outputs that onnxruntime gives, empty arrays for those without a name; None where it has no such node."""
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(arrays)]
    made = helper.make_node(node.op, names, list(node.outputs), domain=node.domain, **_plain(node.attributes))
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for name, x in zip(names, arrays, strict=True)
        if x is not None
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.outputs if name]
    graph = helper.make_graph([made], "one", inputs, outputs)
    opsets = [
        helper.make_opsetid(node.domain, node.version),
        *([helper.make_opsetid("", 17)] * bool(node.domain)),
    ]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        feeds = {name: np.asarray(x) for name, x in zip(names, arrays, strict=True) if x is not None}
        found = iter(session.run(None, feeds))
    except (
        Exception
    ) as error:  # it has no kernel of this type or version, or refuses what the standard allows
        if "onnxruntime" not in type(error).__module__:
            raise
        return None
    return [np.asarray(next(found)) if name else np.empty(0) for name in node.outputs]


def _plain(attributes: Any) -> dict[str, Any]:
    return {
        name: list(v) if isinstance(v, Sequence) and not isinstance(v, str) else v
        for name, v in attributes.items()
    }
