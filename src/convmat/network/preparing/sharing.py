"""What programs have in common: packed weights, and the memory that the values of whichever runs lie in.

Programs of one network for other shapes, tiles of different kinds, blocks of a stream: of one of them an arena is
used at a time, so they take turns at few. Fresh pages cost more than small networks do, and arenas that each had for
itself would grow with the sizes that were met.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from ...engine import address, buffers
from ..graph import Array
from ..ops.options import PackedConstants

if TYPE_CHECKING:
    from .layouts import ProgramLayout
    from .tasks import State

IDLE_BYTES = 64 << 20
"""Arenas that are kept for later calls beside the first, all together."""

LINE = 64
"""Bytes to whose multiple scratch is aligned."""


class Arena:
    """Memory of one call at a time: for values, and for what steps need meanwhile; `gone` for good."""

    def __init__(self, size: int) -> None:
        self.values = buffers.empty((size,), np.dtype(np.uint8))
        self._scratch: Array = np.empty(0, np.uint8)
        self.gone = False

    def scratch(self, size: int) -> tuple[Array, int]:
        """At least so many bytes, and the address of the first, a line's multiple; valid as long as they are held.

        >>> Arena(0).scratch(100)[1] % 64
        0
        """
        if self._scratch.nbytes < size + LINE:
            self._scratch = np.empty(size + LINE, np.uint8)
        return self._scratch, -(-address(self._scratch) // LINE) * LINE


class Arenas:
    """Those that nobody uses now. May be asked from several threads at once.

    >>> arenas = Arenas()
    >>> first = arenas.take(100)
    >>> arenas.give(first)
    >>> arenas.claim(first), arenas.claim(first)
    (True, False)
    """

    def __init__(self) -> None:
        self._free: list[Arena] = []
        self._users: dict[int, weakref.ref[IdleStates]] = {}
        # Each step on these alone is atomic, and none relies on the last: any thread may come in between.

    def claim(self, arena: Arena) -> bool:
        """Take this one, unless another call has it or it was let go."""
        try:
            self._free.remove(arena)
        except ValueError:
            return False
        return True

    def take(self, size: int, user: IdleStates | None = None) -> Arena:
        """One of at least so many bytes, for a state that `user` will keep: the least that is free, or else a new one.

        Those that are too small are let go for it, and with them what was prepared on them. It is then twice as large
        as they were at least, of which what is never written to takes no memory.
        """
        if user is not None:
            for known, reference in list(self._users.items()):
                if reference() is None:
                    self._users.pop(known, None)
            self._users[id(user)] = weakref.ref(user)
        free = sorted(self._free, key=lambda each: each.values.nbytes)
        for each in free:
            if each.values.nbytes >= size and self.claim(each):
                return each
        small = [each for each in free if self.claim(each)]
        size = max(size, *(2 * each.values.nbytes for each in small)) if small else size
        self._let_go(small)
        free.clear()  # gone before the larger one is there
        small.clear()
        return Arena(size)

    def give(self, arena: Arena) -> None:
        """Let others have one that was taken, or let it go where enough are free."""
        free = list(self._free) if self._free else None
        if free is None or sum(each.values.nbytes for each in (*free, arena)) <= IDLE_BYTES:
            self._free.append(arena)
        else:
            self._let_go([arena])

    def reserve(self, size: int) -> None:
        """Have one of so many bytes ready."""
        self.give(self.take(size))

    def shrink(self, size: int) -> None:
        """Let go of those that are free and more than twice as large as the size that is needed now."""
        large = [each for each in list(self._free) if each.values.nbytes > 2 * size and self.claim(each)]
        self._let_go(large)

    def _let_go(self, arenas: Collection[Arena]) -> None:
        for arena in arenas:
            arena.gone = True
        users = [reference() for reference in list(self._users.values())] if arenas else []
        for each in users:
            if each is not None:
                each.forget(arenas)


class IdleStates:
    """What calls of a program worked on and left to later ones, each in an arena that others use meanwhile."""

    def __init__(self, arenas: Arenas) -> None:
        self.arenas = arenas
        self._states: list[State] = []

    def claim(self) -> State | None:
        """One of them, its arena taken; None where there is none, or others have their arenas."""
        busy: list[State] = []
        found = None
        while found is None and self._states:
            try:
                state = self._states.pop()
            except IndexError:  # another thread was quicker
                break
            if self.arenas.claim(state.arena):
                found = state
            else:
                busy.append(state)
        # Those whose arenas were let go while they were not in the list, nobody could let go of.
        self._states += [each for each in busy if not each.arena.gone]
        return found

    def keep(self, state: State, layout: ProgramLayout) -> None:
        """Keep one, and give its arena back; `layout`: how values lie by now, which those of others are dropped for."""
        kept = self._states
        if kept and any(each.arena is state.arena or each.layout is not layout for each in kept):
            kept[:] = [each for each in kept if each.arena is not state.arena and each.layout is layout]
        if state.layout is layout:
            kept.append(state)
        self.arenas.give(state.arena)

    def forget(self, arenas: Collection[Arena]) -> None:
        """Let go of those in these arenas."""
        for state in list(self._states):
            if state.arena in arenas:
                with suppress(ValueError):  # another thread found it
                    self._states.remove(state)


class Shared:
    """What several networks share, one of which runs at a time: tiles of different kinds, blocks of a stream.

    >>> Shared().packed.empty
    True
    """

    def __init__(self) -> None:
        self.packed = PackedConstants()
        self.arenas = Arenas()


__all__ = ["Arena", "Arenas", "IdleStates", "Shared"]
