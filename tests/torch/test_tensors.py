"""PyTorch's tensors in convmat's functions: a tensor out, which gradients and transforms follow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convmat
from convmat.engine import thread_pool

pytestmark = pytest.mark.outside


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    yield
    thread_pool.use_team(None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_tensor_gives_a_tensor_of_its_kind(dtype: Any) -> None:
    x, w = torch.randn(2, 4, 9, 9).to(dtype), torch.randn(6, 4, 3, 3).to(dtype)
    y: Any = convmat.conv(x, w, stride=2, padding=1, activation="relu")
    wanted = nn.functional.conv2d(x.float(), w.float(), stride=2, padding=1).relu()
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), wanted, rtol=0.02, atol=0.02)
    assert convmat.conv_input_grad(y, w, (2, 4, 9, 9), stride=2, padding=1).dtype == dtype
    assert convmat.conv_weight_grad(x, y, (6, 4, 3, 3), stride=2, padding=1).shape == w.shape
    assert convmat.conv_transpose(y, w).shape == (2, 4, 7, 7)
    assert convmat.plan(x, (6, 4, 3, 3)).problem.dtype == str(dtype).removeprefix("torch.")


def test_a_part_that_is_negative_by_a_mark_alone() -> None:
    z, w = torch.randn(2, 4, 9, 9, dtype=torch.complex64), torch.randn(6, 4, 3, 3)
    x = z.conj().imag
    assert x.is_neg()
    torch.testing.assert_close(convmat.conv(x, w), nn.functional.conv2d(x, w), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("followed", [False, True])
def test_all_gradients_of_tensors_are_tensors(followed: bool) -> None:
    x, w, dy = (torch.randn(shape, dtype=torch.float64) for shape in ((2, 4, 9), (6, 4, 3), (2, 6, 5)))
    expected = convmat.conv_grads(x.numpy(), w.numpy(), dy.numpy(), stride=2, padding=1)
    found: Any = convmat.conv_grads(x, w.requires_grad_(followed), dy, stride=2, padding=1)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.detach(), torch.from_numpy(other))
    assert found.x.requires_grad is followed
    half: Any = convmat.conv_grads(*(each.detach().bfloat16() for each in (x, w, dy)), stride=2, padding=1)
    assert [each.dtype for each in half] == [torch.bfloat16] * 3
    assert [each.shape for each in half] == [x.shape, w.shape, (6,)]
    with pytest.raises(convmat.GeometryError, match="conv_grads: dy has another shape than planned"):
        convmat.conv_grads(x.detach(), w.detach(), dy[..., 1:], stride=2, padding=1)


def test_a_gradient_follows_what_is_given_to_conv() -> None:
    x, w = torch.randn(2, 4, 9), torch.randn(6, 4, 3, requires_grad=True)
    y: Any = convmat.conv(x, w, padding="same")
    y.square().sum().backward()
    found, w.grad = w.grad, None
    y = convmat.conv1d(x, w, padding="same")
    y.square().sum().backward()
    assert torch.equal(w.grad, found)
    w.grad = None
    nn.functional.conv1d(x, w, padding="same").square().sum().backward()
    torch.testing.assert_close(found, w.grad, rtol=1e-4, atol=1e-4)
    with pytest.raises(convmat.GeometryError) as error:
        convmat.conv(x, w, activation="relu")
    assert str(error.value) == (
        "conv: a gradient cannot follow this\n"
        "  activation = 'relu', layout = 'NCHW', out is not given; a tensor requires a gradient or is transformed\n"
        "  use conv without activation, residual, layout and out, convmat.torch.ConvTranspose2d, or x.detach()"
    )
    assert convmat.conv(x, w.detach(), activation="relu").min() >= 0


TRANSFORMS: dict[str, Any] = {
    "grad": lambda f, x: torch.func.grad(lambda x: f(x).square().sum())(x),
    "vmap": lambda f, x: torch.func.vmap(f)(x),
    "jvp": lambda f, x: torch.func.jvp(f, (x,), (x.cos(),))[1],
    "jacrev": lambda f, x: torch.func.jacrev(f)(x[:1, :, :4]),
    "compiled": lambda f, x: torch.compile(f, backend="aot_eager")(x),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("transform", [*TRANSFORMS, "forward_ad"])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_transforms_of_functions_go_through_conv(transform: str, mode: str) -> None:
    """A tangent would be lost without a word: values are there, what follows them is not."""
    x, w = torch.randn(3, 2, 7, dtype=torch.float64), torch.randn(4, 2, 3, dtype=torch.float64)
    layer = nn.Conv1d(2, 4, 3, padding=2, padding_mode=mode, bias=False, dtype=torch.float64)
    layer.weight = nn.Parameter(w, requires_grad=False)

    def ours_of(x: Any) -> Any:
        return convmat.conv(x, w, padding=2, padding_mode=mode)

    if transform == "forward_ad":
        with torch.autograd.forward_ad.dual_level():
            given = torch.autograd.forward_ad.make_dual(x, x.cos())
            found, wanted = (
                torch.autograd.forward_ad.unpack_dual(f(given)).tangent for f in (ours_of, layer)
            )
    else:
        found, wanted = (TRANSFORMS[transform](f, x) for f in (ours_of, layer))
    torch.testing.assert_close(found, wanted)


def test_what_no_transform_goes_through_says_so() -> None:
    x, w, dy = torch.randn(1, 2, 7), torch.randn(4, 2, 3), torch.randn(1, 4, 5)
    calls = {
        "conv_input_grad": lambda x: convmat.conv_input_grad(dy * x.sum(), w, (1, 2, 7)),
        "conv_weight_grad": lambda x: convmat.conv_weight_grad(x, dy, (4, 2, 3)),
    }
    for name, call in calls.items():
        with pytest.raises(convmat.GeometryError) as error:
            torch.func.vmap(call)(x)
        assert str(error.value) == (
            f"{name}: torch.func and forward_ad have no rule for this\n  a transform follows the tensors\n"
            "  call it outside of the transform, or transform conv itself, of which this is the gradient"
        )
    with pytest.raises(convmat.GeometryError) as error:
        torch.func.vmap(lambda x: convmat.conv(x, w, padding=1, padding_mode="symmetric"))(x[None])
    assert str(error.value) == (
        "conv: PyTorch has no such convolution, by which it would transform this\n"
        "  1 spatial axes, padding_mode = 'symmetric'\n"
        "  give one to three axes and one of 'zeros', 'reflect', 'edge', 'wrap', or call it outside"
    )


def test_what_conv_takes_of_arrays_it_takes_of_tensors() -> None:
    x, w = torch.randn(2, 3, 9), torch.rand(4, 3, 3)
    x[0, 0, 3] = torch.nan
    y: Any = convmat.conv(x, w, missing="nan")
    torch.testing.assert_close(y, torch.from_numpy(convmat.conv(x.numpy(), w.numpy(), missing="nan")))
    small: Any = convmat.conv(
        torch.ones(1, 1, 5, dtype=torch.int8), torch.ones(1, 1, 2, dtype=torch.int8),
        scale=0.5, x_zero_point=2, w_zero_point=torch.zeros(1, dtype=torch.int8),
    )  # fmt: skip
    torch.testing.assert_close(small, torch.full((1, 1, 4), -1.0))
    with pytest.raises(convmat.GeometryError) as error:
        convmat.conv(x, w.requires_grad_(), missing="nan")
    assert str(error.value) == (
        "conv: a gradient cannot follow missing=\n"
        "  missing is given, and a tensor requires a gradient or is transformed\n"
        "  omit missing=, or give x.detach()"
    )
    assert convmat.conv(x, w.detach(), missing="nan").dtype == torch.float32


def test_columns_of_tensors_are_tensors() -> None:
    x = torch.randn(2, 3, 6, 6)
    columns: Any = convmat.im2col(x, 3)
    torch.testing.assert_close(columns, nn.functional.unfold(x, 3).transpose(0, 1).reshape(27, -1))
    back: Any = convmat.col2im(columns, (2, 3, 6, 6), 3)
    torch.testing.assert_close(back, nn.functional.fold(nn.functional.unfold(x, 3), (6, 6), 3))
    with pytest.raises(convmat.GeometryError) as error:
        convmat.im2col(x.requires_grad_(), 3)
    assert str(error.value) == (
        "im2col: a gradient cannot follow this\n  the tensor requires one, or is transformed\n"
        "  use torch.nn.functional.unfold and fold, or give it without its gradient, x.detach()"
    )
    assert convmat.im2col(x.detach(), 3).shape == (27, 32)


def test_tensors_into_a_network() -> None:
    """As arrays are, and out come tensors; what a network's inputs may not be is said as of arrays."""
    net = convmat.nn.build(convmat.nn.Sequential(convmat.nn.Conv(4, 3)), (3, 8, 8), seed=0)
    x = torch.randn(2, 3, 8, 8)
    wanted = net(x.numpy())
    for given in (x, {net.inputs[0].name: x}):
        found = net(given)
        assert isinstance(found, torch.Tensor)
        np.testing.assert_array_equal(found.numpy(), wanted)
    name = net.outputs[0]
    assert isinstance(net(x, outputs=[name])[name], np.ndarray | torch.Tensor)
    with pytest.raises(convmat.NetworkError) as error:
        net(x.clone().requires_grad_())
    assert str(error.value) == (
        "call: a gradient cannot follow a network\n  its input requires one\n"
        "  give x.detach(), or train the network itself: net.trainer(...)"
    )
    assert torch.equal(net(x.clone().requires_grad_().detach()), torch.from_numpy(wanted))
    with torch.no_grad():
        assert isinstance(net(x.clone().requires_grad_()), torch.Tensor)
    with pytest.raises(convmat.NetworkError, match="give an array of shape"):
        net(torch.zeros(2, 4, 8, 8))
