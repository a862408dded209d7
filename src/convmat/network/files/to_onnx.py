"""A graph as an ONNX model: what `Network.to_onnx` writes, for others to run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import NetworkError
from ...whole_files import replace_when_whole
from ..graph import Graph, Input, Node
from ..ops.dtypes import number_of

OLDEST_IR = 8
"""The version of the format that every opset up to 18 may come in; onnx says which later ones need."""


def to_model(graph: Graph) -> Any:
    """The `onnx.ModelProto` of a graph as its file, or a builder, had it. Raises NetworkError.

    Raises NetworkError where its nodes are of several versions of one operator set, which no file can say.
    """
    import onnx

    versions: dict[str, set[int]] = {}
    for node in graph.nodes:
        versions.setdefault(node.domain, set()).add(node.version)
    mixed = {domain: sorted(each) for domain, each in versions.items() if len(each) > 1}
    if mixed:
        raise NetworkError(
            f"to_onnx: the network's nodes are of several operator sets\n  {mixed}\n"
            "  a file has one of each domain: convert the file that it came from first"
        )
    opsets = [onnx.helper.make_opsetid(domain, each.pop()) for domain, each in versions.items()]
    opsets = opsets or [onnx.helper.make_opsetid("", 18)]
    proto = _graph(onnx, graph)
    newest = onnx.helper.find_min_ir_version_for(opsets, ignore_unknown=True)
    made = onnx.helper.make_model(
        proto, opset_imports=opsets, producer_name="convmat", ir_version=max(OLDEST_IR, newest)
    )
    try:
        made = onnx.shape_inference.infer_shapes(made)  # which fills in what is not declared of the outputs
        _check(onnx, made)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        said = " ".join(str(error).split())[:300]
        raise NetworkError(f"to_onnx: onnx refuses the model\n  {said}") from error
    return made


def _check(onnx: Any, model: Any) -> None:
    """Let onnx check the model, whose outputs may have shapes that nobody knows: Paddle's exporter leaves them out."""
    unknown = [each.type.tensor_type for each in model.graph.output if each.type.HasField("tensor_type")]
    unknown = [each for each in unknown if each.elem_type and not each.HasField("shape")]
    for each in unknown:
        each.shape.SetInParent()  # onnx wants a shape, if only one that says nothing
    try:
        onnx.checker.check_model(model)
    finally:
        for each in unknown:
            each.ClearField("shape")


def write(path: str | os.PathLike[str], graph: Graph) -> None:
    """Write the model, beside its place until it is whole. Raises NetworkError and PlanError."""
    data = to_model(graph).SerializeToString()
    with replace_when_whole(path, "to_onnx") as part:
        part.write_bytes(data)


def _graph(onnx: Any, graph: Graph) -> Any:
    nodes = [_node(onnx, node) for node in graph.nodes]
    inputs = [_value(onnx, each) for each in graph.inputs]
    outputs = [_output(onnx, graph, name, at) for at, name in enumerate(graph.outputs)]
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in graph.constants.items()]
    return onnx.helper.make_graph(nodes, graph.name or "network", inputs, outputs, constants)


def _value(onnx: Any, entry: Input) -> Any:
    if entry.kind != "tensor":
        raise NetworkError(f"to_onnx: the input {entry.name!r} is no tensor\n  it is a {entry.kind}")
    kind = number_of(entry.dtype)
    return onnx.helper.make_tensor_value_info(entry.name, kind, entry.shape)


def _output(onnx: Any, graph: Graph, name: str, at: int) -> Any:
    declared = graph.declared[at] if at < len(graph.declared) else None
    if declared is not None:
        return _value(onnx, declared)
    return onnx.helper.make_empty_tensor_value_info(name)


def _node(onnx: Any, node: Node) -> Any:
    if node.captured:
        raise NetworkError(
            f"to_onnx: {node.label} has graphs in its attributes\n  control flow is not written yet"
        )
    attributes = {name: value for name, value in node.attributes.items() if _stays(value)}
    proto = onnx.helper.make_node(node.op, node.inputs, node.outputs, node.name, domain=node.domain)
    proto.attribute.extend(_attribute(onnx, name, value) for name, value in attributes.items())
    return proto


def _stays(value: Any) -> bool:
    return value is not None and not (
        isinstance(value, Sequence) and not value and not isinstance(value, str)
    )


def _attribute(onnx: Any, name: str, value: Any) -> Any:
    if isinstance(value, Graph):
        return onnx.helper.make_attribute(name, _graph(onnx, value))
    if isinstance(value, np.ndarray):
        return onnx.helper.make_attribute(name, onnx.numpy_helper.from_array(value))
    if isinstance(value, np.generic):
        value = value.item()
    return onnx.helper.make_attribute(name, list(value) if isinstance(value, tuple) else value)


__all__ = ["to_model", "write"]
