"""Networks that everybody knows, a screen each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..arguments import require_whole
from ..errors import NetworkError, format_value
from ..network import Network
from .build import Layer, build, read_shape
from .layers import (
    BatchNorm,
    Clip,
    Concat,
    Conv,
    ConvTranspose,
    Flatten,
    GlobalAveragePool,
    Linear,
    MaxPool,
    Relu,
    Residual,
    Sequential,
)

LENET_LEAST = 16
"""Pixels along an axis: (16 - 4) / 2 - 4 leaves the last pool a window."""


def lenet(shape: Sequence[int] = (1, 28, 28), classes: int = 10, *, seed: int = 0) -> Network:
    """LeNet with 16 and 32 channels: two 5x5 convolutions with pools, two dense layers.

    LeCun and others, "Gradient-based learning applied to document recognition", 1998. Raises NetworkError where
    pictures are smaller than 16x16.

    >>> lenet()
    <Network x: float32 batchx1x28x28 -> classifier.2.gemm.10: 10 nodes>
    """
    shape = read_shape(shape)
    if min(shape[1:], default=LENET_LEAST) < LENET_LEAST:
        raise NetworkError(
            f"lenet: the pictures are too small\n  shape = {format_value(shape)}\n"
            f"  two 5x5 convolutions and two pools need {LENET_LEAST}x{LENET_LEAST}; resnet20 takes any size"
        )
    features = Sequential(
        Conv(16, 5, init="he"), Relu(), MaxPool(2), Conv(32, 5, init="he"), Relu(), MaxPool(2)
    )
    classifier = Sequential(Linear(128, init="he"), Relu(), Linear(classes))
    model = Sequential(features=features, flat=Flatten(), classifier=classifier)
    return build(model, shape, seed=seed, name="lenet")


# -- residual networks: He and others, "Deep residual learning for image recognition", 2015 ----------------------------


def _conv_and_norm(
    channels: int, kernel: int, stride: int = 1, groups: int = 1, pad: int | None = None
) -> Sequential:
    """A convolution and its batch normalisation."""
    padding = kernel // 2 if pad is None else pad
    return Sequential(
        conv=Conv(channels, kernel, stride, padding, groups=groups, bias=False, init="he"), norm=BatchNorm()
    )


def _block(before: int, channels: int, stride: int) -> Sequential:
    """Two 3x3 convolutions beside a way past them."""
    body = Sequential(_conv_and_norm(channels, 3, stride), Relu(), _conv_and_norm(channels, 3))
    past = _conv_and_norm(channels, 1, stride) if stride != 1 or before != channels else None
    return Sequential(Residual(body, past), Relu())


def _stages(first: int, widths: Sequence[int], depth: int) -> Sequential:
    blocks, before = [], first
    for i, channels in enumerate(widths):
        for j in range(depth):
            blocks.append(_block(before, channels, 2 if i and not j else 1))
            before = channels
    return Sequential(*blocks)


def resnet20(shape: Sequence[int] = (3, 32, 32), classes: int = 10, *, seed: int = 0) -> Network:
    """ResNet-20 for small pictures: 16, 32 and 64 channels, three blocks each.

    >>> len(resnet20().graph.nodes)
    73
    """
    model = Sequential(
        stem=Sequential(_conv_and_norm(16, 3), Relu()),
        features=_stages(16, (16, 32, 64), 3),
        classifier=Sequential(GlobalAveragePool(), Linear(classes)),
    )
    return build(model, shape, seed=seed, name="resnet20")


def resnet18(shape: Sequence[int] = (3, 224, 224), classes: int = 1000, *, seed: int = 0) -> Network:
    """ResNet-18: 64 to 512 channels, two blocks each, behind a 7x7 convolution and a pool.

    >>> len(resnet18((3, 64, 64), 10).graph.nodes)
    69
    """
    model = Sequential(
        stem=Sequential(_conv_and_norm(64, 7, 2), Relu(), MaxPool(3, 2, 1)),
        features=_stages(64, (64, 128, 256, 512), 2),
        classifier=Sequential(GlobalAveragePool(), Linear(classes)),
    )
    return build(model, shape, seed=seed, name="resnet18")


# -- MobileNetV2: Sandler and others, "Inverted residuals and linear bottlenecks", 2018 --------------------------------

INVERTED = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Stages of MobileNetV2: how much wider it is inside, channels, blocks, stride of the first."""


def _inverted_residual(before: int, channels: int, wider: int, stride: int) -> Layer:
    """Wider, one 3x3 filter a channel, narrow again."""
    inside = before * wider
    first: list[Layer] = [_conv_and_norm(inside, 1), Clip(0, 6)] if wider != 1 else []
    body = Sequential(
        *first, _conv_and_norm(inside, 3, stride, inside), Clip(0, 6), _conv_and_norm(channels, 1)
    )
    return Residual(body) if stride == 1 and before == channels else body


def mobilenet_v2(shape: Sequence[int] = (3, 224, 224), classes: int = 1000, *, seed: int = 0) -> Network:
    """MobileNetV2.

    >>> len(mobilenet_v2((3, 96, 96), 10).graph.nodes)
    152
    """
    blocks, before = [], 32
    for wider, channels, depth, stride in INVERTED:
        for j in range(depth):
            blocks.append(_inverted_residual(before, channels, wider, 1 if j else stride))
            before = channels
    model = Sequential(
        stem=Sequential(_conv_and_norm(32, 3, 2), Clip(0, 6)),
        features=Sequential(*blocks),
        last=Sequential(_conv_and_norm(1280, 1), Clip(0, 6)),
        classifier=Sequential(GlobalAveragePool(), Linear(classes)),
    )
    return build(model, shape, seed=seed, name="mobilenet_v2")


# -- U-Net: Ronneberger and others, "U-Net: convolutional networks for biomedical image segmentation", 2015 ------------


def _double(channels: int) -> Sequential:
    return Sequential(_conv_and_norm(channels, 3), Relu(), _conv_and_norm(channels, 3), Relu())


def unet(
    shape: Sequence[int] = (1, 128, 128), classes: int = 2, *, width: int = 16, depth: int = 3, seed: int = 0
) -> Network:
    """A U-Net: scores of so many classes for each pixel; `width` channels, twice as many at each of `depth` steps.

    Raises NetworkError where a picture cannot be halved `depth` times.

    >>> import numpy as np
    >>> unet((1, 32, 32))(np.zeros((1, 1, 32, 32), np.float32)).shape
    (1, 2, 32, 32)
    """
    shape, depth = read_shape(shape), require_whole("unet", "depth", depth, least=0)
    if any(size % 2**depth for size in shape[1:]):
        raise NetworkError(
            f"unet: the pictures cannot be halved {depth} times\n  shape = {format_value(shape)}\n"
            f"  multiples of {2**depth} are needed: pad them, or take a smaller depth"
        )

    def level(channels: int, left: int) -> Layer:
        if not left:
            return _double(channels)
        below = Sequential(MaxPool(2), level(2 * channels, left - 1), ConvTranspose(channels, 2, 2))
        return Sequential(_double(channels), Concat(None, below), _double(channels))

    model = Sequential(body=level(width, depth), head=Conv(classes, 1))
    return build(model, shape, seed=seed, name="unet")


MODELS: dict[str, Callable[..., Network]] = {
    each.__name__: each for each in (lenet, resnet20, resnet18, mobilenet_v2, unet)
}
"""By the names that the command line takes."""

__all__ = ["MODELS", "lenet", "mobilenet_v2", "resnet18", "resnet20", "unet"]
