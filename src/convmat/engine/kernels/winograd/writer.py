"""What is constant in the kernel of products with transforms, and what those who write it share."""

from __future__ import annotations

import math
from typing import Generic, Protocol, TypeVar

from ....lazy_dataclass import dataclass
from ....processes import kept_property
from ....product import Activation, Matrix, Transform
from ...ir.arguments import Arguments
from ...ir.constant_matmul import combine, operations
from ...ir.emitter import Function, Module
from ...ir.instructions import Type, Value, all_lanes, const, equal, fma, i64, less_equal, udiv
from ...operands import odd_lines_size

TALLEST = 14
"""Tiles of a register tile, two vectors of rows of A wide."""


LARGEST = {4: 2.0**40, 8: 2.0**400}
"""Size of a tile's sums beyond which it is taken by the definition instead, by the bytes of an element.

What is lost beside one such sum is more than any tolerance that is asked of ordinary data; and the squares of all
others can still be added up.
"""


@dataclass(frozen=True)
class WinogradRecipe:
    """All that is constant in the kernel: the transforms along both axes, types, how many rows of A a block has.

    `width`: rows of a block of A, `tail`: of the last one; `several`: whether there are blocks of both kinds.
    `apart`: how far the elements of a window lie from each other. `folded`: rows are pieces of one line, the last
    perhaps shorter. `taps`: a filter lies whole in memory, forwards (1) or backwards (-1); otherwise 0. `packs`: tasks
    pack A. `k`: channels, where x and y keep their channels side by side (`channels_last`); otherwise 0. Slices and
    their taps are counted at run time.
    """

    rows: Transform
    columns: Transform
    apart: tuple[int, int]
    taps: int
    packs: bool
    k: int
    work: Type
    lanes: int
    width: int
    tail: int
    several: bool
    tallest: int
    bias: bool
    residual: bool
    activation: Activation | None
    folded: bool

    @property
    def points(self) -> int:
        """Products: one for each pair of points."""
        return self.rows.points * self.columns.points

    @kept_property
    def operations(self) -> tuple[int, int, int, int]:
        """Instructions that transforming B takes, down and across, and transforming the products."""
        matrices = (self.rows.pre_b, self.columns.pre_b, self.rows.post, self.columns.post)
        a, b, c, d = map(operations, matrices)
        return a, b, c, d

    @property
    def line(self) -> int:
        """Tiles that are stored together: in the outputs of one row of a vector's width, if they fit it."""
        return self.apart[1] * max(self.lanes // (len(self.columns.post) * self.apart[1]), 1)

    @property
    def turned(self) -> int:
        """Vectors of a row of their outputs."""
        return -(-self.line * len(self.columns.post) // self.lanes)

    @property
    def pitch(self) -> int:
        """Bytes from one tile of V to the next: all channels, in an odd number of cache lines."""
        return odd_lines_size(self.stored_elements(self.k) * self.work.bytes)

    @property
    def largest_square(self) -> float:
        """What the squares of a tile's products may add up to."""
        return largest_square(self.work, self.rows.post, self.columns.post)

    @property
    def heights(self) -> list[int]:
        """Rows of each kind of block."""
        return sorted({self.width, self.tail} if self.several else {self.tail})

    def stored_elements(self, rows: int) -> int:
        """Elements that a block of so many rows takes: whole vectors."""
        return -(-rows // self.lanes) * self.lanes

    def plane(self, rows: int) -> str:
        """The word that says how far the points of a block of so many rows lie apart."""
        return "a tail plane" if rows == self.tail else "a plane"

    def sizes(self) -> list[int]:
        """Tiles of each register tile there is."""
        return list(range(2, self.tallest + 1, 2))

    def arguments(self) -> Arguments:
        """The words a task reads."""
        names = ["x", "y", "w", "a", "bias", "residual", "scratch", "scratch size", "sums", "lines", "turned"]
        names += [
            "chunk",
            "chunks",
            "together",
            "m block",
            "count b",
            "rests",
            "slices",
            "block slices",
            "slice blocks",
            "packed",
            "x slice",
            "y slice",
            "y rest",
            "slice offset",
            "depth",
            "slice stride",
            "tap step",
            "taps",
            "w tap",
            "turns",
            "overlap",
            "x b",
            "y b",
            "x g",
            "y g",
            "a g",
            "bias g",
            "count g",
        ]
        names += ["w g", "w o", "w c", "w f0", "w f1", "block step", "a blocks", "a plane", "a tail plane"]
        names += ["block rows", "block columns", "row blocks", "column blocks", "tile rows", "tile columns"]
        names += ["x c", "x row", "x column", "y o", "y row", "y column", "row offset", "column offset"]
        names += [
            "height",
            "width",
            "piece",
            "out rows",
            "out columns",
            "last columns",
            "k",
            "part",
            "panel",
            "v line",
            "v plane",
            "m plane",
        ]
        return Arguments([*names, "line pitch"])


class TransformRecipe(Protocol):
    """What is constant in a kernel of products between transforms, as far as all its parts are written by it."""

    @property
    def work(self) -> Type:
        """The type of products and sums."""

    @property
    def lanes(self) -> int:
        """Elements of a vector."""

    @property
    def largest_square(self) -> float:
        """Bound of the sum of the squares of an output's products: beyond, the tile is unsound."""

    def arguments(self) -> Arguments:
        """The words that a task reads."""


R = TypeVar("R", bound=TransformRecipe)


class TransformWriter(Generic[R]):
    """Writes a part of one module: the words of a task, and which sums of products are to be trusted."""

    def __init__(self, recipe: R, made: Module) -> None:
        self.r, self.made = recipe, made
        self.arguments = recipe.arguments()
        self.vector = recipe.work.x(recipe.lanes)
        self.item = recipe.work.bytes

    def word(self, fn: Function, args: Value, name: str, type: Type = i64) -> Value:
        """Emits the load of a word of the task's block."""
        return self.arguments.load(fn, args, name, type)

    def sound(self, squares: Value) -> Value:
        """Lanes in which the products, whose squares add up to this, are finite and none of their sums too large."""
        return less_equal(squares, const(self.vector, self.r.largest_square))


class WinogradWriter(TransformWriter[WinogradRecipe]):
    """Says where tiles lie too, and what both orders of lanes transform alike."""

    def along(self, fn: Function, args: Value, row: Value, column: Value) -> Value:
        """What the width bounds: a column of x, or how far it lies along the line that rows are pieces of."""
        return row * self.word(fn, args, "piece") + column if self.r.folded else column

    def pixel(self, tile: Value) -> Value:
        """The first column of a tile, from the first one of its row of tiles."""
        step, unit = len(self.r.columns.post), self.r.apart[1]
        number = udiv(tile, unit)
        return number * (step * unit) + (tile - number * unit)

    def outputs_down(self, fn: Function, at: Value, plane: Value) -> tuple[list[list[Value]], Value]:
        """Transform the tile at `at` in M, a vector of rows of A: for each column of its points the outputs down it.

        And the sum of the squares of all its points, in each lane.
        """
        t0, t1 = self.r.rows.points, self.r.columns.points
        half, squares = [], [const(self.vector, 0.0)] * 2  # two sums: one alone is waited for
        # A column at a time: those of a whole tile at once would not fit the registers.
        for s1 in range(t1):
            column = [fn.load(at + plane * (s0 * t1 + s1), self.vector) for s0 in range(t0)]
            for s0, each in enumerate(column):
                squares[s0 % 2] = fma(each, each, squares[s0 % 2])
            half.append(combine(self.r.rows.post, column))
        return half, squares[0] + squares[1]

    def unsound(self, squares: Value) -> Value:
        """Whether there is a lane that is not sound."""
        return equal(all_lanes(self.sound(squares)), 0)


def largest_square(work: Type, rows: Matrix, columns: Matrix) -> float:
    """What the squares of products may add up to if none of their sums is larger than `LARGEST`.

    By Cauchy and Schwarz a sum is no larger than the norm of the products times that of its weights.
    """
    return LARGEST[work.bytes] ** 2 / (_longest_row(rows) * _longest_row(columns))


def _longest_row(matrix: Matrix) -> float:
    """The largest sum of the squares of a row."""
    return float(max(math.fsum(float(each) ** 2 for each in row) for row in matrix))


__all__ = ["LARGEST", "TALLEST", "TransformWriter", "WinogradRecipe", "WinogradWriter", "largest_square"]
