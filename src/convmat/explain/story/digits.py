"""The numbers in the pictures: small digits computed from an element's flat position, or given arrays.

Nobody's layer has to be at hand to draw it, and an element of a large one costs nothing until it is drawn. The sums
are exact and whole, also where a sample is drawn. web/numbers.js is its twin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from convmat.geometry import Geometry

Array = npt.NDArray[Any]


def x_digit(i: Array) -> Array:
    """0 to 9, from the flat position in x.

    >>> x_digit(np.arange(6))
    array([1, 8, 5, 2, 9, 6])
    """
    return np.asarray((i * 7 + i // 10 * 3 + 1) % 10)


def w_digit(i: Array) -> Array:
    """-2 to 2, from the flat position in w.

    >>> w_digit(np.arange(6))
    array([-2,  0,  2,  0,  2, -1])
    """
    return np.asarray((i * 2 + i // 3) % 5 - 2)


def dy_digit(i: Array) -> Array:
    """-2 to 2, from the flat position in y.

    >>> dy_digit(np.arange(6))
    array([-2,  1, -1,  2,  1, -1])
    """
    return np.asarray((i * 3 + i // 4) % 5 - 2)


class Digits:
    """The elements of x and w of a geometry, and sums over them, one at a time.

    `x` (B, C, *I) and `w` (O, C//G, *F) take the place of the digits where they are given.
    """

    def __init__(self, g: Geometry, x: Array | None = None, w: Array | None = None) -> None:
        self.g = g
        self._x, self._w = (None if a is None else np.ravel(a) for a in (x, w))

    def x(self, *at: Any) -> Array:
        """Elements of x by their indices, which broadcast."""
        flat = np.ravel_multi_index(at, self.g.x_shape)
        return x_digit(flat) if self._x is None else self._x[flat]

    def w(self, *at: Any) -> Array:
        """Elements of w by their indices, which broadcast."""
        flat = np.ravel_multi_index(at, self.g.w_shape)
        return w_digit(flat) if self._w is None else self._w[flat]

    def y(self, b: int, o: int, p: tuple[int, ...]) -> Any:
        """One element of the output, by the definition.

        >>> g = Geometry.of((1, 3, 3, 3), (1, 3, 2, 2))
        >>> Digits(g).y(0, 0, (1, 0))
        29
        """
        g = self.g
        taps, sources = [], []
        for a in range(g.rank):
            f = np.arange(g.F[a])
            q = p[a] * g.s[a] + f * g.d[a] - g.lo[a]
            real = (q >= 0) & (q < g.E[a]) & (q % g.e[a] == 0)
            taps.append(f[real])
            sources.append(q[real] // g.e[a])
        c = np.arange(g.C // g.G)
        first = o // g.m * (g.C // g.G)
        w = self.w(o, *np.ix_(c, *taps))
        x = self.x(b, *np.ix_(first + c, *sources))
        total = np.sum(w * x)
        return total.item()


def format_number(value: float) -> str:
    """A number for a cell: whole ones as they are, others with three figures.

    >>> format_number(3.0), format_number(-0.12345)
    ('3', '-0.123')
    """
    return str(int(value)) if float(value).is_integer() else f"{value:.3g}"
