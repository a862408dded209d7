"""Sorting of unsigned keys and their numbers, one byte after the other, the last first: equals keep their order."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.emitter import Function
from ...ir.instructions import Type, Value, and_, const, i32, i64, lshr, not_equal, sext, trunc, zext

DIGITS = 256
"""Values of the byte by which a pass sorts."""


def counted_bytes(word: Type) -> int:
    """Bytes of memory for how many elements have each byte of a key."""
    return word.bytes * DIGITS * i32.bytes


def sort_by_bytes(
    fn: Function, counts: Value, pairs: Sequence[Value], filled: Value, kind: tuple[Type, int]
) -> list[Value]:
    """Code that sorts the first `filled` keys, of the type `kind` has, in vectors of so many lanes for what is cleared.

    pairs: keys, numbers (32 bits), and room for as many of both -> the same, the sorted ones first.
    A byte that all have in common is passed over.
    """
    word, wide = kind[0], i32.x(kind[1])

    def digit_of(key: Value, shift: Value) -> Value:
        byte = and_(lshr(key, shift), const(word, DIGITS - 1))
        return byte if word is i64 else zext(byte, to=i64)

    with fn.loop(0, counted_bytes(word), wide.bytes) as clear:
        fn.store(const(wide, 0), counts, clear.index)
    with fn.loop(0, filled) as each:
        key = fn.load(pairs[0], word, each.index * word.bytes)
        for digit in range(word.bytes):
            byte = digit_of(key, const(word, 8 * digit)) + digit * DIGITS
            seen = fn.load(counts, i32, byte * i32.bytes)
            fn.store(seen + 1, counts, byte * i32.bytes)
    with fn.loop(0, word.bytes, carried=pairs) as turn:
        keys, numbers, others, places = turn.carried
        own, shift = counts + turn.index * (DIGITS * i32.bytes), turn.index * 8
        shift = shift if word is i64 else trunc(shift, to=i32)
        first = fn.load(own, i32, digit_of(fn.load(keys, word), shift) * i32.bytes)
        with fn.if_(not_equal(sext(first, to=i64), filled), default=turn.carried) as differ:
            with fn.loop(0, DIGITS, carried=[const(i32, 0)]) as before:
                seen = fn.load(own, i32, before.index * i32.bytes)
                fn.store(before.carried[0], own, before.index * i32.bytes)
                before.carry(before.carried[0] + seen)
            with fn.loop(0, filled, at_least_once=True) as each:
                key = fn.load(keys, word, each.index * word.bytes)
                number = fn.load(numbers, i32, each.index * i32.bytes)
                byte = digit_of(key, shift) * i32.bytes
                spot = fn.load(own, i32, byte)
                fn.store(spot + 1, own, byte)
                spot = zext(spot, to=i64)
                fn.store(key, others, spot * word.bytes)
                fn.store(number, places, spot * i32.bytes)
            differ.carry(others, places, keys, numbers)
        turn.carry(*differ.results)
    return turn.results


__all__ = ["counted_bytes", "sort_by_bytes"]
