"""Writing down what a prepared Program does, so that another process does it without preparing.

Which words of its jobs are addresses is found, not asked for. Two states of the same program are made, whose arenas and
scratch lie elsewhere: words that differ point there. Of those that are equal, all that could be an address must be that
of a kernel's function or lie in an array that the steps hold, and such arrays must hold no address themselves. Then the
recording runs, in memory of its own that is filled with NaN: what it answers must be what the program answered, to the
last bit. A program of which any of that is not so is not recorded.
"""

from __future__ import annotations

import gc
import json
import time
import types
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ...engine import address, host, jit_cache, thread_pool
from ...errors import ConvmatError
from ..graph import Array, Value
from ..preparing.chains import Chain
from ..preparing.latest import NUMBERS
from ..preparing.passing import find_passing
from ..preparing.program import Program
from ..preparing.sharing import Arena
from ..preparing.tasks import State
from .recorded import (
    ARENA,
    DATA,
    FUNCTIONS,
    IN_TURN,
    LENGTH,
    LINE,
    NOTHING,
    SCRATCH,
    WORD,
    Aim,
    Recorded,
    fixed_value,
)

ADDRESSES = 1 << 32, 1 << 47
"""Where no number of a job lies, but all memory of a process does."""

TRIES = 4
"""States that are made until arena and scratch lie differently to each other in one of them."""

SIMPLE = frozenset((str, bytes, int, float, bool, type(None)))
HOLDING_NONE = (type, types.ModuleType, str, bytes, int, float)
"""Objects that hold no arrays, and their types where there are many of them."""

FILL = 0xFF
"""Bytes of which floats are NaN."""


class Unrecorded(Exception):
    """Why a program is not recorded."""


class Addressed(Unrecorded):
    """An array holds what may be an address."""


PAUSES = (0.1, 0.3)
"""Seconds before it is tried again."""


def record(
    program: Program, given: Mapping[str, Value], answer: Mapping[str, Value], seconds: float, most: int
) -> bytes | None:
    """What another process needs to answer as this program did; None where it is not known to be all of it.

    `seconds`: what preparing it took. `most`: bytes that it may take.
    """
    try:
        content = _content(program, given, seconds, most)
        recorded = Recorded(content)
        arrays = recorded.match(dict(given))
        if arrays is None:
            return None
        found = recorded(arrays, FILL)
    except (Unrecorded, ConvmatError, MemoryError):
        return None
    return content if found and all(_equal(found[name], answer[name]) for name in answer) else None


def _content(program: Program, given: Mapping[str, Value], seconds: float, most: int) -> bytes:
    """A recording. Calls may run meanwhile, and leave addresses in memory that is no table. Raises Unrecorded."""
    for pause in PAUSES:
        with suppress(Addressed):
            return _Recorder(program, given, most).content(seconds)
        time.sleep(pause)
    return _Recorder(program, given, most).content(seconds)


def _equal(a: Array, b: Any) -> bool:
    return bool(a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes())


class _Recorder:
    """One program on its way into a file."""

    def __init__(self, program: Program, given: Mapping[str, Value], most: int) -> None:
        passing = find_passing(program)
        if passing is None:
            raise Unrecorded("its parts wait for shapes")
        self.passing = passing
        if not all(type(x) is np.ndarray and x.dtype.kind in NUMBERS for x in given.values()):
            raise Unrecorded("an input is no array of numbers")
        if lowest_memory() < ADDRESSES[0]:
            raise Unrecorded("addresses may look like numbers")
        self.inputs: dict[str, Array] = {name: x for name, x in given.items() if isinstance(x, np.ndarray)}
        if any(
            program.specs[name].value is not None and fixed_value(x) is None
            for name, x in self.inputs.items()
        ):
            raise Unrecorded("an input's values decide on something")
        self.arrays = {slot: at for at, slot in enumerate(self.passing.inputs[name] for name in self.inputs)}
        for alias, of in self.passing.aliases.items():  # of an alias, too
            if of in self.arrays:
                self.arrays[alias] = self.arrays[of]
        self.arrays |= {slot: len(given) + at for at, slot in enumerate(self.passing.outputs)}
        self.state, self.other = self._make_states(program)
        self.arena = address(self.state.arena.values)
        self.parts = _FileData(most)

    def _make_states(self, program: Program) -> tuple[State, State]:
        """Two states, between which arena and scratch have moved by different distances. Raises Unrecorded."""
        first, *others = (
            self._make_state(program, number << 20) for number in range(TRIES)
        )  # all are there at once
        for other in others:
            if len({there - here for here, there in _bases(first, other).values()}) == 2:
                return first, other
        raise Unrecorded("arena and scratch moved by as much")

    def _make_state(self, program: Program, scratch: int) -> State:
        """One with so many bytes of scratch or more: of one size all would lie one after the other, as far apart."""
        arena = Arena(self.passing.arena)
        arena.scratch(scratch)
        return program.new_state(program.layout, arena)

    def content(self, seconds: float) -> bytes:
        """All of it. Raises Unrecorded."""
        passing, blocks, work = self.passing, list[Any](), list[Any]()
        others, aims, roots, outside = list[Any](), list[Any](), list[Any](), list[Any]()
        for each, other in zip(self.state.work, self.other.work, strict=True):
            if not isinstance(each, Chain) or not isinstance(other, Chain):
                raise Unrecorded("it calls Python")
            work.append([len(blocks) + at for at in range(len(each.blocks))])
            blocks += each.blocks
            others += other.blocks
            aims += each.aims
            outside += each.outside
            roots += each.calls
        starts = np.cumsum([0, *map(len, blocks)])
        words = np.concatenate(
            [np.frombuffer(block, np.int64) for block in blocks] or [np.empty(0, np.int64)]
        )
        moved = np.concatenate(
            [np.frombuffer(block, np.int64) for block in others] or [np.empty(0, np.int64)]
        )
        if len(words) != len(moved):
            raise Unrecorded("two states differ")
        number = {id(block): int(starts[at]) for at, block in enumerate(blocks)}
        pointed = [
            Aim(self._array(slot), number[id(block)] + word, offset) for slot, block, word, offset in aims
        ]
        words[[aim.word for aim in pointed]] = moved[[aim.word for aim in pointed]] = 0
        kinds = np.full(len(words), -1, np.int64)
        self._find_moved(words, moved, kinds)
        functions = self._find_lasting(words, kinds, roots)
        pointers = np.flatnonzero(kinds >= 0)
        head = {
            "inputs": [[name, x.shape, x.dtype.str, fixed_value(x)] for name, x in self.inputs.items()],
            "outputs": [[name, shape, dtype.str] for name, shape, dtype in passing.outputs.values()],
            "arena": passing.arena,
            "scratch": len(self.state.arena.scratch(0)[0]),
            "aims": pointed,
            "outside": [number[id(block)] + word for block, word in outside],
            "work": [[int(starts[at]) for at in each] for each in work],
            "functions": functions,
            "kernels": self.kernels,
            "words": self.parts.add(words),
            "pointers": self.parts.add(pointers),
            "kinds": self.parts.add(kinds[pointers]),
            "seconds": seconds,
        }
        text = json.dumps(head, separators=(",", ":")).encode()
        text += b" " * (-(LENGTH.size + len(text)) % LINE)
        return b"".join((LENGTH.pack(len(text)), text, *self.parts.content))

    def _array(self, slot: int) -> int:
        if slot not in self.arrays:
            raise Unrecorded("it reads what a call brings no more")
        return self.arrays[slot]

    def _find_moved(self, words: Array, moved: Array, kinds: Array) -> None:
        """Words that point into the arena or into scratch: which differ between two states by as much as these do."""
        different = words != moved
        for kind, (here, there) in _bases(self.state, self.other).items():
            which = different & (moved - words == there - here)
            kinds[which] = kind
            words[which] -= here
        if (different & (kinds < 0)).any():
            raise Unrecorded("what moves is neither arena nor scratch")

    def _find_lasting(self, words: Array, kinds: Array, roots: Sequence[Any]) -> list[tuple[int, str]]:
        """Words that point at functions or into arrays that the steps hold; those functions, of which kernels."""
        pool, known = thread_pool.start(), jit_cache.functions()
        low, high = ADDRESSES
        held = _HeldArrays(roots)
        placed: dict[int, int] = {}
        functions: dict[int, int] = {}
        named: list[tuple[int, str]] = []
        kernels: dict[str, int] = {}
        self.kernels: list[dict[str, Any]] = []
        for at in np.flatnonzero((kinds < 0) & (words >= low) & (words < high)):
            word = int(words[at])
            if word in (pool.in_turn, pool.nothing):
                kinds[at], words[at] = (IN_TURN if word == pool.in_turn else NOTHING), 0
            elif word in known:
                if word not in functions:
                    kernel, symbol = known[word]
                    if kernel not in kernels:
                        kernels[kernel] = len(kernels)
                        self.kernels.append(self._kernel(kernel))
                    functions[word] = FUNCTIONS + len(named)
                    named.append((kernels[kernel], symbol))
                kinds[at], words[at] = functions[word], 0
            else:
                array = held.find(word)
                begin = address(array)
                if begin not in placed:
                    placed[begin] = self.parts.add(array)["at"]
                    self._require_plain(array, held)
                kinds[at], words[at] = DATA, word - begin + placed[begin]
        return named

    def _kernel(self, name: str) -> dict[str, Any]:
        data = jit_cache.object_of(name, host())
        if data is None:
            raise Unrecorded("a kernel is not on disk")
        return self.parts.add(np.frombuffer(data, np.uint8))

    def _require_plain(self, array: Array, held: _HeldArrays) -> None:
        """Raise Unrecorded where a table holds what may be an address of ours; weights hold numbers, and old memory."""
        if array.dtype.kind == "f":
            return
        data = array.reshape(-1).view(np.uint8)
        words = data[: len(data) // WORD * WORD].view(np.int64)
        of_arena = (words >= self.arena) & (words < self.arena + self.passing.arena)
        if (of_arena | held.contain(words)).any():
            raise Addressed("an array holds an address")


def _bases(first: State, other: State) -> dict[int, tuple[int, int]]:
    """Where arena and scratch begin in each of two states."""
    arenas = first.arena, other.arena
    here, there = (address(each.values) for each in arenas)
    return {ARENA: (here, there), SCRATCH: (arenas[0].scratch(0)[1], arenas[1].scratch(0)[1])}


class _FileData:
    """Arrays one after the other, each from a multiple of LINE on."""

    def __init__(self, most: int) -> None:
        self.content: list[Any] = []
        self._at, self._most = 0, most

    def add(self, array: Array) -> dict[str, Any]:
        """Where an array lies."""
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        room = -len(data) % LINE + LINE
        self.content += [data, bytes(room)]
        at, self._at = self._at, self._at + len(data) + room
        if self._at > self._most:
            raise Unrecorded("it is too much")
        return {"at": at, "size": len(data), "dtype": array.dtype.str}


class _HeldArrays:
    """The contiguous arrays that objects hold, by where they lie."""

    def __init__(self, roots: Sequence[Any]) -> None:
        found = {(address(x), x.nbytes): x for x in held_arrays(roots) if x.flags.c_contiguous and x.nbytes}
        ordered = sorted(found.items(), key=lambda each: each[0])
        self._starts = [start for (start, _), _ in ordered]
        self._ends = [start + size for (start, size), _ in ordered]
        self._bounds = np.array(self._starts, np.int64), np.array(self._ends, np.int64)
        self._arrays = [array for _, array in ordered]

    def find(self, place: int) -> Array:
        """The largest array that begins last before a place, and holds it. Raises Unrecorded."""
        at = bisect_right(self._starts, place) - 1
        if at < 0 or place >= self._ends[at]:
            raise Unrecorded("an address is of none of its arrays")
        return self._arrays[at]

    def contain(self, places: Array) -> Array:
        """Whether each place lies in one of the arrays."""
        if not self._starts:
            return np.zeros(places.shape, bool)
        starts, ends = self._bounds
        near = np.flatnonzero((places >= starts[0]) & (places < ends.max()))  # few of a table's numbers are
        inside = np.zeros(places.shape, bool)
        inside[near] = places[near] < ends[np.searchsorted(starts, places[near], side="right") - 1]
        return inside


def lowest_memory() -> int:
    """Where the first memory of this process lies.

    Programs that are linked to a fixed place, as some builds of Python are, have their heap just behind it, where sizes
    of arrays could not be told from addresses.
    """
    with open("/proc/self/maps") as maps:
        return int(maps.readline().split("-")[0], 16)


def held_arrays(roots: Sequence[Any]) -> Iterator[Array]:
    """All arrays that objects hold, and what these hold: through functions what they close over alone.

    >>> [x.tolist() for x in held_arrays([{"a": (np.zeros(2), 1)}, lambda: None])]
    [[0.0, 0.0]]
    """
    seen, waiting = set[int](), list(roots)
    while waiting:
        each = waiting.pop()
        if type(each) in SIMPLE or id(each) in seen or isinstance(each, HOLDING_NONE):
            continue
        seen.add(id(each))
        if isinstance(each, np.ndarray):
            yield each
        elif isinstance(each, types.FunctionType):
            waiting += [*(each.__closure__ or ()), *(each.__defaults__ or ())]
        else:
            waiting += gc.get_referents(each)


__all__ = ["held_arrays", "record"]
