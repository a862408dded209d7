"""Models that were fused, and then changed or called in another way: they answer as PyTorch's own do, always."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import convmat.torch as ours
from convmat.engine import thread_pool

pytestmark = pytest.mark.outside


@pytest.fixture(autouse=True)
def all_fused(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever was measured: PyTorch takes a second, each other way less than the one before it."""

    def seconds(calls: Any) -> list[float]:
        made = []
        for call in calls:
            call()
            count.append(0)
            made.append(1 / len(count))
        return made

    count: list[int] = []
    monkeypatch.setattr(sys.modules["convmat.torch.accelerate"], "_seconds", seconds)
    yield
    thread_pool.use_team(None)


class Scaled(nn.Module):
    """A model with attributes, a parameter and a part of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.head, self.scale, self.by = nn.Conv2d(4, 4, 1), nn.Parameter(torch.ones(1)), 1.0
        self.drop = Dropped()

    def forward(self, x: Any) -> Any:
        return self.drop(self.head(self.act(self.norm(self.conv(x)))) * self.scale * self.by)


class Dropped(nn.Module):
    """Dropout as a function, which a trace sees in one mode alone; without random numbers."""

    def forward(self, x: Any) -> Any:
        return nn.functional.dropout(x, 1.0, training=self.training)


class Summed(nn.Module):
    """A convolution with something added to it."""

    def __init__(self, add: Callable[[Any, Any, Any], Any]) -> None:
        super().__init__()
        self.conv, self.add, self.relu = nn.Conv2d(3, 3, 3, padding=1), add, nn.ReLU(inplace=True)

    def forward(self, x: Any, y: Any = None) -> Any:
        return torch.relu(self.add(self, x, y))


def fused(model: nn.Module, *example: Any, at_least: int = 1) -> tuple[Any, Any]:
    """The accelerated model, and a copy of PyTorch's."""
    model = model.eval()
    theirs = copy.deepcopy(model)
    assert ours.accelerate(model, *example).fused >= at_least
    return model, theirs


def same(model: Any, theirs: Any, *given: Any) -> Any:
    found, wanted = model(*given), theirs(*given)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    return found


def test_gradients_of_parameters_in_evaluation_mode() -> None:
    """As of normalisation that is frozen: no call of a fused model may lose them."""
    x = torch.randn(2, 3, 6, 6)
    model, theirs = fused(Scaled(), x)
    for each in (model, theirs):
        each(x).square().sum().backward()
    for mine, other in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-3)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "another module": lambda model: setattr(model, "head", nn.Conv2d(4, 2, 1, bias=False)),
    "another activation": lambda model: setattr(model, "act", nn.Sigmoid()),
    "another activation's number": lambda model: setattr(model.norm, "eps", 1.0),
    "another stride": lambda model: setattr(model.conv, "stride", (2, 2)),
    "a stride for all axes": lambda model: setattr(model.conv, "stride", 2),
    "another padding": lambda model: setattr(model.conv, "padding", (3, 2)),
    "a padding for all axes": lambda model: setattr(model.conv, "padding", 2),
    "a padding by its name": lambda model: setattr(model.conv, "padding", "valid"),
    "another dilation": lambda model: model.conv.__dict__.update(padding="same", dilation=2),
    "another number": lambda model: setattr(model, "by", 3.0),
    "another parameter": lambda model: setattr(model, "scale", nn.Parameter(torch.full((1,), 2.0))),
    "assigned parameters": lambda model: model.load_state_dict(
        {name: value * 0 + 1 for name, value in model.state_dict().items()}, assign=True
    ),
    "a part in training mode": lambda model: model.drop.train(),
    "normalisation in training mode": lambda model: model.norm.train(),
    "weight_norm": lambda model: setattr(
        nn.utils.parametrizations.weight_norm(model.conv), "weight", torch.ones(4, 3, 3, 3)
    ),
    "old weight_norm": lambda model: nn.utils.weight_norm(model.conv).weight_g.data.mul_(2),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_after_a_model_was_accelerated_is_followed(change: str) -> None:
    x = torch.randn(2, 3, 6, 6)
    model, theirs = fused(Scaled(), x)
    with torch.no_grad():
        before = same(model, theirs, x)
        for each in (model, theirs):
            torch.manual_seed(0)
            CHANGES[change](each)
        found = same(model, theirs, x)
    with torch.inference_mode():
        same(model, theirs, x)
    assert found.shape != before.shape or not torch.allclose(found, before)


def test_hooks_of_all_modules_are_called() -> None:
    x, seen = torch.randn(2, 3, 6, 6), []

    def note(module: Any, given: Any, result: Any) -> None:
        seen.append(type(module).__bases__[-1])

    model, theirs = fused(Scaled(), x)
    handles = [each.register_forward_hook(note) for part in (model, theirs) for each in part.children()]
    with torch.no_grad():
        model(x)
        assert len(seen) == 5
        theirs(x)
        assert len(seen) == 10
        for each in handles:
            each.remove()
        same(model, theirs, x)
    assert len(seen) == 10
    handle = nn.modules.module.register_module_forward_hook(note)
    with torch.no_grad():
        model(x)
    handle.remove()
    assert len(seen) == 16


@pytest.mark.parametrize(
    "given",
    [
        torch.randn(3, 6, 6), torch.randn(2, 3, 6, 6).double(), torch.randn(2, 4, 6, 6), torch.randn(6),
        torch.randn(2, 3, 0, 6), torch.zeros(0, 3, 6, 6), torch.empty(2, 3, 6, 6, device="meta"),
    ],
    ids=lambda x: f"{x.device}-{list(x.shape)}-{x.dtype}",
)  # fmt: skip
def test_other_inputs_give_or_refuse_what_pytorch_does(given: Any) -> None:
    model, theirs = fused(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), torch.randn(2, 3, 6, 6))

    def answer(call: Any) -> Any:
        try:
            return call(given)
        except Exception as error:
            return type(error), str(error)

    with torch.no_grad():
        found, wanted = answer(model), answer(theirs)
    if isinstance(wanted, tuple):
        assert found == wanted
    else:
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def after(x: Any) -> Any:
    """A value of the model's own, which may be written to."""
    return x * 1


SUMS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "broadcast": lambda self, x, y: self.conv(x) + y,
    "of another type": lambda self, x, y: self.conv(x) + y.double(),
    "written while it waits": lambda self, x, y: (lambda kept, made: made + self.relu(kept))(
        *(lambda kept: (kept, self.conv(kept)))(after(x))
    ),
    "into what is used again": lambda self, x, y: (lambda kept: kept.add_(self.conv(x)) * kept)(after(x)),
    "into an argument": lambda self, x, y: x.add_(self.conv(x)),
}


@pytest.mark.parametrize("kind", SUMS)
def test_sums_that_are_no_epilogue(kind: str) -> None:
    x, y = torch.randn(2, 3, 6, 6), torch.randn(2, 3, 6, 6)
    model = Summed(SUMS[kind]).eval()
    theirs = copy.deepcopy(model)
    ours.accelerate(model, x.clone(), y)
    for other in (y, y[:1], y[:, :1]):
        mine, given = x.clone(), x.clone()
        with torch.no_grad():
            torch.testing.assert_close(model(mine, other), theirs(given, other), rtol=1e-4, atol=1e-4)
        assert torch.allclose(mine, given, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", ["Conv2d", "ConvTranspose2d"])
def test_autocast_gives_the_type_that_it_casts_to(kind: str, dtype: Any) -> None:
    made, x = getattr(ours, kind)(3, 4, 3), torch.randn(2, 3, 6, 6)
    theirs = getattr(nn, kind)(3, 4, 3)
    theirs.load_state_dict(made.state_dict())
    with torch.autocast("cpu", dtype=dtype):
        found, wanted = made(x), theirs(x)
    assert found.dtype == wanted.dtype == dtype
    torch.testing.assert_close(found, wanted, rtol=0.02, atol=0.02)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert made.double()(x.double()).dtype == theirs.double()(x.double()).dtype


@pytest.mark.filterwarnings("ignore")
def test_derivatives_forwards_are_pytorchs() -> None:
    from torch.autograd import forward_ad

    made, x, tangent = ours.Conv2d(3, 4, 3), torch.randn(2, 3, 6, 6), torch.randn(2, 3, 6, 6)
    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(made(forward_ad.make_dual(x, tangent))).tangent
    wanted = nn.functional.conv2d(tangent, made.weight)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
