"""What a kernel is made ready with: its plan, the same for every kind of kernel.

recipe      what is constant in the kernel's code          words     what is not: extents, strides, shares, by name
template    the block of words that a job starts from      at        which of them are the addresses of arrays
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ...processes import kept_property
from ...product import Product
from ..ir.arguments import Arguments
from ..job import HEADER, WORD, address
from ..operands import Array, Dtypes, Shapes
from .effort import Effort

DEPTHS = ("k", "k inner", "k outer", "blocks", "block step", "taps")
"""Words of A by other names than those that begin with its letter."""


class KernelPlan(ABC):
    """One product on one CPU: the recipe of its kernel, and the words of its block; no arrays while nothing runs.

    `tasks` of the kernel's `task`, and `weight_tasks` of its `weights` (0: w is read as it is), which fill
    `weight_bytes`; `kept_bytes` of w itself lie behind them once they are bound, if the kernel reads that too.
    `workspace`: bytes of scratch, of all threads. `origin`: where all indices are 0, in bytes from an
    array's start. `reads_in_place`: no panel is packed. `plane_rows`: rows of A for which a kernel that reads pixels in
    place reads x once, 0 for other kernels. A plan is shapes: the tables that a kernel reads, which grow with them, are
    made when it is first launched.
    """

    recipe: Any
    tasks: int
    weight_tasks: int
    weight_bytes: int
    kept_bytes: int = 0
    workspace: int = 0
    reads_in_place = False
    plane_rows = 0
    reads_w = True
    """Whether it reads weights, bound or not."""
    rate = "fma_flops"
    """Which of the machine's peaks its multiplications run at."""

    def __init__(self, product: Product, dtypes: Dtypes, shapes: Shapes, threads: int) -> None:
        self.product, self.dtypes, self.threads = product, dtypes, threads
        self.shapes = dict(shapes)
        self.origin: dict[str, int] = {}
        self.words: dict[str, int] = {}

    @property
    def packing(self) -> tuple[Any, ...]:
        """What decides how `weights` packs w: where it is equal, so are packed weights, whatever the arrays of a call.

        `weights` reads words of A and w alone, by their names: "a ..", "w .." and those in DEPTHS.
        """
        read, counting = _names_of_packers(tuple(self.words))
        steps = {name: self.words[name] for name in read}
        counted = {name[2:] for name, by in steps.items() if by}
        counts = {name: self.words[name] for name in counting if name[6:] in counted}
        tables = {name: t.tobytes() for name, t in self._filled[1].items() if name[:2] in ("a ", "w ")}
        sizes = (
            self.shapes["w"],
            self.weight_bytes,
            self.kept_bytes,
            self.origin["w"],
            bool(self.weight_tasks),
        )
        return self.packs, sizes, *(frozenset(each.items()) for each in (steps, counts, tables))

    @property
    def packs(self) -> Any:
        """What of its recipe decides how `weights` packs w: all of it, where nobody says less."""
        return self.recipe

    @property
    def flops(self) -> int:
        """Multiplications and additions of its product."""
        return self.product.flops

    @property
    def bias_dtype(self) -> np.dtype[Any]:
        """The type in which it reads a bias."""
        return self.dtypes.work

    @property
    @abstractmethod
    def effort(self) -> Effort:
        """What one call makes the machine do."""

    def lay_out(self, arguments: Arguments, words: Mapping[str, int], addresses: Iterable[str]) -> None:
        """Note the `words` of the job's block; `addresses` are filled in by each call."""
        self.words, self._arguments = dict(words), arguments
        self.at = {name: (HEADER + arguments.offset(name)) // WORD for name in addresses}

    def tables(self) -> dict[str, Array]:
        """The tables that its kernel reads, by the name of the word that holds their address."""
        return {}

    @property
    def template(self) -> bytes:
        """The block of words that a job starts from; its tables are made the first time."""
        return self._filled[0]

    @kept_property
    def _filled(self) -> tuple[bytes, dict[str, Array]]:
        """The template, and the tables that its addresses are of."""
        tables = self.tables()
        words = self.words | {name: address(table) for name, table in tables.items()}
        block = dict.fromkeys(self._arguments.names, 0)
        unknown = words.keys() - block.keys()
        assert not unknown, unknown
        return bytes(np.array([0, 0, 0, 0, *(block | words).values()], np.int64)), tables


@lru_cache(maxsize=1024)
def _names_of_packers(words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the words that `weights` reads, and of those that count indices."""
    read = tuple(name for name in words if name[:2] in ("a ", "w ") or name in DEPTHS)
    return read, tuple(name for name in words if name[:6] == "count ")


__all__ = ["KernelPlan"]
