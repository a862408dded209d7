"""The epilogue on blocks in NumPy memory: activation(sum + bias + residual), in place, while the block is in cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...product import Epilogue, View
from ..operands import Array, Block, Operands
from . import activation
from .strided_views import Reader, cut, virtual


class Finish:
    """An Epilogue made ready for blocks of C, whose axes are those of `c` in the order of its indices."""

    def __init__(self, epilogue: Epilogue, c: View, work: np.dtype[Any]) -> None:
        self.epilogue = epilogue
        self.work = work
        self.empty = epilogue.empty
        self.scratch = (
            epilogue.activation is not None and epilogue.activation.name in activation.NEEDS_SCRATCH
        )
        self._residual = Reader(epilogue.residual) if epilogue.residual else None
        names = [i.name for i in epilogue.bias.indices] if epilogue.bias else []
        self._along = tuple(i.name in names for i in c.indices)

    @property
    def passes(self) -> int:
        """How many times each element is read and written."""
        e = self.epilogue
        return (e.bias is not None) + (e.residual is not None) + (2 * (e.activation is not None))

    def over(self, operands: Operands) -> Finishing:
        """The epilogue over one call's arrays."""
        view, bias = self.epilogue.bias, None
        if view is not None:
            vector = operands["bias"].reshape([c.extent for c in view.coordinates])
            values = virtual(view, vector)
            extents = iter(values.shape)
            bias = values.reshape([next(extents) if there else 1 for there in self._along])
        residual = None if self._residual is None else self._residual.over(operands["residual"])
        return Finishing(self, bias, residual)


class Finishing:
    """A Finish with the arrays of one call."""

    def __init__(self, finish: Finish, bias: Array | None, residual: Array | None) -> None:
        self.finish, self.bias, self.residual = finish, bias, residual

    def __call__(self, tile: Array, block: Block, spare: Array) -> None:
        """Finish the sums in `tile`, C's `block`; `spare` has room for as many elements where `scratch` says so."""
        if self.bias is not None:
            where = (
                slice(*s) if there else slice(None)
                for s, there in zip(block, self.finish._along, strict=True)
            )
            np.add(tile, self.bias[tuple(where)], out=tile, casting="unsafe")
        if self.residual is not None:
            np.add(tile, cut(self.residual, block), out=tile, casting="unsafe")
        if self.finish.epilogue.activation is not None:
            free = spare[: tile.size].reshape(tile.shape) if self.finish.scratch else None
            activation.apply(self.finish.epilogue.activation, tile, free)
