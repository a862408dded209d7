"""What a step makes the machine do, counted for predictions."""

from __future__ import annotations

from ...lazy_dataclass import dataclass

PACK, FUSED_PACK = 6.0, 1.0
"""Vectors of FMA that take as long as writing a vector to a panel: by a packer, and by a tile that multiplies it."""

EVERY = 4
"""Elements apart that lanes of a panel may lie to be picked out of whole vectors: fewer instructions than lanes."""

TASK_FMAS = 500.0
"""FMAs in the time that it takes to begin a task."""


@dataclass(frozen=True)
class Effort:
    """What a step makes the machine do, for predictions: counts over all tasks.

    `fma`: FLOPs of the register tiles, lanes that nobody wants included. `packed`: vectors written to panels, for B
    and for A; `fused_packed`: the same, by a tile that reads them anyway. `stored`: vectors of C finished and written,
    or kept and read again between parts. `touched`: bytes of x, w and y that are read or written at least once.
    `reread`: bytes of A that come from beyond a core's second cache; `again`: of x that were read before.
    `passes`: how often x is gone through, by matrices that have it in common.
    `planes`: of y that a kernel walks over one by one. `apart`: elements of x from one lane of a packed vector to the
    next; taps that are transposed in squares count as `EVERY`, whose loads and shuffles are as many.
    `waits`: whether what is touched is waited for; otherwise other panels are multiplied while one is packed.
    """

    fma: int
    packed: int
    stored: int
    touched: int
    reread: int
    tasks: int
    waits: bool = False
    fused_packed: int = 0
    again: int = 0
    planes: int = 0
    apart: int = 1
    passes: int = 1


__all__ = ["EVERY", "FUSED_PACK", "PACK", "TASK_FMAS", "Effort"]
