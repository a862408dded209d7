"""The definition: loops in float64. The only truth here; nothing may be faster or cleverer.

y[b, o, p] = sum over c, f of  w[o, c, f] * x[b, g*C//G + c, (p*s + f*d - lo) / e]      g the group of o
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from .geometry import Geometry


def convolve(x: npt.NDArray[Any], w: npt.NDArray[Any], g: Geometry) -> npt.NDArray[Any]:
    """x: (B, C, *I), w: (O, C//G, *F) -> (B, O, *P) in float64 (complex128 for complex arrays), by the definition.

    >>> g = Geometry.of((1, 1, 3), (1, 1, 2))
    >>> convolve(np.array([[[1, 2, 3]]]), np.array([[[10, 1]]]), g)
    array([[[12., 23.]]])
    """
    wide = np.complex128 if np.iscomplexobj(x) or np.iscomplexobj(w) else np.float64
    x, w = x.astype(wide), w.astype(wide)
    y = np.zeros(g.y_shape, wide)
    every, channels = slice(None), g.C // g.G
    for o in range(g.O):
        first = o // (g.O // g.G) * channels
        for p in itertools.product(*map(range, g.P)):
            result: tuple[Any, ...] = (every, o, *p)
            for f in itertools.product(*map(range, g.F)):
                at = [p[a] * g.s[a] + f[a] * g.d[a] - g.lo[a] for a in range(g.rank)]
                if all(0 <= i < E and i % e == 0 for i, E, e in zip(at, g.E, g.e, strict=True)):
                    i = tuple(i // e for i, e in zip(at, g.e, strict=True))
                    for c in range(channels):
                        weight: tuple[Any, ...] = (o, c, *f)
                        element: tuple[Any, ...] = (every, first + c, *i)
                        y[result] += w[weight] * x[element]
    return y
