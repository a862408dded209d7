"""Why a plan goes the way it goes, in words: what decided, what each other way would take and where its time goes."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..arguments import format_shape
from ..lowering import find_lowering
from .candidates import Candidate, broken_limits, format_keyword
from .cost import SMALLEST_NORMAL, Cost, error_bound
from .decision import Decision
from .units import format_bytes, format_flops, format_seconds


def summarise(decision: Decision) -> list[str]:
    """What decided, and what is known of the error: two sentences."""
    return [_describe_decision(decision), _rounding(decision)]


def list_reasons(decision: Decision) -> list[str]:
    """The whole account, a line each."""
    chosen = decision.chosen
    lines = [_describe_decision(decision), *_facts(decision, chosen)]
    others = sorted((c for c in decision.candidates if c.cost and c is not chosen), key=_seconds)
    lines += [_beside(decision, other) for other in others]
    away = [c for c in decision.candidates if c.beyond and c.beyond.seconds < _predict(chosen)]
    lines += [_describe_limit(decision, c) for c in away]
    lines += [f"{line.strip()}." for line in list_refusals(decision, away)]
    lines.append(_rounding(decision))
    if decision.problem.deterministic:
        lines.append(_deterministic(decision))
    elif any(_is_left_aside(decision, c) for c in decision.candidates):
        lines.append(
            f"On {decision.problem.threads} threads a BLAS is left aside where the jit can run: its threads stay awake "
            "after a product, on the cores that the next one needs. engine='blas' asks for it."
        )
    return lines


def list_refusals(decision: Decision, but: Collection[Candidate] = ()) -> list[str]:
    """A sentence for each way that cannot run, `but` some; one where packings or engines refuse alike."""
    said: dict[tuple[str, str], dict[str, str]] = {}
    ways: dict[str, set[str]] = {}
    for c in decision.candidates:
        ways.setdefault(c.lowering, set()).add(c.engine)
        if c.refusal is not None and c not in but:
            said.setdefault((c.lowering, c.refusal), {})[c.engine] = c.name
    lines = []
    for (lowering, refusal), engines in said.items():
        everywhere = set(engines) == ways[lowering]
        who = lowering if everywhere else f"{next(iter(engines.values()))} ({', '.join(engines)})"
        lines.append(f"  {who}: {refusal}")
    return lines


def _describe_decision(decision: Decision) -> str:
    """Who was chosen, by what, and who comes next."""
    chosen, problem = decision.chosen, decision.problem
    name = f"{chosen.name} ({chosen.engine})"
    if decision.forced:
        return f"{name}: asked for{_describe_measurement(chosen)}."
    others = [c for c in decision.candidates if c.cost is not None and c is not chosen]
    if problem.deterministic and chosen.engine == "jit":
        others = [c for c in others if c.engine == "jit"]
    elif any(_is_left_aside(decision, c) for c in others):
        others = [c for c in others if not _is_left_aside(decision, c)]
    if not others:
        return f"{name}: every other way refuses."
    timed = [c for c in others if c.measured is not None]
    if chosen.measured is not None and timed:
        second = min(timed, key=_seconds)
        return (
            f"{name}: measured {format_seconds(chosen.measured)}, the quickest of {len(timed) + 1} measured; next is "
            f"{second.name} ({second.engine}) with {format_seconds(_seconds(second))}."
        )
    second = min(others, key=_predict)
    if decision.like is not None and _predict(second) < _predict(chosen):
        return (
            f"{name}: predicted {format_seconds(_predict(chosen))}, among the ways that were near the quickest for x "
            f"{format_shape(decision.like.x_shape)}; all ways weighed, {second.name} ({second.engine}) comes first "
            f"with {format_seconds(_predict(second))}."
        )
    return (
        f"{name}: predicted {format_seconds(_predict(chosen))}; next is "
        f"{second.name} ({second.engine}) with {format_seconds(_predict(second))}."
    )


def _describe_measurement(candidate: Candidate) -> str:
    return "" if candidate.measured is None else f", and measured {format_seconds(candidate.measured)}"


def _facts(decision: Decision, chosen: Candidate) -> Iterator[str]:
    """What the chosen way does."""
    cost, g = chosen.cost, decision.problem.geometry
    assert cost is not None
    less = (
        f", {g.flops / cost.flops:.3g} times fewer than the definition" if cost.flops < 0.99 * g.flops else ""
    )
    weights = f", {format_bytes(cost.weight_bytes)} of packed weights" if cost.weight_bytes else ""
    yield (
        f"It takes {format_flops(cost.flops)}{less}, moves {format_bytes(cost.moved)}, and needs "
        f"{format_bytes(cost.workspace)} of workspace{weights}."
    )


def _beside(decision: Decision, other: Candidate) -> str:
    """Another way that could run, by what it does more or less."""
    ours, theirs, chosen = decision.chosen.cost, other.cost, decision.chosen
    assert ours is not None
    assert theirs is not None
    both = other.measured is not None and chosen.measured is not None
    mine, its = (_seconds(chosen), _seconds(other)) if both else (ours.seconds, theirs.seconds)
    said = "measured" if both else "predicted"
    ratio = its / mine if mine else 1.0
    times = f"{ratio:.2f} times the chosen way's" if ratio < 10 else f"{ratio:.0f} times the chosen way's"
    reasons = "; ".join(_differences(ours, theirs))
    return f"{other.name} ({other.engine}): {said} {format_seconds(its)}, {times}{': ' + reasons if reasons else ''}."


def _differences(ours: Cost, theirs: Cost) -> Iterator[str]:
    """Where another way multiplies, moves or keeps clearly more, or less."""
    for what, mine, its, write in (
        ("multiplies", ours.flops, theirs.flops, format_flops),
        ("moves", ours.moved, theirs.moved, format_bytes),
        ("packs weights of", ours.weight_bytes, theirs.weight_bytes, format_bytes),
    ):
        if max(mine, its) > 1.25 * min(mine, its):
            yield f"it {what} {write(its)}, not {write(mine)}"
    if max(ours.error, theirs.error) > 1.25 * min(ours.error, theirs.error):
        yield f"it is expected to be off by {theirs.error:.1e}, not {ours.error:.1e}"


def _describe_limit(decision: Decision, candidate: Candidate) -> str:
    """A way that a limit refuses though it is predicted quicker, and the limit that would admit it."""
    cost, problem = candidate.beyond, decision.problem
    assert cost is not None
    needed = broken_limits(problem, cost, find_lowering(candidate.lowering))
    admits = " with ".join(format_keyword(name, value) for name, value in needed.items())
    return (
        f"{candidate.name} ({candidate.engine}): predicted {format_seconds(cost.seconds)}, but {candidate.refusal}; "
        f"{admits} would admit it."
    )


WIDE = ("float64", "complex128")


def _rounding(decision: Decision) -> str:
    """What is known of the error."""
    chosen, problem = decision.chosen.cost, decision.problem
    assert chosen is not None
    if not decision.exact:
        return (
            f"Expected error, norm-wise: {chosen.error:.1e}, rtol is {problem.rtol:.1e}. {_describe_rounding(decision)}"
            "The expectation is for data of mean 0: where sums cancel, as a photograph's do under filters that sum to "
            f"0, it was exceeded up to 1.22 times. {_denormal(decision)}"
        )
    bound = error_bound(problem)
    if not bound:
        return "Exact."
    return f"Proven error bound, element by element: {bound:.1e} * (|A| @ |U|). {_denormal(decision)}"


def _describe_rounding(decision: Decision) -> str:
    """What is known of elements whose sums share their rounding."""
    unit, most = decision.lowering.shares, "2^400" if decision.problem.dtype in WIDE else "2^40"
    if not unit:
        return ""
    return (
        f"One element may be off by so much of the largest in its {unit}, not of itself. "
        f"A {unit} with a sum that is not finite, or beyond {most}, is taken by the definition. "
    )


def _denormal(decision: Decision) -> str:
    """Sentence about numbers that are too small for what is known of the error."""
    least = SMALLEST_NORMAL[decision.problem.out_dtype]
    return f"Products and sums below {least:.1e} (denormal) lose digits beyond that."


def _deterministic(decision: Decision) -> str:
    said = "Deterministic: predicted for a nominal machine, so that every process chooses alike"
    how = "" if decision.chosen.engine == "jit" else ": a BLAS computes image by image, on one thread"
    return f"{said}; the bits do not depend on threads or batch{how}."


def _is_left_aside(decision: Decision, candidate: Candidate) -> bool:
    """Whether it was predicted to be quicker than the chosen one, of the jit, and yet not taken."""
    return (
        not decision.forced
        and (decision.chosen.engine, candidate.engine) == ("jit", "blas")
        and decision.chosen.measured is None
        and candidate.cost is not None
        and _predict(candidate) < _predict(decision.chosen)
    )


def _predict(candidate: Candidate) -> float:
    return candidate.cost.seconds if candidate.cost else 0.0


def _seconds(candidate: Candidate) -> float:
    return _predict(candidate) if candidate.measured is None else candidate.measured
