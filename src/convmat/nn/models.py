"""Networks that everybody knows, a screen each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..network import Network
from .build import build
from .layers import Conv, Flatten, Linear, MaxPool, Relu, Sequential


def lenet(shape: Sequence[int] = (1, 28, 28), classes: int = 10, *, seed: int = 0) -> Network:
    """LeNet with 16 and 32 channels: two 5x5 convolutions with pools, two dense layers.

    LeCun and others, "Gradient-based learning applied to document recognition", 1998.

    >>> lenet()
    <Network x: float32 batchx1x28x28 -> classifier.2.gemm.10: 10 nodes>
    """
    features = Sequential(
        Conv(16, 5, init="he"), Relu(), MaxPool(2), Conv(32, 5, init="he"), Relu(), MaxPool(2)
    )
    classifier = Sequential(Linear(128, init="he"), Relu(), Linear(classes))
    model = Sequential(features=features, flat=Flatten(), classifier=classifier)
    return build(model, shape, seed=seed, name="lenet")


MODELS: dict[str, Callable[..., Network]] = {"lenet": lenet}
"""By the names that the command line takes."""

__all__ = ["MODELS", "lenet"]
