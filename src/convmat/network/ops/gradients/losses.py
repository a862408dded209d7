"""Losses with their gradients in what the network gives: both come of one pass, and a loss is where gradients begin.

    CrossEntropy    z: (B, C, *P), target: (B, *P) of whole numbers [, weight of each class: (C,)]
                    ->  loss, dz, how many were right
    l_t = -sum over c of q_c log softmax(z)_c          q = (1 - smoothing) * one at t + smoothing / C

Sums are taken in float64, whatever the element type: a loss is one number. As PyTorch's: with weights the mean is
weighted too, and targets equal to `ignore` take no part.
"""

from __future__ import annotations

import numpy as np

from ....errors import NetworkError
from ...graph import Array, Node, Spec
from ..base import Specs, Step, has_input, input_at, own_operator
from ..options import Options

SMALLEST = {name: float(np.finfo(name).tiny) for name in ("float16", "float32", "float64")}
"""The smallest normal numbers by element type, which NumPy works out: not while denormals count as zero."""


def _entropy_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    z, target = input_at(node, specs, 0), input_at(node, specs, 1)
    if z.rank < 2 or target.shape != (z.shape[0], *z.shape[2:]):
        raise node.error(
            f"its scores are {z}, its targets {target}\n"
            f"  a class is needed for each score: {Spec((*z.shape[:1], *z.shape[2:]), target.dtype)}"
        )
    return (Spec((), z.dtype), Spec(z.shape, z.dtype), Spec((), np.dtype(np.int64)))


@own_operator("CrossEntropy", shape=_entropy_shape)
def cross_entropy(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The mean over what is not ignored, its gradient, and how many scores are largest where they should be."""
    smoothing, ignore = node.get("smoothing", 0.0), node.get("ignore", -100)
    weighted = has_input(specs, 2)

    def step(z: Array, target: Array, *rest: Array) -> None:
        loss, dz, right = rest[-3:]
        classes = z.shape[1]
        there = target != ignore
        picked = np.where(there, target, 0)[:, None]
        weight = rest[0][picked] if weighted else np.ones(picked.shape, z.dtype)
        weight = weight * there[:, None]
        total = max(float(weight.sum(dtype=np.float64)), SMALLEST[z.dtype.name])
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
        loss[...] = lost / total + 0.0  # no -0, where nothing counts

    return step


# -- of numbers --------------------------------------------------------------------------------------------------------


def _numbers_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    y, target = input_at(node, specs, 0), input_at(node, specs, 1)
    if target != Spec(y.shape, y.dtype):
        raise node.error(f"its targets are {target}, the output {y}\n  one number is needed for each")
    return (Spec((), y.dtype), Spec(y.shape, y.dtype))


@own_operator("BinaryCrossEntropy", "MeanSquaredError", "MeanAbsoluteError", shape=_numbers_shape)
def numbers_loss(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The mean over all elements of y and target, and its gradient in y.

    log(1 + e^y) - t y for scores y that are no sigmoid yet; (y - t)^2; |y - t|
    """
    count = max(input_at(node, specs, 0).size, 1)

    def step(y: Array, target: Array, loss: Array, dy: Array) -> None:
        share = y.dtype.type(1 / count)
        if node.op == "BinaryCrossEntropy":
            small = np.exp(-np.abs(y))
            each = np.maximum(y, 0) + np.log1p(small) - target * y
            total = each.sum(dtype=np.float64)
            dy[...] = (np.where(y >= 0, 1, small) / (1 + small) - target) * share
        elif node.op == "MeanSquaredError":
            about = y - target
            total = np.square(about).sum(dtype=np.float64)
            np.multiply(about, 2 * share, out=dy)
        else:
            about = y - target
            total = np.abs(about).sum(dtype=np.float64)
            np.multiply(np.sign(about), share, out=dy)
        loss[...] = total / count

    return step


# -- norms of gradients ------------------------------------------------------------------------------------------------


def _factor_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    return (Spec((), input_at(node, specs, 0).dtype),)


@own_operator("NormFactor", shape=_factor_shape)
def norm_factor(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """What all gradients are multiplied by, so that the norm of all together is at most `most`: PyTorch's formula."""
    most = node.get("most")

    def step(*arrays: Array) -> None:
        *gradients, out = arrays
        squares = sum(float(np.square(each, dtype=np.float64).sum()) for each in gradients)
        out[...] = min(1.0, most / (squares**0.5 + 1e-6))

    return step


class NotFiniteError(NetworkError):
    """A loss that is no number; nothing that comes after it in its step has run."""


@own_operator("Finite", shape=_factor_shape)
def require_finite(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The loss; NotFiniteError where it is NaN or infinite."""

    def step(loss: Array, out: Array) -> None:
        if not np.isfinite(loss).all():
            raise NotFiniteError(f"train: the loss is {loss.item()}")
        np.copyto(out, loss)

    return step


__all__ = ["NotFiniteError"]
