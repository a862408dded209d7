"""A job for the thread pool: one block of 64-bit words in memory, a header and then what the kernel is given.

    kernel's address, tasks, threads, a spare word, arguments ...

The pool's compiled half reads the header; the kernel gets the address of the arguments, which begin at `HEADER`.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

WORD = 8
HEADER = 4 * WORD
SPARE = 3
"""The word of a header that the pool does not read: of a job within another, the bytes that it takes."""

Array = npt.NDArray[Any]


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


__all__ = ["HEADER", "SPARE", "WORD", "address"]
