"""A kernel's arguments at run time: one block of 64-bit words, each with a name.

The generator asks for a word by name while it writes a kernel and finds it at `HEADER + 8*i`; the caller fills the
words by the same names. What is not in the block is constant in the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy.typing as npt

from .emitter import Function
from .instructions import Type, Value, i64

WORD = 8

Array = npt.NDArray[Any]


class Arguments:
    """The names of a kernel's words, in order.

    >>> Arguments(["x", "y"]).offset("y")
    8
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names, self._at = _number(tuple(names))

    def offset(self, name: str) -> int:
        """The word's place in bytes, from where the kernel's arguments begin."""
        return self._at[name]

    def load(self, fn: Function, args: Value, name: str, type: Type = i64) -> Value:
        """Emits the load of a word."""
        return fn.load(args, type, self._at[name])


@lru_cache(maxsize=1024)
def _number(names: tuple[str, ...]) -> tuple[tuple[str, ...], Mapping[str, int]]:
    """The names, each once, and their places in bytes: many kernels have the same."""
    kept = tuple(dict.fromkeys(names))
    return kept, {name: i * WORD for i, name in enumerate(kept)}


__all__ = ["Arguments"]
