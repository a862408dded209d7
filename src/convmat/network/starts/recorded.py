"""A recorded program: one file with kernels, packed weights and jobs, ready as soon as addresses are put in.

    head     JSON: arrays of a call, sizes of memory, where each part of the data lies
    data     object files of kernels | arrays that jobs read | the jobs' words | which of these are addresses

A word that is an address says how far from the beginning of its memory it points; what is added to it is known when
that memory is there.
"""

from __future__ import annotations

import ctypes
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...engine import address, buffers, jit_cache, thread_pool
from ...processes import OfThisProcess
from ..graph import Array

WORD = 8
"""Bytes of a word of a job."""

LINE = 64
"""Bytes to whose multiple memory is aligned."""

ARENA, SCRATCH, DATA, IN_TURN, NOTHING, FUNCTIONS = range(6)
"""Kinds of memory that words point into; from FUNCTIONS on each is one function of a kernel."""

LENGTH = struct.Struct("<Q")


class Passed(NamedTuple):
    """An array that a call brings or makes: its name, its shape, its element type, and a value that it must have."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    value: str | None = None

    def fits(self, x: Any) -> bool:
        """Whether x is such an array."""
        if type(x) is not np.ndarray or x.shape != self.shape or x.dtype != self.dtype:
            return False
        return self.value is None or self.value == fixed_value(x)


def fixed_value(x: Array) -> str | None:
    """The bytes of one whole number or truth value: networks may be prepared for it alone, and so are recordings.

    >>> fixed_value(np.array([16], np.int16)), fixed_value(np.ones(2, bool)), fixed_value(np.ones(1))
    ('1000', None, None)
    """
    return x.tobytes().hex() if x.size == 1 and x.dtype.kind in "iub" else None


class Aim(NamedTuple):
    """A word that says where an array of a call lies: which array, inputs first, and bytes that are added."""

    array: int
    word: int
    offset: int


class CallMemory(OfThisProcess):
    """What one call works on: words of jobs over an arena and scratch of its own."""

    def __init__(self, recorded: Recorded, fill: int | None) -> None:
        head = recorded.head
        size = head["arena"] + head["scratch"] + 2 * LINE
        self.held = (
            buffers.empty((size,), np.dtype(np.uint8)) if fill is None else np.full(size, fill, np.uint8)
        )
        self.arena = -(-address(self.held) // LINE) * LINE
        scratch = self.arena + -(-head["arena"] // LINE) * LINE
        self.words = recorded.words.copy()
        bases = np.array([self.arena, scratch, *recorded.bases], np.int64)
        self.words[recorded.pointers] += bases[recorded.kinds]
        first = address(self.words)
        self.work = [
            (ctypes.c_int64 * len(each))(*(first + WORD * at for at in each)) for each in recorded.work
        ]


class Recorded(OfThisProcess):
    """A program that another process prepared. May be called from several threads at once."""

    def __init__(self, content: Any) -> None:
        """`content`: what `Recorder` wrote, which stays as it is. Raises EngineError where its kernels do not load."""
        whole = np.frombuffer(content, np.uint8)
        (length,) = LENGTH.unpack_from(content)
        self.head: dict[str, Any] = json.loads(whole[LENGTH.size : LENGTH.size + length].tobytes())
        data = whole[LENGTH.size + length :]
        self._data = data  # whose arrays the jobs read
        self.inputs, self.outputs = (
            [_read_passed(each) for each in self.head[side]] for side in ("inputs", "outputs")
        )
        self.aims = [Aim(*each) for each in self.head["aims"]]
        self.outside: list[int] = self.head["outside"]
        self.work: list[list[int]] = self.head["work"]
        self.words, self.pointers, self.kinds = (
            _cut(data, self.head[part]) for part in ("words", "pointers", "kinds")
        )
        self._code = jit_cache.load_objects([_cut(data, each).tobytes() for each in self.head["kernels"]])
        functions = [self._code[kernel].symbols[name] for kernel, name in self.head["functions"]]
        pool = thread_pool.start()
        self.bases = [address(data), pool.in_turn, pool.nothing, *functions]
        self._idle: list[CallMemory] = []
        self.seconds: float = self.head["seconds"]
        """What preparing took."""

    def match(self, x: Any) -> list[Array] | None:
        """The arrays of a call in the order of its inputs, if x is such arrays: one alone, or a dict of them."""
        if type(x) is dict:
            given = [x[each.name] for each in self.inputs if each.name in x]
            fits = len(x) == len(given) == len(self.inputs) and all(map(Passed.fits, self.inputs, given))
            return given if fits else None
        return [x] if len(self.inputs) == 1 and self.inputs[0].fits(x) else None

    def __call__(self, given: Sequence[Array], fill: int | None = None) -> dict[str, Array] | None:
        """The outputs by name, for arrays that match; None where an index of theirs names no place.

        `fill`: what all memory that is written first is filled with.
        """
        mode = thread_pool.flush_denormals()
        try:
            return self._run([np.require(x, requirements=["C", "A"]) for x in given], fill)
        finally:
            thread_pool.restore_mode(mode)

    def _run(self, given: Sequence[Array], fill: int | None) -> dict[str, Array] | None:
        memory = self._memory(fill)
        made = [buffers.empty(each.shape, each.dtype) for each in self.outputs]
        places = [address(array) for array in (*given, *made)]
        for aim in self.aims:
            memory.words[aim.word] = places[aim.array] + aim.offset
        for each in memory.work:
            thread_pool.launch_all(each)
        if self.outside and memory.words[self.outside].any():
            return None
        if fill is None:
            self._idle.append(memory)
        return {each.name: y for each, y in zip(self.outputs, made, strict=True)}

    def _memory(self, fill: int | None) -> CallMemory:
        """What an earlier call left, or new."""
        if fill is None:
            try:
                return self._idle.pop()
            except IndexError:
                pass
        return CallMemory(self, fill)


def _read_passed(given: Sequence[Any]) -> Passed:
    name, shape, dtype, *value = given
    return Passed(name, tuple(shape), np.dtype(dtype), *value)


def _cut(data: Array, part: Mapping[str, Any]) -> Array:
    """A part of the data as an array."""
    found: Array = data[part["at"] : part["at"] + part["size"]].view(part.get("dtype", "uint8"))
    return found


__all__ = [
    "ARENA",
    "DATA",
    "FUNCTIONS",
    "IN_TURN",
    "LENGTH",
    "LINE",
    "NOTHING",
    "SCRATCH",
    "Aim",
    "Passed",
    "fixed_value",
]
