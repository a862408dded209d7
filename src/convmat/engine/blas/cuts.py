"""Blocks that index spaces are cut into."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from ...lazy_dataclass import dataclass
from ...product import Index
from ..operands import Array, Block, Shape, count


@dataclass(frozen=True)
class Cut:
    """An index space cut into blocks: every index in equal steps but for its last one.

    >>> cut = Cut.into((Index("b", 2), Index("p", 5)), 3)
    >>> list(cut), cut.widest, len(cut)
    ([((0, 1), (0, 3)), ((0, 1), (3, 5)), ((1, 2), (0, 3)), ((1, 2), (3, 5))], (1, 3), 4)
    """

    extents: Shape
    steps: Shape

    @classmethod
    def into(
        cls, indices: tuple[Index, ...], target: int, *, apart: int = 0, together: int = 1, multiple: int = 1
    ) -> Cut:
        """Blocks of at most about `target` values, runs in C order.

        Where the last index alone is longer than `target` its step is a multiple of `multiple`. The first `apart`
        indices are cut to `together` values a block instead, all of them counted.
        """
        extents = tuple(i.extent for i in indices)
        steps = _choose_steps(extents[:apart], together, 1) + _choose_steps(extents[apart:], target, multiple)
        return cls(extents, steps)

    def __iter__(self) -> Iterator[Block]:
        return _walk_blocks(self.extents, self.steps)

    def __len__(self) -> int:
        return math.prod(-(-e // s) if e else 0 for e, s in zip(self.extents, self.steps, strict=True))

    @property
    def widest(self) -> Shape:
        """The extents of the largest block, which is the first."""
        return tuple(min(e, s) for e, s in zip(self.extents, self.steps, strict=True))

    @property
    def most(self) -> int:
        """How many values the largest block has."""
        return math.prod(self.widest)


def _choose_steps(extents: Shape, target: int, multiple: int) -> Shape:
    inner, at = 1, len(extents)
    while at and inner * extents[at - 1] <= target:
        at -= 1
        inner *= max(extents[at], 1)
    whole = tuple(max(e, 1) for e in extents[at:])
    if not at:
        return whole
    extent, room = extents[at - 1], max(target // inner, 1)
    step = -(-extent // -(-extent // room))  # equal pieces rather than whole ones and a small rest
    if at == len(extents) and room >= multiple:
        step = min(-(-step // multiple) * multiple, room // multiple * multiple)
    return (1,) * (at - 1) + (step,) + whole


def _walk_blocks(extents: Shape, steps: Shape) -> Iterator[Block]:
    """One block after the other, the last index quickest: there may be more of them than memory should hold."""
    if not extents:
        yield ()
        return
    extent, step = extents[-1], steps[-1]
    for outer in _walk_blocks(extents[:-1], steps[:-1]):
        for start in range(0, extent, step):
            yield (*outer, (start, min(start + step, extent)))


def split_blocks(indices: tuple[Index, ...], target: int) -> list[Block]:
    """Cut the index space into runs of at most about `target` values, C order.

    >>> split_blocks((Index("b", 2), Index("p", 5)), 3)
    [((0, 1), (0, 3)), ((0, 1), (3, 5)), ((1, 2), (0, 3)), ((1, 2), (3, 5))]
    """
    return list(Cut.into(indices, target))


def flatten_block(extents: Shape, block: Block) -> slice:
    """The block as one run of the flattened index space; blocks of a Cut are such runs."""
    start = 0
    for extent, (first, _) in zip(extents, block, strict=True):
        start = start * extent + first
    return slice(start, start + count(block))


def slice_block(array: Array, block: Block) -> Array:
    """A block of a virtual array."""
    return array[tuple(itertools.starmap(slice, block))]
