"""The steps of a prepared graph, and what a call works on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...lazy_dataclass import dataclass
from ..graph import Array, Node, Value

if TYPE_CHECKING:
    from .chains import Chain
    from .layouts import ProgramLayout
    from .sharing import Arena

Step = Callable[..., Any]

NOTHING = -1
"""The place of an operand that is omitted: the last of the values, which stays None."""


@dataclass(frozen=True)
class NodeTask:
    """One step: the node it runs, where its operands stand among the values, and which are not needed after it."""

    node: Node
    run: Step
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    drops: tuple[int, ...] = ()
    makes: bool = False
    """Whether `run` gives new arrays instead of writing into those there are."""


@dataclass(eq=False)
class State:
    """What one call works on: an array for each value, and the work over those that stay and lie as the layout says.

    What has a place lies in `arena`, which a call has to have for itself.
    """

    values: list[Value]
    work: list[Chain | NodeTask]
    layout: ProgramLayout
    arena: Arena


def do_nothing(*arrays: Array) -> None:
    """The step of a node whose outputs have no element."""


def copy_first(x: Array, *rest: Array) -> None:
    """The step of a view whose elements must lie elsewhere."""
    np.copyto(rest[-1], x.reshape(rest[-1].shape))


__all__ = ["NOTHING", "NodeTask", "State", "Step", "copy_first", "do_nothing"]
