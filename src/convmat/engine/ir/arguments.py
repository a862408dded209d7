"""A kernel's arguments at run time: one block of 64-bit words, each with a name.

The generator asks for a word by name while it writes a kernel and finds it at `HEADER + 8*i`; the caller fills the
words by the same names. What is not in the block is constant in the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable
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
        self.names = tuple(dict.fromkeys(names))
        self._at = {name: i * WORD for i, name in enumerate(self.names)}

    def offset(self, name: str) -> int:
        """The word's place in bytes, from where the kernel's arguments begin."""
        return self._at[name]

    def load(self, fn: Function, args: Value, name: str, type: Type = i64) -> Value:
        """Emits the load of a word."""
        return fn.load(args, type, self._at[name])


__all__ = ["Arguments"]
