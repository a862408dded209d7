"""Losses with their gradients in what the network gives: both come of one pass, and a loss is where gradients begin.

    CrossEntropy    z: (B, C, *P), target: (B, *P) of whole numbers [, weight of each class: (C,)]
                    ->  loss, dz, how many were right
    l_t = -sum over c of q_c log softmax(z)_c          q = (1 - smoothing) * one at t + smoothing / C

Sums are taken in float64, whatever the element type: a loss is one number. As PyTorch's: with weights the mean is
weighted too, and targets equal to `ignore` take no part.
"""

from __future__ import annotations

import numpy as np

from ...graph import Array, Node, Spec
from ..base import Options, Specs, Step, given, has, owned


def _entropy_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    z, target = given(node, specs, 0), given(node, specs, 1)
    if z.rank < 2 or target.shape != (z.shape[0], *z.shape[2:]):
        raise node.error(
            f"its scores are {z}, its targets {target}\n"
            f"  a class is needed for each score: {Spec((*z.shape[:1], *z.shape[2:]), target.dtype)}"
        )
    return (Spec((), z.dtype), Spec(z.shape, z.dtype), Spec((), np.dtype(np.int64)))


@owned("CrossEntropy", shape=_entropy_shape)
def cross_entropy(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The mean over what is not ignored, its gradient, and how many scores are largest where they should be."""
    smoothing, ignore = node.get("smoothing", 0.0), node.get("ignore", -100)
    weighted = has(specs, 2)

    def step(z: Array, target: Array, *rest: Array) -> None:
        loss, dz, right = rest[-3:]
        classes = z.shape[1]
        there = target != ignore
        picked = np.where(there, target, 0)[:, None]
        weight = rest[0][picked] if weighted else np.ones(picked.shape, z.dtype)
        weight = weight * there[:, None]
        total = max(float(weight.sum(dtype=np.float64)), np.finfo(z.dtype).tiny)
        np.subtract(z, z.max(axis=1, keepdims=True), out=dz)
        right[...] = np.count_nonzero((np.take_along_axis(dz, picked, 1) == 0) & there[:, None])
        powers = np.exp(dz)
        sums = powers.sum(axis=1, keepdims=True)
        logs = dz - np.log(sums)
        chosen = np.take_along_axis(logs, picked, 1)
        each = (
            rest[0].reshape(-1, *(1,) * (z.ndim - 2)) if weighted else np.ones((1,) * (z.ndim - 1), z.dtype)
        )
        lost = -(1 - smoothing) * float((weight * chosen).sum(dtype=np.float64))
        np.divide(powers, sums, out=dz)
        if smoothing:
            spread = np.broadcast_to(each, z.shape) * there[:, None] * z.dtype.type(smoothing / classes)
            lost -= float((spread * logs).sum(dtype=np.float64))
            dz *= weight * z.dtype.type(1 - smoothing) + spread.sum(axis=1, keepdims=True)
            dz -= spread
        else:
            dz *= weight
        taken = np.take_along_axis(dz, picked, 1) - weight * z.dtype.type(1 - smoothing)
        np.put_along_axis(dz, picked, taken, 1)
        dz /= z.dtype.type(total)
        loss[...] = lost / total

    return step
