"""Steps that convmat computes itself: what reports ask for their product, their way and their memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...planner import Plan
from .base import Step


@dataclass(frozen=True)
class Compiled:
    """`run(*inputs, *outputs)` is machine code; `way` says of which kind."""

    run: Step
    way: str

    def __call__(self, *arrays: Any) -> None:
        """Write into the outputs, which are the last of the arrays."""
        self.run(*arrays)


@dataclass(frozen=True)
class Planned:
    """`run(*inputs, *outputs)` computes what `plan` says, with weights that are packed."""

    run: Step
    plan: Plan

    def __call__(self, *arrays: Any) -> None:
        """Write into the outputs, which are the last of the arrays."""
        self.run(*arrays)
