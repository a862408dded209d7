"""Which narrow maps have rows side by side in vectors, and the masks that all their planes share: see `pixels_beside`.

[tap along a row]   columns whose tap is inside x
[vector of y]       rows that y has
[line of x]         rows that x has
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...ir.instructions import Type, i8, i16, i32, i64
from ...operands import Array
from .access import Reading, Windows
from .pixels import PixelsRecipe
from .planes import WindowSteps

MOST_MASKED = 1024
"""Rows of a plane: of more there would be more masks than a first-level cache keeps beside x and y."""


def put_beside(known: Reading, windows: Windows, recipe: PixelsRecipe) -> PixelsRecipe:
    """The recipe, with rows beside each other in vectors where x and y have rows of one width, which fit."""
    rows, lane, axis = recipe.rows, recipe.lane, windows.lane_axis
    if rows is None or windows.rows_axis is None or recipe.unit is not None:
        return recipe
    width, row = known.c.cols[-1].extent, known.c.cols[-2]
    follow = known.x[row.name] == width * known.item and known.y[row.name] == width * known.out
    high = max(row.extent, windows.rows_axis.extent) > MOST_MASKED
    if not (recipe.by_lines and recipe.written_out and follow) or high or (rows.step, lane.step) != (1, 1):
        return recipe
    if axis.extent != width or width > recipe.lanes or axis.offset > 0:
        return recipe
    made = replace(recipe, beside=recipe.lanes // width, low=-axis.offset)
    return made if 2 * made.turning < made.registers else recipe  # half of them are for weights and sums


def mask_type(recipe: PixelsRecipe) -> Type:
    """What a mask is made of: a bit a lane in a register of its own, or a vector of signs."""
    if recipe.signs:
        return i64 if recipe.work.bytes == 8 else i32
    return i16 if recipe.lanes == 16 else i8


def mask_bytes(recipe: PixelsRecipe) -> int:
    """Bytes of a mask in the table."""
    return mask_type(recipe).bytes * (recipe.lanes if recipe.signs else 1)


def mask_table(
    recipe: PixelsRecipe, rows: WindowSteps, width: int, offset: int, x_rows: int, y_rows: int
) -> Array:
    """The masks of a plane, in the order of the module; `offset`: of the first window's first row.

    width: of rows of x and of y, in elements; x_rows, y_rows: how many there are -> bytes.
    """
    row, column = np.divmod(np.arange(recipe.lanes), width)
    vectors = -(-y_rows // recipe.beside)
    lines = (vectors - 1) * recipe.beside + rows.reach + 1
    taps = column + np.array(recipe.lane.distances)[:, None] - recipe.low
    stored = row + recipe.beside * np.arange(vectors)[:, None]
    read = row + np.arange(lines)[:, None] + offset
    masks = np.concatenate(
        [
            (taps >= 0) & (taps < width),
            (stored < y_rows) & (row < recipe.beside),
            (read >= 0) & (read < x_rows),
        ]
    )
    if recipe.signs:
        return (-masks.astype(mask_type(recipe).dtype)).view(np.uint8).ravel()
    return np.packbits(masks, axis=1, bitorder="little").ravel()


__all__ = ["mask_bytes", "mask_table", "mask_type", "put_beside"]
