"""Choosing by measurement: the best few candidates run in turns on arrays of the problem, and held to each other.

    quick   those predicted within QUICK times the best     about 0.2 s, and compiling what is new
    full    all that can run                                about 2 s

Each is compiled, its weights bound, its answer compared with the first one's: norm-wise no further apart than the
estimated errors of both. Where two differ by more, the product in float64 says who is wrong, and that one is out.
Whatever ends the measurement, what was timed until then is remembered.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..errors import EngineError
from ..problem import Problem
from . import choices
from .candidates import Candidate, dtype_of
from .choose import admit_candidates
from .decision import Decision
from .making import make
from .options import Progress, Tuning
from .plan import Plan
from .prepared import Prepared
from .record import Record
from .trial import Call, Operands, Race, copy_answer, distance

QUICK = 1.6
"""How much longer than the best a candidate may be predicted to take and still be measured by quick tuning."""

SECONDS = {"quick": 0.2, "full": 2.0}
"""What timing takes about, unless said otherwise."""

HOPELESS = 2.0
"""Who takes so many times the quickest is not timed again."""


def tune_plan(
    problem: Problem,
    lowering: str | None,
    engine: str | None,
    tuning: Tuning,
    record: Record | None = None,
) -> Plan:
    """The plan of a problem, lowering and engine that measurement chooses; it is remembered for later plans.

    Candidates that were measured before are not measured again. A KeyboardInterrupt passes through, after what was
    timed so far has been remembered. Raises PlanError.
    """
    admitted = admit_candidates(problem, lowering, engine)
    running, name = (
        choose_rivals(admitted.possible, tuning.effort),
        choices.entry_key(problem, lowering, engine),
    )
    known = choices.lookup(name)
    if len(running) > 1 and not all(c.way in known for c in running):
        budget = SECONDS[tuning.effort] if tuning.seconds is None else tuning.seconds
        told = tuning.progress or (lambda done, steps: None)
        ways = [
            Prepared(Decision(problem, admitted.candidates, each, forced=True), admitted.programs[each.way])
            for each in running
        ]
        race_ways(ways, budget, told, lambda seconds: choices.remember(name, seconds))
        if (why := choices.why_unwritten()) is not None:
            warnings.warn(
                f"convmat remembers what was measured for this process alone, not in {choices.choices_file()}: {why}",
                RuntimeWarning,
                stacklevel=3,
            )
    return make(problem, lowering, engine, record)


def choose_rivals(possible: Sequence[Candidate], effort: str) -> list[Candidate]:
    """The candidates that are worth measuring, the one of the least predicted time first.

    Of several on one engine with the same cost in every respect, which are one program under two names, the first.
    """
    apart: dict[object, Candidate] = {}
    for candidate in possible:
        apart.setdefault((candidate.engine, candidate.cost), candidate)
    running = sorted(apart.values(), key=_predict)
    if effort == "quick":
        return [c for c in running if _predict(c) <= QUICK * _predict(running[0])]
    return running


def _predict(candidate: Candidate) -> float:
    assert candidate.cost is not None
    return candidate.cost.seconds


def race_ways(
    running: Sequence[Prepared],
    seconds: float,
    progress: Progress,
    keep: Callable[[dict[str, float | None]], None],
) -> None:
    """Time ways of one problem in turns and hand their seconds over by way, None for wrong answers."""
    steps = 2 * len(running)
    progress(0, steps)
    plans = _load_together(running)
    problem = running[0].problem
    operands = Operands(problem)
    out = np.empty(problem.shape("y"), dtype_of(problem.out_dtype))
    calls = []
    for plan in plans:
        calls.append(operands.way(plan, out).call)
        progress(len(calls), steps)
    right = _find_right(operands, plans, calls)
    ways = [plan.chosen.way for plan, fine in zip(plans, right, strict=True) if fine]
    wrong = [plan.chosen.way for plan, fine in zip(plans, right, strict=True) if not fine]
    turns = Race([call for call, fine in zip(calls, right, strict=True) if fine])
    try:
        for part in turns.rounds(seconds, HOPELESS):
            progress(len(running) + int(part * (steps - len(running))), steps)
    finally:
        timed = {way: taken for way, taken in zip(ways, turns.medians(), strict=True) if taken is not None}
        if timed:
            keep({**timed, **dict.fromkeys(wrong)})


def _load_together(plans: Sequence[Prepared]) -> list[Prepared]:
    """Candidates whose machine code can be made and run, compiled side by side."""

    def load(plan: Prepared) -> bool:
        try:
            plan.load()
        except EngineError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        return [plan for plan, ready in zip(plans, pool.map(load, plans), strict=True) if ready]


def _find_right(operands: Operands, plans: list[Prepared], calls: list[Call]) -> list[bool]:
    """Whose answer is as near to the first one's as their estimates say, or else to the product in float64."""
    errors = [plan.chosen.cost.error if plan.chosen.cost else 0.0 for plan in plans]
    if not calls:
        return []
    first = copy_answer(calls[0])
    if all(
        distance(copy_answer(call), first) <= errors[0] + e for call, e in zip(calls, errors, strict=True)
    ):
        return [True] * len(calls)
    truth = operands.truth()
    far = [distance(copy_answer(call), truth) for call in calls]
    for plan, off, error in zip(plans, far, errors, strict=True):
        if not off <= error:
            warnings.warn(
                f"convmat does not choose {plan.chosen.way} for {operands.problem.geometry}: it was off by {off:.1e} "
                f"where {error:.1e} is expected",
                RuntimeWarning,
                stacklevel=2,
            )
    return [off <= error for off, error in zip(far, errors, strict=True)]


__all__ = ["QUICK", "choose_rivals", "race_ways", "tune_plan"]
