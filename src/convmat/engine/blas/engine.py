"""The blas engine: NumPy's matrix product over packed panels. Readable, always there, the yardstick.

A product whose operands a BLAS reads, or that is packed for it, runs in `blockwise`; one that is to be read in place
and is no matrix there (depthwise) runs in `taps`; one with Fourier transforms in `fft`. All scratch is one NumPy
array, beside which transforms alone allocate: `workspace` is both. The BLAS library's own buffers are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...processes import kept_property
from ...product import Fourier, Packing, Product
from ..operands import Array, Dtypes, Operands, Shape
from ..runtime import buffers
from . import fft
from . import threads as blas_threads
from .blocking import Blocks, Forms
from .blockwise import Blockwise
from .cost import ProductWork
from .taps import MOST_PASSES, Taps

BUDGETS = (1 << 20, 2 << 20, 4 << 20, 8 << 20)
"""Bytes of a panel of B to choose from. The least stays in a core's second-level cache while BLAS copies it once more;
with larger ones A is read less often, and several BLAS threads meet less often."""

TILE_BYTES = 1 << 18
"""Bytes of output that the tap-by-tap way works on: tile, product and box stay in a core's second-level cache."""

BlasStep = Blockwise | Taps | fft.Transformed
Weights = list[list[Array]]


class BlasProgram:
    """Products made ready to run; holds no arrays, so it can be shared and run by several threads at once.

    `workspace` bytes are allocated by a run, `weight_bytes` by `bind`. With `axes` its steps are of one of `images`: a
    BLAS may round otherwise where an image lies among others or threads share it, so each is computed by itself.
    """

    by_dims = True
    """Whether arrays are given to `run` with one axis for each Dim of their layouts."""

    def __init__(
        self, steps: tuple[BlasStep, ...], images: int = 1, axes: Mapping[str, int] | None = None
    ) -> None:
        self.steps, self.images, self._axes = steps, images, axes
        self.workspace = max((step.workspace for step in steps), default=0)
        self.scratch = max((step.scratch.bytes for step in steps), default=0)
        self.weight_bytes = sum(step.weight_bytes for step in steps)

    @kept_property
    def work(self) -> tuple[ProductWork, ...]:
        """What each product costs."""
        return tuple(step.work for step in self.steps)

    def image_by_image(self, images: int, axes: Mapping[str, int]) -> BlasProgram:
        """The program of so many images that computes each by this one, which is of one image, on one thread.

        `axes`: along which axis of an operand the images lie, for those that have one.
        """
        return BlasProgram(self.steps, images, axes)

    def bind(self, w: Array, rows: Operands | None = None, *, lasting: bool = False) -> Weights:
        """Pack the weights: for each product and term what its step multiplies by; `rows` is what rows have.

        Nothing reads w itself afterwards, `lasting` or not.
        """
        return [step.bind(w) for step in self.steps]

    def bytes_of(self, weights: Weights) -> int:
        """Bytes that `bind` took for them."""
        return self.weight_bytes

    packing: None = None
    """Nobody can say whether another program packs its weights alike."""

    @property
    def weights_name(self) -> tuple[str, ...]:
        """Changes with whatever else than the version changes how A is packed: nothing."""
        return ()

    def adopt(self, weights: Weights) -> Weights:
        """Weights that a program of the same `weights_name` packed."""
        return weights

    def run(self, operands: Operands, weights: Weights | None, threads: int) -> None:
        """Compute: reads "x", "bias", "residual" (and "w" where `weights` is None), writes "y".

        Each array has one axis per coordinate of its View. Infinities and NaN pass through without a warning.
        """
        buffer = buffers.take(self.scratch)
        alone = threads == 1 or self._axes is not None or all(step.alone for step in self.steps)
        with np.errstate(all="ignore"), blas_threads.limit(1 if alone else threads):
            for image in range(self.images):
                there = self._image(operands, image) if self._axes else operands
                for number, step in enumerate(self.steps):
                    step.run(there, None if weights is None else weights[number], buffer)
        buffers.give(buffer)

    def _image(self, operands: Operands, image: int) -> Operands:
        """The operands of one image."""
        axes, one = self._axes or {}, slice(image, image + 1)
        return {
            name: array[(*(slice(None),) * axes[name], one)] if name in axes else array
            for name, array in operands.items()
        }


def prepare(
    products: tuple[Product, ...],
    packing: Packing,
    dtypes: Dtypes,
    shapes: Mapping[str, Shape],
    limit: int,
    *,
    bound: bool = True,
    threads: int = 1,
) -> BlasProgram | str:
    """A program that keeps to `limit` bytes of scratch where it can, or the sentence why there is none.

    `shapes` are those of the operands, one extent per coordinate of their Views. `bound`: A is packed by `bind`
    before, otherwise its memory counts. The program's `workspace` may still be above the limit: it is then the least
    that these products take.
    """
    steps = []
    for product in products:
        if product.maximum:
            return "sums products, and these are maxima"
        if product.rounded:
            return "rounds no operand: NumPy has no products of bfloat16"
        if product.strands:
            return "the same product as im2col: BLAS sums in an order of its own"
        transforms = tuple(each for each in product.transforms if isinstance(each, Fourier))
        if len(transforms) != len(product.transforms):
            return "transforms by Fourier's matrices alone"
        if not product.c.elements:
            continue
        most = np.iinfo(np.intp).max // dtypes.work.itemsize
        entries = max((b.elements for _, b in product.terms), default=0)
        if entries > most and not transforms:
            return f"needs a second operand of at most {most:,} entries, got {entries:,}"
        made: BlasStep | str
        if transforms:
            made = fft.Transformed(product, transforms, dtypes, limit, bound, threads)
        else:
            made = _step(product, packing, dtypes, shapes, limit, bound, threads)
        if isinstance(made, str):
            return made
        steps.append(made)
    return BlasProgram(tuple(steps))


def _step(
    product: Product,
    packing: Packing,
    dtypes: Dtypes,
    shapes: Mapping[str, Shape],
    limit: int,
    bound: bool,
    threads: int,
) -> BlasStep | str:
    forms = Forms(product, packing, dtypes, shapes, bound)
    form = forms.find_best()
    if form is None:
        if product.m * product.k > MOST_PASSES or len(product.terms) > 1:
            return (
                f"needs a second operand that is a matrix where it lies (for {dtypes.work} sums), or at most "
                f"{MOST_PASSES:,} products of an image and a number, got {product.m * product.k:,}"
            )
        budget = TILE_BYTES
        thin = Taps(product, dtypes, shapes, budget, bound)
        while thin.workspace > limit and budget > 64:
            budget //= 2
            thin = Taps(product, dtypes, shapes, budget, bound)
        return thin
    item = dtypes.work.itemsize
    found: list[Blockwise] = []
    for budget in BUDGETS:
        blocks = Blocks(form, forms, packing, budget, limit)
        if not found or blocks.workspace <= limit:
            found.append(Blockwise(forms, form, blocks))
        if blocks.count == 1 or packing is Packing.WHOLE:
            break
    best = min(found, key=lambda step: step.work.nanoseconds(item, threads))
    budget = BUDGETS[0]
    while best.workspace > limit and budget > 64 and packing is not Packing.WHOLE:
        budget //= 2
        best = Blockwise(forms, form, Blocks(form, forms, packing, budget, limit))
    return best


__all__ = ["BlasProgram", "Dtypes", "Operands", "ProductWork", "prepare"]
