"""What a network was called with last: an array just like it needs no second look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ...engine import thread_pool
from ..graph import Value
from .program import Program


class Latest(NamedTuple):
    """One array of floats, how many threads there were, and what the network was prepared to for it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    threads: int
    program: Program

    @classmethod
    def of(cls, x: Any, given: Mapping[str, Value], program: Program) -> Latest | None:
        """From a call; None where there are several inputs, or one whose values may decide on something."""
        if type(x) is not np.ndarray or len(given) != 1 or x.dtype.kind != "f":
            return None
        (name,) = given
        return cls(name, x.shape, x.dtype, thread_pool.count(), program)

    def fits(self, x: Any) -> bool:
        """Whether x is such an array."""
        return (
            type(x) is np.ndarray
            and x.shape == self.shape
            and x.dtype is self.dtype
            and thread_pool.count() == self.threads
        )
