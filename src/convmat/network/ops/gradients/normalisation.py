"""Normalisation while a network is trained, and the gradients of all kinds of it.

    y = (x - m) r * scale + bias        m and r = 1 / sqrt(v + epsilon) are of the same elements of x

    dx = r (g - mean(g) - z mean(g z))          g = dy * scale, z = (x - m) r, means over those elements
    dscale = sum(dy z)     dbias = sum(dy)

BatchNorm measures over the batch, and gives what running means are made of: as in PyTorch the variance over n - 1.
Where mean and variance are given, dx = dy * scale * r. Ioffe and Szegedy, 2015.
"""

from __future__ import annotations

import math

import numpy as np

from ...graph import Array, Node, Shape, Spec
from ..base import Options, Specs, Step, axis_of, given, has, owned
from ..normalisation import about_mean, affine, factors, mean_of


def _batch_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, scale = given(node, specs, 0), given(node, specs, 1)
    if x.shape[0] * math.prod(x.shape[2:]) < 2:
        raise node.error(
            f"it is trained on one number a channel\n  {x}\n  two are needed for a variance: take a larger batch"
        )
    return (Spec(x.shape, x.dtype), *[Spec(scale.shape, x.dtype)] * 3)


@owned("BatchNorm", shape=_batch_shape)
def batch_norm(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """x, scale, bias -> y, the batch's mean, 1 / deviation, and variance over n - 1."""
    x, epsilon = given(node, specs, 0), node.get("epsilon", 1e-5)
    others, count = (0, *range(2, x.rank)), x.shape[0] * math.prod(x.shape[2:])

    def step(x: Array, scale: Array, bias: Array, *outs: Array) -> None:
        y, mean, by, spread = outs
        now = mean_of(x, others)
        measured = np.square(about_mean(x, now)).mean(others, dtype=np.float64)
        now = now.reshape(-1)
        mean[...], by[...] = now, 1 / np.sqrt(measured + epsilon)
        spread[...] = measured * (count / (count - 1))
        found = factors(scale, bias, now, measured, epsilon=epsilon, dtype=x.dtype)
        less, by_scale, add = (each.reshape(-1, *(1,) * (x.ndim - 2)) for each in found)
        affine(x, less, by_scale, add, y)

    return step


def _batch_grad_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, scale = given(node, specs, 1), given(node, specs, 2)
    return (Spec(x.shape, x.dtype), Spec(scale.shape, x.dtype), Spec(scale.shape, x.dtype))


@owned("BatchNormGrad", shape=_batch_grad_shape)
def batch_norm_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """dy, x, scale, the mean and 1 / deviation -> dx, dscale, dbias; `given`: those two are no part of x."""
    x, fixed = given(node, specs, 1), bool(node.get("given"))
    others, count = (0, *range(2, x.rank)), x.shape[0] * math.prod(x.shape[2:])
    wide = (-1, *(1,) * (x.rank - 2))

    def step(dy: Array, x: Array, scale: Array, mean: Array, by: Array, *outs: Array) -> None:
        dx, dscale, dbias = outs
        by = (
            (1 / np.sqrt(by.astype(np.float64) + node.get("epsilon", 1e-5)))
            if fixed
            else by.astype(np.float64)
        )
        about = x - mean.reshape(wide)
        sums = np.add.reduce(dy, others, np.float64)
        products = np.einsum("bcp,bcp->c", *(each.reshape(*x.shape[:2], -1) for each in (dy, about)))
        dscale[...], dbias[...] = products * by, sums
        factor = by * scale
        np.multiply(dy, factor.astype(x.dtype).reshape(wide), out=dx)
        if not fixed:
            about *= (factor * products * by * by / count).astype(x.dtype).reshape(wide)
            dx -= about
            dx -= (factor * sums / count).astype(x.dtype).reshape(wide)

    return step


def _grad_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, scale = given(node, specs, 1), given(node, specs, 2)
    bias = given(node, specs, 3) if has(specs, 3) else scale
    return (Spec(x.shape, x.dtype), Spec(scale.shape, scale.dtype), Spec(bias.shape, bias.dtype))


def _sets(of: Node, x: Shape) -> tuple[Shape, tuple[int, ...]]:
    """A shape of x in which the elements of one set lie along axes, and these axes."""
    if of.op == "LayerNormalization":
        axis = axis_of(of, of.get("axis", -1), len(x))
        return x, tuple(range(axis, len(x)))
    if of.op == "InstanceNormalization":
        return x, tuple(range(2, len(x)))
    groups = of.get("num_groups", 1)
    return (x[0], groups, x[1] // groups, *x[2:]), tuple(range(2, len(x) + 1))


@owned("NormGrad", shape=_grad_shape)
def norm_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """dy, x, scale [, bias] of an Instance-, Group- or LayerNormalization -> dx, dscale, dbias."""
    of, shape = node.attributes["of"], made[0].shape
    split, axes = _sets(of, shape)
    epsilon, layer = of.get("epsilon", 1e-5), of.op == "LayerNormalization"
    scales = made[1].shape if layer else (made[1].size, *(1,) * (len(shape) - 2))
    each_group = not layer and made[1].size != shape[1]  # before operator set 21 one scale for each group

    def step(dy: Array, x: Array, scale: Array, *rest: Array) -> None:
        dx, dscale, dbias = rest[-3:]
        sets = x.reshape(split)
        mean = mean_of(sets, axes)
        about = about_mean(sets, mean)
        by = 1 / np.sqrt(np.square(about).mean(axes, keepdims=True, dtype=np.float64) + epsilon)
        z = about * by.astype(x.dtype)
        full = (
            scale.repeat(shape[1] // scale.size).reshape(-1, *scales[1:])
            if each_group
            else scale.reshape(scales)
        )
        g = (dy * full).reshape(split)
        inner = g - g.mean(axes, keepdims=True) - z * (g * z).mean(axes, keepdims=True)
        np.multiply(inner, by.astype(x.dtype), out=dx.reshape(split))
        product = dy * z.reshape(shape)
        for value, out in ((product, dscale), (dy, dbias)):
            out[...] = (
                _summed(value, out.shape if layer else full.shape)
                .reshape(out.size, -1)
                .sum(1)
                .reshape(out.shape)
            )

    return step


def _summed(value: Array, shape: Shape) -> Array:
    """The sum over the axes along which an array of this shape was repeated."""
    extra = value.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        i + extra for i, n in enumerate(shape) if n == 1 and value.shape[i + extra] != 1
    )
    return np.add.reduce(value, axes, keepdims=True).reshape(shape)
