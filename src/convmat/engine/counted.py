"""8-bit integers with zero points and scales by a program for differences: what goes in front of it and behind.

    sums = (x - x_zero) @ (w - w_zero)                     exact in the program's type
    y = saturate(round(activation(scale * (sums + bias))) + zero)      perhaps rounded again: see `product.Epilogue`

Arrays of differences and of sums are whole ones: this is for products that no kernel of bytes is made for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..product import Epilogue, Product, View
from .blas.epilogue import NEEDS_SCRATCH, apply
from .operands import Array, Dtypes, Operands, Shape, strides
from .runtime import buffers
from .weighing import requantise, weigh

if TYPE_CHECKING:
    from .blas.engine import BlasProgram
    from .jit import JitProgram


class Counted:
    """An engine's program for differences, of products that count from zero points.

    `inner` is that program, `swept` how many elements of 4 bytes are passed over beside it.
    """

    by_dims = True

    def __init__(
        self,
        inner: BlasProgram | JitProgram,
        products: tuple[Product, ...],
        dtypes: Dtypes,
        shapes: Mapping[str, Shape],
    ) -> None:
        self.inner: Any = inner
        self._dtypes, self._product = dtypes, products[0] if products else None
        wide = max(dtypes.work.itemsize, 4)
        x, w, y = (math.prod(shapes[name]) for name in ("x", "w", "y"))
        self.workspace = self.inner.workspace + wide * (x + w + 4 * y)
        self.weight_bytes = self.inner.weight_bytes
        self.swept = (2 * x + 8 * y) * wide // 4
        epilogue = products[0].epilogue if products else Epilogue()
        for again, passes in ((epilogue.requantise is not None, 4), (epilogue.weighed, 6)):
            self.workspace += again * 24 * y
            self.swept += again * passes * y

    @property
    def recipes(self) -> list[Any]:
        """The recipes of the inner program's kernels."""
        found: list[Any] = getattr(self.inner, "recipes", [])
        return found

    @property
    def cpu(self) -> Any:
        """The CPU that they are made for."""
        return self.inner.cpu

    @property
    def loaded(self) -> bool:
        """Whether they are there."""
        return bool(self.inner.loaded)

    def load(self) -> None:
        """Get them now. Raises EngineError."""
        self.inner.load()

    @property
    def kernel_names(self) -> tuple[str, ...]:
        """Names of its kernels, by which preloaded ones are found."""
        found: tuple[str, ...] = self.inner.kernel_names
        return found

    def keep_code(self, found: Sequence[Any]) -> None:
        """Remember their machine code."""
        self.inner.keep_code(found)

    packing: None = None
    """Sums of weights are packed with them: nobody can say whether another program does it alike."""

    @property
    def weights_name(self) -> tuple[str, ...]:
        """Changes with whatever changes how weights are packed."""
        found: tuple[str, ...] = self.inner.weights_name
        return found

    def adopt(self, weights: Any) -> Any:
        """Weights that a program of the same `weights_name` packed."""
        return self.inner.adopt(weights)

    def bytes_of(self, weights: Any) -> int:
        """Bytes that `bind` took for them."""
        return int(self.inner.bytes_of(weights))

    def bind(self, w: Array, rows: Operands, *, lasting: bool = False) -> Any:
        """Pack the differences of weights, which are this call's own."""
        return self.inner.bind(self._weights(w, rows), lasting=True)

    def _weights(self, w: Array, rows: Operands) -> Array:
        made = w.astype(self._dtypes.work)
        if self._product is not None and "w zero" in rows:
            made -= self._spread(rows["w zero"], self._product.terms[0][0])
        return made

    def _spread(self, numbers: Array, view: View) -> Array:
        """A number for each row, so that it broadcasts over the array of a View."""
        assert self._product is not None
        epilogue = self._product.epilogue
        vectors = (self._product.a_zero, epilogue.bias, epilogue.scale)
        vector = next(each for each in vectors if each is not None)
        steps = strides(vector, tuple(c.extent for c in vector.coordinates), 1)
        at = np.zeros((), np.int64)
        for coordinate in view.coordinates:
            moves = steps.get(coordinate.terms[0][0], 0) if len(coordinate.terms) == 1 else 0
            at = np.add.outer(at, np.arange(coordinate.extent if moves else 1) * moves)
        return np.asarray(numbers.reshape(-1)[at])

    def run(self, operands: Operands, weights: Any, threads: int) -> None:
        """Compute: reads "x", what rows have (and "w" where `weights` is None), writes "y".

        Each array has one axis per coordinate of its View.
        """
        product, work = self._product, self._dtypes.work
        if product is None:
            return
        y = operands["y"]
        x = operands["x"].astype(work)
        x -= product.terms[0][1].fill
        sums = buffers.empty(y.shape, work)
        given = {"x": x, "y": sums}
        if weights is None:
            given["w"] = self._weights(operands["w"], operands)
        self.inner.run(given, weights, threads)
        if "bias" in operands:
            sums += self._spread(operands["bias"], product.c)
        y[...] = self._finish(sums, operands)

    def _finish(self, sums: Array, operands: Operands) -> Array:
        """Sums as they are stored."""
        assert self._product is not None
        epilogue, out = self._product.epilogue, self._dtypes.out
        if "scale" in operands:
            factor = self._spread(operands["scale"], self._product.c)
            sums = sums.astype(np.float32) * factor
        if epilogue.activation is not None:
            beside = np.empty_like(sums) if epilogue.activation.name in NEEDS_SCRATCH else None
            apply(epilogue.activation, sums, beside)
        if out.kind not in "iu":
            return sums.astype(out)
        if "scale" not in operands:
            return sums.astype(np.int64).astype(out)
        limits = np.iinfo(out)
        near = np.rint(np.clip(sums, limits.min - epilogue.zero, limits.max - epilogue.zero))
        q = np.asarray((near.astype(np.int32) + epilogue.zero).astype(out))
        if epilogue.requantise is not None:
            factor, offset = (self._spread(operands[name], self._product.c) for name in ("factor", "offset"))
            q = requantise(q, epilogue.zero, factor, offset)
        if epilogue.residual is not None:
            by, with_, add = operands["addition"]
            q = weigh(q, operands["residual"], by, with_, add, out)
        return q


__all__ = ["Counted"]
