"""What is known of a network before it runs: Specs of its values, and everything that is constant already computed.

Shape arithmetic disappears here: once the shapes of the inputs are known, so is what Shape gives, and all that follows
from it alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import NetworkError
from .graph import Array, Graph, Node, Spec
from .ops import Operator, Unknown, operator_of
from .ops.fallback import expected

RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
"""What is computed anew at each call, whatever it reads."""

MEMORY_LIMIT = 8 * 2**30
"""Bytes that one value of a network may take, unless it is loaded with another limit."""

Specs = dict[str, Spec]


def inferred(graph: Graph, inputs: Mapping[str, Spec], limit: int = MEMORY_LIMIT) -> tuple[Graph, Specs]:
    """The graph without what is constant, and the Specs of its values; those known only at run time are absent.

    `limit`: bytes that a value may take. Raises NetworkError, naming the node.
    """
    specs: Specs = dict(inputs) | {name: Spec.of(array) for name, array in graph.constants.items()}
    constants: dict[str, Array] = dict(graph.constants)
    kept: list[Node] = []
    for node in graph.nodes:
        found = folded(node, specs, limit)
        if found is not None:
            for name, array in zip(node.outputs, found, strict=False):
                if name:
                    constants[name], specs[name] = array, Spec.of(array)
            continue
        kept.append(node)
        for name, spec in zip(
            node.outputs, shapes(node, operator_of(node), specs, limit) or (), strict=False
        ):
            if name:
                specs[name] = spec
    return graph.with_nodes(kept, constants).needed(), specs


def shapes(
    node: Node, operator: Operator, specs: Specs, limit: int = MEMORY_LIMIT
) -> tuple[Spec, ...] | None:
    """The Specs that a node makes; None where they are known only when it runs."""
    if any(name not in specs for name in node.reads):
        return None
    try:
        made = operator.shape(node, [specs[name] if name else None for name in node.inputs])
    except Unknown:
        for spec in expected(node, [specs[name] if name else None for name in node.inputs]):
            if spec.bytes > limit:
                raise too_large(node, spec, limit) from None
        return None
    except NetworkError:
        raise
    except Exception as error:
        # Attributes and constants of a wrong kind: the rules take them to be what the standard says they are.
        raise node.error(
            f"its attributes or inputs do not fit it\n  {type(error).__name__}: {error}"
        ) from None
    if any(spec.dtype.hasobject for spec in made):  # texts have no place in an arena of bytes
        return None
    for spec in made:
        if spec.bytes > limit:
            raise too_large(node, spec, limit)
    return made


def too_large(node: Node, spec: Any, limit: int) -> NetworkError:
    """The error for a value that takes more memory than a network may."""
    return node.error(
        f"its result takes too much memory\n  {spec} is {spec.bytes:,} bytes; memory_limit = {limit:,}"
    )


def folded(node: Node, specs: Specs, limit: int) -> tuple[Array, ...] | None:
    """The outputs of a node that reads constants alone, or asks only for a shape."""
    if node.op in ("Shape", "Size") and not node.domain and len(node.inputs) == 1 and node.inputs[0] in specs:
        shape = specs[node.inputs[0]].shape
        if node.op == "Size":
            return (np.array(math.prod(shape), np.int64),)
        return (np.array(shape[node.get("start", 0) : node.get("end")], np.int64),)
    values = [specs[name].value if name in specs else None for name in node.reads]
    if node.op in RANDOM or any(value is None for value in values):
        return None
    operator = operator_of(node)
    shapes(node, operator, specs, limit)  # says no before anything large is made
    try:
        inputs = [specs[name].value if name else None for name in (*node.inputs, *node.captured)]
        found = operator(node, inputs)
    except NetworkError:
        raise
    except Exception as error:  # the same, with values
        raise node.error(f"its constant inputs do not fit it\n  {type(error).__name__}: {error}") from None
    return tuple(_frozen(array) for array in found)


def _frozen(array: Array) -> Array:
    made = np.ascontiguousarray(array).reshape(array.shape) if array.dtype != object else array
    if made.flags.owndata:
        made.flags.writeable = False
    return made
