"""What is constant in the kernel of dot products: types, taps, and how they are cut into blocks that fit registers."""

from __future__ import annotations

from itertools import product

from ....lazy_dataclass import dataclass
from ....processes import kept_property
from ....product import Activation
from ...ir.arguments import Arguments
from ...ir.instructions import Type
from ..direct.planes import WindowSteps
from ..direct.strided_loads import Reads

TALLEST = 8
"""Rows of w that are held in registers: with more a line of x is hardly read less often."""

LINES = 8
"""Lines of w that are read beside the line of x which all of them meet: as many streams of memory."""

SPARE = 2
"""Registers that hold neither sums nor what is multiplied: a mask's vector, an address."""


@dataclass(frozen=True)
class DotsRecipe:
    """All that is constant in the kernel.

    `rows`, `columns`: how the positions of w lie on the axes of x (step), and the outputs (taps, dilation). `strands`:
    in so many parts a sum runs along w's lines. `signs`: masks have no registers of their own. `bias`, `activation`,
    `residual`: what becomes of a sum before it is stored. `column`: all of x is one line, which every line of w meets
    once.
    """

    rows: WindowSteps
    columns: WindowSteps
    strands: int
    array: Type
    work: Type
    out: Type
    lanes: int
    registers: int
    signs: bool
    bias: bool
    activation: Activation | None
    column: bool
    residual: bool

    @property
    def vectors(self) -> int:
        """Number of vectors that hold a number for each strand."""
        return self.strands // self.lanes

    @kept_property
    def block(self) -> tuple[int, int, int]:
        """Rows of taps, taps of a row and rows of w at work together: what loads least for a multiplication."""
        found = []
        for down, across, high in product(
            range(1, self.rows.taps + 1), range(1, self.columns.taps + 1), range(1, TALLEST + 1)
        ):
            held = self.vectors * (down * across + high + 1) + SPARE
            if held <= self.registers or down * across * high == 1:
                window = WindowSteps(self.rows.step, down, self.rows.dilation)
                lines = sum(bool(window.meets(range(high), number)) for number in range(_lines(window, high)))
                # Vectors of x mostly cross a cache line.
                loads = (2 * lines * across + high) / (down * across * high)
                found.append((loads, -down * across, -high, (down, across, high)))
        return min(found)[3]

    @property
    def heights(self) -> tuple[int, ...]:
        """Rows of w of a block, and of those that take what larger ones leave."""
        found = [self.block[2]]
        while found[-1] > 1:
            found.append(found[-1] // 2)
        return tuple(found)

    def blocks(self) -> list[tuple[int, int, int, int]]:
        """The blocks that the taps are cut into: first row, first column, rows and columns of each."""
        down, across, _ = self.block
        return [
            (top, left, min(down, self.rows.taps - top), min(across, self.columns.taps - left))
            for top in range(0, self.rows.taps, down)
            for left in range(0, self.columns.taps, across)
        ]

    def reads(self) -> Reads:
        """How vectors of x are read."""
        return Reads(self.array, self.work, True, self.lanes, self.columns.step, self.signs)

    def arguments(self) -> Arguments:
        """The words the kernel reads."""
        names = [
            "x",
            "w",
            "y",
            "a",
            "bias",
            "residual",
            "per",
            "count",
            "count o",
            "count b",
            "images",
            "part",
        ]
        names += [f"{array} {index}" for array, indices in OFFSETS.items() for index in indices]
        names += ["x row", "w row", "y row", "y column", "row offset", "column offset", "height", "width"]
        return Arguments([*names, "lines", "length"])


OFFSETS = {"x": "gbc", "w": "goc", "y": "gob"}
"""Which arrays the indices of groups, rows, images of C and terms of the sum move along."""


def _lines(window: WindowSteps, rows: int) -> int:
    """Lines of x from the first one that so many rows of w meet to the last."""
    return (rows - 1) * window.step + window.reach + 1


__all__ = ["LINES", "OFFSETS", "DotsRecipe"]
