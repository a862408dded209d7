"""Loop and SequenceMap: a body run turn after turn; what each turn gives beside what it carries on is gathered.

    Loop          body(i, condition, *state) -> condition, *state, *rows;  the rows of all turns along a new first axis
    SequenceMap   body(each tensor of a sequence) -> one tensor of each sequence that it gives

State may change its shape from turn to turn: the body is prepared for each set of shapes, and remembered. Turns are
counted, and so is the memory that rows take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np

from ..graph import Array, Graph, Node, Spec, Value
from .base import Around, Bodies, Inside, Specs
from .bodies import (
    body_of,
    captured_specs,
    close_body,
    describe_value,
    enter_with_bodies,
    read_condition,
    tensor_specs,
)

MOST_TURNS = 100_000
"""Turns that the loops of one node may take in one call, those within others counted each time: some seconds."""

_turns: ContextVar[list[int] | None] = ContextVar("turns", default=None)
"""How many were taken since the outermost node with loops began."""


@contextmanager
def count_turns() -> Iterator[list[int]]:
    """The count of turns, which begins at 0 outside of all loops."""
    count = _turns.get()
    if count is not None:
        yield count
        return
    token = _turns.set([0])
    try:
        yield _turns.get() or [0]
    finally:
        _turns.reset(token)


class TurnRows:
    """What the turns give of one output, of one shape and within the memory of a value."""

    def __init__(self, node: Node, limit: int) -> None:
        self.node, self.limit, self.bytes = node, limit, 0
        self.arrays: list[Array] = []

    def add(self, value: Value) -> None:
        """The row of a turn. Raises NetworkError."""
        first = self.arrays[0] if self.arrays else value
        alike = isinstance(value, np.ndarray) and isinstance(first, np.ndarray)
        if not alike or (value.shape, value.dtype) != (first.shape, first.dtype):  # type: ignore[union-attr]
            raise self.node.error(
                f"its turns give rows that cannot be joined\n  {describe_value(first)} and {describe_value(value)}"
            )
        assert isinstance(value, np.ndarray)
        self.bytes += value.nbytes
        if self.bytes > self.limit:
            raise self.node.error(
                f"what its turns give takes too much memory\n  {self.bytes:,} bytes after "
                f"{len(self.arrays) + 1:,} turns; memory_limit = {self.limit:,}"
            )
        self.arrays.append(value)

    def stack_rows(self, empty: Callable[[], Spec]) -> Array:
        """All rows along a new first axis; `empty` says of which shape they would be if there are none."""
        if self.arrays:
            return np.stack(self.arrays)
        spec = empty()
        return np.empty((0, *spec.shape), spec.dtype)


def row_of(node: Node, graph: Graph, known: Sequence[Spec | None], at: int) -> Spec:
    """The Spec of a body's output that no turn gave: as it is known, else as it is declared, 0 for open extents."""
    spec, said = known[at], graph.declared[at] if graph.declared else None
    if spec is not None:
        return spec
    if said is None:
        raise node.error(
            f"it takes no turn, and its body does not say of which type {graph.outputs[at]!r} would be\n"
            "  export it with the types of its outputs"
        )
    return Spec(tuple(n if isinstance(n, int) else 0 for n in said.shape or ()), said.dtype)


def settle_specs(
    graph: Graph, carried: Specs, more: Specs, inside: Inside
) -> tuple[list[Spec | None], list[Spec | None]]:
    """What is known of state after any number of turns, and of a turn's other outputs.

    The body's inputs are the state and `more`.
    """
    state = list(carried)
    while True:
        found = inside(graph, [*state, *more])
        after = found[: len(state)]
        kept = [a if a == b else None for a, b in zip(state, after, strict=True)]
        if kept == state:
            return state, found[len(state) :]
        state = kept


# -- Loop --------------------------------------------------------------------------------------------------------------

TURN, GO = Spec((), np.dtype(np.int64)), Spec((), np.dtype(bool))


def _loop_body(node: Node) -> tuple[Graph, int]:
    """The body, and how many values it carries on."""
    count = max(len(node.inputs) - 2, 0)
    return body_of(node, "body", 2 + count, 1 + len(node.outputs)), count


def _loop_shape(node: Node, specs: Specs, inside: Inside) -> tuple[Spec | None, ...]:
    """What is carried on is known if a turn keeps its shape; how many rows there are is not."""
    graph, count = _loop_body(node)
    go = specs[1] if len(node.inputs) > 1 and node.inputs[1] else GO
    carried, more = [go, *specs[2 : 2 + count]], captured_specs(node, graph, specs)
    state, _ = settle_specs(graph, carried, more, lambda body, given: inside(body, [TURN, *given]))
    return (*state[1:], *[None] * (len(node.outputs) - count))


def _open_loop(node: Node, about: Around) -> Callable[..., tuple[Value, ...]]:
    graph, count = _loop_body(node)
    body = close_body(node, graph, about)

    def run(*values: Value) -> tuple[Value, ...]:
        own, captured = [*values[: len(node.inputs)], None, None], values[len(node.inputs) :]
        most, go, state = _trips(node, own[0]), own[1], list(own[2 : 2 + count])
        if go is None:
            go = np.array(True)
        rows = [TurnRows(node, about.limit) for _ in node.outputs[count:]]
        turn = 0
        with count_turns() as taken:
            while read_condition(node, go, "condition") and (most is None or turn < most):
                taken[0] += 1
                if taken[0] > MOST_TURNS:
                    raise _endless_error(node, most)
                go, *found = body([np.array(turn, np.int64), go, *state], captured)
                state = found[:count]
                for each, value in zip(rows, found[count:], strict=True):
                    each.add(value)
                turn += 1

        def empty(at: int) -> Spec:
            given = [TURN, *tensor_specs([go, *state]), *captured_specs(node, graph, tensor_specs(values))]
            return row_of(node, graph, about.specs(graph, given), at)

        joined = [each.stack_rows(partial(empty, 1 + count + i)) for i, each in enumerate(rows)]
        return (*state, *joined)

    return run


def _trips(node: Node, value: Value) -> int | None:
    """The trip count, None where it is omitted."""
    if value is None:
        return None
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise node.error(f"its trip count is not one number\n  {describe_value(value)}")
    return int(value.reshape(()))


def _endless_error(node: Node, most: int | None) -> Any:
    return node.error(
        f"a Loop takes too many turns\n  trip count {'none' if most is None else f'{most:,}'}; "
        f"at most {MOST_TURNS:,} turns are taken in a call\n"
        f"  give a smaller trip count, or export the model with its loops unrolled"
    )


enter_with_bodies("Loop", Bodies(_loop_shape, _open_loop))


# -- SequenceMap -------------------------------------------------------------------------------------------------------


def _open_map(node: Node, about: Around) -> Callable[..., tuple[Value, ...]]:
    graph = body_of(node, "body", len(node.inputs), len(node.outputs))
    body = close_body(node, graph, about)

    def run(*values: Value) -> tuple[Value, ...]:
        own, captured = values[: len(node.inputs)], values[len(node.inputs) :]
        first = own[0]
        if not isinstance(first, list) or any(isinstance(v, list) and len(v) < len(first) for v in own):
            raise node.error(
                f"its inputs are no sequences of one length\n  {', '.join(map(describe_value, own))}"
            )
        made: list[list[Array]] = [[] for _ in node.outputs]
        with count_turns():
            for i in range(len(first)):
                given = [v[i] if isinstance(v, list) else v for v in own]
                for several, value in zip(made, body(given, captured), strict=True):
                    if not isinstance(value, np.ndarray):
                        raise node.error(f"its body gives what is no tensor\n  {describe_value(value)}")
                    several.append(value)
        return tuple(made)

    return run


enter_with_bodies("SequenceMap", Bodies(lambda node, specs, inside: (None,) * len(node.outputs), _open_map))
