"""Packing w for the direct kernels: as rows of scalars to broadcast, or as vectors of channels.

[group][row][k]     for lanes along pixels, where the elements of w are not those that are multiplied
[k][channel]        for lanes along channels, zero for channels that fill the last vector up
"""

from __future__ import annotations

from typing import Protocol

from ...ir.arguments import Arguments
from ...ir.emitter import Module, prefix_mask
from ...ir.instructions import Type, Value, const, i64, minimum, ptr
from ...ir.shuffles import widen
from ...operands import contiguous_strides
from ..epilogue import gather_at
from .access import Reading


class PackedWeights(Protocol):
    """What both recipes have."""

    @property
    def w_steps(self) -> tuple[tuple[int, int], ...]:
        """The extent of each index within a group (of k) and its step in bytes."""

    @property
    def array(self) -> Type:
        """Element type of w as it is stored."""

    @property
    def work(self) -> Type:
        """Element type of w as it is multiplied."""

    @property
    def w_signed(self) -> bool:
        """Whether integers of w are."""

    def arguments(self) -> Arguments:
        """The words of a kernel."""


class PackedRows(PackedWeights, Protocol):
    """A recipe of lanes along pixels."""

    @property
    def weight(self) -> Type:
        """The type of packed weights."""

    @property
    def filled(self) -> int:
        """Zeros behind the last index of each run of w."""

    @property
    def packed_bytes(self) -> int:
        """Bytes of one group's packed weights."""


class Vectors(PackedWeights, Protocol):
    """A recipe of lanes along channels."""

    @property
    def lanes(self) -> int:
        """Lanes of a vector."""

    @property
    def channels(self) -> int:
        """Channels of y."""

    @property
    def m(self) -> int:
        """Channels of y in a group."""

    @property
    def w_lanes(self) -> tuple[int, int]:
        """Bytes of w from one group to the next, and among its channels of y."""

    @property
    def pitch(self) -> int:
        """Bytes of the weights of one tap."""


def pack_steps(known: Reading, many: int) -> dict[str, int]:
    """Bytes from weight to weight in packed rows: in the working type, or bytes, `many` of the last index."""
    *inner, last = known.a.rows + known.a.cols
    extents = (*(i.extent for i in inner), -(-last.extent // many) * many)
    by = contiguous_strides(extents, known.work if many == 1 else 1)
    return {i.name: step for i, step in zip((*inner, last), by, strict=True)}


WEIGHT_GROUPS = 16
"""Groups whose weights a task packs."""


def pack_rows(module: Module, recipe: PackedRows) -> None:
    """Writes `weights(args, index, thread)`: w, in the type of packed weights, as [group][row][k]."""
    fn = module.function("weights", {"args": ptr, "index": i64, "thread": i64})
    args, index, _ = fn.arguments
    arguments = recipe.arguments()
    w, out = arguments.load(fn, args, "w", ptr), arguments.load(fn, args, "a", ptr)
    step, groups = arguments.load(fn, args, "w step"), arguments.load(fn, args, "w groups")

    def nest(depth: int, source: Value, target: Value) -> Value:
        if depth == len(recipe.w_steps):
            fn.store(widen(fn.load(source, recipe.array), recipe.weight, signed=recipe.w_signed), target)
            return target + recipe.weight.bytes
        extent, by = recipe.w_steps[depth]
        with fn.loop(0, extent, carried=[source, target]) as loop:
            here, there = loop.carried
            loop.carry(here + by, nest(depth + 1, here, there))
        last = loop.results[1]
        if depth < len(recipe.w_steps) - 1:
            return last
        for zero in range(recipe.filled):
            fn.store(const(recipe.weight, 0), last, zero * recipe.weight.bytes)
        return last + recipe.filled * recipe.weight.bytes

    with fn.loop(index * WEIGHT_GROUPS, minimum((index + 1) * WEIGHT_GROUPS, groups)) as loop:
        nest(0, w + loop.index * step, out + loop.index * recipe.packed_bytes)


WEIGHT_VECTORS = 16
"""Vectors of channels that a task packs."""


def pack_vectors(module: Module, recipe: Vectors) -> None:
    """Writes `weights(args, index, thread)`: w becomes [k][channel], zero for channels that fill the last vector up."""
    fn = module.function("weights", {"args": ptr, "index": i64, "thread": i64})
    args, index, _ = fn.arguments
    arguments, n, m = recipe.arguments(), recipe.lanes, recipe.m
    w, out = arguments.load(fn, args, "w", ptr), arguments.load(fn, args, "a", ptr)
    apart, among = recipe.w_lanes
    places = const(i64.x(n), [lane // m * apart + lane % m * among for lane in range(n)])
    vectors = -(-recipe.channels // n)

    def nest(depth: int, source: Value, target: Value, mask: Value) -> Value:
        if depth == len(recipe.w_steps):
            made = widen(
                gather_at(fn, source, places, recipe.array.x(n), mask), recipe.work, signed=recipe.w_signed
            )
            fn.store(made, target)
            return target + recipe.pitch
        extent, step = recipe.w_steps[depth]
        with fn.loop(0, extent, carried=[source, target]) as loop:
            here, there = loop.carried
            loop.carry(here + step, nest(depth + 1, here, there, mask))
        return loop.results[1]

    with fn.loop(index * WEIGHT_VECTORS, minimum((index + 1) * WEIGHT_VECTORS, vectors)) as loop:
        first = loop.index * n
        mask = prefix_mask(n, recipe.channels - first)
        nest(0, w + loop.index * (n // m * apart), out + loop.index * (n * recipe.work.bytes), mask)


__all__ = ["WEIGHT_GROUPS", "WEIGHT_VECTORS", "pack_rows", "pack_steps", "pack_vectors"]
