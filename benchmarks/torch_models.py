"""Models of kinds that PyTorch is used for, in torch.nn's own modules, with random weights.

make("resnet50")      the architecture of its paper, with 10 classes; speech and unet3d are of their kinds
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Input:
    """What a model is measured on: one example for inference, a batch for training; both (B, C, *I)."""

    inference: tuple[int, ...]
    training: tuple[int, ...]


INPUTS = {
    "resnet18": Input((1, 3, 224, 224), (16, 3, 112, 112)),
    "resnet50": Input((1, 3, 224, 224), (8, 3, 112, 112)),
    "mobilenet_v2": Input((1, 3, 224, 224), (16, 3, 112, 112)),
    "efficientnet_b0": Input((1, 3, 224, 224), (8, 3, 112, 112)),
    "speech": Input((1, 80, 1000), (16, 80, 400)),
    "unet3d": Input((1, 1, 64, 64, 64), (2, 1, 32, 32, 32)),
}


def make(name: str) -> nn.Module:
    """A model, its weights drawn by seed 0."""
    torch.manual_seed(0)
    return MODELS[name]()


def _joined(
    conv: type[nn.Module], norm: type[nn.Module], act: type[nn.Module] | None
) -> Callable[..., nn.Module]:
    """Convolution, normalisation and activation of a rank, as one module; padding keeps the extent."""

    def block(c: int, o: int, size: int, stride: int = 1, groups: int = 1) -> nn.Module:
        layers: list[nn.Module] = [conv(c, o, size, stride, size // 2, groups=groups, bias=False), norm(o)]
        return nn.Sequential(*layers, *([act()] if act else []))

    return block


_plain = _joined(nn.Conv2d, nn.BatchNorm2d, None)
_relu = _joined(nn.Conv2d, nn.BatchNorm2d, nn.ReLU)
_relu6 = _joined(nn.Conv2d, nn.BatchNorm2d, nn.ReLU6)
_silu = _joined(nn.Conv2d, nn.BatchNorm2d, nn.SiLU)
_sound = _joined(nn.Conv1d, nn.BatchNorm1d, nn.ReLU)
_volume = _joined(nn.Conv3d, nn.BatchNorm3d, nn.ReLU)


class Residual(nn.Module):
    """relu(body(x) + x), or activation-free; x through a 1x1 convolution where its shape changes."""

    def __init__(self, body: nn.Module, short: nn.Module | None = None, act: bool = True) -> None:
        super().__init__()
        self.body, self.short = body, short or nn.Identity()
        self.act = nn.ReLU() if act else nn.Identity()

    def forward(self, x: torch.Tensor) -> Any:
        """x: (B, C, *I) -> (B, O, *P)."""
        return self.act(self.body(x) + self.short(x))


def _resnet(counts: tuple[int, ...], wide: bool) -> nn.Module:
    """He, Zhang, Ren, Sun, 2016: two 3x3 convolutions a block, or with `wide` 1x1, 3x3, 1x1."""
    layers: list[nn.Module] = [_relu(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    c = 64
    for stage, count in enumerate(counts):
        inner = 64 << stage
        o = 4 * inner if wide else inner
        for number in range(count):
            stride = 2 if stage and not number else 1
            body = (
                [_relu(c, inner, 1), _relu(inner, inner, 3, stride), _plain(inner, o, 1)]
                if wide
                else [_relu(c, inner, 3, stride), _plain(inner, o, 3)]
            )
            short = _plain(c, o, 1, stride) if c != o or stride > 1 else None
            layers.append(Residual(nn.Sequential(*body), short))
            c = o
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10))


class Squeeze(nn.Module):
    """x scaled channel by channel by what two 1x1 convolutions make of the channels' means; Hu et al., 2018."""

    def __init__(self, c: int, inner: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, inner, 1), nn.SiLU(), nn.Conv2d(inner, c, 1), nn.Sigmoid()
        )

    def forward(self, x: torch.Tensor) -> Any:
        """x: (B, C, *I) -> the same."""
        return x * self.gate(x)


Stage = tuple[int, int, int, int, int]


def _inverted(
    stages: tuple[Stage, ...], block: Callable[..., nn.Module], last: int, squeezed: bool
) -> nn.Module:
    """Inverted residuals; stages: how many times wider inside, channels, blocks, stride, size of the window."""
    layers: list[nn.Module] = [block(3, 32, 3, 2)]
    c = 32
    for times, o, count, first, size in stages:
        for number in range(count):
            stride, inner = first if not number else 1, times * c
            body = [block(c, inner, 1)] if times > 1 else []
            body.append(block(inner, inner, size, stride, inner))
            if squeezed:
                body.append(Squeeze(inner, max(c // 4, 1)))
            whole = nn.Sequential(*body, _plain(inner, o, 1))
            layers.append(Residual(whole, act=False) if stride == 1 and c == o else whole)
            c = o
    return nn.Sequential(
        *layers, block(c, last, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, 10)
    )


MOBILE: tuple[Stage, ...] = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3), (6, 96, 3, 1, 3), (6, 160, 3, 2, 3),
    (6, 320, 1, 1, 3),
)  # fmt: skip
"""Sandler et al., 2018."""

EFFICIENT: tuple[Stage, ...] = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)  # fmt: skip
"""Tan and Le, 2019, without stochastic depth."""


def _speech() -> nn.Module:
    """80 bands of a spectrogram -> 29 letters; separable, 33 to 75 wide in time, as Kriman et al., 2020."""

    def separable(c: int, o: int, size: int) -> list[nn.Module]:
        return [nn.Conv1d(c, c, size, padding=size // 2, groups=c, bias=False), _sound(c, o, 1)]

    layers: list[nn.Module] = [_sound(80, 256, 33, 2)]
    for c, o, size in ((256, 256, 33), (256, 256, 39), (256, 512, 51), (512, 512, 63), (512, 512, 75)):
        body = nn.Sequential(*separable(c, o, size), *separable(o, o, size))
        layers.append(Residual(body, None if c == o else nn.Conv1d(c, o, 1)))
    return nn.Sequential(*layers, nn.Conv1d(512, 29, 1))


class Unet3d(nn.Module):
    """Two convolutions a level, halved and doubled again; Cicek et al., 2016, with `c` channels at the top."""

    def __init__(self, c: int = 16, levels: int = 3) -> None:
        super().__init__()
        sizes = [c << level for level in range(levels + 1)]
        self.down = nn.ModuleList(
            nn.Sequential(_volume(i, o, 3), _volume(o, o, 3))
            for i, o in zip([1, *sizes], sizes, strict=False)
        )
        self.pool = nn.MaxPool3d(2)
        self.up = nn.ModuleList(nn.ConvTranspose3d(2 * o, o, 2, 2) for o in sizes[-2::-1])
        self.merge = nn.ModuleList(
            nn.Sequential(_volume(2 * o, o, 3), _volume(o, o, 3)) for o in sizes[-2::-1]
        )
        self.head = nn.Conv3d(c, 2, 1)

    def forward(self, x: torch.Tensor) -> Any:
        """x: (B, 1, *I) -> (B, 2, *I); extents are multiples of 8."""
        kept = []
        for number, block in enumerate(self.down):
            x = block(self.pool(x) if number else x)
            kept.append(x)
        for up, merge, other in zip(self.up, self.merge, kept[-2::-1], strict=True):
            x = merge(torch.cat([up(x), other], 1))
        return self.head(x)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: _resnet((2, 2, 2, 2), wide=False),
    "resnet50": lambda: _resnet((3, 4, 6, 3), wide=True),
    "mobilenet_v2": lambda: _inverted(MOBILE, _relu6, 1280, squeezed=False),
    "efficientnet_b0": lambda: _inverted(EFFICIENT, _silu, 1280, squeezed=True),
    "speech": _speech,
    "unet3d": Unet3d,
}

__all__ = ["INPUTS", "MODELS", "Input", "make"]
