"""Jobs: what is timed. One layer, one direction, one batch size, one number of threads.

    forward    x, w   -> y       one image, weights that stay
    input      dy, w  -> dx      a batch, as training has it
    weight     x, dy  -> dw

Operands are standard normal float32, made from the job's name: every process that asks gets the same ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from convmat.cases import case
from convmat.geometry import Geometry, Shape

Array = npt.NDArray[Any]

DIRECTIONS = ("forward", "input", "weight")
TRAINING_BATCH = 16
TRAINING_LAYERS = (
    "3x3 64->64 @56 pad 1",
    "3x3 128->128 @28 pad 1",
    "3x3 256->256 @14 pad 1",
    "3x3 512->512 @7 pad 1",
)
"""The layers whose gradients are timed: ResNet-50's 3x3 ones."""


@dataclass(frozen=True)
class Job:
    """A layer by its name in `convmat.cases`, with what is to be done and by how many threads.

    >>> job = Job("3x3 512->512 @7 pad 1", "weight", batch=16)
    >>> job.geometry.B, job.shapes
    (16, ((16, 512, 7, 7), (16, 512, 7, 7), (512, 512, 3, 3)))
    """

    layer: str
    direction: str = "forward"
    batch: int = 1
    threads: int = 1

    @property
    def geometry(self) -> Geometry:
        """The layer's geometry, with this batch size."""
        return replace(case(self.layer).geometry, B=self.batch)

    @property
    def options(self) -> Mapping[str, Any]:
        """The keywords that `convmat.conv` takes for this layer."""
        return case(self.layer).options

    @property
    def shapes(self) -> tuple[Shape, Shape, Shape]:
        """The shapes of both operands and of the answer, channels second."""
        g = self.geometry
        x, w, y = g.x_shape, g.w_shape, g.y_shape
        return {"forward": (x, w, y), "input": (y, w, x), "weight": (x, y, w)}[self.direction]

    @property
    def subject(self) -> str:
        """What it is about: the layer."""
        return self.layer

    @property
    def kind(self) -> str:
        """What its table is called."""
        return "forward" if self.direction == "forward" else "gradients"

    @property
    def flops(self) -> int:
        """FLOPs by the definition."""
        return self.geometry.flops

    @property
    def name(self) -> str:
        """How logs and errors call it."""
        what = "forward" if self.direction == "forward" else f"{self.direction} gradient"
        return f"{self.layer}, {what}, batch {self.batch}, {self.threads} thread{'s' * (self.threads > 1)}"


def operands(job: Job) -> tuple[Array, Array]:
    """Both operands of a job, C-contiguous, channels second.

    >>> a, b = operands(Job("2d/one-pixel"))
    >>> a.shape, b.shape, a.dtype
    ((1, 1, 1, 1), (1, 1, 1, 1), dtype('float32'))
    """
    random = np.random.default_rng(zlib.crc32(f"{job.layer}/{job.direction}/{job.batch}".encode()))
    first, second, _ = job.shapes
    return random.standard_normal(first, np.float32), random.standard_normal(second, np.float32)


def suite(layers: Sequence[str], threads: Iterable[int], gradients: bool) -> tuple[Job, ...]:
    """Every job of a run, by thread count: forward for each layer, then the gradients of those of training.

    >>> from convmat.cases import LAYERS
    >>> len(suite([layer.name for layer in LAYERS], (1, 2), gradients=True))
    56
    """
    made = []
    for n in threads:
        made += [Job(layer, threads=n) for layer in layers]
        if gradients:
            made += [
                Job(layer, direction, TRAINING_BATCH, n)
                for layer in layers
                if layer in TRAINING_LAYERS
                for direction in ("input", "weight")
            ]
    return tuple(made)
