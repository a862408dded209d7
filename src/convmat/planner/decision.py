"""Decision: every way that a problem could run, with its cost or refusal, and the one that was chosen.

    weighing -> Decision -> Plan, which is a Decision with its program, ready to run

What a plan says of itself (`report`, `why`) it reads off its Decision, and what is pickled is the Decision alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..geometry import Geometry
from ..lowering import Lowering, find_lowering
from ..problem import Problem
from ..processes import kept_property
from .candidates import Candidate, dtype_of

Candidates = tuple[Candidate, ...]


class Decision:
    """The candidates of a problem and the chosen one; `forced` says whether the caller asked for its way.

    `like`: the geometry whose near ways it was chosen among, where that was done without weighing the others. That says
    how a choice came about and not what it is: two Decisions that differ by it alone are equal.

    Where the choice needed a few of them alone, `candidates` is what weighs them all: it is called when somebody asks.
    """

    def __init__(
        self,
        problem: Problem,
        candidates: Candidates | Callable[[], Candidates],
        chosen: Candidate,
        forced: bool = False,
        like: Geometry | None = None,
    ) -> None:
        self.problem, self.chosen, self.forced, self.like = problem, chosen, forced, like
        self._candidates = candidates

    @kept_property
    def candidates(self) -> Candidates:
        """All ways in the order of the lowerings, the chosen one among them."""
        if isinstance(self._candidates, tuple):
            return self._candidates
        return tuple(self.chosen if c.way == self.chosen.way else c for c in self._candidates())

    @property
    def lowering(self) -> Lowering:
        """The chosen one."""
        return find_lowering(self.chosen.lowering)

    @property
    def exact(self) -> bool:
        """Whether the products are the definition's own."""
        return self.lowering.exact

    @property
    def itemsize(self) -> int:
        """Bytes of an element of x."""
        return dtype_of(self.problem.dtype).itemsize

    def force(self, candidate: Candidate) -> Decision:
        """The same candidates with another one chosen, as if it had been asked for."""
        return Decision(self.problem, self.candidates, candidate, forced=True)

    def instead(self, candidate: Candidate) -> Decision:
        """The same candidates with another one chosen, since the first one cannot run here."""
        return Decision(self.problem, self.candidates, candidate, self.forced)

    def _facts(self) -> tuple[Any, ...]:
        return self.problem, self.candidates, self.chosen, self.forced, self.like

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decision) and self._facts()[:-1] == other._facts()[:-1]

    def __hash__(self) -> int:
        return hash((self.problem, self.chosen, self.forced))

    def __reduce__(self) -> tuple[Any, ...]:
        return Decision, self._facts()


__all__ = ["Decision"]
