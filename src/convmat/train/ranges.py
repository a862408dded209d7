"""What the numbers of a training may be: said before anything is trained."""

from __future__ import annotations

import numpy as np

from ..errors import NetworkError, format_value


def is_between(value: object, least: float, below: float) -> bool:
    """Whether a value is a number from `least` on and smaller than `below`: NaN is not, nor is what is no number.

    >>> is_between(0.9, 0, 1), is_between("0.9", 0, 1)
    (True, False)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return bool(least <= value < below)


def require_between(name: str, value: object, least: float, below: float) -> None:
    """Raise NetworkError unless a value is a number from `least` on and smaller than `below`.

    >>> require_between("momentum", 0.9, 0, 1)
    """
    if not is_between(value, least, below):
        raise NetworkError(
            f"train: {name} is out of range\n  {name} = {format_value(value)}\n"
            f"  a number from {least} to below {below} is needed"
        )


__all__ = ["is_between", "require_between"]
