"""Top: the k best of each line in their order, and where they are.

    places[l, j] = the i of the j-th best x[l, i], of equal ones the least i first
    values[l, j] = x[l, places[l, j]]

An element's key is an unsigned number that is less the better it is: its bits, those of floats turned into the order of
what they mean (zeros alike, NaN the largest). A block of vectors is compared with the worst that is kept at once, and
few elements of a long line get further. A few are kept in order, each new one put between them; more are collected in
a buffer, which is sorted by its bytes, the last first, whenever it is full, its first k kept.
"""

from __future__ import annotations

from collections.abc import Mapping

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.conversions import ELEMENTS, is_unsigned
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import (
    Type,
    Value,
    and_,
    ashr,
    below,
    bitcast,
    bits_of_lanes,
    const,
    equal,
    greater,
    i1,
    i32,
    i64,
    less,
    less_equal,
    lshr,
    minimum,
    not_equal,
    or_,
    select,
    sext,
    shl,
    splat,
    trailing_zeros,
    trunc,
    udiv,
    xor,
    zext,
)
from .base import Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines
from .byte_sort import counted_bytes, sort_by_bytes
from .reductions import FLOATS

TYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

FEW = 16
"""Elements that are kept in order, at most: a new one moves half of them."""

VECTORS = 4
"""Vectors of a block: their masks fit into 64 bits."""

BLOCK = 64
"""Elements of a block, at most."""

WORK = 4
"""Elements of a pass that does one thing, as long as one here takes: what tasks are shared out by."""

LEAST_BUFFER = 2048
"""Elements that are collected at least, where a line has so many: sorting counts bytes, which pays for many."""


@dataclass(frozen=True)
class Top(SweepRecipe):
    """A type by NumPy's name; whether the largest are wanted, and few of them; lanes of a vector of keys.

    `above`: all that are larger than a limit are, however many there are, and what is no number is not.
    """

    dtype: str
    largest: bool
    few: bool
    lanes: int
    above: bool = False
    words = ("count", "k", "room")

    @property
    def arrays(self) -> tuple[str, ...]:
        """Those of a SweepRecipe."""
        return (
            ("x", "limit", "scratch", "held", "places")
            if self.above
            else ("x", "scratch", "values", "places")
        )

    @property
    def _type(self) -> Type:
        return ELEMENTS[self.dtype]

    @property
    def _word(self) -> Type:
        """The type of a key."""
        return i64 if self._type.bytes == i64.bytes else i32

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Line by line."""
        count, k, item = words["count"], words["k"], self._type.bytes
        with fn.loop(share.first, share.stop) as line:
            x = words["x"] + line.index * count * item
            places = words["places"] + line.index * k * i64.bytes
            if self.few:
                self._keep(fn, x, (words["values"] + line.index * k * item, places), count, k)
                return
            size = words["room"] * (2 * (self._word.bytes + i32.bytes)) + counted_bytes(self._word)
            scratch = words["scratch"] + udiv(share.first, words["per"]) * size
            worst, any_ = const(self._word, -1), const(i64, -1)
            if self.above:
                worst, any_ = self._key(fn.load(words["limit"], self._type)), const(i64, 0)
            held, numbers = self._collect(fn, x, scratch, words["room"], (worst, any_, count, k))
            with fn.loop(0, held) as rank:
                place = sext(fn.load(numbers, i32, rank.index * i32.bytes), to=i64)
                fn.store(place, places, rank.index * i64.bytes)
                if not self.above:
                    value = fn.load(x, self._type, place * item)
                    fn.store(value, words["values"] + line.index * k * item, rank.index * item)
            if self.above:
                fn.store(held, words["held"], line.index * i64.bytes)

    # ---- keys ------------------------------------------------------------------------------------------------

    def _key(self, value: Value) -> Value:
        """The unsigned number by which elements are compared, the best the least; of lanes or of one element."""
        word, kind = self._word, self._word.x(value.type.lanes)
        top = const(kind, -(2 ** (8 * word.bytes - 1)))
        if self._type.is_float:
            zero = equal(value, const(value.type, 0.0))  # of either sign
            bits = select(zero, const(kind, 0), bitcast(value, to=word))
            bits = xor(bits, or_(ashr(bits, const(kind, 8 * word.bytes - 1)), top))
            bits = xor(bits, const(kind, -1)) if self.largest else bits
            nowhere = -1 if self.above or not self.largest else 0
            return select(equal(value, value), bits, const(kind, nowhere))
        if is_unsigned(self.dtype):
            bits = value if self._type is word else zext(value, to=word)
        else:
            bits = xor(value if self._type is word else sext(value, to=word), top)
        return xor(bits, const(kind, -1)) if self.largest else bits

    def _block(self, fn: Function, x: Value, at: Value, left: Value | None) -> list[Value]:
        """The keys of a block, a vector each."""
        item, found = self._type.bytes, []
        for i in range(VECTORS):
            mask = None if left is None else prefix_mask(self.lanes, left - i * self.lanes)
            vector = fn.load(x, self._type.x(self.lanes), (at + i * self.lanes) * item, mask=mask)
            found.append(self._key(vector))
        return found

    def _passing(self, keys: list[Value], worst: Value, left: Value | None) -> Value:
        """The elements of a block that are better than the worst key, as bits."""
        limit, found = splat(worst, lanes=self.lanes), None
        for i, each in enumerate(keys):
            mask = below(each, limit)
            if left is not None:
                mask = and_(mask, prefix_mask(self.lanes, left - i * self.lanes))
            bits = bits_of_lanes(mask)
            bits = shl(bits, const(i64, i * self.lanes)) if i else bits
            found = bits if found is None else or_(found, bits)
        assert found is not None
        return found

    # ---- a few, in order ---------------------------------------------------------------------------------------

    def _keep(self, fn: Function, x: Value, kept: tuple[Value, Value], count: Value, k: Value) -> None:
        """Every element in its place among the first k that there are; then those better than the last of them."""
        item, step = self._type.bytes, VECTORS * self.lanes
        with fn.loop(0, k, at_least_once=True) as fill:
            value = fn.load(x, self._type, fill.index * item)
            self._put(fn, kept, (value, self._key(value), fill.index), fill.index)

        def worst() -> Value:
            return self._key(fn.load(kept[0], self._type, (k - 1) * item))

        def block(at: Value, left: Value | None, limit: Value) -> Value:
            passing = self._passing(self._block(fn, x, at, left), limit, left)
            with fn.if_(not_equal(passing, 0), default=[limit]) as some:
                with fn.repeat(carried=[passing, limit]) as bits:
                    rest, most = bits.carried
                    place = at + trailing_zeros(rest)
                    value = fn.load(x, self._type, place * item)
                    key = self._key(value)
                    with fn.if_(below(key, most), default=[most]) as better:
                        self._put(fn, kept, (value, key, place), k - 1)
                        better.carry(worst())
                    rest = and_(rest, rest - 1)
                    bits.carry(rest, better.results[0])
                    bits.again(not_equal(rest, 0))
                some.carry(bits.results[1])
            return some.results[0]

        with fn.loop(k, count - (step - 1), step, carried=[k, worst()]) as main:
            main.carry(main.index + step, block(main.index, None, main.carried[1]))
        begin, limit = main.results
        with fn.if_(less(begin, count)):
            block(begin, count - begin, limit)

    def _put(
        self, fn: Function, kept: tuple[Value, Value], one: tuple[Value, Value, Value], free: Value
    ) -> None:
        """An element (value, key, place) between those before the place `free`, behind all that are as good."""
        values, places = kept
        item, (value, key, place) = self._type.bytes, one
        with fn.repeat(carried=[free]) as walk:
            (at,) = walk.carried
            with fn.if_(greater(at, 0), default=[at, const(i1, 0)]) as more:
                other = fn.load(values, self._type, (at - 1) * item)
                worse = below(key, self._key(other))
                with fn.if_(worse):
                    fn.store(other, values, at * item)
                    fn.store(fn.load(places, i64, (at - 1) * i64.bytes), places, at * i64.bytes)
                more.carry(at - zext(worse, to=i64), worse)
            walk.carry(more.results[0])
            walk.again(more.results[1])
        fn.store(value, values, walk.results[0] * item)
        fn.store(place, places, walk.results[0] * i64.bytes)

    # ---- many, collected and sorted ------------------------------------------------------------------------------

    def _collect(
        self,
        fn: Function,
        x: Value,
        scratch: Value,
        room: Value,
        about: tuple[Value, Value, Value, Value],
    ) -> tuple[Value, Value]:
        """All that may be among the best until the buffer is full, which is sorted and cut; and so on to the end.

        How many there are, and where their numbers lie.
        """
        worst, any_, count, k = about
        step, word = VECTORS * self.lanes, self._word
        keys = scratch + counted_bytes(self._word)
        numbers = keys + room * word.bytes
        others = numbers + room * i32.bytes
        buffers = (keys, numbers, others, others + room * word.bytes)
        with fn.repeat(carried=[count - count, count - count, worst, any_, *buffers]) as turn:
            begin, held, worst, any_, *now = turn.carried
            with fn.repeat(carried=[begin, held]) as filling:
                at, filled = filling.carried
                left = count - at
                with fn.if_(less(left, step)) as last:
                    last.carry(self._take(fn, x, now, (at, filled), (worst, any_), left))
                with last.otherwise():
                    last.carry(self._take(fn, x, now, (at, filled), (worst, any_), None))
                filling.carry(at + step, last.results[0])
                filling.again(and_(less(at + step, count), less_equal(last.results[0], room - step)))
            at, filled = filling.results
            now = sort_by_bytes(fn, scratch, now, filled, (word, self.lanes))
            held = minimum(filled, k)
            full = less_equal(k, filled)
            worst = select(full, fn.load(now[0], word, (held - 1) * word.bytes), worst)
            turn.carry(at, held, worst, select(full, const(i64, 0), any_), *now)
            turn.again(less(at, count))
        return turn.results[1], turn.results[5]

    def _take(
        self,
        fn: Function,
        x: Value,
        now: list[Value],
        where: tuple[Value, Value],
        limit: tuple[Value, Value],
        left: Value | None,
    ) -> Value:
        """Elements of a block that pass (or all, where any may) behind those in the buffer; how many there are then."""
        (at, filled), (worst, any_), word = where, limit, self._word
        found, lanes = self._block(fn, x, at, left), self.lanes
        step = VECTORS * lanes
        passing = or_(self._passing(found, worst, left), any_)
        if left is None:
            whole = const(i64, 2**step - 1 if step < 64 else -1)
        else:
            whole = lshr(const(i64, -1), 64 - left)
        passing = and_(passing, whole)
        with fn.if_(equal(passing, whole)) as all_:
            for i, each in enumerate(found):
                mask = None if left is None else prefix_mask(lanes, left - i * lanes)
                spot = filled + i * lanes
                fn.store(each, now[0], spot * word.bytes, mask=mask)
                own = splat(trunc(at + i * lanes, to=i32), lanes=lanes) + const(
                    i32.x(lanes), tuple(range(lanes))
                )
                fn.store(own, now[1], spot * i32.bytes, mask=mask)
            all_.carry(filled + (step if left is None else left))
        with all_.otherwise():
            with fn.if_(not_equal(passing, 0), default=[filled]) as some:
                with fn.repeat(carried=[passing, filled]) as bits:
                    rest, spot = bits.carried
                    place = at + trailing_zeros(rest)
                    key = self._key(fn.load(x, self._type, place * self._type.bytes))
                    fn.store(key, now[0], spot * word.bytes)
                    fn.store(trunc(place, to=i32), now[1], spot * i32.bytes)
                    rest = and_(rest, rest - 1)
                    bits.carry(rest, spot + 1)
                    bits.again(not_equal(rest, 0))
                some.carry(bits.results[1])
            all_.carry(some.results[0])
        return all_.results[0]


def top(
    lines: int, count: int, k: int, dtype: str, threads: int, *, largest: bool = True
) -> tuple[SweepPlan, int] | str:
    """The kernel that finds the k best of each line, and the bytes of its scratch; a sentence where there is none.

    x: (lines, count), scratch -> values, places: (lines, k), places int64; all C-contiguous.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> plan, scratch = top(1, 5, 3, "float32", 1)
    >>> made = Sweep(plan)
    >>> made.load()
    >>> values, places = np.empty((1, 3), np.float32), np.empty((1, 3), np.int64)
    >>> made(np.array([[2, 7, 1, 7, 5]], np.float32), np.empty(scratch, np.uint8), values, places)
    >>> values, places
    (array([[7., 7., 5.]], dtype=float32), array([[1, 3, 4]]))
    """
    if dtype not in TYPES:
        return f"takes numbers of {', '.join(TYPES)}, got {dtype}"
    return _plan(lines, count, k, (dtype, largest, k <= FEW, False), threads)


def above(lines: int, count: int, dtype: str, threads: int) -> tuple[SweepPlan, int] | str:
    """The kernel that finds what is larger than a limit, the largest first; else as `top`.

    x: (lines, count), limit: (1,), scratch -> held: (lines,), how many there are; places: (lines, count), both int64.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> plan, scratch = above(1, 5, "float32", 1)
    >>> made = Sweep(plan)
    >>> made.load()
    >>> held, places, limit = np.empty(1, np.int64), np.zeros((1, 5), np.int64), np.ones(1, np.float32)
    >>> made(np.array([[2, 7, 1, 7, 5]], np.float32), limit, np.empty(scratch, np.uint8), held, places)
    >>> held, places
    (array([4]), array([[1, 3, 4, 0, 0]]))
    """
    if dtype not in FLOATS:
        return f"takes floats, got {dtype}"
    return _plan(lines, count, count, (dtype, True, False, True), threads)


def _plan(
    lines: int, count: int, k: int, kind: tuple[str, bool, bool, bool], threads: int
) -> tuple[SweepPlan, int] | str:
    """`kind`: type, whether the largest, whether few, whether what is above a limit."""
    if refusal := kernel_refusal():
        return refusal
    if not lines or not 0 < k <= count or count >= 2**31:
        return (
            f"takes lines of up to 2^31 - 1 elements, and one of each at least, got {k} of {lines} x {count}"
        )
    dtype, largest, few, limited = kind
    word = i64 if ELEMENTS[dtype].bytes == i64.bytes else i32
    recipe = Top(dtype, largest, few, host().lanes(word.bytes), limited)
    words, tasks = share_lines(lines, count * WORK, threads, whole=True)
    room = min(count, max(LEAST_BUFFER, 4 * k)) + BLOCK
    room = -(-room // BLOCK) * BLOCK
    scratch = 0 if recipe.few else tasks * (2 * room * (word.bytes + i32.bytes) + counted_bytes(word))
    words = {**words, "count": count, "k": k, "room": room}
    return SweepPlan(recipe, words, tasks, threads, lines * count), max(scratch, 1)


__all__ = ["Top", "above", "top"]
