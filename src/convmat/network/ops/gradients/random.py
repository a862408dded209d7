"""What is drawn while a network is trained: the same for the same seed and step, whatever the number of threads.

DropoutDrawn    x, seed and step: whole numbers   ->  x * kept / (1 - ratio), and kept / (1 - ratio)
"""

from __future__ import annotations

import numpy as np

from ...graph import Array, Node, Spec
from ..base import Specs, Step, input_at, own_operator
from ..options import Options


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    return (Spec(x.shape, x.dtype), Spec(x.shape, x.dtype))


@own_operator("DropoutDrawn", shape=_shape)
def dropout(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """A share of the elements 0, the others larger for it. `number` tells the nodes of a network apart."""
    ratio, number = node.get("ratio", 0.5), node.get("number", 0)
    if not 0 <= ratio <= 1:
        raise node.error(f"its ratio is {ratio}\n  a number from 0 to 1 is needed")
    scale = 1 / (1 - ratio) if ratio < 1 else 0.0  # all are left out

    def step(x: Array, seed: Array, y: Array, factor: Array) -> None:
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([*seed.tolist(), number])))
        drawn = rng.random(x.shape, np.float32)
        np.multiply(drawn >= ratio, x.dtype.type(scale), out=factor, casting="unsafe")
        np.multiply(x, factor, out=y)

    return step
