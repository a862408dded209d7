"""Choices written down, and followed later without weighing anything: what a saved network plans by.

    with noting() as noted: ...            the choice of each plan that is made inside, by its problem
    with following(noted): ...             plans of these problems are made of those choices

A Choice is plain figures, and may come from anybody: what refuses the problem, or breaks its limits, is not followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from ..engine import ENGINES
from ..lowering import ALL
from ..problem import Problem
from ..product import Packing
from . import choices
from .candidates import Candidate, breaches, padding_bytes, program_of
from .cost import Cost, error_estimate
from .plan import Plan


@dataclass(frozen=True)
class Choice:
    """The way that was chosen, and what it was predicted to take: FLOPs, bytes moved, seconds of a call."""

    engine: str
    lowering: str
    packing: str
    flops: int
    moved: int
    seconds: float


_noted: ContextVar[dict[str, Choice] | None] = ContextVar("noted", default=None)
_followed: ContextVar[dict[str, Choice | Plan] | None] = ContextVar("followed", default=None)


@contextmanager
def noting() -> Iterator[dict[str, Choice]]:
    """The choices of this Python thread inside the block, by `choices.key` of their problems."""
    made: dict[str, Choice] = {}
    token = _noted.set(made)
    try:
        yield made
    finally:
        _noted.reset(token)


@contextmanager
def following(given: Mapping[str, Choice]) -> Iterator[None]:
    """Plans that this Python thread makes inside the block are made of these choices, where they can be."""
    token = _followed.set(dict(given))
    try:
        yield
    finally:
        _followed.reset(token)


def active() -> bool:
    """Whether choices are noted or followed now: plans are then not taken from memory."""
    return _noted.get() is not None or _followed.get() is not None


def note(plan: Plan, lowering: str | None, engine: str | None) -> None:
    """Write down a plan's choice, where somebody is noting."""
    made, chosen = _noted.get(), plan.chosen
    if made is None or chosen.cost is None:
        return
    cost, taken = chosen.cost, chosen.measured or chosen.cost.seconds
    made[choices.key(plan.problem, lowering, engine)] = Choice(
        chosen.engine, chosen.lowering, chosen.packing.value, cost.flops, cost.moved, taken
    )


def followed(problem: Problem, lowering: str | None, engine: str | None) -> Plan | None:
    """The plan made of a given choice; None where there is none, or it cannot be followed."""
    given = _followed.get()
    if not given:
        return None
    key = choices.key(problem, lowering, engine)
    choice = given.get(key)
    if choice is None or isinstance(choice, Plan):
        return choice
    candidate = _candidate(problem, choice)
    forced = (lowering, engine) != (None, None)
    if (
        candidate is None
        or lowering not in (None, candidate.lowering)
        or engine not in (None, candidate.engine)
    ):
        return None
    made = given[key] = Plan(problem, (candidate,), candidate, forced=forced)
    return made


def _candidate(problem: Problem, choice: Choice) -> Candidate | None:
    way = next((each for each in ALL if each.name == choice.lowering), None)
    packing = next((each for each in Packing if each.value == choice.packing), None)
    if way is None or packing not in way.packings or choice.engine not in ENGINES:
        return None
    if way.refuses(problem) is not None or (problem.exact and not way.exact):
        return None
    program = program_of(problem, way, packing, choice.engine)
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
    if breaches(problem, cost, exact=way.exact):
        return None
    product = (largest.m, largest.n, largest.k) if largest else None
    return Candidate(choice.engine, way.name, packing, product, cost)
