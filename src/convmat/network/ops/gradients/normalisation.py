"""Normalisation while a network is trained, and the gradients of all kinds of it.

    y = (x - m) r * scale + bias        m and r = 1 / sqrt(v + epsilon) are of the same elements of x

    dx = r (g - mean(g) - z mean(g z))          g = dy * scale, z = (x - m) r, means over those elements
    dscale = sum(dy z)     dbias = sum(dy)                 RMSNormalization: m = 0, and no mean(g)

BatchNorm measures over the batch, and gives what running means are made of: as in PyTorch the variance over n - 1.
Where mean and variance are given, dx = dy * scale * r. Ioffe and Szegedy, 2015. By NumPy here; kernels run the large.
"""

from __future__ import annotations

import math

import numpy as np

from ...graph import Array, Node, Shape, Spec
from ..base import Specs, Step, axis_of, has_input, input_at, own_operator, same_spec
from ..normalisation import about_mean, affine, factors, mean_of, near_channels, sum_near
from ..options import Options


def _batch_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, scale = input_at(node, specs, 0), input_at(node, specs, 1)
    if x.shape[0] * math.prod(x.shape[2:]) < 2:
        raise node.error(
            f"it is trained on one number a channel\n  {x}\n  two are needed for a variance: take a larger batch"
        )
    return (Spec(x.shape, x.dtype), *[Spec(scale.shape, x.dtype)] * 4)


@own_operator("BatchNorm", shape=_batch_shape)
def batch_norm(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """x, scale, bias -> y, the batch's mean, 1 / deviation, variance over n - 1, and what makes up for rounding.

    y = (x - mean) * scale / deviation + add is kept within the `limits`, if there are any.
    """
    x, epsilon, limits = input_at(node, specs, 0), node.get("epsilon", 1e-5), node.get("limits")
    count, others = x.shape[0] * math.prod(x.shape[2:]), (0, *range(2, x.rank))

    def step(x: Array, scale: Array, bias: Array, *outs: Array) -> None:
        y, mean, by, spread, add = outs
        now = mean_of(x, others)
        measured = np.square(about_mean(x, now)).mean(others, dtype=np.float64)
        mean[...], by[...] = now.reshape(-1), 1 / np.sqrt(measured + epsilon)
        spread[...] = measured * (count / (count - 1))
        found = factors(scale, bias, now.reshape(-1), measured, epsilon=epsilon, dtype=x.dtype)
        add[...] = found[2]
        less, factor, more = (_over_channels(each, x.ndim) for each in found)
        affine(x, less, factor, more, y)
        if limits:
            np.clip(y, *limits, out=y)

    return step


def _over_channels(value: Array, rank: int) -> Array:
    """(C,) as (C, 1, ..), to stand beside the axes from 1 on."""
    return value.reshape(-1, *(1,) * (rank - 2))


def _batch_grad_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, scale = input_at(node, specs, 1), input_at(node, specs, 2)
    return (Spec(x.shape, x.dtype), Spec(scale.shape, x.dtype), Spec(scale.shape, x.dtype))


@own_operator("BatchNormGrad", shape=_batch_grad_shape)
def batch_norm_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """dy, x, scale, the mean and 1 / deviation [, add] -> dx, dscale, dbias; `given`: those two are no part of x.

    Within `limits` y is computed again, and dy is 0 where it was at one of them.
    """
    x, fixed, epsilon = input_at(node, specs, 1), bool(node.get("given")), node.get("epsilon", 1e-5)
    limits, others = node.get("limits"), (0, *range(2, x.rank))
    count = x.shape[0] * math.prod(x.shape[2:])

    def step(dy: Array, x: Array, scale: Array, mean: Array, by: Array, *rest: Array) -> None:
        dx, dscale, dbias = rest[-3:]
        by = by.astype(np.float64)
        by = 1 / np.sqrt(by + epsilon) if fixed else by
        about = x - _over_channels(mean, x.ndim)
        factor = _over_channels((by * scale).astype(x.dtype), x.ndim)
        if limits:
            y = about * factor + _over_channels(rest[0], x.ndim)
            dy = np.where((y > limits[0]) & (y < limits[1]), dy, 0)
        sums = np.add.reduce(dy, others, np.float64)
        products = np.add.reduce(dy * about, others, np.float64)
        dscale[...], dbias[...] = products * by, sums
        np.multiply(dy, factor, out=dx)
        if not fixed:
            share, less = by * scale * products * by * by / count, by * scale * sums / count
            share, less = (_over_channels(each.astype(x.dtype), x.ndim) for each in (share, less))
            dx -= about * share + less

    return step


def _grad_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, scale = input_at(node, specs, 1), input_at(node, specs, 2)
    bias = input_at(node, specs, 3) if has_input(specs, 3) else scale
    return (Spec(x.shape, x.dtype), Spec(scale.shape, scale.dtype), Spec(bias.shape, bias.dtype))


LAST_AXES = ("LayerNormalization", "RMSNormalization")
"""Normalisations over all axes from one on."""


def _sets(of: Node, x: Shape) -> tuple[Shape, tuple[int, ...]]:
    """A shape of x in which the elements of one set lie along axes, and these axes."""
    if of.op in LAST_AXES:
        axis = axis_of(of, of.get("axis", -1), len(x))
        return x, tuple(range(axis, len(x)))
    if of.op == "InstanceNormalization":
        return x, tuple(range(2, len(x)))
    groups = of.get("num_groups", 1)
    return (x[0], groups, x[1] // groups, *x[2:]), tuple(range(2, len(x) + 1))


@own_operator("NormGrad", shape=_grad_shape)
def norm_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """dy, x, scale [, bias] of an Instance-, Group-, Layer- or RMSNormalization -> dx, dscale, dbias."""
    of, shape = node.attributes["of"], made[0].shape
    split, axes = _sets(of, shape)
    epsilon, layer, centred = of.get("epsilon", 1e-5), of.op in LAST_AXES, of.op != "RMSNormalization"
    scales = made[1].shape if layer else (made[1].size, *(1,) * (len(shape) - 2))
    each_group = not layer and made[1].size != shape[1]  # before operator set 21 one scale for each group

    def step(dy: Array, x: Array, scale: Array, *rest: Array) -> None:
        dx, dscale, dbias = rest[-3:]
        sets = x.reshape(split)
        about = about_mean(sets, mean_of(sets, axes)) if centred else sets
        by = 1 / np.sqrt(np.square(about).mean(axes, keepdims=True, dtype=np.float64) + epsilon)
        z = about * by.astype(x.dtype)
        full = (
            scale.repeat(shape[1] // scale.size).reshape(-1, *scales[1:])
            if each_group
            else scale.reshape(scales)
        )
        g = (dy * full).reshape(split)
        inner = g - z * (g * z).mean(axes, keepdims=True)
        if centred:
            inner -= g.mean(axes, keepdims=True)
        np.multiply(inner, by.astype(x.dtype), out=dx.reshape(split))
        product = dy * z.reshape(shape)
        for value, out in ((product, dscale), (dy, dbias)):
            out[...] = (
                _sum_repeated(value, out.shape if layer else full.shape)
                .reshape(out.size, -1)
                .sum(1)
                .reshape(out.shape)
            )

    return step


def _sum_repeated(value: Array, shape: Shape) -> Array:
    """The sum over the axes along which an array of this shape was repeated."""
    extra = value.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        i + extra for i, n in enumerate(shape) if n == 1 and value.shape[i + extra] != 1
    )
    return np.add.reduce(value, axes, keepdims=True).reshape(shape)


@own_operator("LRNGrad", shape=same_spec)
def lrn_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """dy, x of a LRN, y = x t^-beta -> dx = dy t^-beta - 2 beta alpha/size * x * sum of dy x t^(-beta - 1).

    The sum is over those channels whose neighbour x is: as many before it as its own neighbours are after it.
    """
    of = node.attributes["of"]
    size, alpha, beta = of.get("size"), of.get("alpha", 1e-4), of.get("beta", 0.75)
    below, above = near_channels(size)

    def step(dy: Array, x: Array, out: Array) -> None:
        for g, image, dx in zip(dy, x, out, strict=True):
            total = sum_near(np.square(image), below, above) * (alpha / size) + of.get("bias", 1.0)
            np.multiply(g, np.power(total, -beta), out=dx)
            spread = sum_near(dx * image / total, above, below)
            dx -= image * spread * dx.dtype.type(2 * beta * alpha / size)

    return step
