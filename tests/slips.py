"""A wrong call, the whole text of its error, and the call that the error tells a caller to write instead."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import convmat
from convmat import ConvmatError
from convmat.geometry import Geometry

NAMES: dict[str, Any] = {
    **{name: getattr(convmat, name) for name in convmat.__all__},
    "np": np,
    "of": Geometry.of,
    "transposed": Geometry.transposed,
    "x": np.ones((1, 4, 8, 8), np.float32),
    "w": np.ones((4, 4, 3, 3), np.float32),
    "y": np.ones((1, 4, 6, 6), np.float32),
    "bias": np.ones(4, np.float32),
}
"""What the calls below are about: x and w, their result and a bias."""


class Slip(NamedTuple):
    """Three lines: the call, what it says, and what is right."""

    wrong: str
    said: str
    right: str


def hold(slip: Slip, **more: Any) -> None:
    """The error says so, and what it suggests works; `more` are names beside those above."""
    with pytest.raises(ConvmatError) as caught:
        eval(slip.wrong, NAMES | more)
    assert str(caught.value) == slip.said
    eval(slip.right, NAMES | more)
