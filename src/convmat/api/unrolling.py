"""The unrolled input, stored whole, and its adjoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import planner
from ..arguments import Padding, PerAxis, format_shape, read_per_axis, read_shape
from ..doors import open_room_of_arrays
from ..errors import GeometryError, format_value
from ..geometry import Geometry
from ..planner.arrays import read_numbers
from ..problem import Problem
from .calls import Array


def im2col(
    x: Any,
    kernel_size: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    order: str = "F",
) -> Array:
    """The unrolled input: x: (B, C, *I) -> (C*F, B*P); column (b, p) holds the elements behind output p of image b.

    order="F": the elements behind one output lie in one sequential block of memory; "C": a row does. Any rank; x of
    any NumPy numeric dtype keeps it. Raises GeometryError.

    >>> import numpy as np
    >>> im2col(np.arange(4.0).reshape(1, 1, 4), 2)
    array([[0., 1., 2.],
           [1., 2., 3.]])
    """
    if (room := open_room_of_arrays(x)) is not None:
        made: Array = room.unroll(
            "im2col", x, kernel_size, stride=stride, padding=padding, dilation=dilation, order=order
        )
        return made
    x = read_numbers("x", x, "im2col")
    g = _windows("im2col", x.shape, kernel_size, stride, padding, dilation)
    if type(order) is not str or order not in ("C", "F"):
        raise GeometryError(
            f"im2col: unknown order\n  order = {format_value(order)}\n  'F' (columns contiguous) or 'C' (rows)"
        )
    return planner.unroll(Problem.of(g, "float32"), x, order)


def col2im(
    cols: Any,
    x_shape: Sequence[int],
    kernel_size: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
) -> Array:
    """The adjoint of `im2col`: cols: (C*F, B*P) -> (B, C, *I), every column added back to where it came from.

    Elements that came from padding are dropped. Raises GeometryError.

    >>> import numpy as np
    >>> col2im(np.ones((2, 3)), (1, 1, 4), 2)
    array([[[1., 2., 2., 1.]]])
    """
    if (room := open_room_of_arrays(cols)) is not None:
        made: Array = room.unroll(
            "col2im", cols, x_shape, kernel_size, stride=stride, padding=padding, dilation=dilation
        )
        return made
    cols = read_numbers("cols", cols, "col2im")
    g = _windows("col2im", read_shape("col2im", "x_shape", x_shape), kernel_size, stride, padding, dilation)
    if cols.shape != (g.k, g.n):
        raise GeometryError(
            f"col2im: cols does not have the shape that im2col gives\n"
            f"  cols {cols.shape};  x_shape {g.x_shape} gives (C*F, B*P) = ({g.k}, {g.n})\n"
            f"  give cols of shape ({g.k}, {g.n})"
        )
    return planner.fold(Problem.of(g, "float32"), cols)


def _windows(
    call: str,
    x_shape: tuple[int, ...],
    kernel_size: PerAxis,
    stride: PerAxis,
    padding: Padding,
    dilation: PerAxis,
) -> Geometry:
    """The geometry of one filter over x."""
    rank = len(x_shape) - 2
    if rank < 1:
        raise GeometryError(
            f"{call}: x must have a batch axis, a channel axis and one spatial axis or more\n"
            f"  x has {len(x_shape)} axes {format_shape(x_shape)}\n  (B, C, *I), e.g. 1x3x8x8"
        )
    sizes = read_per_axis(call, "kernel_size", kernel_size, rank, least=1)
    return Geometry.of(
        x_shape, (1, x_shape[1], *sizes), stride=stride, padding=padding, dilation=dilation, call=call
    )
