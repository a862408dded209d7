"""The epilogue on blocks in NumPy memory: activation(sum + bias + residual), in place, while the block is in cache.

relu         max(x, 0)                      leaky_relu   max(x, 0) + slope*min(x, 0)
relu6        min(max(x, 0), 6)              clip         min(max(x, low), high)
sigmoid      1/(1 + exp(-x))                silu         x*sigmoid(x)
hardsigmoid  clip(alpha*x + beta, 0, 1)     hardswish    x*hardsigmoid(x)               tanh
gelu, gelu_tanh: see `engine.gaussian`

`apply` is what activations of every other engine are tested against.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...product import Activation, Epilogue, View
from .. import gaussian
from ..operands import Array, Block, Operands
from .cuts import slice_block
from .strided_views import ViewReader, virtual_array

NEEDS_SCRATCH = frozenset({"silu", "hardswish", "leaky_relu", "gelu", "gelu_tanh"})
"""Activations that need a second array of the same size while they work."""


def apply(activation: Activation, x: Array, scratch: Array | None = None) -> None:
    """Replace every element of x by its activation; `scratch` has x's shape and dtype.

    >>> x = np.array([-4.0, 0.0, 2.0]); apply(Activation("hardswish"), x, np.empty_like(x)); x
    array([-0.        ,  0.        ,  1.66666667])
    """
    name, parameters = activation.name, activation.parameters
    if name == "relu":
        np.clip(x, 0, np.inf, out=x)  # a third of the time of np.maximum(x, 0)
    elif name == "relu6":
        np.clip(x, 0, 6, out=x)
    elif name == "clip":
        low, high = parameters
        np.clip(x, low, high, out=x)
    elif name == "sigmoid":
        _sigmoid(x, x)
    elif name == "tanh":
        np.tanh(x, out=x)
    elif name == "hardsigmoid":
        _hardsigmoid(x, x, *parameters)
    else:
        assert scratch is not None
        if name == "silu":
            _sigmoid(x, scratch)
            np.multiply(x, scratch, out=x)
        elif name == "hardswish":
            _hardsigmoid(x, scratch, 1 / 6, 0.5)
            np.multiply(x, scratch, out=x)
        elif name in GELUS:
            _gelu(name, x, scratch.reshape(-1))
        else:
            np.minimum(x, 0, out=scratch)  # no mask: it would be memory that no plan has counted
            np.multiply(scratch, parameters[0], out=scratch)
            np.clip(x, 0, np.inf, out=x)  # a third of the time of np.maximum(x, 0)
            np.add(x, scratch, out=x)


def _sigmoid(x: Array, out: Array) -> None:
    with np.errstate(over="ignore"):  # exp(-x) = inf gives the right 0
        np.negative(x, out=out)
        np.exp(out, out=out)
        np.add(out, 1, out=out)
        np.reciprocal(out, out=out)


GELUS = {"gelu": gaussian.gelu_into, "gelu_tanh": gaussian.gelu_tanh_into}


def _gelu(name: str, x: Array, scratch: Array) -> None:
    """A third of x at a time, since it takes three arrays beside it."""
    for part in _parts(x, max(scratch.size // 3, 1)):
        n = part.size
        room = (
            [scratch[i * n : (i + 1) * n] for i in range(3)]
            if 3 * n <= scratch.size
            else np.empty((3, n), x.dtype)
        )
        GELUS[name](part, *(each.reshape(part.shape) for each in room))


def _parts(x: Array, most: int) -> Iterator[Array]:
    """Views that make up x, of up to so many elements each."""
    if x.size <= most:
        yield x
        return
    axis = max(range(x.ndim), key=lambda a: x.shape[a])
    before, middle = (slice(None),) * axis, x.shape[axis] // 2
    yield from _parts(x[(*before, slice(middle))], most)
    yield from _parts(x[(*before, slice(middle, None))], most)


def _hardsigmoid(x: Array, out: Array, alpha: float, beta: float) -> None:
    np.multiply(x, alpha, out=out)
    np.add(out, beta, out=out)
    np.clip(out, 0, 1, out=out)


class BlockEpilogue:
    """An Epilogue made ready for blocks of C, whose axes are those of `c` in the order of its indices."""

    def __init__(self, epilogue: Epilogue, c: View, work: np.dtype[Any]) -> None:
        self.epilogue, self.activation = epilogue, epilogue.activation
        self.work = work
        self.empty = epilogue.empty
        self.scratch = epilogue.activation is not None and epilogue.activation.name in NEEDS_SCRATCH
        self._residual = ViewReader(epilogue.residual) if epilogue.residual else None
        names = [i.name for i in epilogue.bias.indices] if epilogue.bias else []
        self._along = tuple(i.name in names for i in c.indices)

    @property
    def passes(self) -> int:
        """How many times each element is read and written."""
        e = self.epilogue
        return (e.bias is not None) + (e.residual is not None) + (2 * (e.activation is not None))

    def over(self, operands: Operands) -> BoundEpilogue:
        """The epilogue over one call's arrays."""
        view, bias = self.epilogue.bias, None
        if view is not None:
            vector = operands["bias"].reshape([c.extent for c in view.coordinates])
            values = virtual_array(view, vector)
            extents = iter(values.shape)
            bias = values.reshape([next(extents) if there else 1 for there in self._along])
        residual = None if self._residual is None else self._residual.over(operands["residual"])
        return BoundEpilogue(self, bias, residual)


class BoundEpilogue:
    """A BlockEpilogue with the arrays of one call."""

    def __init__(self, epilogue: BlockEpilogue, bias: Array | None, residual: Array | None) -> None:
        self.epilogue, self.bias, self.residual = epilogue, bias, residual

    def __call__(self, tile: Array, block: Block, spare: Array) -> None:
        """Finish the sums in `tile`, C's `block`; `spare` has room for as many elements where `scratch` says so."""
        if self.bias is not None:
            where = (
                slice(*s) if there else slice(None)
                for s, there in zip(block, self.epilogue._along, strict=True)
            )
            np.add(tile, self.bias[tuple(where)], out=tile, casting="unsafe")
        if self.residual is not None:
            np.add(tile, slice_block(self.residual, block), out=tile, casting="unsafe")
        if self.epilogue.activation is not None:
            free = spare[: tile.size].reshape(tile.shape) if self.epilogue.scratch else None
            apply(self.epilogue.activation, tile, free)


__all__ = ["NEEDS_SCRATCH", "BlockEpilogue", "BoundEpilogue", "apply"]
