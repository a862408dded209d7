"""Making plans: the second of the three hops from `conv` to the arithmetic.

Plans are remembered by their problem, until something new has been measured.
"""

from __future__ import annotations

from functools import lru_cache

from ..problem import Problem
from . import choices
from .choose import choose
from .plan import Plan
from .record import Record

REMEMBERED = 1024
"""Plans that are remembered: those of a network at some sizes, or of some networks."""


def make(
    problem: Problem, lowering: str | None = None, engine: str | None = None, record: Record | None = None
) -> Plan:
    """The plan of a problem: the best candidate of the lowering and engine asked for.

    With a `record`, the one that it has a choice for where that can be followed; what is made is written down in it.
    Raises PlanError where nothing that is allowed can run the problem.
    """
    if record is None:
        return _make_once(problem, lowering, engine, choices.version())
    key = choices.entry_key(problem, lowering, engine)
    followed = record.follow(key, problem, lowering, engine)
    plan = followed or _make_once(problem, lowering, engine, choices.version())
    record.add_plan(key, plan)
    return plan


@lru_cache(maxsize=REMEMBERED)
def _make_once(problem: Problem, lowering: str | None, engine: str | None, version: int) -> Plan:
    """`version` is that of what tuning has found: plans follow it."""
    return Plan(*choose(problem, lowering, engine))


__all__ = ["make"]
