"""A step that is a plan with its weights packed: what reports ask for its product, its way and its memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...planner import Plan
from .base import Step


@dataclass(frozen=True)
class Planned:
    """`run(*inputs, *outputs)` computes what `plan` says."""

    run: Step
    plan: Plan

    def __call__(self, *arrays: Any) -> None:
        """Write into the outputs, which are the last of the arrays."""
        self.run(*arrays)
