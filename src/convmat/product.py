"""The language between lowerings and engines: View, Product, Epilogue.

    C[g, m, n] = epilogue( sum over terms, k of  A[g, m, k] * B[g, k, n] )

A **View** is a matrix that need not exist. Its entries come from an array by affine coordinates:

    V[g, row, col] = array[.., offset_a + sum over the indices of coefficient * index, ..]     one coordinate per axis a
                   = fill                                                                     outside the array

and counts from its fill, the zero point of 8-bit arrays: what stands outside counts as nothing.

The unrolled input is the View with coordinate p*s + f*d - lo on each spatial axis of x. Its rows are (c, f), its
columns (b, p). No modulo and no conditions: what would need them is split into phases before it gets here.
An engine reads nothing but this file: it has never heard of convolution.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import field
from enum import Enum
from fractions import Fraction

from .lazy_dataclass import dataclass
from .processes import kept_property

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """One loop: a name and how many values it takes."""

    name: str
    extent: int


@dataclass(frozen=True, slots=True)
class Coordinate:
    """Along one array axis of `extent` elements: offset + sum of coefficient * index."""

    extent: int
    terms: tuple[tuple[str, int], ...]
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """What the order of a sum depends on beside the extents of its indices: said of the whole that B is a block of.

    `apart`: the indices of rows whose terms often lie outside the array. `line`: the extent of the last index of the
    whole's columns, and `columns` that of all of them.
    """

    apart: tuple[str, ...]
    line: int
    columns: int


LEFT_OUT = 0.04
"""Share of entries outside an array from which sums are put so that an engine can leave those out."""

SAMPLED = 1024
"""Values of an index that are looked at, at most, to find how often a window leaves the array."""


@dataclass(frozen=True)
class View:
    """A batch of matrices read from an array (or from another View, packed whole) by affine coordinates.

    `source` names the operand ("x", "w", "y", "bias", "residual") or is the View to pack first; its coordinates are
    then over the axes batch + rows + cols of that View, and it is packed once for each value of its batch indices.
    `conjugate` applies to every entry. `fill`: what is read outside, and what every entry is counted from. `order` is
    that of the sums over its rows; None: that of no larger whole.

    >>> at = Coordinate(4, (("p", 1), ("f", 1)))
    >>> row = View("x", rows=(Index("f", 2),), cols=(Index("p", 3),), coordinates=(at,))
    >>> row.shape, row.inside
    ((2, 3), True)
    """

    source: str | View
    rows: tuple[Index, ...]
    cols: tuple[Index, ...]
    coordinates: tuple[Coordinate, ...]
    batch: tuple[Index, ...] = ()
    fill: int = 0
    conjugate: bool = False
    order: Order | None = None

    @property
    def indices(self) -> tuple[Index, ...]:
        """batch + rows + cols."""
        return self.batch + self.rows + self.cols

    @kept_property
    def extents(self) -> dict[str, int]:
        """The extent of each index by name."""
        return {index.name: index.extent for index in self.indices}

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of one matrix of the batch."""
        return count_values(self.rows), count_values(self.cols)

    @property
    def elements(self) -> int:
        """Entries of all matrices of the batch: what packing it whole stores."""
        return count_values(self.indices)

    def reach(self, coordinate: Coordinate) -> tuple[int, int]:
        """The smallest and the largest position that a coordinate takes, inside the array or not."""
        low = high = coordinate.offset
        for name, coefficient in coordinate.terms:
            last = coefficient * (self.extents[name] - 1)
            low, high = low + min(last, 0), high + max(last, 0)
        return low, high

    @kept_property
    def risky(self) -> tuple[int, ...]:
        """The array axes on which some entry lies outside the array."""
        if not self.elements:
            return ()
        reaches = [(self.reach(c), c.extent) for c in self.coordinates]
        return tuple(a for a, ((low, high), extent) in enumerate(reaches) if low < 0 or high >= extent)

    @property
    def inside(self) -> bool:
        """Whether every entry lies inside the array."""
        return not self.risky

    @property
    def ordered(self) -> Order:
        """Its order, or the one that follows from itself."""
        if self.order is not None:
            return self.order
        moving = {name for axis in self.risky for name, _ in self.coordinates[axis].terms}
        apart = tuple(i.name for i in self.rows if i.name in moving) if self.outside >= LEFT_OUT else ()
        return Order(apart, self.cols[-1].extent if self.cols else 1, count_values(self.cols))

    @kept_property
    def outside(self) -> float:
        """The share of entries that lie outside the array, if no two axes share an index.

        Of long windows, taps evenly apart stand for all.

        >>> at = Coordinate(4, (("p", 1), ("f", 1)), -1)
        >>> round(View("x", (Index("f", 3),), (Index("p", 4),), (at,)).outside, 3)
        0.167
        """
        share = 1.0
        for coordinate in (self.coordinates[axis] for axis in self.risky):
            terms = sorted(coordinate.terms, key=lambda term: self.extents[term[0]])
            (name, by), others = terms[-1], terms[:-1]
            each = [range(0, n, -(-n // SAMPLED)) for n in (self.extents[other] for other, _ in others)]
            steps = [[step * at for at in values] for (_, step), values in zip(others, each, strict=True)]
            total, count = 0, self.extents[name]
            for moved in itertools.product(*steps):
                low, high = (
                    -coordinate.offset - sum(moved),
                    coordinate.extent - 1 - coordinate.offset - sum(moved),
                )
                if by < 0:
                    low, high = -high, -low
                total += max(min(high // abs(by), count - 1) - max(-(-low // abs(by)), 0) + 1, 0)
            share *= total / (count * math.prod(map(len, steps)))
        return 1 - share


@dataclass(frozen=True)
class Activation:
    """A function applied to each finished element, with its parameters.

    >>> Activation.of(("leaky_relu", 0.2))
    Activation(name='leaky_relu', parameters=(0.2,))
    """

    name: str
    parameters: tuple[float, ...] = ()

    @staticmethod
    def of(value: str | tuple[str | float, ...] | Activation | None) -> Activation | None:
        """Read a name, or a tuple of a name and its parameters. Raises ValueError for what is not in ACTIVATIONS."""
        if value is None or isinstance(value, Activation):
            return value
        name, *given = (value,) if isinstance(value, str) else value
        if name not in ACTIVATIONS:
            raise ValueError(f"unknown activation {name!r}: one of {', '.join(ACTIVATIONS)}")
        defaults = ACTIVATIONS[str(name)]
        parameters = tuple(float(p) for p in given) or defaults
        if defaults is None:
            if len(given) != 2 or not parameters or parameters[0] > parameters[1]:
                raise ValueError(f"clip takes a low and a high bound, e.g. ('clip', 0.0, 6.0), got {value!r}")
        elif len(parameters or ()) != len(defaults):
            raise ValueError(
                f"{name} takes {len(defaults) or 'no'} parameter{'s' * (len(defaults) != 1)}, got {value!r}"
            )
        return Activation(str(name), parameters or ())


ACTIVATIONS: dict[str, tuple[float, ...] | None] = {
    "relu": (),
    "relu6": (),
    "leaky_relu": (0.01,),
    "sigmoid": (),
    "tanh": (),
    "silu": (),
    "gelu": (),
    "gelu_tanh": (),
    "hardswish": (),
    "hardsigmoid": (1 / 6, 0.5),
    "clip": None,
}
"""Each activation with the defaults of its parameters; None: they must be given."""


@dataclass(frozen=True)
class Epilogue:
    """What happens to a finished element before it is stored: activation(scale * (sum + bias) + residual) + zero.

    `bias` and `scale` are Views with one column per matrix, `residual` one of the shape of C; each may be absent.
    `zero` is added to whole numbers, after rounding to the nearest (halves to even) and before they are cut to their
    type. 8-bit numbers q that come of that may be rounded again: by `requantise`, two numbers for each row, to
    (q - zero) * factor + offset; then with the residual, to q * by + (residual * with + add).
    """

    bias: View | None = None
    residual: View | None = None
    activation: Activation | None = None
    scale: View | None = None
    zero: int = 0
    requantise: View | None = None

    @property
    def weighed(self) -> bool:
        """Whether the residual is of 8-bit numbers, which are weighed."""
        return self.residual is not None and self.scale is not None

    @property
    def empty(self) -> bool:
        """Whether elements are stored as they are."""
        return self == Epilogue()


class Packing(Enum):
    """How much of B is stored beside the array it is read from."""

    NOTHING = "in place"
    PANEL = "a panel at a time"
    WHOLE = "stored whole"


Matrix = tuple[tuple[Fraction, ...], ...]

PARTS_IN_A_ROW = 16
"""Parts of a transformed product that are summed in a row where its sum runs over a window's axes too: sums of so many
parts are added up in turn."""


@dataclass(frozen=True)
class Transform:
    """What happens along one window axis: `pre_a` to A, `pre_b` to B, `post` to their products.

    The i-th Transform of a Product takes the i-th window index of each View, which are the last of their batches:
    `pre_a` is (t, window of A), `pre_b` (t, window of B) and `post` (window of C, t), all exact.
    """

    pre_a: Matrix
    pre_b: Matrix
    post: Matrix

    @property
    def points(self) -> int:
        """How many products a window axis takes."""
        return len(self.pre_b)

    @property
    def windows(self) -> tuple[int, int, int]:
        """The extents of the windows of A, of B and of C."""
        return len(self.pre_a[0]), len(self.pre_b[0]), len(self.post)


@dataclass(frozen=True)
class Fourier:
    """The same with Fourier's matrices, which nobody writes down: with z = exp(-2 pi i / window)

        pre_a[s, f] = z^(-s*f)        pre_b[s, u] = z^(s*u)        post[v, s] = z^(-s*v) / window

    so that post(pre_a(a) * pre_b(b))[v] = sum over f of a[f] * b[v + f] for the v whose windows do not wrap around.
    `halved`: A and B are real, products beyond the middle are conjugates of others and are left out.

    >>> Fourier(taps=3, window=8, halved=True).windows, Fourier(taps=3, window=8, halved=True).points
    ((3, 8, 6), 5)
    """

    taps: int
    window: int
    halved: bool = False

    @property
    def points(self) -> int:
        """How many products a window axis takes."""
        return self.window // 2 + 1 if self.halved else self.window

    @property
    def windows(self) -> tuple[int, int, int]:
        """The extents of the windows of A, of B and of C."""
        return self.taps, self.window, self.window - self.taps + 1


@dataclass(frozen=True)
class Product:
    """C = epilogue(sum over terms of A @ B), for each matrix of the batch; C is a View of "y", inside it everywhere.

    All terms share C's batch, rows and cols; a term's rows of B (its columns of A) may differ from the next one's.

    With `transforms`, C = epilogue(post(pre_a(A) @ pre_b(B))): small constant matrices, or Fourier's, go along the
    window axes of A, B and C, and there is one product of matrices for each pair (triple, ..) of their points. Windows
    of C may reach outside it: what is there is not stored. Small matrices amplify rounding: `part` terms are summed in
    a row, and then the parts.

    With `maximum`, C = epilogue(the largest entry in each column of B): a product in the semiring of max and +, whose A
    is 0 everywhere and is not read. Entries outside B's array are left out. A NaN is the largest.

    `a_zero`: a View with one column per matrix, of what the entries of each row of A are counted from. `rounded`: the
    entries of A and B are rounded to bfloat16, and the products of two of them may be added at once.

    `strands`: terms go in turns to sums side by side, by the last index of the sum, which are added up at the end.
    """

    terms: tuple[tuple[View, View], ...]
    c: View
    epilogue: Epilogue = field(default_factory=Epilogue)
    transforms: tuple[Transform, ...] | tuple[Fourier, ...] = ()
    part: int = 0
    maximum: bool = False
    a_zero: View | None = None
    rounded: bool = False
    strands: bool = False

    def __post_init__(self) -> None:
        assert self.c.inside or self.transforms
        assert not (self.transforms and self.maximum)
        assert self.part > 0 or not any(isinstance(each, Transform) for each in self.transforms)
        for a, b in self.terms:
            assert self.groups(a) == self.groups(b) == self.groups(self.c)
            assert a.rows == self.c.rows
            assert a.cols == b.rows
            assert b.cols == self.c.cols
            for transform, *windows in zip(self.transforms, *map(self.windows, (a, b, self.c)), strict=True):
                assert tuple(index.extent for index in windows) == transform.windows

    def groups(self, view: View) -> tuple[Index, ...]:
        """The indices of a View's batch that the other Views share."""
        return view.batch[: len(view.batch) - len(self.transforms)]

    def windows(self, view: View) -> tuple[Index, ...]:
        """The indices of a View's windows."""
        return view.batch[len(view.batch) - len(self.transforms) :]

    @property
    def counted(self) -> bool:
        """Whether entries count from zero points, or C has a scale or a zero point: 8-bit numbers."""
        filled = any(b.fill for _, b in self.terms)
        return filled or self.a_zero is not None or self.epilogue.scale is not None or self.epilogue.zero != 0

    @kept_property
    def m(self) -> int:
        """Rows of C."""
        return count_values(self.c.rows)

    @kept_property
    def n(self) -> int:
        """Columns of C."""
        return count_values(self.c.cols)

    @kept_property
    def k(self) -> int:
        """What is summed over, all terms together."""
        return sum(count_values(a.cols) for a, _ in self.terms)

    @kept_property
    def batch(self) -> int:
        """How many such matrices there are: of the groups, and of each of them one for each combination of points."""
        return count_values(self.groups(self.c)) * math.prod(t.points for t in self.transforms)

    @property
    def flops(self) -> int:
        """Multiplications and additions of all matrices, without those of the transforms."""
        return 2 * self.batch * self.m * self.n * self.k


def count_values(indices: tuple[Index, ...]) -> int:
    """How many values the indices take together.

    >>> count_values((Index("c", 3), Index("f", 4)))
    12
    """
    return math.prod(index.extent for index in indices)
