"""What networks have in common that take turns: packed weights, and one arena for the values of whichever runs."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np

from ..graph import Array
from ..ops.options import PackedConstants

if TYPE_CHECKING:
    from .program import Program


class Shared:
    """What several networks share, one of which runs at a time: tiles of different kinds, blocks of a stream.

    >>> Shared().arena(100).nbytes
    100
    """

    def __init__(self) -> None:
        self.packed = PackedConstants()
        self._arena: Array = np.empty(0, np.uint8)
        self._users: weakref.WeakSet[Program] = weakref.WeakSet()

    def arena(self, size: int, user: Program | None = None) -> Array:
        """Take so many bytes of the arena, for states of `user`.

        If it has to grow, what was prepared on the smaller one is let go of. Who takes some has the turn; others may
        be prepared meanwhile.
        """
        if size > self._arena.nbytes:
            for each in self._users:
                each.forget_states()
            self._arena = np.empty(0, np.uint8)  # gone before the larger one is there
            self._arena = np.empty(size, np.uint8)
        if user is not None:
            self._users.add(user)
        return self._arena[:size]


__all__ = ["Shared"]
