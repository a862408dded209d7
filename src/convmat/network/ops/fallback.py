"""Operators of the table `held`: computed by the reference of the ONNX standard, one node at a time.

Slow, and right as far as the table goes. A network names the nodes that run so. Their shapes are what the standard's
own inference knows.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np

from ..graph import Array, Node, Spec
from . import gradients
from .base import OPERATORS, OWN, OWNED, Operator, Specs, unknown_outputs
from .dtypes import number_of
from .half import AS_THEY_ARE, WIDE, is_half, widen_arrays

LONGEST_SHAPE = 1024
"""Elements of constants that may say how large an output is."""


def operator_of(node: Node) -> Operator:
    """The operator of a node: written here, or the reference's."""
    if node.domain != OWN:
        return OPERATORS.get(node.key, REFERENCE)
    if node.op not in OWNED:
        gradients.enter()
    return OWNED[node.op]


def reference_in_float32(node: Node, *inputs: Array | None) -> tuple[Array, ...]:
    """What the reference computes, half precision taken in float32 and rounded once. Raises NetworkError."""
    half = next((array for array in inputs if is_half(array)), None)
    if half is None or node.op in AS_THEY_ARE:
        return run_reference(node, *inputs)
    found = run_reference(node, *(None if array is None else widen_arrays(array) for array in inputs))
    specs = infer_outputs(node, [None if array is None else Spec.of(array) for array in inputs])
    return tuple(
        each.astype(
            spec.dtype if spec is not None else half.dtype if each.dtype == WIDE else each.dtype, copy=False
        )
        for each, spec in zip(found, specs, strict=True)
    )


def run_reference(node: Node, *inputs: Array | None) -> tuple[Array, ...]:
    """The outputs of a node as the standard's reference computes them. Raises NetworkError."""
    feeds = {
        name: array for name, array in zip(node.inputs, inputs, strict=True) if name and array is not None
    }
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = _session(node.source, node.version, node.domain, tuple(feeds)).run(None, feeds)
    except Exception as error:  # whatever the reference raises, the node does not fit its inputs
        said = " ".join(str(error).split())[:300]
        raise node.error(
            f"the reference of the ONNX standard refuses it\n  {type(error).__name__}: {said}"
        ) from None
    if any(not isinstance(each, np.ndarray | np.generic | int | float | bool) for each in found):
        raise node.error("it gives sequences or maps, and only tensors are passed on here")
    wanted = iter(found)
    return tuple(_plain(np.asarray(next(wanted))) if name else np.empty(0) for name in node.outputs)


def _plain(array: Array) -> Array:
    """Texts as objects, which is what they are everywhere else."""
    return array.astype(object) if array.dtype.kind in "US" else array


def infer_outputs(node: Node, specs: Specs) -> tuple[Spec | None, ...]:
    """What the standard's own inference knows of the outputs."""
    import onnx

    proto = onnx.NodeProto()
    proto.ParseFromString(node.source)
    given = {name: spec for name, spec in zip(node.inputs, specs, strict=True) if name and spec is not None}
    values = {name: s.value for name, s in given.items() if s.value is not None and s.size <= LONGEST_SHAPE}
    try:
        kinds = {name: number_of(spec.dtype) for name, spec in given.items()}
        found = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(node.op, node.version, node.domain),
            proto,
            {
                name: onnx.helper.make_tensor_type_proto(kinds[name], spec.shape)
                for name, spec in given.items()
            },
            {name: onnx.numpy_helper.from_array(value, name) for name, value in values.items()},
            [onnx.helper.make_opsetid(node.domain, node.version)],
        )
        made = {}
        for name, each in found.items():
            kind, extents = each.tensor_type.elem_type, each.tensor_type.shape.dim
            if each.tensor_type.HasField("shape") and all(n.HasField("dim_value") for n in extents):
                shape = tuple(n.dim_value for n in extents)
                made[name] = Spec(shape, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)))
    except Exception:  # what it cannot tell, or thinks wrong, the reference will say when it runs
        return (None,) * len(node.outputs)
    return tuple(made.get(name) for name in node.outputs)


REFERENCE = Operator("the ONNX reference", unknown_outputs, reference_in_float32)


@lru_cache(maxsize=256)
def _session(source: bytes, version: int, domain: str, feeds: tuple[str, ...]) -> Any:
    """An evaluator of one node."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    node = onnx.NodeProto()
    node.ParseFromString(source)
    untyped = [onnx.helper.make_empty_tensor_value_info(name) for name in feeds]
    made = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = onnx.helper.make_graph([node], "one node", untyped, made)
    opsets = [onnx.helper.make_opsetid("", version if domain == "" else onnx.defs.onnx_opset_version())]
    if domain:
        opsets.append(onnx.helper.make_opsetid(domain, version))
    return ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=opsets))
