"""The tables by which a packer finds A's elements in w: where its rows lie, how k does, and where lines of it go."""

from __future__ import annotations

import math

import numpy as np

from ....product import Product
from ...operands import Array, contiguous_strides
from .recipe import PanelRecipe
from .steps import in_memory_order


def weight_tables(recipe: PanelRecipe, product: Product, w: dict[str, int]) -> dict[str, Array]:
    """The tables of a product, by name; w: steps of its indices in the array, in bytes."""
    return {
        "w rows": _row_table(product, w),
        "w walk": _index_table(product, w),
        "w places": _line_table(recipe, product, w),
    }


def _row_table(product: Product, w: dict[str, int]) -> Array:
    """A gathering packer's table of A's rows: where each lies, in bytes from the first."""
    rows = np.zeros(1, np.int64)
    for index in product.c.rows:
        rows = np.add.outer(rows, np.arange(index.extent) * w[index.name]).reshape(-1)
    return rows


def _index_table(product: Product, w: dict[str, int]) -> Array:
    """A gathering packer's table of k, as it lies in A: of each index its extent, its step in bytes, that in k."""
    depth = product.terms[0][1].rows
    moves = dict(zip(depth, contiguous_strides(tuple(i.extent for i in depth)), strict=True))
    lying = in_memory_order(depth, w)
    return np.array([n for i in lying for n in (i.extent, w[i.name], moves[i])], np.int64)


def _line_table(r: PanelRecipe, product: Product, w: dict[str, int]) -> Array:
    """A packer's table of lines in another order than k: where each element goes, in bytes.

    Once for a full block of A's rows and once for the last.
    """
    depth = product.terms[0][1].rows
    if r.ordered or not r.lines:
        return np.zeros(1, np.int64)
    numbers = np.arange(math.prod(i.extent for i in depth)).reshape([i.extent for i in depth])
    lying = [depth.index(i) for i in in_memory_order(depth, w)]
    lengths = [r.padded_rows(rows) * r.work.bytes for rows in (r.mr, r.tail)]
    if not r.several:
        lengths = lengths[1:]
    return np.multiply.outer(lengths, numbers.transpose(lying).reshape(-1)).astype(np.int64)


__all__ = ["weight_tables"]
