"""What other people reported of PyTorch's convolutions on the CPU: the right values, here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import convmat.torch as ours
from convmat.engine import thread_pool

pytestmark = pytest.mark.outside

LAST = torch.channels_last


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    yield
    thread_pool.use_team(None)


ORDERS: dict[str, Callable[[Any], Any]] = {
    "channels last": lambda w: w.contiguous(memory_format=LAST),
    "permuted": lambda w: w.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1),
    "a part of another": lambda w: torch.stack([w, w], -1)[..., 0],
    "turned": lambda w: w.flip(2).flip(2).transpose(2, 3).contiguous().transpose(2, 3),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", ["Conv2d", "ConvTranspose2d"])
def test_weights_in_any_order_of_memory(
    order: str, channels: int, last: bool, training: bool, kind: str
) -> None:
    """pytorch#82060, #99519, #55781: weights with their channels last, or permuted, gave other numbers."""
    x = torch.randn(2, channels, 9, 10, dtype=torch.float64)
    plain = getattr(nn, kind)(channels, 8, 3, dtype=torch.float64)
    wanted = plain(x)
    gradient = torch.autograd.grad(wanted.square().sum(), plain.weight)[0]
    made = getattr(ours, kind)(channels, 8, 3, dtype=torch.float64).train(training)
    made.load_state_dict(plain.state_dict())
    made.weight = nn.Parameter(ORDERS[order](plain.weight.detach()))
    given = x.contiguous(memory_format=LAST) if last else x
    with torch.no_grad():
        torch.testing.assert_close(made(given), wanted.detach())
    found = made(given)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found.square().sum(), made.weight)[0], gradient)


@pytest.mark.parametrize("shape", [(2, 5, 5), (2, 3, 5, 5), (0, 3, 5, 5)], ids=str)
def test_a_gradient_of_a_sum_has_no_elements_of_its_own(shape: tuple[int, ...]) -> None:
    """What `sum().backward()` hands back is one number, shown many times: strides of 0."""
    layer = ours.Conv2d(shape[-3], 4, 3, dtype=torch.float64)
    theirs = nn.Conv2d(shape[-3], 4, 3, dtype=torch.float64)
    theirs.load_state_dict(layer.state_dict())
    x = torch.randn(shape, dtype=torch.float64)
    for each in (layer, theirs):
        each(x).sum().backward()
    for a, b in zip(layer.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
