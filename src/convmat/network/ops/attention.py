"""Attention kept in cache: a product, a pass over it, softmax and another product, taken a block of rows at a time.

    s = q @ k    (batch, T, S)        t = f(s, ..)        p = softmax of t along S        y = p @ v

Each is a step of its own over whole arrays; rows of s, t and p do not meet, and nobody else reads them. So the jobs of
the four run in turns, those of a block of rows of one matrix after the other, in scratch that a cache holds. The order
of each sum and so all bits stay as they are; what is read meanwhile lives as long as that takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...engine import Sweep, contiguous_strides, elementwise, host, softmax, strided_views, thread_pool
from ...lazy_dataclass import dataclass
from ...planner import Contracted
from ..graph import Array, Graph, Node, Shape, Spec
from .planned import Multiplied, Swept
from .pointwise import expression

FEWEST_ROWS = 64
"""Rows of a block, at least: fewer would pack the other operand too often."""


@dataclass(frozen=True)
class WovenAttention:
    """The steps of one attention with the kernels of a block of `rows` of its scores: (batch, T, S).

    `passed`: the kernel of the pass, and which of its inputs the scores are, if there is one; `side`: which operand of
    the second product they are.
    """

    scores: Spec
    rows: int
    first: Contracted
    passed: tuple[Sweep, int] | None
    softmax: Sweep
    second: Contracted
    side: int

    @property
    def kernels(self) -> tuple[Any, ...]:
        """What is loaded."""
        more = () if self.passed is None else (self.passed[0],)
        return (self.first.program, *more, self.softmax, self.second.program)

    @property
    def _room(self) -> int:
        """Bytes of a block of scores, in whole cache lines."""
        return -(-self.rows * self.scores.shape[-1] * self.scores.dtype.itemsize // 64) * 64

    @property
    def scratch(self) -> int:
        """Bytes that its jobs need beside the arrays."""
        return self._room + max(self.first.scratch, self.second.scratch)

    def jobs(self, arrays: Sequence[Sequence[Array]], scratch: int) -> list[Any]:
        """Jobs of a call with the arrays of each of its steps, inputs first."""
        *batch, T, S = self.scores.shape
        shape = (self.rows, S)
        steps = contiguous_strides(shape, self.scores.dtype.itemsize)
        block = strided_views.array_at(scratch, shape, steps, self.scores.dtype)
        found: list[Any] = []
        for index in np.ndindex(*batch):
            for row in range(0, T, self.rows):
                found += self._block(arrays, block, (*index, row), scratch + self._room)
        return found

    def _block(self, arrays: Sequence[Sequence[Array]], block: Array, at: Shape, scratch: int) -> list[Any]:
        (a, b, _), *middle, _, (c, d, y) = arrays
        jobs = self.first.jobs(a, b, block, scratch, dict(zip(self.first.of.y, at, strict=False)))
        for each in middle:
            assert self.passed is not None
            sweep, own = self.passed
            place = (*at[:-1], slice(at[-1], at[-1] + self.rows))
            inputs = [block if i == own else _part(x, place) for i, x in enumerate(each[:-1])]
            jobs.append(sweep.block([*inputs, block]))
        jobs.append(self.softmax.block([block, block]))
        letters = (self.second.of.a, self.second.of.b)[self.side]
        operands = (block, d) if self.side == 0 else (c, block)
        return jobs + self.second.jobs(*operands, y, scratch, dict(zip(letters, at, strict=False)))


def _part(x: Array, place: tuple[Any, ...]) -> Array:
    """What a block of the scores, at a place that leaves their last axis whole, meets of an array that broadcasts."""
    x = x[(None,) * (len(place) + 1 - x.ndim)]
    own = [
        i if n > 1 else (0 if isinstance(i, int) else slice(None))
        for n, i in zip(x.shape, place, strict=False)
    ]
    found: Array = x[tuple(own)]
    return found


# -- finding it in a graph ---------------------------------------------------------------------------------------------


def weave_attention(
    graph: Graph, specs: Mapping[str, Spec], steps: Mapping[int, Any]
) -> dict[tuple[int, ...], WovenAttention]:
    """The attentions whose scores no cache would keep, by the places of their nodes, which follow each other."""
    found: dict[tuple[int, ...], WovenAttention] = {}
    for at in range(len(graph.nodes)):
        for length in (3, 4):
            places = tuple(range(at, at + length))
            made = _weave_at(
                [graph.nodes[i] for i in places if i < len(graph.nodes)], graph, specs, steps, length
            )
            if made is not None:
                found[places] = made
    return found


def _weave_at(
    nodes: Sequence[Node], graph: Graph, specs: Mapping[str, Spec], steps: Mapping[int, Any], length: int
) -> WovenAttention | None:
    if len(nodes) < length or not all(id(node) in steps for node in nodes) or nodes[-2].op != "Softmax":
        return None
    first, soft, second = (steps[id(nodes[i])] for i in (0, -2, -1))
    products = isinstance(first, Multiplied) and isinstance(second, Multiplied) and isinstance(soft, Swept)
    follows = all(graph.only_reader(a.outputs[0]) is b for a, b in pairwise(nodes))
    if not products or not follows or nodes[-1].outputs[0] in graph.outputs:
        return None
    scores = specs[nodes[0].outputs[0]]
    axis = int(nodes[-2].get("axis", -1)) % scores.rank if scores.rank > 1 else 0
    rows = _rows(scores) if axis == scores.rank - 1 and nodes[-2].version >= 13 else 0
    if not rows or any(specs[node.outputs[0]] != scores for node in nodes[1:-1]):
        return None
    return _of(nodes, scores, rows, specs, first.contracted, second.contracted)


def _rows(scores: Spec) -> int:
    """Rows of a block that the second-level cache holds with room to spare, a divisor of all; 0 for too many or few."""
    T, S = scores.shape[-2:]
    most = host().l2 * 3 // 4 // (S * scores.dtype.itemsize)
    if scores.bytes <= host().l2 or most < FEWEST_ROWS:
        return 0
    found = max(n for n in range(1, min(T, most) + 1) if T % n == 0)
    return found if found >= FEWEST_ROWS else 0


def _of(
    nodes: Sequence[Node],
    scores: Spec,
    rows: int,
    specs: Mapping[str, Spec],
    first: Contracted,
    second: Contracted,
) -> WovenAttention | None:
    side = nodes[-1].inputs.index(nodes[-2].outputs[0])
    letters = (second.of.a, second.of.b)[side][:-1]
    if not {*letters} <= {*second.of.y}:
        return None
    *batch, _ = scores.shape[:-1]
    sizes = (*(1 for _ in batch), rows)
    parts = [
        each.part({c: n for c, n in zip(names, sizes, strict=True) if each.of.extents[c] > 1}, alone)
        for each, names, alone in ((first, first.of.y[:-1], "y"), (second, letters, "ab"[side]))
    ]
    threads, block = thread_pool.count(), (rows, scores.shape[-1])
    line = softmax(block, (1, 2), False, scores.dtype.name, threads)
    passed = _pass_of(nodes, scores, rows, specs, threads) if len(nodes) == 4 else None
    if None in parts or isinstance(line, str) or (len(nodes) == 4 and passed is None):
        return None
    assert parts[0] is not None
    assert parts[1] is not None
    own = nodes[1].inputs.index(nodes[0].outputs[0])
    return WovenAttention(
        scores, rows, parts[0], None if passed is None else (passed, own), Sweep(line), parts[1], side
    )


def _pass_of(
    nodes: Sequence[Node], scores: Spec, rows: int, specs: Mapping[str, Spec], threads: int
) -> Sweep | None:
    """The kernel of the pass between product and softmax on a block of rows."""
    inputs = [specs[name] for name in nodes[1].inputs if name]
    said = expression(nodes[1], inputs)
    if said is None or len(said.inputs) != len(inputs):
        return None
    place = (*(0 for _ in scores.shape[:-2]), slice(0, rows))
    shapes = [_part(np.broadcast_to(np.empty((), np.int8), each.shape), place).shape for each in inputs]
    plan = elementwise(said, shapes, (rows, scores.shape[-1]), threads)
    return None if isinstance(plan, str) else Sweep(plan)


__all__ = ["WovenAttention", "weave_attention"]
