"""The direct kernel where pixels are contiguous (channels first): lanes lie along the last pixel axis of x and y.

    y[o, p0, p1..p1+lanes] = sum over k = (c, .., f0, f1) of  w[o, k] * x[c, p0*s0 + f0*d0 + .., p1*s1 + f1*d1 + ..]

x is read in place. A block is `rows` output rows high, one vector wide and all m rows of A deep, and each sum runs
over k in order. Two orders of walking over a block give the same sums:

    by lines    each line of x is read once and goes into every output row whose window holds it, each with its own
                weight: for m = 1, or where a window's weights stay in registers
    by taps     each weight is broadcast once and goes with all rows of the block

Output rows, and chunks of a row, are told apart by where their windows lie. Inside x nothing is checked. At the
edges a chunk has a mask for each tap, and lines outside x are branched around (by taps: in blocks of one row). So
nothing outside x is read, and rows of any width run: where vectors of half the size waste less, a second function
of them does. Of narrow maps several rows lie in a vector, side by side: `pixels_beside`.
"""

from __future__ import annotations

import math

from ....lazy_dataclass import dataclass
from ....processes import kept_property
from ....product import Activation
from ...ir.arguments import Arguments
from ...ir.dots import Unit
from ...ir.instructions import Type, i8
from .planes import OuterIndex, RoundingAgain, WindowSteps, argument_names
from .quad_reads import QUAD, QuadReads
from .strided_loads import EVERY, Reads, count_beside_loads

MOST_UNROLLED = 16
"""Taps along the lane axis that are written out one by one; of more, there is a loop."""

MOST_STEPS = 400
"""FMAs of one block that are written out: more would only crowd the instruction cache."""

NARROW, NARROW_LINES, NARROW_TAPS = 2.0, 1.25, 1.05
"""How much more an element costs in vectors of half the size; by lines and by taps, where a CPU splits whole ones."""

NARROW_STEP = 2
"""Elements apart that lanes of such vectors lie at most. All their loads are under masks; of larger steps there are
more of these than registers, and a tap costs half as much again."""

BESIDE_LOAD = 0.55
"""FMAs that another load or shuffle of whole vectors takes the time of, beside those that a tap's vector goes into."""

TALLEST = 8
"""Rows of a block: beyond, a line of x is hardly read less often."""


@dataclass(frozen=True)
class PixelsRecipe:
    """All that is constant in the kernel.

    `outer`: the indices that a plane of y fixes, with the step of each along every checked outer axis. `rows`: the
    window along the axis before the last, absent in 1-D. `m`: rows of A in a block of them; `m_step`, `row_step`,
    `tap_step`: bytes in w from one to the next, from tap to tap along the rows' axis, and along the lanes'. `packed`: w
    is packed to the working type first, its indices within a group having the extents and steps in bytes `w_steps`;
    otherwise it is read in place. `halves`: vectors of half the size cost half as much. `signs`: masks have no
    registers of their own. `maximum`: the largest entry instead of the sum, and no weights. `counted`: elements are
    8-bit integers, whose sums in float32 are whole and finished in 32 bits; `zero`: x counts from another number than
    0; `scale`, `w_zero`: rows have one; `w_signed`: w is. `unit`: what multiplies four taps along the lanes at once and
    sums in 32 bits: `lane` is then of fours, and w is packed in bytes, zero for taps that fill the last four up.
    `beside`: rows of y in a vector, where x has rows as wide; `low`: then the padding before a row.
    """

    outer: tuple[tuple[str, tuple[int, ...]], ...]
    terms: tuple[OuterIndex, ...]
    checks: int
    rows: WindowSteps | None
    lane: WindowSteps
    m: int
    m_step: int
    row_step: int
    tap_step: int
    packed: bool
    w_steps: tuple[tuple[int, int], ...]
    array: Type
    work: Type
    out: Type
    signed: bool
    lanes: int
    halves: bool
    signs: bool
    registers: int
    bias: bool
    residual: bool
    activation: Activation | None
    maximum: bool = False
    counted: bool = False
    zero: bool = False
    scale: bool = False
    again: RoundingAgain = RoundingAgain()
    w_zero: bool = False
    w_signed: bool = True
    unit: Unit | None = None
    beside: int = 0
    low: int = 0

    @kept_property
    def window(self) -> WindowSteps:
        """The window along the rows; in 1-D the rows of a block are chunks of the only axis, a vector apart."""
        rows = self.rows or WindowSteps(1, 1, 1)
        return WindowSteps(rows.step * max(self.beside, 1), rows.taps, rows.dilation)

    @kept_property
    def single(self) -> bool:
        """Whether a sum takes one window, and always does: k is the filter alone, and no outer axis may miss x."""
        return all(term.extent == 1 and term.check < 0 for term in self.terms)

    @property
    def taps(self) -> int:
        """Number of filter taps in the window."""
        return self.window.taps * self.lane.taps

    @kept_property
    def by_lines(self) -> bool:
        """The order: see the module."""
        if self.m * self.taps + self.m * 4 + 2 <= self.registers:
            return True
        return self.m == 1 and (self.written_out or self.window.step == self.window.dilation == 1)

    @property
    def written_out(self) -> bool:
        """Whether all taps of a block of some height are written out."""
        return self.lane.taps <= MOST_UNROLLED and 4 * self.m * self.taps <= MOST_STEPS

    @property
    def unrolled(self) -> bool:
        """Whether the taps along the lane axis are; if not, there is a loop over them."""
        return self.lane.taps <= MOST_UNROLLED and (self.written_out or not self.by_lines)

    @property
    def alive(self) -> int:
        """How many output rows a line of x goes into or passes by."""
        return -(-(self.window.reach + 1) // self.window.step)

    @property
    def streams(self) -> int:
        """Into how many runs the rows of a block are cut which are worked on in turns."""
        return {1: 4, 2: 2}.get(self.alive * self.m, 1)

    @kept_property
    def held(self) -> int:
        """How many of a row's weights stay in registers, beside the sums, where lines are walked over."""
        if self.maximum or not (self.by_lines and self.written_out):
            return 0
        alive = self.alive * self.streams if self.single else 4
        return max(min(self.taps, (self.registers - 2 - self.turning) // self.m - alive), 0)

    @property
    def turning(self) -> int:
        """Registers that moving rows side by side takes: an order of lanes a tap, and a mask if that is a vector."""
        return (self.lane.taps - 1) * (1 + self.signs) if self.beside else 0

    @kept_property
    def heights(self) -> tuple[int, ...]:
        """Rows of a block, and of those that take what larger ones leave."""
        m, free = self.m, self.registers
        if self.by_lines:
            rows = TALLEST if self.single else (free - 2) // m - self.held
            if self.written_out:
                rows = min(rows, max(MOST_STEPS // (self.taps * m), 1))
        else:
            rows = max((r for r in range(1, TALLEST + 1) if m * r + min(m, r) + 1 <= free), default=1)
        found = [max(min(rows, TALLEST), 1)]
        while found[-1] > 1:
            found.append(found[-1] // 2)
        return tuple(found)

    def reads(self, lanes: int) -> Reads | QuadReads:
        """How vectors of `lanes` elements of x are read."""
        if self.unit is not None:
            return QuadReads(lanes, self.lane.step, self.signed)
        outside = -math.inf if self.maximum else 0.0
        return Reads(self.array, self.work, self.signed, lanes, self.lane.step, self.signs, outside)

    @property
    def distances(self) -> list[int]:
        """Distances of the taps that are read from one address: all, or one in a loop."""
        return list(self.lane.distances) if self.unrolled else [0]

    @property
    def behind(self) -> int:
        """How far behind a whole chunk's first element the kernel reads without looking."""
        reads = self.reads(self.lanes)
        return reads.behind(self.distances) + (self.lane.reach - self.distances[-1])

    def takes_halves(self, columns: int, splits: bool) -> bool:
        """Whether rows of so many columns take vectors of half the size; `splits`: the CPU does whole ones in two."""
        half, chunks = -(-columns // (self.lanes // 2)), -(-columns // self.lanes)
        fewer = half * self.count_half(splits) <= 2 * chunks
        return self.halves and not self.beside and fewer and self.lane.step <= NARROW_STEP

    def count_half(self, splits: bool) -> float:
        """How much more an element costs in vectors of half the size."""
        return NARROW if not splits else NARROW_LINES if self.by_lines else NARROW_TAPS

    def count_apart(self, columns: int) -> float:
        """What putting a tap's vector together takes where its elements lie apart, in FMAs; of `columns` in a line.

        Further loads and shuffles; far apart, each element by itself: without registers for masks each lane is asked
        for, otherwise those that a line has, on average.
        """
        if self.lane.step <= EVERY:
            return BESIDE_LOAD * count_beside_loads(self.lane.step) if self.unit is None else 0.0
        return float(self.lanes) if self.signs else columns / -(-columns // self.lanes)

    @property
    def weights(self) -> str:
        """The word that says where the weights are: packed, or as they came."""
        return "a" if self.packed else "w"

    def arguments(self) -> Arguments:
        """The words the kernel reads."""
        return Arguments(
            [
                *argument_names(self),
                "narrow",
                "first chunk",
                "last chunk",
                "y m",
                "y rows",
                "masks",
                "w step",
                "w groups",
                *COUNTED,
            ]
        )

    @property
    def weight(self) -> Type:
        """The type of packed weights."""
        return self.work if self.unit is None else i8

    @property
    def filled(self) -> int:
        """Taps that fill the last four up."""
        return 0 if self.unit is None else -self.w_steps[-1][0] % QUAD

    @property
    def packed_bytes(self) -> int:
        """Bytes of one group's packed weights."""
        *outer, (last, _) = self.w_steps
        return math.prod(extent for extent, _ in outer) * (last + self.filled) * self.weight.bytes


COUNTED = ("zero", "scale", "y zero", "low", "high", "w zero", "factor", "offset", "addition")
"""Words of 8-bit integers: see `quads.recipe`. low, high: bounds of y without its zero point, as the bits of floats."""


def fits_quads(m: int, taps: int, registers: int) -> bool:
    """Whether lines are walked over for m rows of A and windows of so many fours of taps, all of them written out.

    >>> fits_quads(1, 10, 32), fits_quads(8, 6, 32)
    (True, False)
    """
    return 4 * m * taps <= MOST_STEPS and (m == 1 or m * taps + m * 4 + 2 <= registers)


def block_rows(m: int, registers: int) -> int | None:
    """Rows of A in a block: of those that divide m, the number for which a multiplication takes the fewest loads.

    A tap of a block of r rows of y takes r vectors of x, which mostly cross a cache line, and as many weights as it
    has rows of A. None if m has no divisor but itself and does not fit the registers.

    >>> block_rows(8, 32), block_rows(64, 32), block_rows(37, 32)
    (8, 8, None)
    """
    found = []
    for rows in (r for r in range(1, m + 1) if m % r == 0):
        high = max((r for r in range(1, TALLEST + 1) if rows * r + min(rows, r) + 1 <= registers), default=0)
        if high:
            found.append(((1.7 * high + rows) / (rows * high), rows))
    best = min(found)[1]
    return None if best < min(m, 4) else best


__all__ = ["PixelsRecipe", "block_rows", "fits_quads"]
