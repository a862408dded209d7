"""Normalisation: y = (x - mean) / sqrt(variance + epsilon) * scale + bias, over different sets of elements.

BatchNormalization       a channel, its mean and variance given (in training: measured)
InstanceNormalization    a channel of one image
GroupNormalization       a group of channels of one image
LayerNormalization       all axes from one on
LRN                      squares of neighbouring channels: y = x / (bias + alpha/size * sum)^beta
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...planner.candidates import dtype_of
from ..graph import Array, Node, Spec
from .base import (
    Specs,
    Step,
    axes_of,
    axis_of,
    broadcast_shape,
    has_input,
    input_at,
    operator,
    same_spec,
    step_operator,
)
from .blocks import cut_slabs
from .options import Options

MEASURED_SINCE = 14
"""The operator set since which training is asked for by `training_mode`; before, by wanting more than one output."""


def _over_channels(value: Array, rank: int) -> Array:
    """(C,) as (C, 1, 1, ...), to stand beside the axes from 1 on."""
    return value.reshape(*value.shape, *(1,) * (rank - 1 - value.ndim))


# -- over the batch ----------------------------------------------------------------------------------------------------


def _measures(node: Node) -> bool:
    if node.version >= MEASURED_SINCE:
        return bool(node.get("training_mode", 0))
    return sum(map(bool, node.outputs)) > 1 and not node.get("is_test", 0)


def _batch_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, *rest = (input_at(node, specs, i) for i in range(5))
    if x.rank < 2:
        raise node.error(f"its input {x} has no channels\n  (batch, channels, ...) is needed")
    for each in rest:
        if (
            each.shape[:1] != x.shape[1:2]
            or broadcast_shape(node, [(*each.shape, *(1,) * (x.rank - 1 - each.rank)), x.shape[1:]])
            != x.shape[1:]
        ):
            raise node.error(
                f"one of its scale, bias, mean and variance is {each}\n"
                f"  one for each of {x.shape[1]} channels is needed"
            )
    mean = Spec(rest[2].shape, rest[2].dtype)
    return (Spec(x.shape, x.dtype), mean, mean, mean, mean)[: max(1, len(node.outputs))]


def _batch_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    if _measures(node) or len(made) > 1:
        return None
    rank, epsilon = input_at(node, specs, 0).rank, node.get("epsilon", 1e-5)
    known = [input_at(node, specs, i).value for i in range(1, 5)]
    values = [each for each in known if each is not None]
    dtype = made[0].dtype
    fixed = factors(*values, epsilon=epsilon, dtype=dtype) if len(values) == 4 else None

    def step(x: Array, *rest: Array) -> None:
        found = fixed or factors(*rest[:4], epsilon=epsilon, dtype=dtype)
        less, by, add = (_over_channels(each, rank) for each in found)
        affine(x, less, by, add, rest[-1])

    return step


def factors(
    scale: Array, bias: Array, mean: Array, variance: Array, *, epsilon: float, dtype: np.dtype[Any]
) -> tuple[Array, Array, Array]:
    """What y = (x - less) * by + add takes: computed in float64, rounded to the element type of x.

    `less` is the mean rounded, and `add` makes up for that: x * by + (bias - mean * by) would lose all but the largest
    of its digits where the mean is far from 0.
    """
    mean = np.asarray(mean, np.float64)
    by = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    less = mean.astype(dtype)
    rest = np.where(np.isfinite(mean), mean - less, 0)
    return less, by.astype(dtype), (bias - rest * by).astype(dtype)


def affine(x: Array, less: Array, by: Array, add: Array, out: Array) -> None:
    """out[b] = (x[b] - less) * by + add, a block of channels at a time; `out` may be x."""
    less, by, add = (np.broadcast_to(each, x.shape) for each in (less, by, add))
    for index in cut_slabs(x.shape, x.itemsize):
        part = out[index]
        np.subtract(x[index], less[index], out=part)
        np.multiply(part, by[index], out=part)
        np.add(part, add[index], out=part)


def mean_of(x: Array, axes: int | tuple[int, ...]) -> Array:
    """The mean along axes, which stay, in float64: of equal elements exactly what they are."""
    total = np.add.reduce(x, axes, np.float64, keepdims=True)
    count = x.size // max(total.size, 1)
    found: Array = total / np.float64(count)
    if x.dtype == np.float64:  # a sum in its own precision is rounded: once more, around it
        found += np.add.reduce(x - found, axes, keepdims=True) / np.float64(count)
    return found


def about_mean(x: Array, mean: Array) -> Array:
    """x - mean, of x's element type, the mean not rounded to that before."""
    near = mean.astype(x.dtype)
    found: Array = x - near
    found -= (mean - near).astype(x.dtype)
    return found


@operator("BatchNormalization", shape=_batch_shape, prepare=_batch_step, in_place=True)
def batch_normalization(node: Node, x: Array, scale: Array, bias: Array, mean: Array, variance: Array) -> Any:
    """Each channel by its mean and variance; when they are measured, what there was of them goes on by `momentum`."""
    epsilon, out = node.get("epsilon", 1e-5), np.empty_like(x, order="C")
    more: tuple[Array, ...] = ()
    if _measures(node):
        others = (0, *range(2, x.ndim))
        now = mean_of(x, others)
        spread = np.square(about_mean(x, now)).mean(others, dtype=np.float64)
        old, measured = (mean, variance), (now.reshape(mean.shape), spread)
        keep = node.get("momentum", 0.9)
        more = tuple((a * keep + b * (1 - keep)).astype(a.dtype) for a, b in zip(old, measured, strict=True))
        if node.version < MEASURED_SINCE:
            more = (*more, *(each.astype(mean.dtype) for each in measured))
        mean, variance = measured
    else:
        more = (mean, variance, mean, variance)
    found = factors(scale, bias, mean, variance, epsilon=epsilon, dtype=x.dtype)
    less, by, add = (_over_channels(each, x.ndim) for each in found)
    affine(x, less, by, add, out)
    return (out, *more)[: max(1, len(node.outputs))]


# -- over one image ----------------------------------------------------------------------------------------------------


def _image_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, scale, bias = (input_at(node, specs, i) for i in range(3))
    groups = node.get("num_groups", 1)
    if x.rank < 2 or groups < 1 or x.shape[1] % groups:
        raise node.error(f"its num_groups is {groups}\n  it must divide the channels of {x}")
    wanted = groups if node.op == "GroupNormalization" and node.version < 21 else x.shape[1]
    if scale.shape != (wanted,) or bias.shape != (wanted,):
        raise node.error(f"its scale is {scale} and its bias {bias}\n  {wanted} numbers are needed")
    return (Spec(x.shape, x.dtype),)


@step_operator("InstanceNormalization", "GroupNormalization", shape=_image_shape, in_place=True)
def image_normalization(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """Each group of channels of each image by the mean and variance of its own elements."""
    (B, C), rank = input_at(node, specs, 0).shape[:2], input_at(node, specs, 0).rank
    groups = node.get("num_groups", 1) if node.op == "GroupNormalization" else C
    epsilon = node.get("epsilon", 1e-5)

    def step(x: Array, scale: Array, bias: Array, out: Array) -> None:
        if not x.size:
            return
        sets = x.reshape(B, groups, -1)
        mean = mean_of(sets, 2)[:, :, 0]
        variance = _variance(sets, mean)
        each = C // groups
        scale, bias = (v.repeat(each) if v.size != C else v for v in (scale, bias))
        mean, variance = (v.repeat(each, axis=1) for v in (mean, variance))
        found = factors(scale, bias, mean, variance, epsilon=epsilon, dtype=x.dtype)
        less, by, add = (v.reshape(-1, C, *(1,) * (rank - 2)) for v in found)
        affine(x, less, by, add, out)

    return step


def _variance(sets: Array, mean: Array) -> Array:
    """(B, G) of sets: (B, G, n): the mean of squares around the mean, a set at a time."""
    found = np.empty(mean.shape)
    for index in np.ndindex(*mean.shape):
        about = about_mean(sets[index], mean[index])
        found[index] = np.dot(about, about) / max(about.size, 1)
    return found


# -- over the last axes ------------------------------------------------------------------------------------------------


def _layer_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    axis = axis_of(node, node.get("axis", -1), x.rank)
    for at in (1, 2):
        if (
            has_input(specs, at)
            and broadcast_shape(node, [x.shape, input_at(node, specs, at).shape]) != x.shape
        ):
            raise node.error(f"its input {at} is {specs[at]}\n  it does not broadcast to {x}")
    if node.op == "RMSNormalization":
        return (Spec(x.shape, input_at(node, specs, 1).dtype),)
    stash = node.get("stash_type", 1)
    if stash not in STASHED:
        raise node.error(f"its stash_type is {stash}\n  one of {', '.join(map(str, STASHED))} is taken")
    small = Spec((*x.shape[:axis], *(1,) * (x.rank - axis)), dtype_of(STASHED[stash]))
    return (Spec(x.shape, x.dtype), small, small)[: max(1, len(node.outputs))]


STASHED = {1: "float32", 11: "float64", 16: "bfloat16"}
"""By ONNX's number in `stash_type`, the element type of the means that a LayerNormalization gives."""


@step_operator("LayerNormalization", "RMSNormalization", shape=_layer_shape)
def layer_normalization(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """All axes from `axis` on by their mean and variance (RMSNormalization: by their squares alone)."""
    x = input_at(node, specs, 0)
    axis, epsilon = axis_of(node, node.get("axis", -1), x.rank), node.get("epsilon", 1e-5)
    small = (*x.shape[:axis], *(1,) * (x.rank - axis))
    lines, columns = math.prod(x.shape[:axis]), math.prod(x.shape[axis:])
    centred, biased = node.op == "LayerNormalization", has_input(specs, 2)
    named = [i for i, name in enumerate(node.outputs) if name]

    def step(*arrays: Array) -> None:
        x, scale, outs = arrays[0], arrays[1], dict(zip(named, arrays[2 + biased :], strict=True))
        rows = x.reshape(lines, columns)
        mean = mean_of(rows, 1) if centred else np.zeros((lines, 1))
        about = about_mean(rows, mean) if centred else rows
        spread = np.sqrt(np.square(about).mean(1, keepdims=True) + x.dtype.type(epsilon))
        for at, value in ((1, mean), (2, 1 / spread)):
            if at in outs:
                outs[at][...] = value.reshape(small)
        if 0 not in outs:
            return
        y = np.divide(about, spread, out=about if centred else None).reshape(x.shape)
        np.multiply(y, scale, out=outs[0], casting="same_kind")
        if biased:
            np.add(outs[0], arrays[2], out=outs[0], casting="same_kind")

    return step


# -- others ------------------------------------------------------------------------------------------------------------


@step_operator("LRN", shape=same_spec)
def lrn(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """x / (bias + alpha/size * sum of squares over `size` neighbouring channels) ** beta."""
    size, alpha = node.get("size"), node.get("alpha", 1e-4)
    beta, bias = node.get("beta", 0.75), node.get("bias", 1.0)
    x = input_at(node, specs, 0)
    if not isinstance(size, int) or size < 1 or x.rank < 2:
        raise node.error(
            f"its size is {size} and its input {x}\n  a size from 1 on, (batch, channels, ...) are needed"
        )
    below, above = near_channels(size)

    def step(x: Array, out: Array) -> None:
        for image, y in zip(x, out, strict=True):
            total = sum_near(np.square(image), below, above)
            total *= alpha / size
            total += bias
            np.divide(image, _power(total, beta), out=y)

    return step


def near_channels(size: int) -> tuple[int, int]:
    """How many neighbours of a channel before it and after it are summed over."""
    return (size - 1) // 2, size // 2


def sum_near(values: Array, below: int, above: int) -> Array:
    """(C, ..): the sum of each channel, so many before it and so many after it."""
    total, C = values.copy(), len(values)
    for shift in (*range(-min(below, C), 0), *range(1, min(above, C) + 1)):
        if shift < 0:
            total[-shift:] += values[:shift]
        else:
            total[:-shift] += values[shift:]
    return total


def _power(base: Array, exponent: float) -> Array:
    """base ** exponent; 3/4, which all use, by two square roots."""
    if exponent == 0.75:
        root = np.sqrt(base)
        return root * np.sqrt(root)
    return np.power(base, exponent)


@operator("LpNormalization", shape=same_spec)
def lp_normalization(node: Node, x: Array) -> Any:
    """x by its 1-norm or 2-norm along an axis; 0 where that is 0."""
    axis = node.get("axis", -1)
    size = (
        np.abs(x).sum(axis, keepdims=True)
        if node.get("p", 2) == 1
        else np.sqrt(np.square(x).sum(axis, keepdims=True))
    )
    return np.where(size == 0, 0, x / np.where(size == 0, 1, size)).astype(x.dtype)


@operator("MeanVarianceNormalization", shape=same_spec)
def mean_variance_normalization(node: Node, x: Array) -> Any:
    """(x - mean) / (standard deviation + 1e-9) over the `axes`."""
    axes = axes_of(node, node.get("axes", (0, 2, 3)), x.ndim)
    about = about_mean(x, mean_of(x, axes))
    spread = np.sqrt(np.square(about).mean(axes, keepdims=True, dtype=np.float64)) + 1e-9
    return np.divide(about, spread.astype(x.dtype), out=about)
