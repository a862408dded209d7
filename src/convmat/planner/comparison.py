"""A plan's candidates run side by side: predicted beside measured, as a value that prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..lazy_dataclass import dataclass
from .arrays import require_operand
from .candidates import dtype_of
from .columns import align_columns
from .cost import Cost
from .prepared import Prepared
from .trial import Measured, Operands, measure_ways, runnable_ways
from .units import format_bytes, format_seconds

HEAD = ("", "way", "engine", "predicted", "measured", "ratio", "workspace", "allocated", "estimate", "error")


@dataclass(frozen=True, eq=False)
class CandidateTimes:
    """Every candidate of a plan that can run, the chosen one first, with what it took.

    `measured` has for each: seconds (median, least, most), bytes that a call allocated, and the error from the same
    product in float64.
    """

    plan: Prepared
    measured: tuple[Measured, ...]

    @property
    def best(self) -> Measured:
        """The quickest."""
        return min(self.measured, key=lambda each: each.seconds)

    @property
    def loss(self) -> float:
        """How many times the quickest way's seconds the chosen one took: 1.0 where it is the quickest."""
        return self.measured[0].seconds / self.best.seconds

    def as_dict(self) -> dict[str, Any]:
        """The figures, for JSON: seconds and bytes."""
        return {
            "loss": self.loss,
            "best": self.best.as_dict(),
            "ways": [each.as_dict() for each in self.measured],
        }

    def __str__(self) -> str:
        rows = [_row(each, each is self.measured[0]) for each in self.measured]
        return "\n".join([*align_columns(HEAD, rows, words=3), "", self.verdict()])

    def verdict(self) -> str:
        """How the choice stands, in a sentence."""
        chosen, best = self.measured[0], self.best
        if best is chosen:
            return f"{chosen.way.name} was chosen, and is the quickest."
        assert best.way.candidate is not None
        return (
            f"{chosen.way.name} was chosen; {best.way.name} ({best.way.candidate.engine}) is quicker, the chosen way "
            f"takes {self.loss:.2f} times as long. {self._advice(best.way.candidate.measured is not None)}"
        )

    def _advice(self, timed: bool) -> str:
        """What would choose better; `timed`: the quickest way was measured before this plan was chosen."""
        if self.plan.forced:
            return "It was asked for by name."
        if self.plan.problem.deterministic:
            return "deterministic=True chooses without measuring."
        if self.plan.chosen.measured is None:
            return "plan(..., tune='quick') measures before it chooses."
        if not timed:
            return "It was measured, the quicker way was not: plan(..., tune='full') measures all."
        return (
            "Both were measured before it was chosen: on a busy machine times differ, "
            "and convmat.forget_choices() lets plan(..., tune='full') measure again."
        )


def compare(
    plan: Prepared, x: Any, w: Any, seconds: float, progress: Callable[[str], object] | None
) -> CandidateTimes:
    """Run all candidates of a plan; see `Plan.compare`."""
    problem, kind = plan.problem, dtype_of(plan.problem.dtype)
    x, w = (
        array if array is None else require_operand(name, array, problem.shape(name), kind, "compare")
        for name, array in (("x", x), ("w", w))
    )
    tell = progress or (lambda text: None)
    tell("packing weights")
    ways, operands = runnable_ways(plan, x, w), Operands(problem, x, w)
    tell("computing in float64")
    return CandidateTimes(plan, tuple(measure_ways(ways, seconds, tell, operands.truth())))


def _row(each: Measured, chosen: bool) -> tuple[str, ...]:
    candidate, cost = each.way.candidate, each.predicted
    assert candidate is not None
    assert isinstance(cost, Cost)
    return (
        ">" if chosen else "",
        candidate.name,
        candidate.engine,
        format_seconds(cost.seconds),
        format_seconds(each.seconds),
        f"{each.seconds / cost.seconds:.2f}" if cost.seconds else "",
        format_bytes(cost.workspace),
        format_bytes(each.memory),
        f"{cost.error:.1e}",
        f"{each.apart:.1e}",
    )


__all__ = ["CandidateTimes", "compare"]
