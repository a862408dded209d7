"""The plan of a convolution of a Dask array: the whole's plan, and below it what the chunks make of it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

from ..arguments import format_shape
from ..planner import Decision, Plan, PlanOptions, dtype_name, dtype_of, request
from ..planner.units import format_bytes, format_seconds
from ..problem import Problem
from .cutting import ChunkCutting, Cuts, chunk_boundaries
from .dask_arrays import Chunked, cut, require_lazy
from .slabs import Slabs

EQUAL = "equal, bit by bit, to the result in memory"


@dataclass(frozen=True)
class ChunkFigures:
    """What a lazy convolution takes: chunks of y, tasks, and bytes of x.

    `largest`: the shape of the largest chunk of y. `read`: bytes of x that blocks are put together from, counted as
    often as they are read, of `stored` in all; `moved`: those of chunks beside the one that most of a block comes from.
    `holds`: how near the result is to the one in memory. `seconds`: predicted for the products, on `threads` threads.
    """

    chunks: tuple[int, ...]
    largest: tuple[int, ...]
    blocks: int
    tasks: int
    stored: int
    read: int
    moved: int
    joined: int
    holds: str
    seconds: float
    threads: int

    def __str__(self) -> str:
        twice = f": {self.read / self.stored - 1:.1%} twice" if self.read > self.stored else ""
        joined = f"; {self.joined} chunks of channels are joined first" if self.joined > 1 else ""
        return (
            f"chunks: {format_shape(self.chunks)} of y, {format_shape(self.largest)} at most; {self.holds}\n"
            f"{self.tasks} tasks, of which {self.blocks} are blocks; read {format_bytes(self.read)} of x's "
            f"{format_bytes(self.stored)}{twice}{joined}\n"
            f"moved between workers: {format_bytes(self.moved)} at most; the products take "
            f"{format_seconds(self.seconds)} on "
            f"{self.threads} thread{'s' * (self.threads != 1)}, on paper"
        )


class ChunkPlan(Plan):
    """A plan of a lazy convolution, run where it is called with arrays in memory; `figures` are those of its chunks."""

    def __init__(self, decision: Decision, figures: ChunkFigures) -> None:
        super().__init__(decision)
        self.figures = figures

    def __str__(self) -> str:
        return f"{super().__str__()}\n\n{self.figures}"

    def __reduce__(self) -> tuple[Any, ...]:
        return ChunkPlan, (self.decision, self.figures)


def plan_chunks(options: PlanOptions, x: Any, w_shape: tuple[int, ...]) -> ChunkPlan:
    """The plan of convolving the Dask array x, or of a gradient for it where `options` say so."""
    x = require_lazy("plan", "x_shape", x)
    plan = request("plan", x.shape, w_shape, dtype_name(x.dtype), options._replace(reuse_weights=False))
    if options.direction == "forward":
        chunked = cut("plan", plan, x, single=False, w=None, bias=None)
        return ChunkPlan(plan.decision, describe_blocks(chunked))
    forward = request(
        "plan", x.shape, w_shape, dtype_name(x.dtype), options._replace(direction="forward", lowering=None)
    )
    if options.direction == "weight":
        chunked = cut("plan", forward, x, single=False, w=None, bias=None)
        return ChunkPlan(plan.decision, describe_blocks(chunked, plan.decision))
    places = slice(1, -1) if is_channels_last(options) else slice(2, None)
    problem = plan.problem
    cuts = [chunk_boundaries(c) for c in x.chunks[places]]
    if folds(problem):
        cuts = [(0, p) for p in problem.geometry.P]
    whole = cut("plan", forward, x, single=False, w=None, bias=None)
    cutting = ChunkCutting(
        problem,
        plan.lowering.tile(problem.geometry),
        chunk_boundaries(x.chunks[0]),
        cuts,
        whole.cutting.spatial,
    )
    made = Chunked("plan", plan, whole.whole, cutting, x, False)
    return ChunkPlan(plan.decision, describe_blocks(made, channels=(0, problem.geometry.C)))


def is_channels_last(options: PlanOptions) -> bool:
    """Whether channels come last."""
    return options.layout[-1] == "C"


def folds(problem: Problem) -> bool:
    """Whether borders are folded into what may be any chunk, so that chunks along space are joined first."""
    return problem.pad is not None and problem.pad.operand == "y"


def describe_blocks(
    chunked: Chunked, decision: Decision | None = None, channels: Cuts | None = None
) -> ChunkFigures:
    """What the blocks come to; `decision` is that of a weight gradient, whose blocks are those of y.

    `channels`: where those of what blocks read are cut, if not as x's are.
    """
    cutting, problem = chunked.cutting, chunked.cutting.problem
    item = dtype_of(problem.dtype).itemsize
    g, blocks = problem.geometry, cutting.blocks()
    channels = channels or chunked.channels
    slabs = Slabs(chunked.whole, cutting, channels, "x", "")
    made = decision or chunked.plan.decision
    cost = made.chosen.cost
    whole_y = problem.shape("y")
    largest = (cutting.batch, *cutting.spatial)
    extents = [max(b - a for a, b in itertools.pairwise(c)) for c in largest]
    if folds(problem):
        extents[1:] = whole_y[1:-1] if chunked.whole.channels_last else whole_y[2:]
    return ChunkFigures(
        chunks=tuple(len(c) - 1 for c in largest),
        largest=(extents[0], g.O, *extents[1:]),
        blocks=len(blocks) if math.prod(whole_y) else 0,
        tasks=len(blocks) + len(slabs.graph),
        stored=math.prod(problem.shape("x")) * item,
        read=sum(slabs.read(at) for at, _ in blocks),
        moved=sum(slabs.count_moved_bytes(at) for at, _ in blocks),
        joined=len(channels) - 1,
        holds=_holds(made, len(blocks) if decision is not None else 1),
        seconds=cost.seconds if cost else 0.0,
        threads=problem.threads,
    )


def _holds(decision: Decision, added: int) -> str:
    """How near the result comes to the one in memory."""
    if decision.problem.out_dtype == "int32":
        return EQUAL
    if added > 1:
        return f"{added} partial sums are added in their order: equal to the result in memory up to rounding"
    if decision.chosen.engine != "jit":
        return "a BLAS promises no bits: equal to the result in memory up to rounding"
    return EQUAL


__all__ = ["ChunkFigures", "ChunkPlan", "plan_chunks"]
