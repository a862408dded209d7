"""fft: overlapping windows of the input, multiplied by the filter frequency by frequency.

    A[s][o, c]         = sum over f of z^(-s*f) * w[o, c, f]                     z = exp(-2 pi i / T)
    U[s][c, (b, q)]    = sum over u of z^(s*u) * x[b, c, q*m + u - lo]           T inputs, m = T - F + 1 outputs
    y[b, o, q*m + v]   = 1/T * sum over s of z^(-s*v) * (A[s] @ U[s])[o, (b, q)]

Shown for one axis; in several, s is a tuple. A product of spectra is a correlation around a circle of T, and the first
m outputs of it do not go round: windows overlap by F - 1 and the other outputs are not stored. Spectra of real arrays
are symmetric, so half of the last axis is left out. For each window a fast transform takes 5/2 * T * log2(T) FLOPs for
each input and each output channel, the products 8 for each frequency and pair of channels, however large the filter.

Stride and dilation make the window a residue of both axes. With h = s/gcd(s, d) and r = d/gcd(s, d)

    f = f'*h + i,  p = p'*r + j :    p*s + f*d = (p' + f') * lcm(s, d) + i*d + j*s

the residues i of the filter are summed over as channels are, those of the output, j, are columns.
Cooley and Tukey 1965; Stockham, "High-speed convolution and correlation", 1966.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..geometry import Geometry
from ..layout import Dim
from ..lazy_dataclass import dataclass
from ..problem import WORK_DTYPES, WORKSPACE_LIMIT, Problem
from ..product import Coordinate, Fourier, Index, Packing, Product
from .base import Lowering, Part

Array = npt.NDArray[Any]


class Fft(Lowering):
    """Any rank, stride and dilation; refuses integers, and filters of which no two positions share a window."""

    name = "fft"
    summary = "windows and filter multiplied frequency by frequency"
    source = "Cooley, Tukey 1965; Stockham 1966"
    packings = (Packing.PANEL,)
    exact = False
    shares = "window"
    transform = Fourier

    def refuses(self, problem: Problem) -> str | None:
        """Integers; the rest is for each phase to say."""
        if problem.integral:
            return f"rounds: sums of {problem.dtype} are exact otherwise"
        return super().refuses(problem)

    def refuses_geometry(self, geometry: Geometry) -> str | None:
        """What has nothing to transform."""
        g = geometry
        if 0 in (*g.F, *g.I, g.B, g.C, g.O):
            return f"needs elements to transform, got filter {g.w_shape} and input {g.x_shape}"
        if all(axis.taps == 1 for axis in dense_axes(g)):
            return "needs two filter positions in a window: with one it multiplies no less"
        return None

    def roundings(self, problem: Problem) -> float:
        """Sums over channels and three transforms; larger than y where windows hold more than their outputs read."""
        phases = [each.geometry for each in problem.squeezed.geometry.phases() if all(each.geometry.P)]
        return max((_roundings(g, choose_windows(g, _room(problem))) for g in phases), default=1.0)

    def least_transformed(self, problem: Problem) -> float:
        """FLOPs of transforming windows that hold no more than their outputs, and are no longer than the filter."""
        found = 0.0
        for phase in problem.squeezed.geometry.phases():
            g, taps = phase.geometry, math.prod(axis.taps for axis in dense_axes(phase.geometry))
            elements = math.prod(phase.count) * g.B * math.prod(g.P) * (g.C + g.O)
            found += 2.5 * elements * math.log2(max(taps, 2))
        return found

    def saving(self, geometry: Geometry) -> float:
        """A frequency for each two outputs, by as many multiplications as the filter of one tap takes four times."""
        return 2 / max(math.prod(geometry.F), 2)

    def product(self, part: Part) -> Product:
        """One product of (O, C) @ (C, B*tiles) for each frequency."""
        g, phase = part.geometry, part.phase
        along = dense_axes(g)
        sizes = choose_windows(g, _room(part.problem))
        real = not part.problem.dtype.startswith("complex")
        last = max(a for a in range(g.rank) if sizes[a] > 1)
        transforms = tuple(
            Fourier(axis.taps, size, real and a == last)
            for a, (axis, size) in enumerate(zip(along, sizes, strict=True))
        )
        kept = [transform.windows[2] for transform in transforms]

        def indices(letter: str, *extents: int) -> tuple[Index, ...]:
            return tuple(Index(f"{letter}{a}", extent) for a, extent in enumerate(extents))

        def read(dim: Dim) -> Coordinate:
            if dim.role[0] != "i":
                return part.channel(dim)
            a = int(dim.role[1:])
            step = along[a].step
            terms = ((f"q{a}", step * kept[a]), (f"u{a}", step), (f"j{a}", g.s[a]), (f"h{a}", g.d[a]))
            return Coordinate(dim.extent, terms, -g.lo[a])

        def weigh(dim: Dim) -> Coordinate:
            if dim.role[0] != "f":
                return part.channel(dim)
            a = int(dim.role[1:])
            by = phase.tap_step[a]
            terms = ((f"f{a}", by * along[a].apart), (f"h{a}", by), *part.back(a))
            return Coordinate(dim.extent, terms, phase.tap_start[a])

        def write(dim: Dim) -> Coordinate:
            if dim.role[0] != "p":
                return part.channel(dim)
            a = int(dim.role[1:])
            by = phase.step[a]
            far = by * along[a].between
            terms = ((f"q{a}", far * kept[a]), (f"v{a}", far), (f"j{a}", by), *part.apart(a))
            return Coordinate(dim.extent, terms, phase.start[a])

        tiles = indices("q", *(-(-axis.outputs // many) for axis, many in zip(along, kept, strict=True)))
        n = part.index("b") + tiles + indices("j", *(axis.columns for axis in along))
        k = part.index("c") + indices("h", *(axis.terms for axis in along))
        group, m = part.batch, part.index("o")
        taps = indices("f", *(axis.taps for axis in along))
        reached, filled = indices("u", *sizes), indices("v", *kept)
        c = part.view("y", part.problem.y, write, m, n, (*group, *filled))
        epilogue = part.epilogue(m, n, group)
        if epilogue.residual is not None:
            epilogue = replace(epilogue, residual=replace(c, source="residual"))
        a = part.view("w", part.problem.w, weigh, m, k, (*group, *taps))
        b = part.view("x", part.problem.x, read, k, n, (*group, *reached))
        return Product(((a, b),), c, epilogue, transforms)


@dataclass(frozen=True)
class ResidueAxis:
    """An axis by its residues: windows of positions `step` apart with `taps` of the filter for `outputs` of y.

    Taps are `apart` positions of the filter apart, in `terms` residues; outputs `between` apart, in `columns`.
    """

    step: int
    taps: int
    outputs: int
    apart: int
    between: int
    terms: int
    columns: int


@lru_cache(maxsize=256)
def dense_axes(g: Geometry) -> tuple[ResidueAxis, ...]:
    """The axes of a dense geometry.

    >>> dense_axes(Geometry.of((1, 1, 99), (1, 1, 7), stride=2, dilation=3))
    (ResidueAxis(step=6, taps=4, outputs=14, apart=2, between=3, terms=2, columns=3),)
    """
    found = []
    for s, d, F, P in zip(g.s, g.d, g.F, g.P, strict=True):
        both = math.gcd(s, d)
        apart, between = s // both, d // both
        found.append(
            ResidueAxis(
                s * between, -(-F // apart), -(-P // between), apart, between, min(apart, F), min(between, P)
            )
        )
    return tuple(found)


# -- windows ----------------------------------------------------------------------------------------------------------

PRODUCT, WEIGHT, COPY = 0.5, 4.0, 30.0
"""FLOPs of a transform that take the time of a FLOP of the products; of fetching a frequency of a weight; of copying
an element of a window in and out."""

MOST_ELEMENTS = 1 << 18
"""Elements of a window that its transform still finds in a cache."""

HELD = {"f": 8.25, "c": 9.5}
"""Numbers of scratch for an element of a window, real or complex: it, its spectra, a filter's where none is bound."""

SMOOTH = sorted(2**a * 3**b * 5**c for a, b, c in itertools.product(range(65), range(4), range(2)))
"""Lengths whose transform is fast: beyond any axis that 64-bit offsets reach, so that there always is one."""

TRIED = 900
"""Windows that are weighed, about."""


def _room(problem: Problem) -> int:
    """Elements that a window should not exceed."""
    limit = WORKSPACE_LIMIT if problem.workspace_limit is None else problem.workspace_limit
    work = np.dtype(WORK_DTYPES[problem.dtype])
    return max(min(int(limit / (work.itemsize * HELD[work.kind])), MOST_ELEMENTS), 1)


@lru_cache(maxsize=256)
def choose_windows(g: Geometry, room: int) -> tuple[int, ...]:
    """The extent of a window along each axis that takes least time, about; of at most `room` elements if that can be.

    >>> choose_windows(Geometry.of((1, 1, 1 << 20), (1, 1, 63)), 1 << 18)
    (1024,)
    """
    along = dense_axes(g)
    many = round(TRIED ** (1 / sum(axis.taps > 1 for axis in along)))
    tried = list(itertools.product(*(_lengths(axis, many) for axis in along)))
    kept = [sizes for sizes in tried if math.prod(sizes) <= room]
    channels, filters = g.C // g.G * math.prod(axis.terms for axis in along), g.O // g.G

    def work(sizes: tuple[int, ...]) -> float:
        elements = math.prod(sizes)
        tiles = g.B
        for axis, size in zip(along, sizes, strict=True):
            tiles *= axis.columns * -(-axis.outputs // (size - axis.taps + 1))
        transform = elements * (2.5 * math.log2(elements) + COPY) * tiles * (channels + filters)
        product = elements / 2 * channels * filters * (8 * tiles * PRODUCT + WEIGHT)
        return transform + product

    return min(kept or [min(tried, key=math.prod)], key=work)


def _lengths(axis: ResidueAxis, many: int) -> list[int]:
    """Some fast lengths, from the least that holds the taps to the first that holds all outputs."""
    if axis.taps == 1:
        return [1]
    least = next(n for n in SMOOTH if n >= axis.taps)
    whole = next(n for n in SMOOTH if n >= axis.taps + axis.outputs - 1)
    found = [n for n in SMOOTH if least <= n <= whole]
    step = -(-len(found) // many)
    return sorted({least, *found[::-step]})


# -- rounding ---------------------------------------------------------------------------------------------------------

TRANSFORM = 16.0
"""Roundings, in terms of a sum, of one factor 2 in the length of the windows, all three transforms together."""


def _roundings(g: Geometry, sizes: tuple[int, ...]) -> float:
    """Rounding spreads evenly over a window's outputs, whatever each of them reads.

    So it is that of the whole circle, energy of taps times energy of inputs, over the energy of the outputs.
    """
    larger = 1.0
    for a, (axis, size) in enumerate(zip(dense_axes(g), sizes, strict=True)):
        kept = size - axis.taps + 1
        (j, each_j), (i, each_i) = _some(axis.columns, FEW), _some(axis.terms, FEW)
        q, each_q = _some(-(-axis.outputs // kept), SAMPLED // (len(i) * len(j)))
        q, j = q[:, None, None], j[:, None]
        taps = -(-(g.F[a] - i) // axis.apart)
        first = axis.step * kept * q + j * g.s[a] + i * g.d[a] - g.lo[a]
        inside = _below(g.I[a] - first, axis.step, size) - _below(-first, axis.step, size)
        stored = np.clip(-(-(g.P[a] - j) // axis.between) - q * kept, 0, kept)
        around = float((1.0 * taps * inside * stored).sum()) * each_q * each_j * each_i / size
        f, each_f = _some(g.F[a], SAMPLED)
        f = f * g.d[a] - g.lo[a]
        read = _below(g.I[a] - f, g.s[a], g.P[a]) - _below(-f, g.s[a], g.P[a])
        larger *= around / max(float(read.sum()) * each_f, 1.0)
    terms = g.C // g.G * math.prod(axis.terms for axis in dense_axes(g))
    return larger * (terms + TRANSFORM * math.log2(math.prod(sizes)))


SAMPLED, FEW = 4096, 16
"""Windows and taps, and residues of an axis, up to which each is counted; of more, so many stand for the rest."""


def _some(count: int, most: int) -> tuple[Array, float]:
    """Numbers below `count`, all or so many of them evenly spread, and how many each stands for.

    >>> _some(3, 16), _some(1 << 40, 3)
    ((array([0, 1, 2]), 1.0), (array([            0,  549755813887, 1099511627775]), 366503875925.3333))
    """
    many = min(count, most)
    found = [at * (count - 1) // max(many - 1, 1) for at in range(many)]
    return np.array(found, np.int64), count / max(many, 1)


def _below(limit: Array, step: int, count: int) -> Array:
    """How many of 0, step, 2*step .. (so many) lie below a limit."""
    found: Array = np.clip(-(-limit // step), 0, count)
    return found
