"""StepMemory: what a training step takes, known before one runs."""

from __future__ import annotations

from dataclasses import dataclass

from ..planner.units import format_bytes, format_seconds


@dataclass(frozen=True)
class StepMemory:
    """Bytes of a training step: `parameters` with their running means, the optimiser's `state`, the `arena` that all
    values between nodes share, `alive` of which are needed at the busiest node, `scratch` of the product that needs
    most.
    """

    parameters: int
    state: int
    arena: int
    alive: int
    scratch: int
    again: int = 0
    """Nodes that compute again what the forward pass did, to keep to a limit."""
    again_seconds: float = 0.0
    """What these take on paper."""
    seconds: float = 0.0
    """What the whole step takes on paper."""

    @property
    def total(self) -> int:
        """All of it: what a step needs beyond its batch."""
        return self.parameters + self.state + self.arena + self.scratch

    def __str__(self) -> str:
        parts = ("parameters", "state", "arena", "scratch")
        each = ", ".join(f"{name} {format_bytes(getattr(self, name))}" for name in parts)
        if not self.again:
            return f"{format_bytes(self.total)}: {each}"
        share = self.again_seconds / self.seconds if self.seconds else 0.0
        return (
            f"{format_bytes(self.total)}: {each}\n"
            f"{self.again} nodes of the forward pass run again in the backward pass: "
            f"{format_seconds(self.again_seconds)} on paper, {share:.0%} of the step"
        )
