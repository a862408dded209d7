"""Which candidate runs: the one measured quickest where tuning has measured, otherwise the one predicted quickest.

The program that a candidate was weighed by is the one that runs, where that candidate is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from ..engine import ENGINES
from ..errors import PlanError
from ..lazy_dataclass import dataclass
from ..lowering import ALL, find_lowering
from ..problem import Problem
from . import choices, nominal
from .candidates import Candidate, Weighed, admit, broken_limits, format_keyword, weigh
from .decision import Decision
from .quickest import find_quickest

if TYPE_CHECKING:
    from .candidates import Program

Candidates = tuple[Candidate, ...]

REMEMBERED = 256
"""Problems whose candidates are kept with their programs: between tuning one and choosing anew."""

WRONG = "gave a wrong answer when it was measured"


@dataclass(frozen=True)
class Admitted:
    """All candidates, those of them that may be chosen (one at least), and the programs that weighing prepared."""

    candidates: Candidates
    possible: Candidates
    programs: Mapping[str, Program]


def choose(
    problem: Problem, lowering: str | None = None, engine: str | None = None
) -> tuple[Decision, Program]:
    """The best candidate of the lowering and engine asked for, with the program that it was weighed by.

    Raises PlanError where nothing that is allowed can run.
    """
    if problem.deterministic:
        return _choose_for_images(problem, lowering, engine)
    forced = (lowering, engine) != (None, None)
    known = choices.look_up_problem(problem, lowering, engine)
    if not known and (first := find_quickest(problem, lowering, engine)) is not None:
        everything = partial(_all_candidates, problem, lowering, engine)
        return Decision(problem, everything, first.candidate, forced, first.like), first.program
    admitted = admit_candidates(problem, lowering, engine)
    found, possible = admitted.candidates, admitted.possible
    if known:
        told = [(c, _add_measured(c, known)) for c in found]
        found, possible = (
            tuple(new for _, new in told),
            tuple(new for old, new in told if old in possible and new.cost is not None) or possible,
        )
    timed = [c for c in possible if c.measured is not None]
    untimed = possible if engine or problem.threads == 1 else _drop_disturbing(possible)
    chosen = min(timed or untimed, key=_seconds)
    return Decision(problem, found, chosen, forced), admitted.programs[chosen.way]


def _all_candidates(problem: Problem, lowering: str | None, engine: str | None) -> Candidates:
    """Every way, for whoever asks."""
    return admit_candidates(problem, lowering, engine).candidates


def _choose_for_images(
    problem: Problem, lowering: str | None, engine: str | None
) -> tuple[Decision, Program]:
    """The way chosen for one image on one thread, whatever the batch; on fewer threads where scratch is short."""
    forced = (lowering, engine) != (None, None)
    alone = admit_candidates(problem.alone(), lowering, engine).possible
    ways = [c.way for c in sorted(alone, key=_seconds)]
    for threads in range(problem.threads, 0, -1):
        fewer = replace(problem, threads=threads)
        weighed = _weigh_here(fewer)
        chosen = next(c for c in weighed.candidates if c.way == ways[0])
        if chosen.cost is not None:
            return Decision(fewer, weighed.candidates, chosen, forced), weighed.programs[chosen.way]
    if problem.workspace_limit is None:
        # The default limit is soft, on all threads if not even one keeps to it.
        weighed = _weigh_here(problem)
        chosen = next(c for c in weighed.candidates if c.way == ways[0])
        if set(_find_breaches(problem, chosen)) == {"workspace_limit"}:
            admitted = admit(chosen)
            found = tuple(admitted if c is chosen else c for c in weighed.candidates)
            return Decision(problem, found, admitted, forced), weighed.programs[chosen.way]
    # The padded inputs of the whole batch pass a limit, or a BLAS reads this batch otherwise than one image.
    fewer = replace(problem, threads=1)
    rest = admit_candidates(fewer, lowering, engine)
    kept = [c for c in rest.possible if c.way in ways] or rest.possible
    chosen = min(kept, key=_seconds)
    return Decision(fewer, rest.candidates, chosen, forced), rest.programs[chosen.way]


def _drop_disturbing(possible: Candidates) -> Candidates:
    """Candidates without those of BLAS whose lowering the jit runs too.

    A BLAS of several threads keeps them awake for tens of milliseconds after a product, on the cores that the next
    product's threads need: VGG-16 took 95 ms on two threads with one such product in it, 65 without.
    """
    by_jit = {c.lowering for c in possible if c.engine == "jit"}
    return tuple(c for c in possible if c.engine == "jit" or c.lowering not in by_jit)


def _add_measured(candidate: Candidate, known: choices.Seconds) -> Candidate:
    """A candidate with what tuning found of it."""
    if candidate.cost is None or candidate.way not in known:
        return candidate
    measured = known[candidate.way]
    return replace(candidate, measured=measured) if measured else replace(candidate, cost=None, refusal=WRONG)


def _seconds(candidate: Candidate) -> float:
    assert candidate.cost is not None
    return candidate.cost.seconds if candidate.measured is None else candidate.measured


@lru_cache(maxsize=REMEMBERED)
def admit_candidates(problem: Problem, lowering: str | None, engine: str | None) -> Admitted:
    """The candidates, and those of the lowering and engine that keep to the limits.

    Raises PlanError where there is none.
    """
    names = [way.name for way in ALL]
    if lowering is not None and lowering not in names:
        raise PlanError(
            f"plan: there is no lowering of that name\n  lowering = {lowering!r}\n"
            f"  one of {', '.join(map(repr, names))}"
        )
    if engine is not None and engine not in ENGINES:
        raise PlanError(
            f"plan: there is no engine of that name\n  engine = {engine!r}\n  one of {', '.join(map(repr, ENGINES))}"
        )
    weighed = _weigh_here(problem)
    found = weighed.candidates
    allowed = [c for c in found if lowering in (None, c.lowering) and engine in (None, c.engine)]
    possible = [c for c in allowed if c.cost is not None]
    if not possible and problem.workspace_limit is None:
        # The default limit is soft: where nothing keeps to it, the way that needs least runs.
        soft = [c for c in allowed if set(_find_breaches(problem, c)) == {"workspace_limit"}]
        least = min(soft, key=lambda c: c.beyond.workspace if c.beyond else 0, default=None)
        if least is not None:
            admitted = admit(least)
            found, possible = tuple(admitted if c is least else c for c in found), [admitted]
    if not possible:
        raise PlanError(_describe_refusal(problem, lowering, engine, allowed))
    if problem.deterministic and engine is None:
        # A BLAS promises no bits; what the jit promises of its own holds wherever it can run.
        possible = [c for c in possible if c.engine == "jit"] or possible
    return Admitted(found, tuple(possible), weighed.programs)


def _weigh_here(problem: Problem) -> Weighed:
    """Every way on this machine, or with `deterministic` on the nominal one."""
    if problem.deterministic:
        n = problem.threads
        return weigh(problem, nominal.machine(n), nominal.peaks(n))
    from ..engine import machine

    return weigh(problem, machine(problem.threads))


# -- refusals --------------------------------------------------------------------------------------------


def _find_breaches(problem: Problem, candidate: Candidate) -> dict[str, float]:
    """The limits that a candidate breaks, where nothing else refuses it."""
    if candidate.beyond is None:
        return {}
    return broken_limits(problem, candidate.beyond, find_lowering(candidate.lowering))


def _describe_refusal(
    problem: Problem, lowering: str | None, engine: str | None, allowed: list[Candidate]
) -> str:
    """Why nothing runs, and if it is for limits, the nearest that would do."""
    over = {c: broken for c in allowed if (broken := _find_breaches(problem, c))}
    if not over:
        # Where everything is refused, what the way that takes everything is refused for is the reason.
        most = next((c for c in allowed if c.lowering == "im2col"), allowed[0])
        return (
            f"plan: {_describe_asked(lowering, engine)} refuses this problem: {most.refusal}\n"
            f"  {problem.geometry}, {problem.dtype}\n"
            f"  omit {'engine' if lowering is None else 'lowering'}=, or use lowering='im2col' with "
            f"engine='blas', which refuses nothing but memory limits"
        )
    # What breaks more limits than another way says nothing of what would do.
    fewest = min(map(len, over.values()))
    over = {c: broken for c, broken in over.items() if len(broken) == fewest}
    way = (
        "nothing" if (lowering, engine) == (None, None) else f"no way of {_describe_asked(lowering, engine)}"
    )
    names = [name for name in _UNITS if any(name in broken for broken in over.values())]
    given = ", ".join(f"{name} = {_describe_given(problem, name)}" for name in names)
    return (
        f"plan: {way} runs within {'the ' + _UNITS[names[0]] if len(names) == 1 else 'the limits'}\n"
        f"  {problem.geometry}, {problem.dtype};  {given}\n"
        + "".join(f"  {c.name}: {c.refusal}\n" for c in over)
        + f"  {_nearest(list(over.values()))}"
    )


_UNITS = {"workspace_limit": "workspace limit", "weight_limit": "weight limit", "rtol": "tolerance"}


def _describe_given(problem: Problem, name: str) -> str:
    value = getattr(problem, name)
    return f"{value:g}" if name == "rtol" else "None" if value is None else f"{value:,} bytes"


def _nearest(broken: list[dict[str, float]]) -> str:
    """The least change of a limit that admits something: of one, or else of the fewest together.

    >>> _nearest([{"workspace_limit": 2048}, {"workspace_limit": 4096}])
    '2,048 bytes are enough: workspace_limit=2048, or None for whatever it takes'
    >>> _nearest([{"weight_limit": 512}, {"workspace_limit": 2048, "weight_limit": 256}, {"rtol": 3.14e-6}])
    'weight_limit=512 is enough, and so is rtol=3.2e-06'
    """
    fewest = min(map(len, broken))
    least: dict[tuple[str, ...], dict[str, float]] = {}
    for each in (each for each in broken if len(each) == fewest):
        names = tuple(each)
        if names not in least or list(each.values()) < list(least[names].values()):
            least[names] = each
    if list(least) == [("workspace_limit",)] or list(least) == [("weight_limit",)]:
        [((name, needed),)] = [each.items() for each in least.values()]
        return f"{needed:,} bytes are enough: {name}={needed}, or None for whatever it takes"
    said = [
        " and ".join(format_keyword(name, value) for name, value in each.items()) for each in least.values()
    ]
    verb = "is" if fewest == 1 else "are"
    return ", and so is ".join([f"{said[0]} {verb} enough", *said[1:]])


def _describe_asked(lowering: str | None, engine: str | None) -> str:
    """What the caller insisted on."""
    wanted = [f"the lowering {lowering!r}"] if lowering else []
    return " on ".join(wanted + ([f"the engine {engine!r}"] if engine else []))


__all__ = ["Admitted", "admit_candidates", "choose"]
