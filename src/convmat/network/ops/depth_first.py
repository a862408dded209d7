"""Convolutions computed depth first: a strip of rows of each in turn, so that what one hands to the next stays in cache.

    x -> conv -> h -> conv -> d -> conv -> y        h and d: read by nobody else, and more than a cache holds

Layer by layer, h is written to memory and read again. Here the rows of y are cut into strips; for each strip the rows
of d and of h that it depends on are computed, in scratch that a core's second cache holds, and each thread takes strips
of its own. Rows where strips meet are computed by both. A strip is a block of the whole (`planner.blocks`): the order of
each sum, and so every bit, stays as it is.

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
from ...geometry import Block, Geometry
from ...lazy_dataclass import dataclass
from ...lowering import find_lowering
from ...planner import Bound, Plan, chosen_way, load_plans, plan_block
from ...planner.jitcost import L2_SHARE, L3_SHARE, TASK
from ..graph import Array, Graph, Node, Shape, Spec
from .planned import Planned

LONGEST = 8
"""Convolutions that are computed together, at most."""

LINE = 64
"""Bytes to whose multiple scratch is aligned."""

BlockStep = Callable[[Node, Plan], Any]
"""The step of a node as the plan of a block of it says, or None."""


@dataclass(frozen=True)
class Part:
    """A strip of one convolution: its plan, and the rows it reads and writes, of one image: (batch, rows) slices."""

    bound: Bound
    x: tuple[slice, ...]
    y: tuple[slice, ...]


@dataclass(frozen=True)
class DepthFirst:
    """The steps of convolutions that follow each other, and strips of them: what each thread does, in its order.

    `between`: bytes of scratch for what each convolution but the last writes of a strip; `beside`: for their kernels.
    """

    steps: tuple[Planned, ...]
    shares: tuple[tuple[tuple[Part, ...], ...], ...]
    between: tuple[int, ...]
    beside: int

    @property
    def kernels(self) -> tuple[Any, ...]:
        """What is loaded."""
        parts = (part for share in self.shares for strip in share for part in strip)
        return tuple({id(part.bound.plan): part.bound.plan.program for part in parts}.values())

    @property
    def rows(self) -> int:
        """Rows of the last convolution in a strip, at most."""
        return max(strip[-1].y[2].stop - strip[-1].y[2].start for share in self.shares for strip in share)

    @property
    def _share_bytes(self) -> int:
        return sum(self.between) + self.beside

    @property
    def scratch(self) -> int:
        """Bytes that its jobs need beside the arrays."""
        return len(self.shares) * self._share_bytes

    def jobs(self, arrays: Sequence[Sequence[Array]], scratch: int) -> list[Any]:
        """The job of a call with the arrays of each of its steps, inputs first."""
        x, _, _ = self.steps[0].order(arrays[0])
        _, residual, y = self.steps[-1].order(arrays[-1])
        rows = [
            [job for strip in share for job in self._strip(strip, x, residual, y, scratch + i * self._share_bytes)]
            for i, share in enumerate(self.shares)
        ]
        return [join_in_turn(rows, len(rows))]

    def _strip(
        self, strip: Sequence[Part], x: Array, residual: Array | None, y: Array, scratch: int
    ) -> Iterator[Any]:
        beside, given = scratch + sum(self.between), x[strip[0].x]
        for part, size in zip(strip, (*self.between, 0), strict=True):
            last = part is strip[-1]
            made = y[part.y] if last else _array_at(scratch, part.bound.plan)
            added = residual[part.y] if last and residual is not None else None
            yield from part.bound.part_jobs(given, added, made, beside)
            given, scratch = made, scratch + size


def _array_at(at: int, plan: Any) -> Array:
    """The array at an address that a plan's y is."""
    shape, dtype = plan.problem.shape("y"), np.dtype(plan.problem.out_dtype)
    return strided_views.array_at(at, shape, contiguous_strides(shape, dtype.itemsize), dtype)


# -- finding them in a graph -------------------------------------------------------------------------------------------


def weave_layers(
    graph: Graph, specs: Mapping[str, Spec], steps: Sequence[Any], block_step: BlockStep
) -> dict[tuple[int, ...], DepthFirst]:
    """The convolutions that are quicker depth first, by the places of their nodes, which follow each other.

    `steps`: those of the graph's nodes; `block_step` prepares the step of a block.
    """
    found: dict[tuple[int, ...], DepthFirst] = {}
    for places in _find_runs(graph, specs, steps):
        layers = [_Layer.of(graph.nodes[at], steps[at]) for at in places]
        for begin, end, rows in _choose_groups(layers):
            made = _prepare(layers[begin:end], rows, block_step)
            if made is not None:
                found[places[begin:end]] = made
    return found


@dataclass(frozen=True)
class _Layer:
    node: Node
    step: Planned
    geometry: Geometry
    seconds: float
    y_bytes: int

    @staticmethod
    def of(node: Node, step: Planned) -> _Layer:
        problem, cost = step.plan.problem, step.plan.chosen.cost
        size = math.prod(problem.shape("y")) * np.dtype(problem.out_dtype).itemsize
        return _Layer(node, step, problem.geometry, cost.seconds if cost else math.inf, size)


def _find_runs(graph: Graph, specs: Mapping[str, Spec], steps: Sequence[Any]) -> Iterator[tuple[int, ...]]:
    """Places of convolutions that follow each other, each the only one to read what the one before makes.

    Only the last of them may add a residual, which lies as y does.
    """
    run: list[int] = []
    for at, (node, step) in enumerate(zip(graph.nodes, steps, strict=True)):
        if run:
            before = graph.nodes[run[-1]]
            follows = graph.only_reader(before.outputs[0]) is node and node.inputs[0] == before.outputs[0]
            if not follows or steps[run[-1]].plan.problem.epilogue.residual or not _is_plain(node, step, specs):
                yield from (tuple(run) for _ in run[1:2])
                run = []
        if run or _is_plain(node, step, specs):
            run.append(at)
    yield from (tuple(run) for _ in run[1:2])


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


def _choose_groups(layers: Sequence[_Layer]) -> list[tuple[int, int, int]]:
    """Which of layers in a row to compute together: (first, one after the last, rows of a strip), where that is quicker.

    The cuts that save most of all, found from the first layer on.
    """
    saved, found = [0.0], [list[tuple[int, int, int]]()]
    for end in range(1, len(layers) + 1):
        best, groups = saved[-1], found[-1]
        for begin in range(max(0, end - LONGEST), end - 1):
            rows, gain = _weigh(layers[begin:end])
            if saved[begin] + gain > best:
                best, groups = saved[begin] + gain, [*found[begin], (begin, end, rows)]
        saved.append(best)
        found.append(groups)
    return found[-1]


def _weigh(layers: Sequence[_Layer]) -> tuple[int, float]:
    """Rows of a strip that a core's second cache holds, and the seconds that strips are predicted to save.

    What is not written to where others have to fetch it is not waited for; what strips share is computed again.
    """
    threads = thread_pool.count()
    rates, last = peaks(threads), layers[-1].geometry
    far = [layer.y_bytes for layer in layers[:-1] if layer.y_bytes > host().l2 * threads * FAR]
    if not far or not last.P or min(last.P) == 0:
        return 0, 0.0
    rows = _most_rows(layers, host().l2 * ROOM)
    if rows == 0:
        return 0, 0.0
    strips = list(_cut(last, rows))
    again, tasks = 0.0, 0
    for layer, blocks in zip(layers, zip(*(_blocks(layers, strip) for strip in strips), strict=True), strict=True):
        computed = sum(block.geometry.P[0] * block.geometry.B for block in blocks)
        again += layer.seconds * (computed / (layer.geometry.P[0] * layer.geometry.B) - 1)
        tasks += len(blocks)
    held = sum(layer.y_bytes for layer in layers)
    rate = rates.l3_bandwidth if held < host().l3 * L3_SHARE else rates.memory_bandwidth
    begun = tasks * TASK / rates.fma_flops
    return rows, GAIN * sum(far) / rate - again - begun


FAR = 0.25
ROOM = 0.5
GAIN = 2.0
"""Share of the second cache: a larger array is partly gone from it before it is read."""


def _most_rows(layers: Sequence[_Layer], room: float) -> int:
    """Rows of the last y in a strip, at most, with which all that a strip writes fits a cache; 0 if none do.

    Strips are of one height, as near as can be, and no fewer than threads.
    """
    g, threads = layers[-1].geometry, thread_pool.count()
    count = -(-threads // g.B)
    while True:
        rows = -(-g.P[0] // count)
        blocks = _blocks(layers, (0, max(0, (g.P[0] - rows) // 2), rows))
        size = sum(
            layer.y_bytes * block.geometry.P[0] / (layer.geometry.P[0] * layer.geometry.B)
            for layer, block in zip(layers, blocks, strict=True)
        )
        if size <= room:
            return rows
        if rows == 1:
            return 0
        count += threads if g.B % threads else 1


Strip = tuple[int, int, int]
"""The image, the first row of the last y, and how many."""


def _cut(g: Geometry, rows: int) -> Iterator[Strip]:
    for image in range(g.B):
        for row in range(0, g.P[0], rows):
            yield image, row, min(rows, g.P[0] - row)


def _blocks(layers: Sequence[_Layer], strip: Strip) -> list[Block]:
    """What a strip needs of each layer, first to last."""
    image, start, count = strip
    stop, found = start + count, list[Block]()
    for layer in reversed(layers):
        g = layer.geometry
        found.append(g.block((start, *(0,) * (g.rank - 1)), (stop, *g.P[1:]), (image, image + 1)))
        start, stop = found[-1].x[0].start, found[-1].x[0].stop
    return found[::-1]


def _prepare(layers: Sequence[_Layer], rows: int, block_step: BlockStep) -> DepthFirst | None:
    """The strips with their plans bound; None where one of them cannot be had."""
    strips = list(_cut(layers[-1].geometry, rows))
    try:
        cut = [list(_plan_strip(layers, strip)) for strip in strips]
    except ConvmatError:  # a block that the whole's way refuses, or that lies as no kernel reads it
        return None
    plans = {id(plan): plan for strip in cut for plan, _, _ in strip}
    load_plans([*plans.values()])
    bound: dict[int, Bound] = {}
    for strip in cut:
        for layer, (plan, _, _) in zip(layers, strip, strict=True):
            if id(plan) not in bound:
                step = block_step(layer.node, plan)
                if type(step) is not Planned or step.plan is not plan:
                    return None
                bound[id(plan)] = step.bound
    parts = [tuple(Part(bound[id(plan)], x, y) for plan, x, y in strip) for strip in cut]
    threads = min(thread_pool.count(), len(parts))
    ends = [len(parts) * i // threads for i in range(threads + 1)]
    between = tuple(
        max(-(-_y_bytes(strip[i][0]) // LINE) * LINE for strip in cut) for i in range(len(layers) - 1)
    )
    beside = max(-(-each.part_scratch // LINE) * LINE for each in bound.values())
    shares = tuple(tuple(parts[a:b]) for a, b in pairwise(ends))
    return DepthFirst(tuple(layer.step for layer in layers), shares, between, beside)


def _plan_strip(layers: Sequence[_Layer], strip: Strip) -> Iterator[tuple[Plan, tuple[slice, ...], tuple[slice, ...]]]:
    """A strip's plan in each layer, and the part of x that it reads and of y that it writes."""
    image = slice(strip[0], strip[0] + 1)
    blocks = _blocks(layers, strip)
    for at, (layer, block) in enumerate(zip(layers, blocks, strict=True)):
        problem = layer.step.plan.problem
        ends = (at == 0, at == len(layers) - 1)
        x_in, y_in = ((1, *problem.shape(name)[1:]) if end else None for name, end in zip("xy", ends, strict=True))
        way = chosen_way(layer.step.plan.decision)
        plan = plan_block(problem.of_block(block.geometry), way, 1, x_in, y_in)
        wanted = {name: shape for name, shape in (("x", x_in), ("y", y_in)) if shape is not None}
        if plan.chosen.engine != "jit" or plan.program.around.keys() != wanted.keys():
            raise PlanError(f"{layer.node.label}: its blocks are read and written in copies")
        read = block.x[0]
        written = slice(strip[1], strip[1] + strip[2]) if ends[1] else blocks[at + 1].x[0]
        yield plan, (image, slice(None), read), (image, slice(None), written)


def _y_bytes(plan: Plan) -> int:
    return math.prod(plan.problem.shape("y")) * np.dtype(plan.problem.out_dtype).itemsize


__all__ = ["DepthFirst", "weave_layers"]
