"""Contractions: sums of products of two arrays, each index named by a letter; batched products of matrices.

    "bhid,bhjd->bhij"     y[b, h, i, j] = sum over d of  a[b, h, i, d] * b[b, h, j, d]

A letter that all three have is a batch of the product, one that both operands have and y lacks is summed over, and
each other letter belongs to the rows or the columns. No array is transposed: the letters' order is what Views are for.
Which operand is packed as A and which is read a panel at a time follows from how they lie. An extent of 1 broadcasts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from ..lazy_dataclass import dataclass
from ..processes import OfThisProcess
from ..product import Coordinate, Index, Order, Packing, Product, View
from .candidates import dtype_of

if TYPE_CHECKING:
    from ..engine import JitProgram

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

SCRATCH = 16 << 20
"""Bytes that tasks should keep to."""


@dataclass(frozen=True)
class Contraction:
    """The letters of both operands and of y, and their extents; of some of these perhaps a `part`.

    Of the arrays "a", "b" and "y" those `alone` hold that part and nothing else.

    >>> Contraction.of("ij,jk->ik", (2, 3), (3, 4)).product
    (1, 2, 4, 3)
    """

    a: str
    b: str
    y: str
    shapes: tuple[Shape, Shape]
    extents: Mapping[str, int]
    part: Mapping[str, int] = field(default_factory=dict)
    alone: frozenset[str] = frozenset()

    @classmethod
    def of(cls, equation: str, a: Shape, b: Shape) -> Contraction:
        """Contraction of an equation of two operands that fits these shapes."""
        left, y = equation.split("->")
        first, second = left.split(",")
        extents: dict[str, int] = {}
        for letter, extent in zip(first + second, a + b, strict=True):
            extents[letter] = max(extents.get(letter, 1), extent)
        return cls(first, second, y, (a, b), extents)

    @property
    def shape(self) -> Shape:
        """Shape of y."""
        return tuple(self.extents[letter] for letter in self.y)

    @property
    def groups(self) -> dict[str, str]:
        """The letters of the batch, of the rows, of the columns and of the sum, in y's order and in a's."""
        a, b = set(self.a), set(self.b)
        return {
            "batch": "".join(c for c in self.y if c in a & b),
            "m": "".join(c for c in self.y if c in a - b),
            "n": "".join(c for c in self.y if c in b - a),
            "k": "".join(c for c in self.a if c in b and c not in self.y),
        }

    @property
    def product(self) -> tuple[int, int, int, int]:
        """How many products of matrices, and their m, n and k."""
        batch, m, n, k = (math.prod(self.extents[c] for c in letters) for letters in self.groups.values())
        return batch, m, n, k

    @property
    def refusal(self) -> str | None:
        """The sentence why it is no batched product of matrices, if it is none."""
        letters = [self.a, self.b, self.y]
        if any(len(set(each)) != len(each) for each in letters):
            return "takes each letter once in an operand"
        alone = (set(self.a) ^ set(self.b)) - set(self.y)
        if alone:
            return f"sums over letters of both operands, got {''.join(sorted(alone))} of one"
        for term, shape in zip((self.a, self.b), self.shapes, strict=True):
            if any(c in self.groups["k"] and n != self.extents[c] for c, n in zip(term, shape, strict=True)):
                return "sums over letters that have one extent"
        return None

    def turn(self) -> Contraction:
        """The same with its operands changing places."""
        alone = frozenset({"a": "b", "b": "a"}.get(name, name) for name in self.alone)
        return Contraction(self.b, self.a, self.y, self.shapes[::-1], self.extents, self.part, alone)

    def whole(self, source: str) -> tuple[str, Shape]:
        """The letters and extents of an operand ("w": the first, "x": the second) or of y, without axes of 1 in all."""
        letters, shape = {
            "w": (self.a, self.shapes[0]), "x": (self.b, self.shapes[1]), "y": (self.y, self.shape),
        }[source]  # fmt: skip
        part = self.part if {"w": "a", "x": "b", "y": "y"}[source] in self.alone else {}
        kept = [(c, part.get(c, n)) for c, n in zip(letters, shape, strict=True) if self.extents[c] > 1]
        return "".join(c for c, _ in kept), tuple(n for _, n in kept)

    def view(self, source: str, rows: str, cols: str) -> View:
        """The matrices of an operand or of y; what broadcasts does not move along its axis."""
        letters, shape = self.whole(source)
        coordinates = tuple(
            Coordinate(n, ((c, 1),) if n > 1 else ()) for c, n in zip(letters, shape, strict=True)
        )
        coordinates = coordinates or (Coordinate(1, ()),)
        found = View(source, self._indices(rows), self._indices(cols), coordinates, self._indices("batch"))
        # a part's sums have the order of the whole's
        extents = [self.extents[c] for c in self.groups[cols] if self.extents[c] > 1]
        order = Order((), extents[-1] if extents else 1, math.prod(extents))
        return replace(found, order=order) if source == "x" else found

    def _indices(self, group: str) -> tuple[Index, ...]:
        """Indices of extents above 1; one of extent 1 where there is none."""
        letters = [c for c in self.groups[group] if self.extents[c] > 1]
        found = tuple(Index(c, self.part.get(c, self.extents[c])) for c in letters)
        # A first column index that moves nothing: else a kernel for weight gradients would take short sums.
        return (Index("n1", 1), *found) if group == "n" else found or (Index(f"{group}1", 1),)

    def program(self, dtype: str, threads: int) -> JitProgram | str:
        """The jit's program, or the sentence why it makes none."""
        from ..engine import Dtypes, JitProgram, prepare

        product = Product(((self.view("w", "m", "k"), self.view("x", "k", "n")),), self.view("y", "m", "n"))
        dtypes = Dtypes(*[dtype_of(dtype)] * 3)
        shapes = {name: self.whole(name)[1] or (1,) for name in "wxy"}
        made = prepare(
            "jit", (product,), Packing.PANEL, dtypes, shapes, SCRATCH, bound=False, threads=threads
        )
        assert isinstance(made, JitProgram | str)
        return made


class Contracted(OfThisProcess):
    """Fills y with a contraction of a and b, all C-contiguous. May be called from several threads at once."""

    def __init__(self, program: JitProgram, of: Contraction, turned: bool, dtype: str, threads: int) -> None:
        self.program, self.of, self.turned, self.dtype, self.threads = program, of, turned, dtype, threads
        self.product = of.product
        self.scratch: int = program.workspace + 64

    def __call__(self, a: Array, b: Array, y: Array) -> None:
        """Write y, which overlaps neither."""
        w, x = (b, a) if self.turned else (a, b)
        self.program.run({"x": x, "w": w, "y": y}, None, self.threads)

    def jobs(
        self, a: Array, b: Array, y: Array, scratch: int, at: Mapping[str, int] | None = None
    ) -> list[Any]:
        """The jobs of a call with these arrays, for `pool.launch_all`; of a part, the one that begins `at` letters."""
        from ..engine import address

        terms = {"a": (self.of.a, a), "b": (self.of.b, b), "y": (self.of.y, y)}
        found = {
            name: address(each) + (0 if name in self.of.alone else _offset(letters, each, at or {}))
            for name, (letters, each) in terms.items()
        }
        w, x = ("b", "a") if self.turned else ("a", "b")
        return self.program.loose_blocks(found[x], found[w], found["y"], scratch)

    def part(self, extents: Mapping[str, int], alone: str) -> Contracted | None:
        """The same for a part of some letters, its bits the whole's; None where no kernel takes it.

        `alone`: which of a, b and y holds the part and nothing else.
        """
        of = replace(self.of, part=dict(extents), alone=frozenset(alone))
        made = (of.turn() if self.turned else of).program(self.dtype, self.threads)
        return None if isinstance(made, str) else Contracted(made, of, self.turned, self.dtype, self.threads)


def _offset(letters: str, array: Array, at: Mapping[str, int]) -> int:
    steps = zip(letters, array.shape, array.strides, strict=True)
    return sum(at.get(c, 0) * step for c, n, step in steps if n > 1)


def contraction(equation: str, a: Shape, b: Shape, dtype: str, threads: int) -> Contracted | str:
    """The contraction that an equation names, or the sentence why no kernel takes it; `program.load()` gets the kernel.

    >>> import numpy as np
    >>> a, b = np.ones((2, 3), np.float32), np.full((3, 4), 2, np.float32)
    >>> y = np.empty((2, 4), np.float32)
    >>> contraction("ij,jk->ik", a.shape, b.shape, "float32", 1)(a, b, y)
    >>> y[0].tolist()
    [6.0, 6.0, 6.0, 6.0]
    """
    if dtype not in ("float32", "float64"):
        return f"multiplies floats, got {dtype}"
    found = Contraction.of(equation, a, b)
    if found.refusal:
        return found.refusal
    if not math.prod(found.extents.values()):
        return "multiplies what has elements"
    refusal = ""
    for turned in sorted(
        (False, True), key=lambda turned: _count_unsuited(found.turn() if turned else found)
    ):
        way = found.turn() if turned else found
        made = way.program(dtype, threads)
        if not isinstance(made, str):
            return Contracted(made, found, turned, dtype, threads)
        refusal = refusal or made
    return refusal


def _count_unsuited(way: Contraction) -> int:
    """How far operands lie from what suits: y and the second operand contiguous along the columns."""
    (y, _), (x, _), (w, _) = (way.whole(name) for name in "yxw")
    groups = way.groups
    return 2 * (y[-1:] not in groups["n"]) + (x[-1:] not in groups["n"]) + (w[-1:] not in groups["k"])


__all__ = ["Contracted", "Contraction", "contraction"]
