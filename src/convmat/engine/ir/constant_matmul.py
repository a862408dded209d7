"""A small constant matrix times vectors that are in registers, as straight-line code.

Zeros cost nothing, ones an addition, and two rows that differ in nothing but signs share their sums:

    row i = even + odd,  row j = even - odd        as points come in pairs +p and -p
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from ...product import Matrix
from .instructions import Value, const, fma

Row = Sequence[Fraction]


def combine(matrix: Matrix, vectors: Sequence[Value]) -> list[Value]:
    """Emits matrix @ vectors: one vector a row."""
    made: dict[int, Value] = {}
    for i, row in enumerate(matrix):
        if i in made:
            continue
        twin = next((j for j in range(i + 1, len(matrix)) if j not in made and _twins(row, matrix[j])), None)
        if twin is None:
            made[i] = _sum_weighted(row, vectors)
            continue
        alike = [a == b for a, b in zip(row, matrix[twin], strict=True)]
        even = _sum_weighted(
            [a if same else Fraction(0) for a, same in zip(row, alike, strict=True)], vectors
        )
        odd = _sum_weighted([Fraction(0) if same else a for a, same in zip(row, alike, strict=True)], vectors)
        made[i], made[twin] = even + odd, even - odd
    return [made[i] for i in range(len(matrix))]


@lru_cache(maxsize=256)
def operations(matrix: Matrix) -> int:
    """How many instructions `combine` takes."""
    count, seen = 0, set[int]()
    for i, row in enumerate(matrix):
        if i in seen:
            continue
        twin = next((j for j in range(i + 1, len(matrix)) if j not in seen and _twins(row, matrix[j])), None)
        count += sum(v != 0 for v in row)
        if twin is not None:
            seen.add(twin)
        else:
            count -= 1
    return count


def _twins(a: Row, b: Row) -> bool:
    """Whether two rows are equal but for signs, some of them the same and some not."""
    signs = {x == y for x, y in zip(a, b, strict=True) if x or y}
    return all(abs(x) == abs(y) for x, y in zip(a, b, strict=True)) and len(signs) == 2


def _sum_weighted(row: Row, vectors: Sequence[Value]) -> Value:
    """The sum of the vectors, each times its weight."""
    type = vectors[0].type
    terms = sorted(((w, v) for w, v in zip(row, vectors, strict=True) if w), key=lambda term: term[0] != 1)
    if not terms:
        return const(type, 0.0)
    first, value = terms[0]
    if first != 1:
        value = value * const(type, float(first))
    for weight, vector in terms[1:]:
        if weight == 1:
            value = value + vector
        elif weight == -1:
            value = value - vector
        else:
            value = fma(const(type, float(weight)), vector, value)
    return value


__all__ = ["combine", "operations"]
