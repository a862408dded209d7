"""A builder of graphs and their first weights, for networks that no file has.

    net = nn.build(nn.Sequential(nn.Conv(16, 5), nn.Relu(), nn.MaxPool(2), nn.Flatten(), nn.Linear(10)), (1, 28, 28))

What comes out is a Network like any other; nothing runs here.
"""

from __future__ import annotations

from .build import Builder, Layer, build
from .layers import (
    AveragePool,
    BatchNorm,
    Clip,
    Concat,
    Conv,
    ConvTranspose,
    Dropout,
    Flatten,
    Gelu,
    GlobalAveragePool,
    HardSwish,
    LeakyRelu,
    Linear,
    MaxPool,
    Relu,
    Residual,
    Sequential,
    Sigmoid,
    Silu,
    Tanh,
    Upsample,
)
from .models import MODELS, lenet, mobilenet_v2, resnet18, resnet20, unet

__all__ = [
    "MODELS",
    "AveragePool",
    "BatchNorm",
    "Builder",
    "Clip",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Dropout",
    "Flatten",
    "Gelu",
    "GlobalAveragePool",
    "HardSwish",
    "Layer",
    "LeakyRelu",
    "Linear",
    "MaxPool",
    "Relu",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Silu",
    "Tanh",
    "Upsample",
    "build",
    "lenet",
    "mobilenet_v2",
    "resnet18",
    "resnet20",
    "unet",
]
