"""The ways to write a convolution as matrix products, one file each.

`ALL` is the registry: planner, tests, benchmark, pictures and docs read it, so a new lowering is one file and one
line here. Where predicted times tie, the earlier one is chosen.
"""

from __future__ import annotations

from .base import Lowering, Part
from .bfloat16 import Bfloat16
from .depthwise import Depthwise
from .dots import Dots
from .fft import Fft
from .im2col import Im2col
from .kn2row import Kn2row
from .mec import Mec
from .pieces import Pieces
from .pointwise import Pointwise
from .winograd import Winograd

ALL: tuple[Lowering, ...] = (
    Pointwise(),
    Depthwise(),
    Dots(),
    Im2col(),
    Mec(),
    Kn2row(),
    Winograd(2),
    Winograd(4),
    Winograd(6),
    Pieces(),
    Fft(),
    Bfloat16(),
)


def find_lowering(name: str) -> Lowering:
    """The lowering of that name; StopIteration if there is none.

    >>> find_lowering("im2col").exact
    True
    """
    return next(way for way in ALL if way.name == name)


__all__ = ["ALL", "Lowering", "Part", "find_lowering"]
