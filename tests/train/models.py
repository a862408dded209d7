"""Networks that several tests train."""

from __future__ import annotations

from typing import Any

from convmat import nn, train


def normalised(**words: Any) -> train.Trainer:
    """A trainer of layers with normalisation, a residual and dropout, for images of 8 by 8."""
    body = nn.Sequential(nn.Conv(4, 3, padding=1, bias=False), nn.BatchNorm(), nn.Relu())
    model = nn.Sequential(
        stem=nn.Sequential(nn.Conv(4, 3), nn.BatchNorm(), nn.Relu()),
        block=nn.Residual(body),
        head=nn.Sequential(nn.Dropout(0.2), nn.GlobalAveragePool(), nn.Linear(3)),
    )
    made: train.Trainer = nn.build(model, (1, 8, 8)).trainer(**words)
    return made
