"""Moving elements between lanes, and in and out of narrow types.

    transpose       rows[i][j] -> rows[j][i], as a network of two-operand shuffles
    load_strided    x[0], x[s], x[2s], ...: one scalar load a lane
    load_every      the same for a small constant step, by whole vectors and shuffles
    deinterleave    the same in registers, for every phase at once; woven undoes it
    widen, narrow   float16 and bfloat16 to float32 and back, int8 and uint8 to int32 and float32

None of them calls libm or the compiler's runtime on x86-64-v3 or newer, nor on AArch64.
"""

from __future__ import annotations

from collections.abc import Sequence

from .emitter import Function, Int
from .instructions import (
    Type,
    Value,
    bf16,
    bitcast,
    equal,
    f32,
    fpext,
    fptosi,
    fptrunc,
    i16,
    i32,
    insert,
    lshr,
    poison,
    select,
    sext,
    shuffle,
    sitofp,
    trunc,
    uitofp,
    zext,
)


def concat(parts: Sequence[Value]) -> Value:
    """One vector of the lanes of all parts, in order; they are equally long and a power of two in number."""
    while len(parts) > 1:
        type = parts[0].type
        twice, lanes = poison(type.x(2 * type.lanes)), range(2 * type.lanes)
        parts = [
            twice if a.name == b.name == "poison" else shuffle(a, b, indices=lanes)
            for a, b in zip(parts[::2], parts[1::2], strict=True)
        ]
    return parts[0]


def lane_range(vector: Value, start: int, lanes: int) -> Value:
    """The lanes `start, ..., start + lanes - 1`."""
    return shuffle(vector, vector, indices=range(start, start + lanes))


def transpose(rows: Sequence[Value]) -> list[Value]:
    """Lane j of row i becomes lane i of row j; n lanes give n rows, n a power of two.

    Fewer than n rows may be given: the lanes of the missing ones hold nothing to be looked at.

    Every step picks the even and the odd elements of two rows: first inside blocks of 16 bytes, in which x86
    shuffles freely (vshufps, vunpcklpd), then whole blocks (vperm2f128, vshuff64x2). So each of the n log2(n)
    shuffles of a vector that fits a register is one machine instruction.
    """
    type = rows[0].type
    n = type.lanes
    assert n & (n - 1) == 0, f"transpose needs a power of two of lanes, got {type}"
    assert len(rows) <= n, f"{len(rows)} rows do not fit {type}"
    rows = [*rows, *[poison(type)] * (n - len(rows))]
    inner = min(n, 16 // type.scalar.bytes)  # elements in a block
    deals = [_deal(rows[at : at + inner], 1, inner) for at in range(0, n, inner)]
    columns = [_deal([deal[j] for deal in deals], inner, n) for j in range(inner)]
    return [columns[j % inner][j // inner] for j in range(n)]


def _deal(rows: Sequence[Value], size: int, block: int) -> list[Value]:
    """Transposes, in every block of `block` lanes, the square of pieces of `size` lanes."""
    if len(rows) == 1:
        return list(rows)
    lanes = rows[0].type.lanes
    even, odd = (
        [
            operand * lanes + start + piece + lane
            for start in range(0, lanes, block)
            for operand in (0, 1)
            for piece in range(parity * size, block, 2 * size)
            for lane in range(size)
        ]
        for parity in (0, 1)
    )
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    evens = _deal([_pick(a, b, even) for a, b in pairs], size, block)
    odds = _deal([_pick(a, b, odd) for a, b in pairs], size, block)
    return [row for pair in zip(evens, odds, strict=True) for row in pair]


def _pick(a: Value, b: Value, indices: Sequence[int]) -> Value:
    if a.name == b.name == "poison":
        return a
    return shuffle(a, b, indices=indices)


def transpose_blocks(rows: Sequence[Value]) -> list[Value]:
    """Four vectors of 32-bit lanes: in every four of these, lane j of row i becomes lane i of row j."""
    return _deal(rows, 1, 4)


def load_strided(fn: Function, pointer: Value, type: Type, stride: Int, offset: Int = 0) -> Value:
    """Lane i is read at `pointer + offset + i * stride` (bytes)."""
    vector: Value = poison(type)
    at = pointer + offset
    for lane in range(type.lanes):
        if not isinstance(stride, Value):
            element = fn.load(at, type.scalar, lane * stride)
        else:
            element = fn.load(at, type.scalar)
            if lane + 1 < type.lanes:
                at = at + stride
        vector = insert(vector, element, lane=lane)
    return vector


def load_every(fn: Function, pointer: Value, type: Type, step: int, offset: Int = 0) -> Value:
    """Lane i is element `i * step` of those that lie side by side from `pointer + offset` (bytes). step >= 1.

    Reads whole vectors, the last one moved back to end with the last element that is wanted.
    """
    n, size = type.lanes, type.scalar.bytes
    if step == 1:
        return fn.load(pointer, type, offset)
    last = (n - 1) * step
    at = pointer + offset
    result: Value = poison(type)
    for begin in range(0, last + 1, n):
        start = min(begin, last + 1 - n)
        lanes = [lane for lane in range(n) if begin <= lane * step < begin + n]
        if lanes:
            piece = fn.load(at, type, start * size)
            indices = [lane if lane < lanes[0] else -1 for lane in range(n)]
            for lane in lanes:
                indices[lane] = n + lane * step - start
            result = shuffle(result, piece, indices=indices)
    return result


def pick_every(vectors: Sequence[Value], step: int) -> Value:
    """Lane i is element `i * step` of vectors that lie side by side, `step` of them."""
    n = vectors[0].type.lanes
    result = vectors[0]
    have = [i * step if i * step < n else -1 for i in range(n)]
    for which, piece in enumerate(vectors[1:], 1):
        first = which * n
        new = [i for i in range(n) if first <= i * step < first + n]
        indices = [-1 if place < 0 else place for place in have]
        for i in new:
            indices[i] = n + i * step - first
        result = shuffle(result, piece, indices=indices)
        have = [i if indices[i] >= 0 else -1 for i in range(n)]
    return result


def deinterleave(vectors: Sequence[Value], unit: int = 1) -> list[Value]:
    """Give, of s vectors side by side in memory (n lanes each), the s vectors of every s-th unit of so many elements.

    out[r][i*unit + e] = (vectors[0], vectors[1], ...)[(i*s + r)*unit + e]

    While s is even, every second unit of each two vectors first: s*log2(s) shuffles if it is a power of two.
    """
    step, n = len(vectors), vectors[0].type.lanes
    assert n % unit == 0, f"{vectors[0].type} holds no whole number of units of {unit}"
    if step > 2 and step % 2 == 0:
        pairs = [deinterleave(vectors[i : i + 2], unit) for i in range(0, step, 2)]
        halves = [deinterleave([pair[parity] for pair in pairs], unit) for parity in (0, 1)]
        return [half[i] for i in range(step // 2) for half in halves]
    out = []
    for phase in range(step):
        result = vectors[0]
        wanted = [(lane // unit * step + phase) * unit + lane % unit for lane in range(n)]
        for which, vector in enumerate(vectors):
            indices = [
                n + at - which * n if at // n == which else (lane if at // n < which else -1)
                for lane, at in enumerate(wanted)
            ]
            if any(index >= n for index in indices):
                result = shuffle(result, vector, indices=indices)
        out.append(result)
    return out


def interleave(vectors: Sequence[Value]) -> list[Value]:
    """The elements of s vectors in turn, as s vectors: what `deinterleave` undoes.

    (out[0], out[1], ...)[e] = vectors[e % s][e // s]
    """
    s, lanes = len(vectors), vectors[0].type.lanes
    made = []
    for begin in range(0, s * lanes, lanes):
        result = vectors[0]
        for which, vector in enumerate(vectors):
            wanted = range(begin, begin + lanes)
            lane = [e // s + lanes if e % s == which else (i if which else -1) for i, e in enumerate(wanted)]
            result = shuffle(result, vector, indices=lane)
        made.append(result)
    return made


# ---- narrow types -----------------------------------------------------------------------------------------


def widen(a: Value, to: Type, *, signed: bool = True) -> Value:
    """`a` in the wider kind `to`, exactly; `signed` says how integers are read."""
    kind = a.type.scalar
    to = to.scalar
    if kind is to:
        return a
    if kind is bf16:  # the upper half of a float32
        return widen(bitcast(zext(bitcast(a, to=i16), to=i32) << 16, to=f32), to)
    if kind.is_float:
        return fpext(a, to=to)
    if to.is_float:
        return sitofp(a, to=to) if signed else uitofp(a, to=to)
    return sext(a, to=to) if signed else zext(a, to=to)


def narrow(a: Value, to: Type) -> Value:
    """`a` in the narrower kind `to`: floats to nearest, halves to even; integers lose upper bits.

    Whole floats as integers go by way of 32 bits: of what 8 bits hold without a sign alone, fptosi makes anything.
    """
    kind, to = a.type.scalar, to.scalar
    if kind is to:
        return a
    if kind.is_float and not to.is_float:
        return narrow(fptosi(a, to=i32), to)
    if not kind.is_float:
        return trunc(a, to=to)
    if to is not bf16:
        return fptrunc(a, to=to)
    # vcvtneps2bf16 takes denormals for zero, and without it LLVM calls the runtime. So: add half of the
    # last place, or just below half where the last bit is even, and cut.
    bits = bitcast(narrow(a, f32), to=i32)
    rounded = bits + (lshr(bits, 16) & 1) + 0x7FFF
    quiet = bits | 0x400000
    return bitcast(trunc(lshr(select(equal(a, a), rounded, quiet), 16), to=i16), to=bf16)


__all__ = [
    "concat",
    "deinterleave",
    "interleave",
    "lane_range",
    "load_every",
    "load_strided",
    "narrow",
    "pick_every",
    "transpose",
    "transpose_blocks",
    "widen",
]
