"""The bytes of an ONNX model without the raw data of its initializers, which go from the file to their arrays at once.

    model = .. 7: graph ..      graph = .. 5: initializer ..      initializer = .. 9: raw data ..

A message is a row of fields, each a key (number*8 + kind), perhaps a length, and its value. Protobuf would hold all of
them twice over while they are read, and onnx make arrays of them one by one.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence

VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5
RAW_DATA = (7, 5, 9)
"""The numbers of the fields on the way there."""

LONGEST_KEY, LONGEST = 5, 10
"""Bytes of a key, and of any other varint."""

MOST_FIELDS = 500_000
"""On the way to raw data: a second's work. A file of 100 MB may hold fifty million, of two bytes each."""

Place = tuple[int, int]
"""Where a field's value begins and ends."""


class Unclear(Exception):
    """The bytes are no message, or one of a kind or length that nobody writes: protobuf itself is to judge them."""


def part_raw_data(stream: io.BufferedIOBase, size: int) -> tuple[bytes, list[Place | None]]:
    """The model without raw data, and for each initializer where its raw data are, None where it has none.

    Raises Unclear.
    """
    places: list[Place | None] = []
    return _without(stream, (0, size), RAW_DATA, places, itertools.count(1)), places


def _without(
    stream: io.BufferedIOBase,
    message: Place,
    path: Sequence[int],
    places: list[Place | None],
    fields: Iterator[int],
) -> bytes:
    """A message without the fields that a path leads to; `fields` counts all that are looked at."""
    parts: list[bytes] = []
    kept, stop = message
    at = kept
    while at < stop:
        if next(fields) > MOST_FIELDS:
            raise Unclear
        number, kind, value = _field(stream, at, stop)
        if (number, kind) == (path[0], LENGTH):
            parts.append(_read(stream, (kept, at)))
            kept = value[1]
            if len(path) == 1:
                places[-1] = value  # the last one counts
            else:
                if len(path) == 2:
                    places.append(None)
                inner = _without(stream, value, path[1:], places, fields)
                parts += [_varint(number << 3 | kind), _varint(len(inner)), inner]
        at = value[1]
    parts.append(_read(stream, (kept, stop)))
    return b"".join(parts)


def _field(stream: io.BufferedIOBase, at: int, stop: int) -> tuple[int, int, Place]:
    """The number, kind and value of a field that begins at `at`. Raises Unclear."""
    head = _read(stream, (at, min(stop, at + LONGEST_KEY + LONGEST)))
    key, start = _number(head, 0, LONGEST_KEY)
    number, kind = key >> 3, key & 7
    if kind == LENGTH:
        length, start = _number(head, start, LONGEST)
    elif kind == VARINT:
        length, start = 0, _number(head, start, LONGEST)[1]
    elif kind in (EIGHT, FOUR):
        length = 8 if kind == EIGHT else 4
    else:
        raise Unclear
    if not 0 < number < 2**29 or length > stop - at - start:
        raise Unclear
    return number, kind, (at + start, at + start + length)


def _number(head: bytes, at: int, most: int) -> tuple[int, int]:
    """A varint of at most so many bytes, and where it ends. Raises Unclear."""
    value = 0
    for i, byte in enumerate(head[at : at + most]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    raise Unclear


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)


def _read(stream: io.BufferedIOBase, place: Place) -> bytes:
    stream.seek(place[0])
    found = stream.read(place[1] - place[0])
    if len(found) < place[1] - place[0]:  # somebody cuts the file meanwhile
        raise Unclear
    return found
