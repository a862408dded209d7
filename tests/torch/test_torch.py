"""convmat inside PyTorch: PyTorch's own sample inputs, gradients of gradients, tracing, copies, whole models."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convmat
import convmat.torch as ours
from convmat.engine import thread_pool
from convmat.torch import operators
from convmat.torch.fusion import inference_of
from convmat.torch.memory import pool

pytestmark = pytest.mark.outside

KINDS = {
    "nn.functional.conv1d": (nn.functional.conv1d, False),
    "nn.functional.conv2d": (nn.functional.conv2d, False),
    "nn.functional.conv3d": (nn.functional.conv3d, False),
    "nn.functional.conv_transpose1d": (nn.functional.conv_transpose1d, True),
    "nn.functional.conv_transpose2d": (nn.functional.conv_transpose2d, True),
    "nn.functional.conv_transpose3d": (nn.functional.conv_transpose3d, True),
}


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """Other tests in this process have our own threads again."""
    yield
    thread_pool.use_team(None)


def module_of(x: Any, w: Any, bias: Any, transposed: bool, how: dict[str, Any]) -> Any:
    """Our module with these weights, of the rank that they have."""
    rank, groups = w.dim() - 2, how.get("groups", 1)
    channels = (w.shape[0], w.shape[1] * groups) if transposed else (w.shape[1] * groups, w.shape[0])
    kind = getattr(ours, f"Conv{'Transpose' if transposed else ''}{rank}d")
    made = kind(*channels, tuple(w.shape[2:]), bias=bias is not None, dtype=w.dtype, **how)
    with torch.no_grad():
        made.weight.copy_(w)
        if bias is not None:
            made.bias.copy_(bias)
    return made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_pytorchs_own_sample_inputs(name: str, dtype: Any) -> None:
    from torch.testing._internal.common_methods_invocations import op_db

    function, transposed = KINDS[name]
    (entry,) = (each for each in op_db if each.name == name and not each.variant_test_name)
    tried = 0
    for sample in entry.sample_inputs("cpu", dtype, requires_grad=True):
        x, (w, *rest) = sample.input, sample.args
        bias = rest[0] if rest else sample.kwargs.get("bias")
        names = ("stride", "padding", "output_padding", "groups", "dilation") if transposed else (
            "stride", "padding", "dilation", "groups")  # fmt: skip
        how = dict(zip(names, rest[1:], strict=False)) | {
            k: v for k, v in sample.kwargs.items() if k != "bias"
        }
        made = module_of(x, w, bias, transposed, how)
        wanted = function(x, w, bias, **how)
        found = made(x)
        narrow = dtype == torch.bfloat16
        # Elements near 0 are what is left of larger terms, which are rounded to 8 bits.
        size = float(wanted.detach().abs().max()) if wanted.numel() else 0.0
        near = {"rtol": 0.05, "atol": 0.05 + size / 100} if narrow else {"rtol": 1e-4, "atol": 1e-4}
        torch.testing.assert_close(found, wanted, **near)
        g = torch.ones_like(wanted)
        left = torch.autograd.grad(wanted, [x, w, *([] if bias is None else [bias])], g)
        right = torch.autograd.grad(found, [x, *made.parameters()], g)
        for a, b in zip(right, left, strict=True):
            torch.testing.assert_close(a, b, **near)
        tried += 1
    assert tried >= 5


@pytest.mark.parametrize(
    ("name", "shape", "how"),
    [
        ("Conv1d", (2, 3, 9), {}),  # has 2 channels
        ("Conv2d", (1, 2, 2, 9), {}),  # narrower than the window
        ("Conv2d", (1, 2, 0, 9), {"padding": 2}),
        ("Conv2d", (1, 2, 9, 9), {"stride": -1}),
        ("Conv2d", (1, 2, 9, 9), {"padding": -1}),
        ("Conv3d", (1, 2, 9, 9, 9), {"dilation": -1}),
        ("Conv2d", (9, 9), {}),
        ("ConvTranspose2d", (1, 3, 9, 9), {}),
        ("ConvTranspose1d", (2, 2, 0), {"stride": 2, "output_padding": 1}),
        ("ConvTranspose1d", (2, 2, 1), {"padding": 4}),
    ],
)
@pytest.mark.parametrize("follow", [False, True])
def test_what_cannot_be_is_refused_as_pytorch_refuses_it(
    name: str, shape: tuple[int, ...], how: dict[str, Any], follow: bool
) -> None:
    x = torch.zeros(shape)
    with torch.set_grad_enabled(follow):
        with pytest.raises(RuntimeError) as refused:
            getattr(nn, name)(2, 4, 3, **how)(x)
        with pytest.raises(RuntimeError) as here:
            getattr(ours, name)(2, 4, 3, **how)(x)
    assert type(here.value) is type(refused.value)
    assert str(here.value) == str(refused.value)


@pytest.mark.parametrize(
    ("made", "shape"),
    [
        (ours.Conv1d(2, 4, 3, stride=2, padding=1, groups=2, dtype=torch.float64), (2, 2, 7)),
        (ours.Conv2d(2, 3, (2, 3), dilation=(2, 1), padding="same", dtype=torch.float64), (1, 2, 5, 4)),
        (ours.Conv2d(2, 2, 3, padding=1, padding_mode="reflect", dtype=torch.float64), (1, 2, 4, 4)),
        (ours.Conv3d(1, 2, 2, bias=False, dtype=torch.float64), (1, 1, 3, 3, 3)),
        (ours.ConvTranspose1d(2, 4, 3, stride=2, output_padding=1, groups=2, dtype=torch.float64), (2, 2, 4)),
        (ours.ConvTranspose2d(2, 3, 2, padding=1, dtype=torch.float64), (1, 2, 3, 3)),
    ],
    ids=str,
)
def test_gradients_and_their_gradients(made: Any, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    parameters = tuple(made.parameters())

    def call(x: Any, *given: Any) -> Any:
        return torch.func.functional_call(
            made, dict(zip(dict(made.named_parameters()), given, strict=True)), (x,)
        )

    assert torch.autograd.gradcheck(call, (x, *parameters))
    assert torch.autograd.gradgradcheck(call, (x, *parameters))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("last", [False, True])
def test_the_operators_keep_pytorchs_rules(last: bool) -> None:
    form = torch.channels_last if last else torch.contiguous_format
    walk = ([2, 1], [1, 0], [0, 2], [1, 2], 2, "zeros")
    x = torch.randn(2, 4, 7, 8).to(memory_format=form).requires_grad_()
    w, bias = torch.randn(6, 2, 3, 2, requires_grad=True), torch.randn(6, requires_grad=True)
    y = operators.convolve(x, w, bias, *walk).detach().requires_grad_()
    assert y.is_contiguous(memory_format=form)
    for operator, given in (
        (operators.convolve, (x, w, bias)),
        (operators.transposed, (y, w, [7, 8])),
        (operators.weight_gradient, (x, y, [3, 2])),
    ):
        assert set(torch.library.opcheck(operator, (*given, *walk)).values()) == {"SUCCESS"}


@pytest.mark.filterwarnings("ignore")
def test_compiling_exporting_and_casting_see_the_operators() -> None:
    made = ours.Conv2d(3, 4, 3, padding=1)
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    compiled = torch.compile(made, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), made(x))
    compiled(x).sum().backward()
    exported = torch.export.export(made, (x.detach(),))
    assert "convmat.convolve" in str(exported.graph)
    torch.testing.assert_close(exported.module()(x), made(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert made(x).dtype == torch.bfloat16


def test_transforms_of_functions_go_through_the_modules() -> None:
    x = torch.randn(3, 2, 6, 6)
    for made in (ours.Conv2d(2, 3, 3), ours.ConvTranspose2d(2, 3, 3, stride=2)):

        def loss(given: Any, one: Any, made: Any = made) -> Any:
            return torch.func.functional_call(made, given, (one[None],)).square().sum()

        given = {name: each.detach() for name, each in made.named_parameters()}
        each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(given, x)
        wanted = torch.autograd.grad(made(x).square().sum(), tuple(made.parameters()))
        for found, sum_of in zip(each.values(), wanted, strict=True):
            torch.testing.assert_close(found.sum(0), sum_of, rtol=1e-4, atol=1e-3)


def test_numbers_for_all_axes_set_anew() -> None:
    mine, theirs = ours.ConvTranspose2d(3, 4, 3), nn.ConvTranspose2d(3, 4, 3)
    theirs.load_state_dict(mine.state_dict())
    for each in (mine, theirs):
        for name, value in {"stride": 2, "padding": (1, 1), "dilation": 2}.items():
            setattr(each, name, value)
    x = torch.randn(2, 3, 6, 7)
    torch.testing.assert_close(mine(x), theirs(x), rtol=1e-4, atol=1e-4)


def test_copies_pickles_and_states_are_those_of_a_module() -> None:
    made, x = ours.ConvTranspose2d(3, 4, 3, stride=2), torch.randn(2, 3, 5, 5)
    theirs = nn.ConvTranspose2d(3, 4, 3, stride=2)
    theirs.load_state_dict(made.state_dict())
    for each in (theirs, copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        torch.testing.assert_close(each(x, output_size=[12, 12]), made(x, output_size=[12, 12]))


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last], ids=str)
def test_packed_weights_follow_every_change_of_the_weights(form: Any) -> None:
    made, x = ours.Conv2d(4, 4, 3).eval().to(memory_format=form), torch.randn(1, 4, 9, 9)
    with torch.no_grad():
        made(x)
        for change in (
            lambda: made.weight.mul_(2),
            lambda: made.weight.data.mul_(3),
            lambda: made.bias.add_(1),
            lambda: made.load_state_dict(nn.Conv2d(4, 4, 3).state_dict()),
            lambda: setattr(made, "weight", nn.Parameter(torch.randn(4, 4, 3, 3))),
        ):
            change()
            wanted = nn.functional.conv2d(x, made.weight, made.bias)
            torch.testing.assert_close(made(x), wanted, rtol=1e-4, atol=1e-4)


class Block(nn.Module):
    """A residual block as torchvision writes them: one activation module used twice, addition in place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in "ab")
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x
        return self.relu(y)


def model_of() -> Any:
    made = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Hardswish(), Block(8), nn.Dropout(), Block(8),
        nn.Conv2d(8, 8, 3, groups=8), nn.SiLU(), nn.ConvTranspose2d(8, 4, 2, stride=2), nn.Flatten(),
    )  # fmt: skip
    for each in made.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.uniform_(each.running_mean)
            nn.init.uniform_(each.running_var, 0.5, 2)
    return made


def swap(model: Any) -> None:
    for each in model.modules():
        each.__class__ = ours.modules.COUNTERPARTS.get(type(each), type(each))


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_fused_model_answers_as_the_model(form: Any) -> None:
    model, x = model_of().eval(), torch.randn(2, 3, 12, 12).to(memory_format=form)
    with torch.no_grad():
        wanted = model(x)
        swap(model)
        torch.testing.assert_close(model(x), wanted, rtol=1e-4, atol=1e-4)
        fused = inference_of(model, (x,))
        assert fused is not None
        assert fused.fused == 6
        torch.testing.assert_close(fused(x), wanted, rtol=1e-4, atol=1e-4)
        model[1].running_mean.add_(1)
        torch.testing.assert_close(fused(x), model(x), rtol=1e-4, atol=1e-4)


def test_accelerate_swaps_what_is_quicker_and_restore_puts_it_back() -> None:
    model, x = model_of().eval(), torch.randn(2, 3, 12, 12)
    names, kinds = list(model.state_dict()), [type(each) for each in model.modules()]
    with torch.no_grad():
        wanted = model(x)
    report = ours.accelerate(model, x)
    assert len(report.layers) == 7
    assert "convolutions swapped" in str(report)
    with torch.no_grad():
        torch.testing.assert_close(model(x), wanted, rtol=1e-4, atol=1e-4)
    assert list(model.state_dict()) == names
    for each in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with torch.no_grad():
            torch.testing.assert_close(each(x), wanted, rtol=1e-4, atol=1e-4)
    ours.restore(model)
    assert [type(each) for each in model.modules()] == kinds


def test_accelerate_leaves_statistics_gradients_and_random_numbers_alone() -> None:
    model, x = model_of().train(), torch.randn(2, 3, 12, 12)
    state, drawn = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    ours.accelerate(model, x)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())
    assert all(each.grad is None for each in model.parameters())
    assert model.training


def test_a_model_without_convolutions_is_refused_with_a_sentence() -> None:
    with pytest.raises(TypeError) as error:
        ours.accelerate(nn.Sequential(nn.Linear(2, 2)), torch.zeros(1, 2))
    assert str(error.value) == (
        "accelerate: the model has no convolution of torch.nn that runs on the CPU\n"
        "  it is a Sequential\n  give a model with Conv1d, Conv2d, Conv3d or their transposes"
    )


def test_pytorchs_number_of_threads_is_followed() -> None:
    before, own = torch.get_num_threads(), convmat.threads()
    try:
        torch.set_num_threads(1)
        convmat.conv(torch.ones(1, 1, 5), torch.ones(1, 1, 3))
        assert convmat.threads() == 1
    finally:
        torch.set_num_threads(before)
        convmat.threads(own)


def test_jobs_on_pytorchs_threads_give_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 32, 30, 30), np.float32), rng.standard_normal((48, 32, 3, 3), np.float32)
    wanted = convmat.conv(x, w, exact=True)
    pool.enter()
    assert thread_pool._team is not None
    assert np.array_equal(convmat.conv(x, w, exact=True), wanted)
