"""Normalisation while a network is trained, and the gradients of all kinds of it.

    y = (x - m) r * scale + bias        m and r = 1 / sqrt(v + epsilon) are of the same elements of x

    dx = r (g - mean(g) - z mean(g z))          g = dy * scale, z = (x - m) r, means over those elements
    dscale = sum(dy z)     dbias = sum(dy)

BatchNorm measures over the batch, and gives what running means are made of: as in PyTorch the variance over n - 1.
Where mean and variance are given, dx = dy * scale * r. Ioffe and Szegedy, 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ....engine import Sweep, products_of_rows, reduction, thread_pool
from ...graph import Array, Node, Shape, Spec
from ..base import Specs, Step, axis_of, has_input, input_at, own_operator
from ..normalisation import about_mean, affine, factors, mean_of
from ..options import Options
from .kernels import LEAST, loaded, one_pass


def _batch_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, scale = input_at(node, specs, 0), input_at(node, specs, 1)
    if x.shape[0] * math.prod(x.shape[2:]) < 2:
        raise node.error(
            f"it is trained on one number a channel\n  {x}\n  two are needed for a variance: take a larger batch"
        )
    return (Spec(x.shape, x.dtype), *[Spec(scale.shape, x.dtype)] * 3)


@dataclass(frozen=True)
class Channels:
    """Passes over x: (B, C, *P) and dy that leave a number a channel, or take one: by kernels, or by NumPy."""

    shape: Shape
    sums: Sweep | None
    squares: Sweep | None
    products: Sweep | None
    scaled: Sweep | None
    mixed: Sweep | None

    @classmethod
    def of(cls, x: Spec) -> Channels:
        """The passes for x, its kernels loaded where it is large enough."""
        B, C, *P = x.shape
        lines, columns, dtype = B * C, math.prod(P), x.dtype.name
        if x.size < LEAST or not P:
            return cls(x.shape, *(None,) * 5)
        threads, wide = thread_pool.count(), (C, *(1,) * len(P))
        around = [("sub", 0, 1), ("mul", 4, 2), ("add", 5, 3)]
        mixture = [("sub", 1, 3), ("mul", 6, 4), ("mul", 0, 2), ("sub", 8, 7), ("sub", 9, 5)]
        return cls(
            x.shape,
            loaded(reduction("sum", (lines, columns), (1,), dtype, threads)),
            loaded(products_of_rows(lines, columns, True, dtype, threads)),
            loaded(products_of_rows(lines, columns, False, dtype, threads)),
            one_pass(around, [x.shape, *[wide] * 3], x.shape, dtype),
            one_pass(mixture, [x.shape, x.shape, *[wide] * 4], x.shape, dtype),
        )

    @property
    def _count(self) -> int:
        return math.prod(self.shape[2:])

    def _lines(self, kernel: Sweep, x: Array, *more: Array) -> Array:
        """(B, C) numbers of a kernel over lines, in float64."""
        found = np.empty(self.shape[0] * self.shape[1], x.dtype)
        kernel(x, *more, found)
        return found.reshape(self.shape[:2]).astype(np.float64)

    def moments(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance of each channel in float64: each line's about its own mean, then these joined.

        Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
        """
        if self.sums is None or self.squares is None:
            others = (0, *range(2, x.ndim))
            now = mean_of(x, others)
            return now.reshape(-1), np.square(about_mean(x, now)).mean(others, dtype=np.float64)
        near = (self._lines(self.sums, x) / self._count).astype(x.dtype)
        squares = self._lines(self.squares, x, near.reshape(-1))
        means = near.astype(np.float64)
        mean = means.mean(0)
        return mean, (squares.sum(0) / self._count + np.square(means - mean).sum(0)) / self.shape[0]

    def affine(self, x: Array, less: Array, by: Array, add: Array, out: Array) -> None:
        """out = (x - less) * by + add, numbers of each channel."""
        if self.scaled is None:
            wide = (-1, *(1,) * (x.ndim - 2))
            affine(x, less.reshape(wide), by.reshape(wide), add.reshape(wide), out)
        else:
            self.scaled(x, less, by, add, out)

    def products_of(self, dy: Array, x: Array, mean: Array) -> tuple[Array, Array]:
        """The sums of dy, and of dy * (x - mean), of each channel in float64."""
        if self.sums is None or self.products is None:
            about = x - mean.reshape(-1, *(1,) * (x.ndim - 2))
            flat = [each.reshape(*self.shape[:2], -1) for each in (dy, about)]
            return np.add.reduce(dy, (0, *range(2, x.ndim)), np.float64), np.einsum("bcp,bcp->c", *flat)
        means = np.broadcast_to(mean, self.shape[:2]).ravel()
        return self._lines(self.sums, dy).sum(0), self._lines(self.products, x, dy, means).sum(0)

    def mix(self, dy: Array, x: Array, by: Array, mean: Array, share: Array, less: Array, out: Array) -> None:
        """out = dy * by - (x - mean) * share - less."""
        if self.mixed is None:
            wide = (-1, *(1,) * (x.ndim - 2))
            np.multiply(dy, by.reshape(wide), out=out)
            out -= (x - mean.reshape(wide)) * share.reshape(wide)
            out -= less.reshape(wide)
        else:
            self.mixed(dy, x, by, mean, share, less, out)


@own_operator("BatchNorm", shape=_batch_shape)
def batch_norm(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """x, scale, bias -> y, the batch's mean, 1 / deviation, and variance over n - 1."""
    x, epsilon = input_at(node, specs, 0), node.get("epsilon", 1e-5)
    count, passes = x.shape[0] * math.prod(x.shape[2:]), Channels.of(x)

    def step(x: Array, scale: Array, bias: Array, *outs: Array) -> None:
        y, mean, by, spread = outs
        now, measured = passes.moments(x)
        mean[...], by[...] = now, 1 / np.sqrt(measured + epsilon)
        spread[...] = measured * (count / (count - 1))
        passes.affine(x, *factors(scale, bias, now, measured, epsilon=epsilon, dtype=x.dtype), y)

    return step


def _batch_grad_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, scale = input_at(node, specs, 1), input_at(node, specs, 2)
    return (Spec(x.shape, x.dtype), Spec(scale.shape, x.dtype), Spec(scale.shape, x.dtype))


@own_operator("BatchNormGrad", shape=_batch_grad_shape)
def batch_norm_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """dy, x, scale, the mean and 1 / deviation -> dx, dscale, dbias; `given`: those two are no part of x."""
    x, fixed, epsilon = input_at(node, specs, 1), bool(node.get("given")), node.get("epsilon", 1e-5)
    count, passes = x.shape[0] * math.prod(x.shape[2:]), Channels.of(x)

    def step(dy: Array, x: Array, scale: Array, mean: Array, by: Array, *outs: Array) -> None:
        dx, dscale, dbias = outs
        by = by.astype(np.float64)
        by = 1 / np.sqrt(by + epsilon) if fixed else by
        sums, products = passes.products_of(dy, x, mean)
        dscale[...], dbias[...] = products * by, sums
        factor = by * scale
        share, less = (
            (0 * factor, 0 * factor)
            if fixed
            else (factor * products * by * by / count, factor * sums / count)
        )
        by, share, less = (each.astype(x.dtype) for each in (factor, share, less))
        passes.mix(dy, x, by, mean, share, less, dx)

    return step


def _grad_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, scale = input_at(node, specs, 1), input_at(node, specs, 2)
    bias = input_at(node, specs, 3) if has_input(specs, 3) else scale
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


@own_operator("NormGrad", shape=_grad_shape)
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
