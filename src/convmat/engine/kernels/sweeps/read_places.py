"""Read places: every output a weighted sum of a few elements of a plane, wherever these are, for all channels alike.

    y[b, c, k] = sum over t of  weight[b, t, k] * x[image[b], c, place[b, t, k]]

A place below 0 is nowhere, and its term 0. Lanes lie along k; places and weights of a block of k serve all channels.
"""

from __future__ import annotations

from collections.abc import Mapping

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import (
    Value,
    and_,
    const,
    f32,
    fma,
    greater_equal,
    i32,
    i64,
    insert,
    maximum,
    minimum,
    select,
    zext,
)
from ..epilogue import gather_at
from .base import Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines
from .reductions import share_pieces

MOST_BYTES = 2**31
"""Bytes that a plane has fewer of: places are counted in bytes, in 32 bits."""

BLOCK = 512
"""Outputs of a channel before the next one: what they read of a plane stays near, though planes may share sets."""


@dataclass(frozen=True)
class ReadPlaces(SweepRecipe):
    """Lanes of a vector."""

    lanes: int
    words = ("channels", "terms", "plane")
    arrays = ("x", "image", "place", "weight", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """A line is all outputs of one b."""
        item, lanes = f32.bytes, self.lanes
        columns, channels, terms = (words[name] for name in ("columns", "channels", "terms"))
        plane = words["plane"] * item
        with fn.loop(share.first, share.stop) as line:
            x = words["x"] + fn.load(words["image"], i64, line.index * i64.bytes) * channels * plane
            places, weights = (words[n] + line.index * terms * columns * item for n in ("place", "weight"))
            y = words["y"] + line.index * channels * columns * item

            with (
                fn.loop(share.begin, share.end, BLOCK) as block,
                fn.loop(0, channels) as channel,
            ):
                here, there = x + channel.index * plane, y + channel.index * columns * item

                def vector(column: Value, left: Value | None) -> None:
                    mask = prefix_mask(lanes, lanes if left is None else left)
                    with fn.loop(0, terms, carried=[const(f32.x(lanes), 0.0)]) as term:
                        at = (term.index * columns + column) * item
                        place = fn.load(places, i32.x(lanes), at, mask=mask)
                        lies = greater_equal(place, const(place.type, 0))
                        if left is None:
                            value = select(
                                lies, self._read_each(fn, here, places + at), const(f32.x(lanes), 0.0)
                            )
                        else:
                            value = gather_at(fn, here, place, f32.x(lanes), and_(lies, mask))
                        weight = fn.load(weights, f32.x(lanes), at, mask=mask)
                        term.carry(fma(value, weight, term.carried[0]))
                    fn.store(term.results[0], there, column * item, mask=mask)

                end = minimum(block.index + BLOCK, share.end)
                Share(share.first, share.stop, block.index, end).vectors(fn, lanes, vector)

    def _read_each(self, fn: Function, x: Value, places: Value) -> Value:
        """A whole vector, lane by lane, the first element for those that are nowhere.

        Gathers that are microcode take longer.
        """
        found: Value = const(f32.x(self.lanes), 0.0)
        for lane in range(self.lanes):
            place = maximum(fn.load(places, i32, lane * i32.bytes), const(i32, 0))
            found = insert(found, fn.load(x, f32, zext(place, to=i64)), lane=lane)
        return found


def read_places(
    lines: int, channels: int, plane: int, terms: int, columns: int, threads: int
) -> SweepPlan | str:
    """The kernel that reads places of planes; a sentence where there is none.

    x: (images, channels, plane), image: (lines,) int64, place: (lines, terms, columns) int32, in bytes, weight: the
    same -> y: (lines, channels, columns), float32; all C-contiguous.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(read_places(1, 2, 3, 2, 1, 1))
    >>> made.load()
    >>> x, y = np.arange(6, dtype=np.float32).reshape(1, 2, 3), np.empty((1, 2, 1), np.float32)
    >>> place, weight = np.array([[[8], [-1]]], np.int32), np.array([[[10], [1]]], np.float32)
    >>> made(x, np.zeros(1, np.int64), place, weight, y)
    >>> y.tolist()
    [[[20.0], [50.0]]]
    """
    if refusal := kernel_refusal():
        return refusal
    if not lines * channels * terms * columns or not 0 < plane * f32.bytes < MOST_BYTES:
        return f"takes planes of 1 to {MOST_BYTES // f32.bytes - 1} elements that are read, got {plane}"
    work = channels * terms * columns
    words, tasks = share_lines(lines, work, threads, whole=False)
    words, tasks = share_pieces(words, tasks, lines, columns)
    words |= {"channels": channels, "terms": terms, "plane": plane}
    return SweepPlan(ReadPlaces(host().lanes(f32.bytes)), words, tasks, threads, lines * work)


__all__ = ["ReadPlaces", "read_places"]
