"""A kernel's arguments at run time: one block of 64-bit words, each with a name.

The generator asks for a word by name while it writes a kernel and finds it at `BLOCK + 8*i`; the caller fills the
words by the same names. What is not in the block is constant in the kernel.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .instructions import Type, Value, i64
from .ir import Function
from .poolcode import BLOCK

WORD = 8

Array = npt.NDArray[Any]


class Slots:
    """The names of a kernel's words, in order.

    >>> Slots(["x", "y"]).offset("y")
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


def _by_interface(array: Array) -> int:
    found: int = array.__array_interface__["data"][0]
    return found


def _by_struct(array: Array) -> int:
    """NumPy's array object keeps its data pointer behind the two words of every CPython object: 20 times as fast."""
    return _word_at(id(array) + 16).value


_word_at = ctypes.c_size_t.from_address
_probe = np.zeros(2, np.uint8)
_plain = sys.implementation.name == "cpython" and _by_struct(_probe) == _by_interface(_probe)
address = _by_struct if _plain and _by_struct(_probe[1:]) == _by_interface(_probe[1:]) else _by_interface
"""Where an array's first element is."""


__all__ = ["BLOCK", "WORD", "Slots", "address"]
