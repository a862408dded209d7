"""Layers: what stands in a network, with the numbers that it cannot know from its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arguments import PerAxis, entries_of, require_whole
from ..errors import NetworkError, format_value
from ..network.graph import Array
from .build import Builder, Layer, require_layer
from .initial import draw_weights


def _each(value: PerAxis, rank: int, name: str) -> list[int]:
    """One whole number for each spatial axis."""
    entries = entries_of(value)
    given = (value,) * rank if entries is None else entries
    found = [require_whole("build", name, n, least=0) for n in given]
    if len(found) != rank:
        raise NetworkError(
            f"build: {name} does not fit the input\n  {name} = {value}, {rank} spatial axes\n  one number for each"
        )
    return found


def _with_parameters(builder: Builder, x: str, w: Array, b: Array | None) -> list[str]:
    """A product's inputs: x, its weights, and its bias if it has one."""
    return [x, builder.parameter("weight", w), *([] if b is None else [builder.parameter("bias", b)])]


def _read_channels(channels: int, groups: int) -> tuple[int, int]:
    """Channels that a layer writes, in groups of equal size."""
    channels = require_whole("build", "channels", channels, least=1)
    groups = require_whole("build", "groups", groups, least=1)
    if channels % groups:
        raise NetworkError(
            f"build: channels do not divide into groups\n  channels = {channels}, groups = {groups}\n"
            f"  e.g. channels={-(-channels // groups) * groups}"
        )
    return channels, groups


class Sequential:
    """Layers one after the other, named by their numbers, or by keywords.

    >>> from convmat import nn
    >>> nn.build(nn.Sequential(features=nn.Conv(2, 3), pool=nn.MaxPool(2)), (1, 8, 8)).graph.constants.keys()
    dict_keys(['features.weight', 'features.bias'])
    """

    def __init__(self, *layers: Layer, **named: Layer) -> None:
        self.layers = {**{str(i): each for i, each in enumerate(layers)}, **named}
        for name, each in self.layers.items():
            require_layer(name, each)

    def __call__(self, builder: Builder, x: str) -> str:
        """Each reads what the one before wrote."""
        for name, layer in self.layers.items():
            with builder.inside(name):
                x = layer(builder, x)
        return x


class Residual:
    """body(x) + x, or + shortcut(x)."""

    def __init__(self, body: Layer, shortcut: Layer | None = None) -> None:
        self.body, self.shortcut = body, shortcut

    def __call__(self, builder: Builder, x: str) -> str:
        """The sum of both ways."""
        with builder.inside("body"):
            y = self.body(builder, x)
        if self.shortcut is not None:
            with builder.inside("shortcut"):
                x = self.shortcut(builder, x)
        return builder.op("Add", y, x)


class Concat:
    """What several layers make of x, joined along the channels; None stands for x itself."""

    def __init__(self, *branches: Layer | None) -> None:
        self.branches = branches

    def __call__(self, builder: Builder, x: str) -> str:
        """Each branch reads x."""
        made = []
        for i, branch in enumerate(self.branches):
            with builder.inside(i):
                made.append(x if branch is None else branch(builder, x))
        return builder.op("Concat", *made, axis=1)


@dataclass(frozen=True)
class Conv:
    """A convolution with so many output channels, of any rank: x (B, C, *I) -> (B, channels, *P).

    `padding` is the same before and after; `init`: see `convmat.nn.initial`.
    """

    channels: int
    kernel: PerAxis
    stride: PerAxis = 1
    padding: PerAxis = 0
    dilation: PerAxis = 1
    groups: int = 1
    bias: bool = True
    init: str = "pytorch"

    def __call__(self, builder: Builder, x: str) -> str:
        """One node, and its weights."""
        spec = builder.specs[x]
        rank, C = spec.rank - 2, spec.shape[1]
        F, groups = _each(self.kernel, rank, "kernel"), C if self.groups == 0 else self.groups
        channels, groups = _read_channels(self.channels, groups)
        w, b = draw_weights(self.init, (channels, C // groups, *F), channels, builder.rng)
        inputs = _with_parameters(builder, x, w, b if self.bias else None)
        return builder.op(
            "Conv", *inputs, kernel_shape=F, strides=_each(self.stride, rank, "stride"),
            pads=_each(self.padding, rank, "padding") * 2, dilations=_each(self.dilation, rank, "dilation"),
            group=groups,
        )  # fmt: skip


@dataclass(frozen=True)
class ConvTranspose:
    """A transposed convolution with so many output channels: x (B, C, *I) -> (B, channels, *P)."""

    channels: int
    kernel: PerAxis
    stride: PerAxis = 1
    padding: PerAxis = 0
    output_padding: PerAxis = 0
    groups: int = 1
    bias: bool = True
    init: str = "pytorch"

    def __call__(self, builder: Builder, x: str) -> str:
        """One node, and its weights (C, channels//groups, *F)."""
        spec = builder.specs[x]
        rank, C = spec.rank - 2, spec.shape[1]
        F = _each(self.kernel, rank, "kernel")
        channels, groups = _read_channels(self.channels, self.groups)
        w, b = draw_weights(self.init, (C, channels // groups, *F), channels, builder.rng, swapped=True)
        inputs = _with_parameters(builder, x, w, b if self.bias else None)
        return builder.op(
            "ConvTranspose", *inputs, kernel_shape=F, strides=_each(self.stride, rank, "stride"),
            pads=_each(self.padding, rank, "padding") * 2, group=groups,
            output_padding=_each(self.output_padding, rank, "output_padding"),
        )  # fmt: skip


@dataclass(frozen=True)
class Linear:
    """A dense layer: x (B, C) -> (B, channels)."""

    channels: int
    bias: bool = True
    init: str = "pytorch"

    def __call__(self, builder: Builder, x: str) -> str:
        """One Gemm, its weights (channels, C)."""
        spec = builder.specs[x]
        if spec.rank != 2:
            raise NetworkError(f"build: Linear takes rows\n  its input is {spec}\n  put a Flatten before it")
        channels = require_whole("build", "channels", self.channels, least=1)
        w, b = draw_weights(self.init, (channels, spec.shape[1]), channels, builder.rng)
        inputs = _with_parameters(builder, x, w, b if self.bias else None)
        return builder.op("Gemm", *inputs, transB=1)


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation; `momentum` is PyTorch's, the share of the new."""

    momentum: float = 0.1
    epsilon: float = 1e-5

    def __call__(self, builder: Builder, x: str) -> str:
        """One node with scale 1, bias 0, and running mean and variance of 0 and 1."""
        C = builder.specs[x].shape[1]
        names = [
            builder.parameter(name, np.full(C, value))
            for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0))
        ]
        return builder.op("BatchNormalization", x, *names, epsilon=self.epsilon, momentum=1 - self.momentum)


@dataclass(frozen=True)
class _MovingWindow:
    """A window that moves over each channel; `stride` is the window's size where it is None."""

    kernel: PerAxis
    stride: PerAxis | None = None
    padding: PerAxis = 0

    def _words(self, rank: int) -> dict[str, Any]:
        stride = self.kernel if self.stride is None else self.stride
        return {
            "kernel_shape": _each(self.kernel, rank, "kernel"),
            "strides": _each(stride, rank, "stride"),
            "pads": _each(self.padding, rank, "padding") * 2,
        }


class MaxPool(_MovingWindow):
    """The largest element of each window."""

    def __call__(self, builder: Builder, x: str) -> str:
        """One node."""
        return builder.op("MaxPool", x, **self._words(builder.specs[x].rank - 2))


class AveragePool(_MovingWindow):
    """The mean of each window, zeros around x counted as PyTorch does."""

    def __call__(self, builder: Builder, x: str) -> str:
        """One node."""
        return builder.op("AveragePool", x, count_include_pad=1, **self._words(builder.specs[x].rank - 2))


@dataclass(frozen=True)
class GlobalAveragePool:
    """The mean of each channel: (B, C, *I) -> (B, C), or (B, C, 1, ..) with `keep`."""

    keep: bool = False

    def __call__(self, builder: Builder, x: str) -> str:
        """One node, and a Flatten."""
        y = builder.op("GlobalAveragePool", x)
        return y if self.keep else builder.op("Flatten", y, axis=1)


@dataclass(frozen=True)
class Flatten:
    """(B, C, *I) -> (B, C*I)."""

    def __call__(self, builder: Builder, x: str) -> str:
        """One node."""
        return builder.op("Flatten", x, axis=1)


@dataclass(frozen=True)
class Upsample:
    """Each pixel `times` as large: (B, C, *I) -> (B, C, *times*I). `mode`: "nearest" or "linear"."""

    times: int = 2
    mode: str = "nearest"

    def __call__(self, builder: Builder, x: str) -> str:
        """One Resize."""
        if self.mode not in ("nearest", "linear"):
            raise NetworkError(
                f"build: there is no mode of that name\n  mode = {format_value(self.mode)}\n"
                "  one of 'nearest', 'linear'"
            )
        rank, times = builder.specs[x].rank - 2, require_whole("build", "times", self.times, least=1)
        scales = builder.constant(np.array([1, 1, *[times] * rank], np.float32))
        attributes = (
            {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            if self.mode == "nearest"
            else {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        )
        return builder.op("Resize", x, "", scales, **attributes)


@dataclass(frozen=True)
class Dropout:
    """While training, a share of the elements is 0 and the others are larger for it; otherwise nothing happens."""

    share: float = 0.5

    def __call__(self, builder: Builder, x: str) -> str:
        """One node; its ratio is a constant."""
        share: Any = self.share
        if isinstance(share, bool) or not isinstance(share, int | float | np.floating) or not 0 <= share <= 1:
            raise NetworkError(
                f"build: share is how much is left out\n  share = {format_value(self.share)}\n"
                "  a number from 0 to 1 is needed, e.g. nn.Dropout(0.5)"
            )
        return builder.op("Dropout", x, builder.constant(np.array(self.share, np.float32)))


@dataclass(frozen=True)
class _ElementFunction:
    """A function of each element."""

    def __call__(self, builder: Builder, x: str) -> str:
        """One node."""
        return builder.op(type(self).__name__, x)


class Relu(_ElementFunction):
    """max(x, 0)."""


class Sigmoid(_ElementFunction):
    """1 / (1 + e^-x)."""


class Tanh(_ElementFunction):
    """The hyperbolic tangent."""


class HardSwish(_ElementFunction):
    """x * clip(x + 3, 0, 6) / 6."""


@dataclass(frozen=True)
class LeakyRelu:
    """x where it is positive, slope * x elsewhere."""

    slope: float = 0.01

    def __call__(self, builder: Builder, x: str) -> str:
        """One node."""
        return builder.op("LeakyRelu", x, alpha=self.slope)


@dataclass(frozen=True)
class Clip:
    """min(max(x, low), high): with 0 and 6, ReLU6."""

    low: float
    high: float

    def __call__(self, builder: Builder, x: str) -> str:
        """One node, its limits constants."""
        limits = [builder.constant(np.array(each, builder.dtype)) for each in (self.low, self.high)]
        return builder.op("Clip", x, *limits)


class Gelu:
    """x times the share of a normal distribution below it."""

    def __call__(self, builder: Builder, x: str) -> str:
        """One node."""
        return builder.op("Gelu", x)


class Silu:
    """x * sigmoid(x)."""

    def __call__(self, builder: Builder, x: str) -> str:
        """Two nodes, which rewriting makes one."""
        return builder.op("Mul", x, builder.op("Sigmoid", x))
