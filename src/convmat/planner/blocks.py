"""Plans of blocks: a part of y, computed the way that was decided for all of it.

    whole.problem --geometry.block--> problem.of_block --> the whole's engine, lowering and packing

What decides the order of a sum is the whole's (`Problem.whole`), so the jit's bits are too, where a block begins at
multiples of the lowering's tiles.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from ..arguments import Shape
from ..errors import PlanError
from ..lowering import find_lowering
from ..problem import Problem
from ..product import Packing
from .candidates import Candidate, make_program
from .decision import Decision
from .options import PlanOptions
from .plan import Plan
from .reading import read_problem
from .request import thread_count

if TYPE_CHECKING:
    from .candidates import Program


def chosen_way(decision: Decision) -> Candidate:
    """The chosen way alone, without what it costs: the same for every block."""
    chosen = decision.chosen
    return Candidate(chosen.engine, chosen.lowering, chosen.packing)


@lru_cache(maxsize=512)
def plan_block(
    block: Problem, way: Candidate, threads: int, x_in: Shape | None = None, y_in: Shape | None = None
) -> Plan:
    """The plan of a block (`Problem.of_block`) the way decided for the whole. Raises PlanError where that refuses it.

    `x_in` and `y_in`: the shapes of the arrays that x and y are parts of, to be read and written where they lie.

    >>> from ..geometry import Geometry
    >>> from .making import make
    >>> whole = make(Problem.of(Geometry.of((1, 3, 64, 64), (4, 3, 3, 3), padding=1)), "im2col")
    >>> block = whole.problem.of_block(whole.problem.geometry.block((0, 0), (32, 64)).geometry)
    >>> plan_block(block, chosen_way(whole.decision), 1).problem.shape("y")
    (1, 4, 32, 64)
    """
    block = replace(block, threads=threads)
    around = {name: shape for name, shape in (("x", x_in), ("y", y_in)) if shape is not None}
    found = _plan_by_way(block, way, around)
    if isinstance(found, Plan):
        return found
    raise PlanError(
        f"chunks: the way that was decided for the whole refuses a block of it\n"
        f"  {block.geometry}, {block.dtype}\n"
        + "\n".join(dict.fromkeys(found))
        + "\n  take larger chunks, or lowering='im2col'"
    )


@lru_cache(maxsize=512)
def plan_short_block(
    block: Problem, way: Candidate, x_in: Shape | None = None, y_in: Shape | None = None
) -> Plan:
    """The plan of a block of any extent the way decided for the whole; by im2col where that refuses so few elements.

    The definition's products have the same bits then, but for those that `dots` sums in strands. `x_in` and `y_in`: see
    `plan_block`.

    >>> from ..geometry import Geometry
    >>> from ..product import Packing
    >>> block = Problem.of(Geometry.of((1, 3, 2), (6, 1, 1), groups=3))
    >>> plan_short_block(block, Candidate("jit", "winograd 2", Packing.PANEL)).chosen.lowering
    'im2col'
    """
    ways = (replace(way, engine=e, lowering="im2col", packing=Packing.PANEL) for e in (way.engine, "blas"))
    around = {name: shape for name, shape in (("x", x_in), ("y", y_in)) if shape is not None}
    found = (_plan_by_way(block, each, around) for each in (way, *ways))
    return next(each for each in found if isinstance(each, Plan))  # im2col on blas refuses nothing


def _plan_by_way(block: Problem, way: Candidate, around: dict[str, Shape] | None = None) -> Plan | list[str]:
    """A way's plan, with another packing where that one is refused; or the refusals. `around`: see `make_program`."""
    lowering, refusals = find_lowering(way.lowering), []
    # The packings of one lowering on one engine are one sum.
    for packing in (way.packing, *(other for other in lowering.packings if other is not way.packing)):
        refusal = lowering.refuses(block)
        program = (
            refusal if refusal is not None else _make(block, replace(way, packing=packing), around or {})
        )
        if not isinstance(program, str):
            chosen = replace(way, packing=packing)
            return Plan(Decision(block, (chosen,), chosen, forced=True), program)
        refusals.append(f"  {lowering.name}, {packing.value}: {program}")
    return refusals


def _make(block: Problem, way: Candidate, around: dict[str, Shape]) -> Program | str:
    """The program of a way for arrays that are parts of others where it has one, or else for copies of them."""
    lowering = find_lowering(way.lowering)
    program = make_program(block, lowering, way.packing, way.engine, around)
    if around and isinstance(program, str):
        return make_program(block, lowering, way.packing, way.engine)
    return program


def request_block(
    call: str,
    x_shape: Shape,
    w_shape: Shape,
    dtype: str,
    options: PlanOptions,
    whole: Problem,
    way: Candidate,
) -> Plan:
    """The plan for what was asked, a block of the problem `whole`, the way decided for that. Raises ConvmatError."""
    threads = thread_count()
    asked = read_problem(call, x_shape, w_shape, dtype, options, threads)
    return plan_short_block(replace(asked, whole=whole.whole or whole.geometry), way)


__all__ = ["chosen_way", "plan_block", "plan_short_block", "request_block"]
