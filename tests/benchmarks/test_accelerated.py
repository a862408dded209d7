"""Accelerated models beside PyTorch's own: the models, what is compared, the figures."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from benchmarks import accelerated

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="needs PyTorch, of the extra torch")

PARAMETERS = {
    "resnet18": 11_181_642,
    "resnet50": 23_528_522,
    "mobilenet_v2": 2_236_682,
    "efficientnet_b0": 4_020_358,
}
"""Of the papers' networks with 10 classes, as torchvision counts them."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_models_are_those_of_the_papers(name: str) -> None:
    from benchmarks import torch_models

    assert sum(each.numel() for each in torch_models.make(name).parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", ["speech", "unet3d"])
def test_models_of_other_ranks_give_what_they_say(name: str) -> None:
    import torch

    from benchmarks import torch_models

    shape, expected = {"speech": ((2, 80, 40), (2, 29, 20)), "unet3d": ((1, 1, 16, 8, 8), (1, 2, 16, 8, 8))}[
        name
    ]
    with torch.no_grad():
        assert torch_models.make(name).eval()(torch.zeros(shape)).shape == expected


@pytest.mark.parametrize("kind", accelerated.KINDS)
def test_a_small_model_is_measured(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import nn

    from benchmarks import torch_models

    def tiny() -> Any:
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())

    monkeypatch.setitem(torch_models.MODELS, "tiny", tiny)
    monkeypatch.setitem(torch_models.INPUTS, "tiny", torch_models.Input((1, 3, 12, 12), (2, 3, 10, 10)))
    row = accelerated.measure("tiny", kind, rounds=1, compiled=False)
    assert set(row.seconds) == {"convmat", "eager"}
    assert row.layers == 1


def test_answers_and_gradients_that_are_wrong_are_refused() -> None:
    import torch

    one, off = torch.ones(4), torch.ones(4) * 1.01
    assert accelerated.distances([one, one], [one, one]) == (0.0, 0.0)
    answer, gradient = accelerated.distances([one, off, one], [one, one, one])
    assert (answer, round(gradient, 4)) == (0.0, 0.0071)
    accelerated.require_right("same", (0.0, 4e-3), (0.0, 1e-3))
    with pytest.raises(
        ValueError, match=r"^other: the gradient is off by 1\.0e-02, that of eager PyTorch by 1\.0e-03$"
    ):
        accelerated.require_right("other", (0.0, 1e-2), (0.0, 1e-3))
    with pytest.raises(
        ValueError, match=r"^other: the answer is off by 1\.0e-04, that of eager PyTorch by 1\.0e-06$"
    ):
        accelerated.require_right("other", (1e-4, 0.0), (1e-6, 0.0))
