"""What a kernel is made ready with: its plan, the same for every kind of kernel.

recipe      what is constant in the kernel's code          words     what is not: extents, strides, shares, by name
template    the block of words that a job starts from      at        which of them are the addresses of arrays
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ...product import Product
from ..ir.arguments import Arguments
from ..job import HEADER, WORD
from ..operands import Dtypes, Shapes
from .effort import Effort


class KernelPlan(ABC):
    """One product on one CPU: the recipe of its kernel, and the words of its block; holds no arrays but tables.

    `tasks` of the kernel's `task`, and `weight_tasks` of its `weights` (0: w is read as it is), which fill
    `weight_bytes`. `workspace`: bytes of scratch, of all threads. `origin`: where all indices are 0, in bytes from an
    array's start. `reads_in_place`: no panel is packed. `plane_rows`: rows of A for which a kernel that reads pixels in
    place reads x once, 0 for other kernels.
    """

    recipe: Any
    tasks: int
    weight_tasks: int
    weight_bytes: int
    workspace: int = 0
    reads_in_place = False
    plane_rows = 0

    def __init__(self, product: Product, dtypes: Dtypes, shapes: Shapes, threads: int) -> None:
        self.product, self.dtypes, self.threads = product, dtypes, threads
        self.shapes = dict(shapes)
        self.origin: dict[str, int] = {}
        self.words: dict[str, int] = {}

    @property
    @abstractmethod
    def effort(self) -> Effort:
        """What one call makes the machine do."""

    def lay_out(self, arguments: Arguments, words: Mapping[str, int], addresses: Iterable[str]) -> None:
        """Fill the template of the job's block with `words`; `addresses` are filled in by each call."""
        unknown = set(words) - set(arguments.names)
        assert not unknown, unknown
        self.words = dict(words)
        self.template = bytes(np.array([0, 0, 0, 0, *(words.get(n, 0) for n in arguments.names)], np.int64))
        self.at = {name: (HEADER + arguments.offset(name)) // WORD for name in addresses}


__all__ = ["KernelPlan"]
