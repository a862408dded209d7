"""What is known of a network before it runs: Specs of its values, and everything that is constant already computed.

Shape arithmetic disappears here: once the shapes of the inputs are known, so is what Shape gives, and all that follows
from it alone.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import NetworkError
from ..graph import MEMORY_LIMIT, Array, Graph, Node, Spec, Value
from ..ops import Operator, Unknown, operator_of
from ..ops.bodies import taken_branch
from ..ops.fallback import REFERENCE, infer_outputs
from .branches import inline_branch, keep_constants

RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
"""What is computed anew at each call, whatever it reads."""

Specs = dict[str, Spec]
Opened = Callable[[Node], Callable[..., tuple[Value, ...]]]
"""From a node with bodies to what runs it."""


def infer_specs(
    graph: Graph, inputs: Mapping[str, Spec], limit: int = MEMORY_LIMIT, opened: Opened | None = None
) -> tuple[Graph, Specs]:
    """The graph without what is constant, and the Specs of its values; those known only at run time are absent.

    `limit`: bytes that a value may take; `opened` runs nodes with bodies where all they read is constant. An If whose
    condition is constant gives way to its branch. Raises NetworkError, naming the node.
    """
    specs: Specs = dict(inputs) | {name: Spec.of(array) for name, array in graph.constants.items()}
    constants: dict[str, Array] = dict(graph.constants)
    taken: set[str] = set()
    kept: list[Node] = []
    waiting = deque(graph.nodes)
    while waiting:
        node = keep_constants(waiting.popleft(), constants)
        branch = _branch(node, specs)
        if branch is not None:
            taken = taken or {*specs, *(name for each in graph.nodes for name in each.outputs)}
            nodes, own = inline_branch(node, branch, taken)
            constants |= own
            specs |= {name: Spec.of(array) for name, array in own.items()}
            waiting.extendleft(reversed(nodes))
            continue
        found = fold_constants(node, specs, limit, opened)
        if found is not None:
            for name, array in zip(node.outputs, found, strict=False):
                if name:
                    constants[name], specs[name] = array, Spec.of(array)
            continue
        kept.append(node)
        for name, spec in zip(
            node.outputs, node_specs(node, operator_of(node), specs, limit) or (), strict=False
        ):
            if name and spec is not None:
                specs[name] = spec
    return graph.with_nodes(kept, constants).prune(), specs


def outputs_of(graph: Graph, given: Sequence[Spec | None], limit: int) -> list[Spec | None]:
    """What is known of a body's outputs for such inputs: nothing where it would not run, since it may never have to."""
    known = {each.name: spec for each, spec in zip(graph.inputs, given, strict=True) if spec is not None}
    try:
        specs = infer_specs(graph, known, limit)[1]
    except NetworkError:
        return [None] * len(graph.outputs)
    return [_valueless(specs[name]) if name in specs else None for name in graph.outputs]


def _valueless(spec: Spec) -> Spec:
    return Spec(spec.shape, spec.dtype)


def keep_values(specs: Mapping[str, Spec], names: Container[str]) -> Specs:
    """The same Specs; what is known to be in a value stays for those of these names alone, others need no memory."""
    return {
        name: spec if spec.value is None or name in names else _valueless(spec)
        for name, spec in specs.items()
    }


def _branch(node: Node, specs: Specs) -> Graph | None:
    """The branch that an If takes, if that is known."""
    if node.op != "If" or node.domain or node.inputs[0] not in specs:
        return None
    value = specs[node.inputs[0]].value
    return None if value is None else taken_branch(node, value)


def node_specs(
    node: Node, operator: Operator, specs: Specs, limit: int = MEMORY_LIMIT
) -> tuple[Spec | None, ...] | None:
    """The Specs that a node makes; None where they are known only when it runs."""
    if operator.bodies is None and any(name not in specs for name in node.reads):
        return None
    made: tuple[Spec | None, ...]
    try:
        if operator.bodies is not None:
            given = [_valueless(specs[name]) if name in specs else None for name in _operands(node)]
            made = operator.bodies.shape(node, given, lambda graph, own: outputs_of(graph, own, limit))
        else:
            made = operator.shape(node, [specs[name] if name else None for name in node.inputs])
    except Unknown:
        if operator is not REFERENCE:
            return None
        made = infer_outputs(node, [specs[name] if name else None for name in node.inputs])
    except NetworkError:
        raise
    except Exception as error:
        # Attributes and constants of a wrong kind: the rules take them to be what the standard says they are.
        raise node.error(
            f"its attributes or inputs do not fit it\n  {type(error).__name__}: {error}"
        ) from None
    known = [each for each in made if each is not None]
    if any(each.dtype.hasobject for each in known):  # texts have no place in an arena of bytes
        return None
    for each in known:
        if each.bytes > limit:
            raise too_large_error(node, each, limit)
    return made


def _draws(node: Node) -> bool:
    """Whether it is computed anew at each call, or something in its bodies is."""
    bodies = [value for value in node.attributes.values() if isinstance(value, Graph)]
    return node.op in RANDOM or any(_draws(each) for body in bodies for each in body.nodes)


def _operands(node: Node) -> tuple[str, ...]:
    """The names of a node's inputs, those that are omitted too, and of what its bodies read."""
    return (*node.inputs, *node.captured)


def too_large_error(node: Node, spec: Any, limit: int) -> NetworkError:
    """The error for a value that takes more memory than a network may."""
    return node.error(
        f"its result takes too much memory\n  {spec} is {spec.bytes:,} bytes; memory_limit = {limit:,}"
    )


def fold_constants(
    node: Node, specs: Specs, limit: int, opened: Opened | None = None
) -> tuple[Array, ...] | None:
    """The outputs of a node that reads constants alone, or asks only for a shape."""
    if node.op in ("Shape", "Size") and not node.domain and len(node.inputs) == 1 and node.inputs[0] in specs:
        shape = specs[node.inputs[0]].shape
        if node.op == "Size":
            return (np.array(math.prod(shape), np.int64),)
        return (np.array(shape[node.get("start", 0) : node.get("end")], np.int64),)
    values = [specs[name].value if name in specs else None for name in node.reads]
    if any(value is None for value in values) or _draws(node):
        return None
    operator = operator_of(node)
    if operator.bodies is not None and opened is None:
        return None
    node_specs(node, operator, specs, limit)  # says no before anything large is made
    try:
        inputs = [specs[name].value if name else None for name in _operands(node)]
        found = operator(node, inputs) if operator.bodies is None or opened is None else opened(node)(*inputs)
    except NetworkError:
        raise
    except Exception as error:  # the same, with values
        raise node.error(f"its constant inputs do not fit it\n  {type(error).__name__}: {error}") from None
    arrays = [array for array in found if isinstance(array, np.ndarray)]
    return tuple(map(_freeze, arrays)) if len(arrays) == len(found) else None


def _freeze(array: Array) -> Array:
    made = np.ascontiguousarray(array).reshape(array.shape) if array.dtype != object else array
    if made.flags.owndata:
        made.flags.writeable = False
    return made
