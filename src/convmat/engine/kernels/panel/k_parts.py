"""How k is cut into parts, and where the taps of a part lie inside x.

Parts depend on the product alone: k is cut by its own length, so the order in which a sum is taken does not change with
threads, tiles or memory; a block of a larger product is told the whole's order (`View.order`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ....product import Index, View, count_values
from ...operands import Array, Block, count

PART = 384
"""About the longest sum taken in one go. Shorter ones round less (by the root of their number) and cost no time: a
panel of one stays in the first-level cache, but its sums are kept between parts."""

RUN_PART = 512
"""The same where k is a run of pixels: A is then packed part by part beside the panels."""


def split_evenly(indices: tuple[Index, ...], most: int) -> list[Block]:
    """The index space in runs of at most `most` values, C order.

    Inner indices are whole, one is cut evenly, outer ones are taken singly.

    An empty index space is one empty run: a sum of nothing still has its epilogue.

    >>> split_evenly((Index("c", 3), Index("f", 4)), 8)
    [((0, 2), (0, 4)), ((2, 3), (0, 4))]
    """
    how = cut_evenly(indices, most)
    if how.at is None:
        return [tuple((0, i.extent) for i in indices)]
    blocks: list[Block] = [tuple((0, i.extent) for i in indices[how.at + 1 :])]
    for at in range(how.at, -1, -1):
        extent, step = indices[at].extent, how.step if at == how.at else 1
        spans = [(first, min(first + step, extent)) for first in range(0, extent, step)]
        blocks = [(span, *block) for span in spans for block in blocks]
    return blocks


class KCutting(NamedTuple):
    """How `split_evenly` cuts an index space: the index that is cut (None: it stays whole), by how much, and the sizes.

    `sizes`: (number of blocks, values of the largest).
    """

    at: int | None
    step: int
    sizes: tuple[int, int]


def cut_evenly(indices: tuple[Index, ...], most: int) -> KCutting:
    """How an index space is cut into runs of at most `most` values."""
    whole, inner = len(indices), 1
    if not count_values(indices):
        return KCutting(None, 1, (1, 0))
    while whole and inner * indices[whole - 1].extent <= most:
        whole -= 1
        inner *= indices[whole].extent
    if not whole:
        return KCutting(None, 1, (1, inner))
    extent = indices[whole - 1].extent
    pieces = -(-extent // max(most // inner, 1))
    step = -(-extent // pieces)
    return KCutting(whole - 1, step, (count_values(indices[: whole - 1]) * -(-extent // step), step * inner))


def box_table(indices: tuple[Index, ...], blocks: list[Any]) -> Array:
    """A row for each block: (first, count) of every index, then where it begins and how much it holds."""
    rows, start = [], 0
    for block in blocks:
        rows.append([*(n for first, stop in block for n in (first, stop - first)), start, count(block)])
        start += count(block)
    return np.array(rows, np.int64).reshape(len(rows), 2 * len(indices) + 2)


def k_parts(b: View) -> list[Block]:
    """The parts of k: as many as make their length nearest to PART, so that little more than that is not halved.

    Where windows often leave the array, each of their taps has parts of its own.
    """
    outer, inner = b.rows[: count_separate_taps(b)], b.rows[count_separate_taps(b) :]
    taps = itertools.product(*([(n, n + 1) for n in range(index.extent)] for index in outer))
    within = split_evenly(inner, _part(inner))
    return [(*tap, *part) for tap in taps for part in within]


def part_sizes(b: View) -> tuple[int, int]:
    """How many parts k has, and how long the longest is."""
    outer, inner = b.rows[: count_separate_taps(b)], b.rows[count_separate_taps(b) :]
    parts, longest = cut_evenly(inner, _part(inner)).sizes
    return count_values(outer) * parts, longest if count_values(outer) else 0


def count_pieces(b: View) -> tuple[int, int]:
    """How many pieces a long run of k has, and how long the longest is."""
    return cut_evenly(b.rows, RUN_PART).sizes


def step_of_pieces(b: View, steps: Mapping[str, int]) -> int:
    """How far one piece of a long run lies from the next, if indices are so many `steps` apart."""
    how = cut_evenly(b.rows, RUN_PART)
    return 0 if how.at is None else how.step * steps[b.rows[how.at].name]


def _part(inner: tuple[Index, ...]) -> int:
    """About how long a part of these indices is."""
    return -(-count_values(inner) // max(round(count_values(inner) / PART), 1))


LEAST_PART = 128
"""A tap with so many terms is worth a part of its own."""


def count_separate_taps(b: View) -> int:
    """How many outer indices of k are taps of windows that often leave the array, with long sums in them; or 0."""
    leaving = (
        b.ordered.apart if count_values(b.rows) else ()
    )  # a sum of nothing is one part, which still has its epilogue
    taps = max((at + 1 for at, index in enumerate(b.rows) if index.name in leaving), default=0)
    return taps if count_values(b.rows[taps:]) >= LEAST_PART else 0


def _panel_lines(columns: tuple[Index, ...], panel: int) -> tuple[int, int]:
    """(columns of a run, columns of a panel of it): some whole lines of columns, or one in even parts."""
    line = columns[-1].extent
    if line > panel:
        return line, -(-line // -(-line // panel))
    return line * max(panel // max(line, 1), 1), line * max(panel // max(line, 1), 1)


def panel_count(columns: tuple[Index, ...], panel: int) -> int:
    """Number of panels that `panel_ranges` gives."""
    run, per = _panel_lines(columns, panel)
    return -(-count_values(columns) // run) * -(-run // per)


def panel_ranges(columns: tuple[Index, ...], panel: int) -> Array:
    """The panels as (first column, count)."""
    run, per = _panel_lines(columns, panel)
    total = count_values(columns)
    starts = np.add.outer(np.arange(0, total, run), np.arange(0, run, per)).reshape(-1)
    return np.stack([starts, np.append(starts[1:], total) - starts], 1).astype(np.int64)


COUNTED = 36 << 10
"""Up to so many taps times columns, those inside are counted while planning; beyond, their share is estimated."""


def count_columns_inside(b: View, columns: tuple[Index, ...], panel: int) -> int:
    """Columns that are multiplied, summed over k."""
    if count_values(columns) * count_values(b.rows[: count_separate_taps(b)]) > COUNTED:
        return int(count_values(columns) * count_values(b.rows) * (1 - b.outside))
    parts = k_parts(b)
    ranges = valid_ranges(b, parts, columns, panel_ranges(columns, panel))
    return int(np.array([count(part) for part in parts]) @ ranges[:, :, 1].sum(axis=1))


def valid_ranges(b: View, parts: list[Block], columns: tuple[Index, ...], panels: Array) -> Array:
    """Where the tap of each part is inside the array, for each panel: (first column in the panel, count)."""
    starts = panels[:, 0]
    stops = starts + panels[:, 1]
    at = dict(zip((i.name for i in columns), np.indices([i.extent for i in columns]), strict=True))
    ranges = np.zeros((len(parts), len(starts), 2), np.int64)
    for number, part in enumerate(parts):
        tap = {index.name: first for index, (first, _) in zip(b.rows, part, strict=True)}
        inside = np.ones([i.extent for i in columns], bool)
        for coordinate in (b.coordinates[axis] for axis in b.risky):
            if all(name in at or name in tap for name, _ in coordinate.terms):
                position = coordinate.offset + sum(
                    by * (at[n] if n in at else tap[n]) for n, by in coordinate.terms
                )
                inside &= (position >= 0) & (position < coordinate.extent)
        where = np.flatnonzero(inside)
        first, last = np.searchsorted(where, starts), np.searchsorted(where, stops)
        there = last > first
        ranges[number, there, 0] = where[first[there]] - starts[there]
        ranges[number, there, 1] = where[last[there] - 1] + 1 - where[first[there]]
    return ranges


__all__ = [
    "PART",
    "RUN_PART",
    "KCutting",
    "box_table",
    "count_columns_inside",
    "count_pieces",
    "count_separate_taps",
    "cut_evenly",
    "k_parts",
    "panel_count",
    "panel_ranges",
    "part_sizes",
    "split_evenly",
    "step_of_pieces",
    "valid_ranges",
]
