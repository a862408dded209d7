"""What a network's plans are made of, written down, and followed later without weighing anything.

    record = Record()             given to whatever makes plans: has the choice and the kernels of each of them
    record = Record(choices)      the same, and plans of these problems are made of these choices

A Choice is plain figures, and may come from anybody: what refuses the problem, or breaks its limits, is not followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..engine import ENGINES
from ..lazy_dataclass import dataclass
from ..lowering import ALL
from ..problem import Problem
from ..product import Packing
from .candidates import Candidate, broken_limits, make_program, padding_bytes
from .cost import Cost, error_estimate
from .decision import Decision
from .plan import Plan

if TYPE_CHECKING:
    from ..engine import Sweep
    from .candidates import Program


@dataclass(frozen=True)
class Choice:
    """The way that was chosen, and what it was predicted to take: FLOPs, bytes moved, seconds of a call."""

    engine: str
    lowering: str
    packing: str
    flops: int
    moved: int
    seconds: float


class Record:
    """The choices to be followed, and what was made meanwhile: `choices` by the keys of their problems, kernels."""

    def __init__(self, given: Mapping[str, Choice] | None = None) -> None:
        self._given = dict(given or {})
        self._followed: dict[str, Plan] = {}
        self._programs: dict[str, Any] = {}
        self._others: list[Any] = []
        self.choices: dict[str, Choice] = {}

    def follow(self, key: str, problem: Problem, lowering: str | None, engine: str | None) -> Plan | None:
        """The plan made of the given choice; None where there is none, or it cannot be followed."""
        if key not in self._followed and key in self._given:
            found = _decide(problem, self._given[key], lowering, engine)
            if found is not None:
                self._followed[key] = Plan(*found)
        return self._followed.get(key)

    def follows(self, plan: Plan) -> bool:
        """Whether a plan is one of those made of a given choice: there is nothing to measure then."""
        return any(each is plan for each in self._followed.values())

    def add_plan(self, key: str, plan: Plan) -> None:
        """Write down a plan's choice and its kernels, by the key of its problem."""
        chosen, cost = plan.chosen, plan.chosen.cost
        if cost is not None:
            taken = chosen.measured or cost.seconds
            self.choices[key] = Choice(
                chosen.engine, chosen.lowering, chosen.packing.value, cost.flops, cost.moved, taken
            )
            self._programs[key] = plan.program if chosen.engine == "jit" else None

    def add_program(self, program: Program | Sweep) -> None:
        """Write down the kernels of what runs beside the plans."""
        self._others.append(program)

    def kernels(self) -> list[Any]:
        """The recipes of the kernels of all that was written down."""
        programs = [each for each in (*self._programs.values(), *self._others) if each is not None]
        return [recipe for program in programs for recipe in program.recipes]


def _decide(
    problem: Problem, choice: Choice, lowering: str | None, engine: str | None
) -> tuple[Decision, Program] | None:
    """A Decision for one candidate, that of the choice, and its program; None where it cannot be followed."""
    way = next((each for each in ALL if each.name == choice.lowering), None)
    packing = next((each for each in Packing if each.value == choice.packing), None)
    if way is None or packing not in way.packings or choice.engine not in ENGINES:
        return None
    if lowering not in (None, way.name) or engine not in (None, choice.engine):
        return None
    if way.refuses(problem) is not None or (problem.exact and not way.exact):
        return None
    program = make_program(problem, way, packing, choice.engine)
    if isinstance(program, str):
        return None
    largest = max(way.products(problem), key=lambda p: p.flops, default=None)
    cost = Cost(
        choice.flops,
        choice.moved,
        program.workspace + padding_bytes(problem),
        program.weight_bytes,
        choice.seconds,
        error_estimate(problem, way.roundings(problem)),
    )
    if broken_limits(problem, cost, way):
        return None
    product = (largest.m, largest.n, largest.k) if largest else None
    candidate = Candidate(choice.engine, way.name, packing, product, cost)
    forced = (lowering, engine) != (None, None)
    return Decision(problem, (candidate,), candidate, forced), program


__all__ = ["Choice", "Record"]
