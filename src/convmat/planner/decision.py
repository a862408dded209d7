"""Decision: every way that a problem could run, with its cost or refusal, and the one that was chosen.

    weighing -> Decision -> Plan, which is a Decision with its program, ready to run

What a plan says of itself (`report`, `why`) it reads off its Decision, and what is pickled is the Decision alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..lowering import Lowering, named
from ..problem import Problem
from .candidates import Candidate, dtype_of


@dataclass(frozen=True)
class Decision:
    """The candidates of a problem and the chosen one; `forced` says whether the caller asked for its way."""

    problem: Problem
    candidates: tuple[Candidate, ...]
    chosen: Candidate
    forced: bool = False

    @property
    def lowering(self) -> Lowering:
        """The chosen one."""
        return named(self.chosen.lowering)

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
        return replace(self, chosen=candidate, forced=True)


__all__ = ["Decision"]
