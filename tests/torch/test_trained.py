"""Models that were accelerated for training: normalisation by our kernels, limits in it, and what changes later."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import convmat.torch as ours
from convmat.engine import thread_pool
from convmat.torch import norms
from convmat.torch.fusion import inference_of, training_of
from convmat.torch.modules import BORROWS

pytestmark = pytest.mark.outside


@pytest.fixture(autouse=True)
def all_swapped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever was measured: PyTorch takes a second, each other way less than the one before it."""

    def seconds(calls: Any) -> list[float]:
        for call in calls:
            call()
        return [1 / (1 + number) for number in range(len(calls))]

    monkeypatch.setattr(sys.modules["convmat.torch.accelerate"], "_seconds", seconds)
    yield
    thread_pool.use_team(None)


def own(norm: Any) -> Any:
    """The same module by our kernels."""
    made = copy.deepcopy(norm)
    made.__class__ = norms.NORMS[type(norm)]
    return made


NORMALISED: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "2d": (lambda: nn.BatchNorm2d(3), (4, 3, 5, 6)),
    "1d": (lambda: nn.BatchNorm1d(3, eps=0.1), (4, 3)),
    "1d-length": (lambda: nn.BatchNorm1d(3, momentum=0.3), (2, 3, 7)),
    "3d": (lambda: nn.BatchNorm3d(2, momentum=0.0), (2, 2, 3, 4, 5)),
    "cumulative": (lambda: nn.BatchNorm2d(3, momentum=None), (4, 3, 5, 6)),
    "plain": (lambda: nn.BatchNorm2d(3, affine=False), (4, 3, 5, 6)),
    "untracked": (lambda: nn.BatchNorm2d(3, track_running_stats=False), (4, 3, 5, 6)),
    "channels-last": (lambda: nn.BatchNorm2d(3), (4, 3, 5, 6)),
}


def test_gradients_of_normalisation_several_at_once() -> None:
    """As `torch.autograd.functional.jacobian(vectorize=True)` asks for them."""
    theirs = nn.BatchNorm2d(3).double()
    drawn = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(6, 2, 3, 4, 5, dtype=torch.float64)
    expected, found = (
        torch.autograd.grad(norm(drawn), [drawn, norm.weight], weights, is_grads_batched=True)
        for norm in (theirs, own(theirs))
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", NORMALISED)
@pytest.mark.parametrize("limits", [None, (0.0, 1.5)], ids=str)
def test_normalisation_has_pytorchs_answers_gradients_and_statistics(kind: str, limits: Any) -> None:
    make, shape = NORMALISED[kind]
    theirs = make().double()
    for each in theirs.parameters():
        nn.init.uniform_(each, 0.5, 1.5)
    mine = own(theirs)
    for _ in range(3):
        x = torch.randn(shape, dtype=torch.float64)
        if kind == "channels-last":
            x = x.to(memory_format=torch.channels_last)
        given = [x.clone().requires_grad_() for _ in "ab"]
        wanted = theirs(given[1])
        wanted = wanted if limits is None else wanted.clamp(*limits)
        found = mine.normalise(given[0], limits)
        if kind == "channels-last":
            assert found is None  # which PyTorch computes
            return
        torch.testing.assert_close(found, wanted)
        g = torch.randn_like(wanted)
        left = torch.autograd.grad(wanted, [given[1], *theirs.parameters()], g)
        right = torch.autograd.grad(found, [given[0], *mine.parameters()], g)
        for a, b in zip(right, left, strict=True):
            torch.testing.assert_close(a, b)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(mine.state_dict()[name], value)


@pytest.mark.parametrize("limits", [None, (-0.4, 0.9)], ids=str)
def test_gradients_of_normalisation_and_their_gradients(limits: Any) -> None:
    norm = own(nn.BatchNorm2d(2, dtype=torch.float64))
    x = torch.randn(3, 2, 2, 3, dtype=torch.float64, requires_grad=True)

    def call(x: Any, w: Any, b: Any) -> Any:
        return norms.BatchNormFunction.apply(x, w, b, norm.eps, limits)[0]

    assert torch.autograd.gradcheck(call, (x, norm.weight, norm.bias))
    assert torch.autograd.gradgradcheck(call, (x, norm.weight, norm.bias))


@pytest.mark.parametrize("shape", [(1, 3), (2, 4, 5, 5), (2, 3, 5), (0, 3, 5, 5)], ids=str)
def test_what_normalisation_refuses_is_said_by_pytorch(shape: tuple[int, ...]) -> None:
    norm = nn.BatchNorm1d(3) if len(shape) == 2 else nn.BatchNorm2d(3)

    def answer(call: Any) -> Any:
        try:
            return call(torch.zeros(shape)).shape
        except Exception as error:
            return type(error), str(error)

    assert answer(own(norm)) == answer(norm)


class Blocks(nn.Module):
    """Normalisations with and without limits behind them, and one whose value two read."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.second = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU6(), nn.Conv2d(4, 4, 1))
        self.third, self.act, self.drop = nn.BatchNorm2d(4), nn.Hardtanh(-0.5, 0.7), nn.Dropout(0.5)
        self.by = 1.0

    def forward(self, x: Any) -> Any:
        x = self.relu(self.norm(self.first(x)))
        y = self.third(self.second(x))
        return self.drop(self.act(y) + y * self.by + x)


def step(model: Any, x: Any) -> list[Any]:
    """An answer, the gradients of its square, and the statistics after it."""
    torch.manual_seed(1)
    y = model(x)
    found = torch.autograd.grad(y.square().sum(), list(model.parameters()))
    return [y.detach(), *found, *[each.clone() for each in model.buffers()]]


def same(model: Any, theirs: Any, x: Any) -> None:
    for a, b in zip(step(model, x), step(theirs, x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


TRAINED: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda model: None,
    "an optimiser's step": lambda model: [each.data.mul_(1.5) for each in model.parameters()],
    "a frozen normalisation": lambda model: model.norm.eval(),
    "another module": lambda model: setattr(model, "act", nn.Sigmoid()),
    "another limit": lambda model: setattr(model.act, "max_val", 0.2),
    "another number": lambda model: setattr(model, "by", 3.0),
    "another momentum": lambda model: setattr(model.third, "momentum", 0.9),
    "evaluation": lambda model: model.eval(),
    "evaluation and back": lambda model: model.eval().train(),
}


@pytest.mark.parametrize("change", TRAINED)
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_model_accelerated_for_training_is_trained_alike(change: str, form: Any) -> None:
    theirs = Blocks().train().double()
    x = torch.randn(5, 3, 6, 6, dtype=torch.float64).to(memory_format=form)
    model = copy.deepcopy(theirs)
    report = ours.accelerate(model, x)
    assert report.fused == 2  # the third's value is read twice
    assert [each.borrows for each in report.layers if each.kind == "Conv2d"] == [True] * 3
    assert "swapped, its weight gradient PyTorch's" in str(report)
    assert "3 of 3 convolutions and 3 of 3 normalisations swapped, 2 fused" in str(report)
    same(model, theirs, x)
    for each in (model, theirs):
        TRAINED[change](each)
    same(model, theirs, x)
    same(pickle.loads(pickle.dumps(model)), theirs, x)
    ours.restore(model)
    assert [type(each) for each in model.modules()] == [type(each) for each in theirs.modules()]
    assert not any(BORROWS in vars(each) for each in model.modules())


class Counting(nn.Module):
    """A forward that does more than compute."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu, self.calls = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        self.last = self.relu(self.norm(self.conv(x)))
        return self.last


@pytest.mark.parametrize("training", [True, False])
def test_a_forward_that_does_more_than_compute_goes_on_doing_it(training: bool) -> None:
    model, x = Counting().train(training), torch.randn(2, 3, 6, 6)
    assert ours.accelerate(model, x).fused == 0
    model.calls = 0
    with torch.no_grad():
        model(x)
        assert model.calls == 1
        assert isinstance(model.last, torch.Tensor)
    for trace in (training_of, inference_of):
        assert trace(model, (x,)) is None
        assert model.calls == 1
        assert isinstance(model.last, torch.Tensor)


class Writing(nn.Module):
    """A buffer that a forward writes to, which nothing reads after it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
        self.seen: Any
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Any) -> Any:
        self.seen.add_(1)
        return self.relu(self.norm(self.conv(x)))


@pytest.mark.parametrize("training", [True, False])
def test_a_buffer_that_is_written_and_not_read_is_written(training: bool) -> None:
    model, x = Writing().train(training), torch.randn(2, 3, 6, 6)
    assert ours.accelerate(model, x).fused == 0  # the graph would not write
    assert float(model.seen) == 0
    with torch.no_grad():
        model(x)
    assert float(model.seen) == 1


class Residual(nn.Module):
    """A block whose input, an activation, is added to what it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1), nn.ReLU()

    def forward(self, x: Any) -> Any:
        x = self.relu(self.first(x))
        y = self.second(x)
        y += x
        return self.relu(y)


def test_an_activation_is_a_residual_of_what_follows() -> None:
    theirs, x = Residual().eval(), torch.randn(2, 3, 6, 6)
    model = copy.deepcopy(theirs)
    assert ours.accelerate(model, x).fused == 2
    graph: Any = model.__dict__["_convmat_graph"]
    assert [node.op for node in graph.graph.graph.nodes] == ["placeholder", *["call_module"] * 2, "output"]
    with torch.no_grad():
        torch.testing.assert_close(model(x), theirs(x), rtol=1e-4, atol=1e-4)


PARAMETRISED: dict[str, Callable[[Any], Any]] = {
    "weight_norm": nn.utils.parametrizations.weight_norm,
    "spectral_norm": nn.utils.parametrizations.spectral_norm,
    "old weight_norm": nn.utils.weight_norm,
    "old spectral_norm": nn.utils.spectral_norm,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("kind", PARAMETRISED)
def test_parametrised_layers_are_swapped_and_put_back(kind: str, before: bool, training: bool) -> None:
    def make() -> Any:
        torch.manual_seed(2)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.ConvTranspose2d(4, 3, 2))
        return model.double().train(training)

    def change(model: Any) -> None:
        torch.manual_seed(3)
        PARAMETRISED[kind](model[0])
        PARAMETRISED[kind](model[3])

    model, theirs, x = make(), make(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    change(theirs)
    if before:
        change(model)
    ours.accelerate(model, x)
    if not before:
        change(model)
    assert isinstance(model[0], ours.Conv2d)
    assert isinstance(model[3], ours.ConvTranspose2d)
    for _ in range(2):
        same(model, theirs, x)
        ours.restore(model)
        assert [type(each).__mro__[-4:] for each in model] == [type(each).__mro__[-4:] for each in theirs]
        assert not isinstance(model[0], ours.Conv2d)


def test_a_copy_of_a_parametrised_layer_is_not_swapped_with_it() -> None:
    theirs = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)))
    model = copy.deepcopy(theirs)
    ours.accelerate(model, torch.randn(2, 3, 6, 6))
    assert isinstance(model[0], ours.Conv2d)
    assert not isinstance(theirs[0], ours.Conv2d)
    nn.utils.parametrize.remove_parametrizations(model[0], "weight")
    assert type(model[0]) is ours.Conv2d
    ours.restore(model)
    assert type(model[0]) is nn.Conv2d


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv1d(2, 4, 3, stride=2, padding=1, groups=2),
        lambda: nn.Conv2d(2, 3, (2, 3), dilation=(2, 1), padding="same"),
        lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"),
        lambda: nn.Conv3d(2, 2, 2, bias=False, padding=1),
    ],
)
def test_a_borrowed_weight_gradient_and_its_gradients(make: Callable[[], Any]) -> None:
    layer = make().double()
    x = torch.randn(2, 2, *(4,) * (layer.weight.dim() - 2), dtype=torch.float64, requires_grad=True)
    wanted = torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()])
    layer.__class__ = ours.modules.COUNTERPARTS[type(layer)]
    layer.__dict__[BORROWS] = True
    found = torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()])
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)
    names = [name for name, _ in layer.named_parameters()]

    def call(x: Any, *given: Any) -> Any:
        return layer._conv_forward(x, given[0], given[1] if "bias" in names else None)

    assert torch.autograd.gradcheck(call, (x, *layer.parameters()))
    assert torch.autograd.gradgradcheck(call, (x, *layer.parameters()))
