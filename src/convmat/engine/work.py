"""What running one product costs, counted: the planner's cost model turns the counts into seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Work:
    """Counts for one product of a program.

    `flops` in BLAS products of `products` matrices, the largest (m, k) @ (k, n); `threads` whether those are large
    enough for more than one. `copied` elements that packing writes, in `loops` inner loops, `apart` of them read apart
    from their neighbours; `swept` elements that elementwise passes over C write (sums, epilogue, store); `tapped`
    elements that tap-by-tap passes write, in `tap_loops` inner loops; `calls` of NumPy, about.
    """

    flops: int = 0
    products: int = 0
    m: int = 0
    n: int = 0
    k: int = 0
    threads: bool = False
    copied: int = 0
    loops: int = 0
    apart: int = 0
    swept: int = 0
    tapped: int = 0
    tap_loops: int = 0
    calls: int = 0
