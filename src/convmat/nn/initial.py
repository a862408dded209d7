"""First weights: w: (O, C//G, *F), numbers drawn so that the size of what passes through stays what it was.

pytorch    uniform in +-1/sqrt(fan in), bias too            what PyTorch draws for Conv and Linear
he         normal, deviation sqrt(2 / fan in), bias 0       He and others, "Delving deep into rectifiers", 2015
glorot     uniform in +-sqrt(6 / (fan in + fan out)), bias 0       Glorot and Bengio, 2010
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import NetworkError, format_value
from ..network.graph import Array, Shape

WAYS = ("pytorch", "he", "glorot")
"""The names of what may be drawn."""


def draw_weights(
    way: str, shape: Shape, bias: int, rng: np.random.Generator, swapped: bool = False
) -> tuple[Array, Array]:
    """Weights of the shape (O, C//G, *F), and so many biases; `swapped`: (C, O//G, *F). Raises NetworkError.

    >>> w, b = draw_weights("glorot", (4, 3, 3, 3), 4, np.random.default_rng(0))
    >>> w.shape, b.tolist()
    ((4, 3, 3, 3), [0.0, 0.0, 0.0, 0.0])
    """
    taps = math.prod(shape[2:])
    fans = shape[1] * taps, shape[0] * taps
    into, out = fans[::-1] if swapped and way != "pytorch" else fans  # PyTorch takes the second axis for both
    into, out = max(into, 1), max(out, 1)
    zeros: Array = np.zeros(bias)
    if way == "he":
        found: Any = rng.normal(0, math.sqrt(2 / into), shape)
        return found, zeros
    if way == "glorot":
        bound = math.sqrt(6 / (into + out))
        return rng.uniform(-bound, bound, shape), zeros
    if way != "pytorch":
        raise NetworkError(
            f"build: unknown first weights\n  init = {format_value(way)}\n  one of {', '.join(map(repr, WAYS))}"
        )
    bound = 1 / math.sqrt(into)
    return rng.uniform(-bound, bound, shape), rng.uniform(-bound, bound, bias)


__all__ = ["WAYS", "draw_weights"]
