"""The gradient of Resize: along each axis, the matrix that made every output, transposed."""

from __future__ import annotations

import numpy as np

from ...graph import Array, Node, Spec
from ..base import Specs, Step, own_operator
from ..options import Options
from ..resize import find_repeats, moved_axes, weigh_taps
from .movement import of, shape_given


@own_operator("ResizeGrad", shape=shape_given)
def resize_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """Sums of blocks where elements were repeated, products with small matrices otherwise."""
    forward, inputs = of(node, specs)
    times, shape = find_repeats(forward, inputs), made[0].shape
    if times is not None:
        split = [v for pair in zip(shape, times, strict=True) for v in pair]
        axes = tuple(2 * a + 1 for a, t in enumerate(times) if t > 1)
        kept = tuple(v for i, v in enumerate(split) if i not in axes)

        def blocks(dy: Array, *rest: Array) -> None:
            found = dy.reshape(split)
            for axis in reversed(axes[1:]):
                found = np.add.reduce(found, axis=axis)
            np.add.reduce(found, axis=axes[0], out=rest[-1].reshape(kept)) if axes else np.copyto(
                rest[-1], dy
            )

        return blocks
    matrices = []
    for axis in moved_axes(forward, inputs):
        found = weigh_taps(forward, axis)
        matrix = np.zeros((axis.P, axis.I), made[0].dtype)
        weight = np.where(found.outside[:, None], 0, found.weight)
        np.add.at(matrix, (np.arange(axis.P)[:, None], found.index), weight)
        matrices.append((axis.axis, matrix))

    def step(dy: Array, *rest: Array) -> None:
        for axis, matrix in matrices:
            dy = np.moveaxis(np.moveaxis(dy, axis, -1) @ matrix, -1, axis)
        np.copyto(rest[-1], dy)

    return step
