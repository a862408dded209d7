"""Convolutions computed depth first: a strip of rows of each in turn; what one hands to the next stays in cache.

    x -> conv -> h -> conv -> d -> conv -> y        h and d: read by nobody else, and more than a cache holds

Layer by layer, h is written to memory and read again. Here the rows of y are cut into strips; for each strip the rows
of d and of h that it depends on are computed, in scratch that a core's second cache holds, and each thread takes strips
of its own. Rows that two strips need are computed twice. A strip is a block of the whole (`planner.blocks`): the order
of each sum, and so every bit, stays as it is.

Alwani, Chen, Ferdman and Milder, "Fused-layer CNN accelerators", 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...engine import contiguous_strides, host, join_in_turn, peaks, strided_views, thread_pool
from ...errors import ConvmatError, PlanError
from ...geometry import Geometry
from ...lazy_dataclass import dataclass
from ...lowering import find_lowering
from ...planner import Bound, Plan, chosen_way, load_plans, plan_block
from ...planner.jitcost import L3_SHARE, TASK
from ..graph import Array, Graph, Node, Spec
from .planned import Planned

LONGEST = 8
"""Convolutions that are computed together, at most."""

FAR, ROOM = 0.25, 0.5
"""Shares of the second cache: an array that is larger is partly gone from it before it is read; what the layers of a
strip write, beside weights and what comes and goes."""

TWICE = 2
"""How often a byte that is spared would come from further away: when it is written, since lines are read first, and
when it is read."""

LINE = 64
"""Bytes to whose multiple scratch is aligned."""

BlockStep = Callable[[Node, Plan], Any]
"""The step of a node as the plan of a block of it says, or None."""

Place = tuple[slice, ...]
"""The images, channels and rows of a part of an array."""

Span = tuple[int, int]
"""The first row, and the one after the last."""

Key = tuple[int, int, int, int]
"""What tells the plans of blocks apart: layer, rows of x, rows of padding before them, rows of y."""


@dataclass(frozen=True)
class StripPart:
    """A strip of one convolution: its plan with weights, what it reads of the first x and writes of the last y."""

    bound: Bound
    x: Place
    y: Place


@dataclass(frozen=True)
class DepthFirst:
    """The steps of convolutions that follow each other, and strips of them: what each thread does, in its order.

    `between`: bytes of scratch for what each convolution but the last writes of a strip; `beside`: for their kernels.
    """

    steps: tuple[Planned, ...]
    shares: tuple[tuple[tuple[StripPart, ...], ...], ...]
    between: tuple[int, ...]
    beside: int

    @property
    def kernels(self) -> tuple[Any, ...]:
        """What is loaded."""
        parts = (part for share in self.shares for strip in share for part in strip)
        return tuple({id(part.bound): part.bound.plan.program for part in parts}.values())

    @property
    def packed(self) -> dict[int, int]:
        """See HoldsWeights: those that strips have of their own, and those of the whole."""
        parts = (part for share in self.shares for strip in share for part in strip)
        return {part.bound.weights: part.bound.weight_bytes for part in parts}

    @property
    def scratch(self) -> int:
        """Bytes that its jobs need beside the arrays."""
        return len(self.shares) * self._share_bytes

    @property
    def _share_bytes(self) -> int:
        return sum(self.between) + self.beside

    def jobs(self, arrays: Sequence[Sequence[Array]], scratch: int) -> list[Any]:
        """The job of a call with the arrays of each of its steps, inputs first; what is handed on is not looked at."""
        x, _, _ = self.steps[0].order(arrays[0])
        _, residual, y = self.steps[-1].order(arrays[-1])
        rows = []
        for number, share in enumerate(self.shares):
            at = scratch + number * self._share_bytes
            rows.append([job for strip in share for job in self._strip(strip, x, residual, y, at)])
        return [join_in_turn(rows, len(rows))]

    def _strip(
        self, strip: Sequence[StripPart], x: Array, residual: Array | None, y: Array, scratch: int
    ) -> Iterator[Any]:
        beside, given, added = scratch + sum(self.between), x[strip[0].x], None
        for part, size in zip(strip, (*self.between, 0), strict=True):
            if part is strip[-1]:
                made, added = y[part.y], None if residual is None else residual[part.y]
            else:
                made = _array_at(scratch, part.bound.plan)
            yield from part.bound.part_jobs(given, added, made, beside)
            given, scratch = made, scratch + size


def _array_at(at: int, plan: Any) -> Array:
    """What a plan writes, at an address."""
    shape, dtype = plan.problem.shape("y"), np.dtype(plan.problem.out_dtype)
    return strided_views.array_at(at, shape, contiguous_strides(shape, dtype.itemsize), dtype)


# -- finding them in a graph -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FusedLayer:
    """A convolution as strips see it: along its first axis y[p] reads x from p*s - lo on, `reach` of them."""

    node: Node
    step: Planned
    seconds: float
    y_bytes: int

    @staticmethod
    def of(node: Node, step: Planned) -> FusedLayer:
        """The layer of a step whose time is predicted."""
        problem, cost = step.plan.problem, step.plan.chosen.cost
        assert cost is not None
        size = math.prod(problem.shape("y")) * np.dtype(problem.out_dtype).itemsize
        return FusedLayer(node, step, cost.seconds, size)

    @property
    def geometry(self) -> Geometry:
        """Geometry of the whole layer."""
        return self.step.plan.problem.geometry

    def read(self, start: int, stop: int) -> Span:
        """The rows of x that rows of y depend on, as far as there are any; as `Geometry.block` has it."""
        g = self.geometry
        first, last = start * g.s[0] - g.lo[0], (stop - 1) * g.s[0] - g.lo[0] + g.reach[0]
        begin = min(max(first, 0), g.I[0] - 1)
        return begin, max(min(last, g.I[0]), begin + 1)


@dataclass(frozen=True)
class FusedGroup:
    """Layers, at these places of a graph, that are computed together in strips of so many rows: what that saves."""

    places: tuple[int, ...]
    layers: tuple[FusedLayer, ...]
    rows: int
    saved: float


def find_groups(graph: Graph, specs: Mapping[str, Spec], steps: Mapping[int, Any]) -> list[FusedGroup]:
    """The convolutions that are predicted to be quicker depth first; `steps` by the identity of their nodes."""
    found: list[FusedGroup] = []
    for run in _find_runs(graph, specs, steps):
        layers = [FusedLayer.of(graph.nodes[at], steps[id(graph.nodes[at])]) for at in run]
        found += _choose_groups(run, layers)
    return found


def _find_runs(graph: Graph, specs: Mapping[str, Spec], steps: Mapping[int, Any]) -> Iterator[list[int]]:
    """Places of convolutions that follow each other, each the only one to read what the one before makes.

    Only the last of them may add a residual, which lies as y does.
    """
    run: list[int] = []
    for at, node in enumerate(graph.nodes):
        plain = _is_plain(node, steps.get(id(node)), specs)
        if run:
            before = graph.nodes[run[-1]]
            follows = graph.only_reader(before.outputs[0]) is node and node.inputs[0] == before.outputs[0]
            if not plain or not follows or steps[id(before)].plan.problem.epilogue.residual:
                yield run
                run = []
        if plain:
            run.append(at)
    if run:
        yield run


def _is_plain(node: Node, step: Any, specs: Mapping[str, Spec]) -> bool:
    """Whether a node is a convolution on the jit, strips of which are blocks that read and write where they lie."""
    if type(step) is not Planned or node.op != "Conv" or node.domain:
        return False
    problem, chosen = step.plan.problem, step.plan.chosen
    g = problem.geometry
    return (
        chosen.engine == "jit"
        and chosen.cost is not None
        and problem.pad is None
        and not problem.counted
        and set(g.e) == {1}
        and set(find_lowering(chosen.lowering).tile(g)) == {1}
        and specs[node.inputs[0]].shape == problem.shape("x") == (g.B, g.C, *g.I)
        and specs[node.outputs[0]].shape == problem.shape("y") == (g.B, g.O, *g.P)
    )


def _choose_groups(places: Sequence[int], layers: Sequence[FusedLayer]) -> list[FusedGroup]:
    """Which of layers in a row to compute together: the cuts that save most of all, found from the first layer on."""
    best = [(0.0, list[FusedGroup]())]
    for end in range(1, len(layers) + 1):
        saved, groups = best[-1]
        for begin in range(max(0, end - LONGEST), end - 1):
            together = tuple(layers[begin:end])
            rows, more = _weigh(together)
            if best[begin][0] + more > saved:
                saved = best[begin][0] + more
                groups = [*best[begin][1], FusedGroup(tuple(places[begin:end]), together, rows, more)]
        best.append((saved, groups))
    return best[-1][1]


def _weigh(layers: Sequence[FusedLayer]) -> tuple[int, float]:
    """Rows of a strip that a core's second cache holds, and the seconds that strips are predicted to save.

    Arrays that are handed on are neither written to where it takes long to fetch them nor fetched; rows that two strips
    need are computed twice, and each layer is begun as often as there are strips.
    """
    threads, last = thread_pool.count(), layers[-1].geometry
    spared = sum(n for layer in layers[:-1] if (n := layer.y_bytes) > host().l2 * threads * FAR)
    rows = _most_rows(layers, host().l2 * ROOM) if spared and math.prod(last.y_shape) else 0
    if rows == 0:
        return 0, 0.0
    rates, again, begun = peaks(threads), 0.0, 0
    for layer, spans in zip(layers, zip(*_all_spans(layers, rows), strict=True), strict=True):
        again += layer.seconds * (sum(b - a for a, b in spans) / layer.geometry.P[0] - 1)
        begun += len(spans) * last.B
    held = sum(layer.y_bytes for layer in layers)
    rate = rates.l3_bandwidth if held < host().l3 * L3_SHARE else rates.memory_bandwidth
    return rows, TWICE * spared / rate - again - begun * TASK / rates.fma_flops


def _most_rows(layers: Sequence[FusedLayer], room: float) -> int:
    """Rows of the last y in a strip, at most, with which all that its layers write fits a cache; 0 if none do.

    Strips are of one height, as near as can be, and no fewer than threads.
    """
    g, threads = layers[-1].geometry, thread_pool.count()
    step = 1 if g.B % threads == 0 else threads
    for count in range(step, g.P[0] + step, step):
        rows = -(-g.P[0] // count)
        start = (g.P[0] - rows) // 2
        spans = _spans(layers, start, start + rows)
        written = (
            (layer.y_bytes / (layer.geometry.P[0] * g.B), b - a)
            for layer, (a, b) in zip(layers, spans, strict=True)
        )
        if sum(size * rows_of for size, rows_of in written) <= room:
            return rows
    return 0


def _all_spans(layers: Sequence[FusedLayer], rows: int) -> list[list[Span]]:
    """The spans of each strip of an image."""
    count = layers[-1].geometry.P[0]
    return [_spans(layers, row, min(row + rows, count)) for row in range(0, count, rows)]


def _spans(layers: Sequence[FusedLayer], start: int, stop: int) -> list[Span]:
    """The rows of each layer's y that rows of the last one depend on."""
    found = [(start, stop)]
    for layer in reversed(layers[1:]):
        found.append(layer.read(*found[-1]))
    return found[::-1]


# -- preparing them ----------------------------------------------------------------------------------------------------


def weave_layers(group: FusedGroup, block_step: BlockStep) -> DepthFirst | None:
    """Strips of a group with their plans bound; None where one of them cannot be had. `block_step` prepares steps."""
    layers, plans = group.layers, dict[Key, Plan]()
    try:
        strips = [(_plan_strip(layers, spans, plans), spans) for spans in _all_spans(layers, group.rows)]
    except ConvmatError:  # a block that the whole's way refuses, or that lies as no kernel reads it
        return None
    load_plans([*plans.values()])
    bound: dict[Key, Bound] = {}
    for key, plan in plans.items():
        step = block_step(layers[key[0]].node, plan)
        if type(step) is not Planned or step.plan is not plan:
            return None
        bound[key] = step.bound
    first, last = layers[0], layers[-1].geometry
    images = [slice(b, b + 1) for b in range(last.B)]
    every = slice(None)
    parts = [
        tuple(
            StripPart(bound[key], (image, every, slice(*first.read(*spans[0]))), (image, every, slice(*span)))
            for key, span in zip(keys, spans, strict=True)
        )
        for image in images
        for keys, spans in strips
    ]
    threads = min(thread_pool.count(), len(parts))
    ends = [len(parts) * i // threads for i in range(threads + 1)]
    size = [0] * len(layers)
    for (at, *_), plan in plans.items():
        count = math.prod(plan.problem.shape("y")) * np.dtype(plan.problem.out_dtype).itemsize
        size[at] = max(size[at], _whole_lines(count))
    beside = max(_whole_lines(each.part_scratch) for each in bound.values())
    shares = tuple(tuple(parts[a:b]) for a, b in pairwise(ends))
    return DepthFirst(tuple(layer.step for layer in layers), shares, tuple(size[:-1]), beside)


def _plan_strip(layers: Sequence[FusedLayer], spans: Sequence[Span], plans: dict[Key, Plan]) -> list[Key]:
    """The keys of a strip's blocks among the plans, to which those that are new are added."""
    keys: list[Key] = []
    for at, (layer, (start, stop)) in enumerate(zip(layers, spans, strict=True)):
        g = layer.geometry
        begin, after = layer.read(start, stop)
        key = (at, after - begin, begin - start * g.s[0] + g.lo[0], stop - start)
        keys.append(key)
        if key not in plans:
            plans[key] = _plan_block(layer, start, stop, at == 0, at == len(layers) - 1)
    return keys


def _plan_block(layer: FusedLayer, start: int, stop: int, reads_part: bool, writes_part: bool) -> Plan:
    """The plan of rows of a layer, of one image. Raises ConvmatError."""
    g, problem = layer.geometry, layer.step.plan.problem
    block = g.block((start, *(0,) * (g.rank - 1)), (stop, *g.P[1:]), (0, 1))
    x_in = (1, *problem.shape("x")[1:]) if reads_part else None
    y_in = (1, *problem.shape("y")[1:]) if writes_part else None
    way = chosen_way(layer.step.plan.decision)
    plan = plan_block(problem.of_block(block.geometry), way, 1, x_in, y_in)
    wanted = {name for name, shape in (("x", x_in), ("y", y_in)) if shape is not None}
    if plan.chosen.engine != "jit" or set(plan.program.around) != wanted:
        raise PlanError(f"{layer.node.label}: its blocks are read and written in copies")
    return plan


def _whole_lines(size: int) -> int:
    return -(-size // LINE) * LINE


__all__ = ["DepthFirst", "FusedGroup", "FusedLayer", "find_groups", "weave_layers"]
