"""Small changes to pictures, drawn anew for each batch: (N, C, H, W) -> (N, C, H, W).

shifts(2)       up to 2 pixels each way, zeros where nothing was
flips()         left and right changed places, for every other picture
then(a, b)      one after the other
"""

from __future__ import annotations

import numpy as np

from ..network.graph import Array
from .data import Augment


def shifts(most: int) -> Augment:
    """Each picture moved by up to so many pixels along each axis.

    >>> x = np.ones((1, 1, 4, 4), np.float32)
    >>> shifts(1)(x, np.random.default_rng(0)).shape
    (1, 1, 4, 4)
    """

    def augment(x: Array, rng: np.random.Generator) -> Array:
        pads = ((0, 0), (0, 0), (most, most), (most, most))
        wide = np.lib.stride_tricks.sliding_window_view(np.pad(x, pads), x.shape[2:], (2, 3))
        down, right = rng.integers(0, 2 * most + 1, (2, len(x)))
        return wide[np.arange(len(x)), :, down, right]

    return augment


def flips() -> Augment:
    """Turn every other picture round, by chance, as in a mirror."""

    def augment(x: Array, rng: np.random.Generator) -> Array:
        turned = rng.random(len(x)) < 0.5
        return np.where(turned[:, None, None, None], x[..., ::-1], x)

    return augment


def then(*changes: Augment) -> Augment:
    """Chain several changes, one after the other."""

    def augment(x: Array, rng: np.random.Generator) -> Array:
        for change in changes:
            x = change(x, rng)
        return x

    return augment


__all__ = ["flips", "shifts", "then"]
