"""What a step makes the machine do, counted for predictions."""

from __future__ import annotations

from dataclasses import dataclass

PACK, PASS = 6.0, 1.0
"""Vectors of FMA that writing a vector to a panel takes the time of: by a packer, and by a tile in passing."""


@dataclass(frozen=True)
class Effort:
    """What a step makes the machine do, for predictions: counts over all tasks.

    `fma`: FLOPs of the register tiles, lanes that nobody wants included. `packed`: vectors written to panels, for B
    and for A; `passed`: the same, by a tile that reads them anyway. `stored`: vectors of C finished and written, or
    kept and read again between parts. `touched`: bytes of x, w and y that are read or written at least once.
    `reread`: bytes of A that come from beyond a core's second cache.
    `waits`: whether what is touched is waited for; otherwise other panels are multiplied while one is packed.
    """

    fma: int
    packed: int
    stored: int
    touched: int
    reread: int
    tasks: int
    waits: bool = False
    passed: int = 0


__all__ = ["PACK", "PASS", "Effort"]
