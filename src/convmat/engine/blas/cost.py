"""What running a product costs beside its FLOPs, counted, and what NumPy and its BLAS take for each count.

The nanoseconds were measured with NumPy 2.4 and OpenBLAS 0.3 on one core of a server CPU of 2023, for elements of 4
bytes. Only their ratios to each other and to the product rate matter: they choose between ways, orders and blocks.
"""

from __future__ import annotations

import math
from dataclasses import field

from ...lazy_dataclass import dataclass

Shape = tuple[int, ...]

LOOP, NEAR, APART, FAR, CONVERT = 4.2, 0.07, 0.27, 0.6, 1.5
"""Nanoseconds that NumPy's copies take, measured, by 4 bytes: an inner loop; an element beside its neighbour, within a
cache line of it, further away; turning 16-bit floats into 32-bit ones."""

LINE = 16
"""Elements of 4 bytes in a cache line."""

CALL = 900.0
"""A small NumPy call with the Python around it."""

HANDED_ON = 4000.0
"""Python's lock going from one thread to another, in a call of NumPy while several threads make such calls."""

PRODUCT, LEFT, RIGHT, THIRD = 45.0, 0.15, 0.043, 0.01
"""BLAS beside its FLOPs: beginning a product; an element of A, of B (it packs both once more), of C."""

MEET = 5000.0
"""Several BLAS threads coming together at the end of a product."""

VECTOR, ROW = 0.055, 2.0
"""An element and a row of the matrix in a product of a matrix and a vector."""

CACHE_BYTES, BEYOND, AHEAD, OUT = 1 << 20, 0.22, 0.1, 0.1
"""Bytes that a second-level cache holds; what an element of A beyond it costs more, one of B, and one of C."""

SPREAD = 0.026 / (1 << 20)
"""What each element of a panel costs more, written and read, for each byte of the panel: it strays from the cores."""

SWEEP, SWEEP_LOOP = 0.14, 9.0
"""An element and an inner loop of an elementwise pass."""

TRANSFORM, TRANSFORM_SCIPY = 0.12, 0.08
"""A FLOP of a fast Fourier transform, by NumPy and by SciPy."""

SPECTRUM = 0.05
"""A byte of a spectrum of A, which no cache holds for long."""

TAP = 0.25
"""An element of a tap-by-tap pass: one in two multiplies across a box and is slower."""


@dataclass(frozen=True)
class Copying:
    """What copying to a contiguous array takes: elements in all, of those read within a line of each other, or further
    apart; and in how many inner loops."""

    elements: int = 0
    loops: int = 0
    apart: int = 0
    far: int = 0

    @property
    def nanoseconds(self) -> float:
        """About, for elements of 4 bytes."""
        near = self.elements - self.apart - self.far
        return self.loops * LOOP + near * NEAR + self.apart * APART + self.far * FAR

    def __add__(self, other: Copying) -> Copying:
        return Copying(
            self.elements + other.elements,
            self.loops + other.loops,
            self.apart + other.apart,
            self.far + other.far,
        )

    def times(self, count: int) -> Copying:
        """The same done `count` times."""
        return Copying(self.elements * count, self.loops * count, self.apart * count, self.far * count)


def copy_work(shape: Shape, strides: Shape) -> Copying:
    """Work of copying a source of these extents and strides (in elements); the target is C-contiguous.

    >>> copy_work((64, 9, 56, 56), (3364, 58, 58, 1))
    Copying(elements=1806336, loops=32256, apart=0, far=0)
    """
    elements, run, step = math.prod(shape), 1, 1
    for extent, stride in zip(reversed(shape), reversed(strides), strict=True):
        if extent == 1:
            continue
        if run == 1:
            run, step = extent, abs(stride)
        elif abs(stride) == step * run:
            run *= extent
        else:
            break
    loops = elements // run if run else 0
    return Copying(elements, loops, elements if 1 < step < LINE else 0, elements if step >= LINE else 0)


@dataclass(frozen=True, kw_only=True)
class ProductWork:
    """Counts for one product of a program.

    `products` multiplications of (m, k) by (k, n) that a BLAS does, `flops` in all of them, `threads` whether they are
    large enough for more than one; `panel` is the bytes of B that are packed at a time. `copies` is all packing.
    `swept` elements are written by elementwise passes over C (sums, epilogue, store), `tapped` by those over images,
    in `loops` inner loops. `calls` of NumPy, about. `fourier` FLOPs of transforms; bytes of A's
    `spectra` that are read. `lanes` Python threads share all of it.
    """

    flops: int = 0
    products: int = 0
    m: int = 0
    n: int = 0
    k: int = 0
    threads: bool = False
    panel: int = 0
    copies: Copying = field(default_factory=Copying)
    swept: int = 0
    tapped: int = 0
    loops: int = 0
    calls: int = 0
    fourier: int = 0
    spectra: int = 0
    lanes: int = 1

    @property
    def thin(self) -> bool:
        """Whether the products are of a matrix and a vector, or of two vectors: no FLOP rate describes them."""
        return 1 in (self.m, self.n, self.k)

    def nanoseconds(self, item: int, threads: int) -> float:
        """All that is not FLOPs of full products, for elements of `item` bytes."""
        wide, threads = item / 4, threads if self.threads else 1
        left, right, third = self.m * self.k * wide, self.k * self.n * wide, self.m * self.n * wide
        if self.k == 1:
            product = third * SWEEP
        elif self.thin:
            product = (left + right) * VECTOR + max(self.k, self.m) * ROW
        else:
            product = left * LEFT + right * RIGHT + third * THIRD
        beyond = ((left, BEYOND), (right, AHEAD), (third, OUT))
        product += sum(max(count - CACHE_BYTES / 4, 0) * more for count, more in beyond)
        product += right * self.panel * SPREAD
        meeting = MEET if threads > 1 else 0.0
        return (
            self.products * (PRODUCT + meeting + product / threads)
            + self.copies.nanoseconds * wide
            + (self.swept * SWEEP + self.tapped * TAP) * wide
            + self.loops * SWEEP_LOOP
            + self.calls * CALL
            + self.spectra * SPECTRUM
        )
