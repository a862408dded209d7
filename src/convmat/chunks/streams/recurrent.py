"""Recurrent layers of streams: each block begins with the state that the one before it ended in.

    h, c of the last block, X of this one  --LSTM-->  Y of this one, h, c for the next

They run forwards over the axis that grows. What they end in is known when the signal has ended: nothing may read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...network.graph import Graph, Node, Spec
from ..tiles.parts import Needed, Part, WholeImage, first, others, require_all

STATES = {"RNN": ("h",), "GRU": ("h",), "LSTM": ("h", "c")}
"""The states of each kind of layer, in the order of its inputs and outputs."""

OUTSIDE = {"CausalConvWithState": (3, 1), **{op: (5, len(states)) for op, states in STATES.items()}}
"""Where the states that come from outside stand among the inputs of a node, and how many there are."""

LENGTHS, INITIAL = 4, 5
"""Where the lengths of sequences and the first of the initial states stand among the inputs."""


def is_recurrent(node: Node) -> bool:
    """Whether a node carries a state from step to step."""
    return not node.domain and node.op in STATES


def time_axis(node: Node) -> int:
    """The axis of X, and of Y, that steps lie along."""
    return 1 if node.get("layout", 0) else 0


def recurrent_parts(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """The same steps of X. Raises WholeImage where others have a say in them."""
    time, x = time_axis(node), first(inputs)
    direction = node.get("direction", "forward")
    if direction != "forward":
        raise WholeImage(f"runs backwards over time (direction = {direction!r})")
    if len(inputs) > LENGTHS and inputs[LENGTHS] is not None:
        raise WholeImage("has sequence_lens, which say where each sequence of a batch ends")
    require_all([a for a in range(out.rank) if a != time], out, part)
    steps = tuple(part[time] if a == time else (0, n) for a, n in enumerate(x.shape))
    return Needed((steps, *others(inputs)), part)


def states_of(node: Node) -> tuple[str, ...]:
    """How a stream calls the states that a node carries over: by what it makes."""
    return tuple(f"{node.outputs[0]}/{name}" for name in STATES[node.op])


def state_shape(node: Node, out: Spec) -> tuple[int, ...]:
    """The shape of each of them: that of Y at one step."""
    return tuple(n for a, n in enumerate(out.shape) if a != time_axis(node))


def begin_with(node: Node, given: Sequence[str], made: Sequence[str]) -> Node:
    """The node with these values for initial states, where there are any, and these names for its last ones."""
    inputs = [*node.inputs, *[""] * (INITIAL + 2 - len(node.inputs))]
    inputs[INITIAL : INITIAL + len(given)] = given
    while not inputs[-1]:
        inputs.pop()
    return replace(node, inputs=tuple(inputs), outputs=(node.outputs[0], *made))


def without_states(node: Node, graph: Graph) -> tuple[Node, set[str], set[str]]:
    """The node without states that come from outside and go there, and the names of these: those taken, those given.

    What is constant stays: the state that the signal begins with. So does what is an output of the network although
    nothing comes from outside: the state that the signal ends in.
    """
    if node.domain or node.op not in OUTSIDE:
        return node, set(), set()
    at, count = OUTSIDE[node.op]
    states = [name for name in node.inputs[at : at + count] if name]
    given = {name for name in states if name not in graph.constants and not graph.producer.get(name)}
    asked = set() if given else set(graph.outputs)
    back = {name for name in node.outputs[1:] if name and not graph.readers.get(name) and name not in asked}
    inputs = tuple("" if name in given else name for name in node.inputs)
    outputs = (
        node.outputs if any(name and name not in back for name in node.outputs[1:]) else node.outputs[:1]
    )
    return replace(node, inputs=inputs, outputs=outputs), given, back


__all__ = [
    "begin_with",
    "is_recurrent",
    "recurrent_parts",
    "state_shape",
    "states_of",
    "without_states",
]
