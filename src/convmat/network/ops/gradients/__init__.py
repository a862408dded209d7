"""Operators that only gradients have: `convmat.network.gradients` makes their nodes, no file does.

They run as all others do: a rule for shapes, and a step that writes where it should.
"""

from __future__ import annotations

from types import ModuleType


def enter() -> tuple[ModuleType, ...]:
    """Import the modules here: each enters its operators. Who runs a network does without them."""
    from . import (
        convolution,
        linear,
        losses,
        movement,
        normalisation,
        pooling,
        random,
        recurrent,
        reductions,
        resize,
    )

    return (
        convolution,
        linear,
        losses,
        movement,
        normalisation,
        pooling,
        random,
        recurrent,
        reductions,
        resize,
    )


__all__ = ["enter"]
