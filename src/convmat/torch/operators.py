"""Three operators that PyTorch knows, and their gradients in terms of each other.

    y  = convolve(x, w)                     dx = transposed(dy, conj w)        dw = weight_gradient(x, dy)
    x' = transposed(y, w)                   dy = convolve(dx', conj w)         dw = conj(weight_gradient(dx', y))
    w' = weight_gradient(x, dy)             dx = transposed(dy, conj dw')      ddy = convolve(x, dw')

`transposed` is the input gradient of a convolution, and so a transposed convolution; the three are closed under
differentiation, so gradients of gradients need nothing more. Each has a shape rule (`register_fake`), which
`torch.compile` and `torch.export` ask. Padding is (lo, hi) for each axis in `lo` and `hi`; I are spatial extents of x.

The way to an operator through PyTorch's dispatcher and back takes a tenth of a millisecond a layer and step. Where
eager autograd alone follows, `run_convolve` and its like take the shorter one of an autograd.Function, to the same
formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from types import new_class
from typing import Any, NamedTuple

import torch

from convmat import api

from .following import is_eager, is_plain
from .memory import CHANNELS_LAST, Tensor, array_of, channels_last, from_layout, pool, tensor_of, to_layout


class WindowArguments(NamedTuple):
    """How a window walks over the input: the operators' arguments behind the tensors, in their order."""

    stride: list[int]
    lo: list[int]
    hi: list[int]
    dilation: list[int]
    groups: int
    mode: str

    @property
    def keywords(self) -> dict[str, Any]:
        """The same as keywords of convmat's functions."""
        return {
            "stride": tuple(self.stride),
            "padding": tuple(zip(self.lo, self.hi, strict=True)),
            "dilation": tuple(self.dilation),
            "groups": self.groups,
            "padding_mode": self.mode,
        }

    def outputs(self, I: Any, F: Any) -> list[Any]:
        """Output extents: P = (lo + I + hi - d*(F-1) - 1) // s + 1; symbols where `torch.compile` has symbols."""
        each = zip(I, F, self.lo, self.hi, self.stride, self.dilation, strict=True)
        return [(lo + i + hi - d * (f - 1) - 1) // s + 1 for i, f, lo, hi, s, d in each]


_WALK = "SymInt[] stride, SymInt[] lo, SymInt[] hi, SymInt[] dilation, SymInt groups, str mode"


# -- what they compute, on plain tensors -------------------------------------------------------------------------------


def compute(x: Tensor, w: Tensor, bias: Tensor | None, *walk: Any) -> Tensor:
    """x: (B, C, *I), w: (O, C//G, *F), bias: (O,) -> (B, O, *P), in the memory format of x."""
    pool.follow()
    last = channels_last(x)
    found = api.conv(
        to_layout(x, last), array_of(w), None if bias is None else array_of(bias),
        layout="NHWC" if last else "NCHW", **WindowArguments(*walk).keywords,
    )  # fmt: skip
    return from_layout(found, last)


def compute_transposed(y: Tensor, w: Tensor, I: Any, *walk: Any) -> Tensor:
    """y: (B, O, *P), w: (O, C//G, *F) -> (B, C, *I), in the memory format of y: the adjoint, w not conjugated."""
    pool.follow()
    last, how = channels_last(y), WindowArguments(*walk)
    C = w.shape[1] * how.groups
    shape = (y.shape[0], *I, C) if last else (y.shape[0], C, *I)
    found = api.conv_input_grad(
        to_layout(y, last), array_of(w.conj()), shape, layout="NHWC" if last else "NCHW", **how.keywords
    )
    return from_layout(found, last)


def compute_weight_gradient(x: Tensor, dy: Tensor, F: Any, *walk: Any) -> Tensor:
    """x: (B, C, *I), dy: (B, O, *P) -> (O, C//G, *F); both as they lie where they lie alike."""
    pool.follow()
    last, how = channels_last(x) and channels_last(dy), WindowArguments(*walk)
    found = api.conv_weight_grad(
        to_layout(x, last), to_layout(dy, last), (dy.shape[1], x.shape[1] // how.groups, *F),
        layout="NHWC" if last else "NCHW", **how.keywords,
    )  # fmt: skip
    return tensor_of(found)


# -- the operators -----------------------------------------------------------------------------------------------------

convolve = torch.library.custom_op(
    "convmat::convolve", compute, mutates_args=(), device_types="cpu",
    schema=f"(Tensor x, Tensor w, Tensor? bias, {_WALK}) -> Tensor",
)  # fmt: skip
transposed = torch.library.custom_op(
    "convmat::transposed", compute_transposed, mutates_args=(), device_types="cpu",
    schema=f"(Tensor y, Tensor w, SymInt[] I, {_WALK}) -> Tensor",
)  # fmt: skip
weight_gradient = torch.library.custom_op(
    "convmat::weight_gradient", compute_weight_gradient, mutates_args=(), device_types="cpu",
    schema=f"(Tensor x, Tensor dy, SymInt[] F, {_WALK}) -> Tensor",
)  # fmt: skip


def _like(tensor: Tensor, shape: list[Any]) -> Tensor:
    """An empty tensor of a shape, its channels where the tensor has its own."""
    form = CHANNELS_LAST[tensor.dim()] if channels_last(tensor) else torch.contiguous_format
    return torch.empty(shape, dtype=tensor.dtype, device=tensor.device, memory_format=form)


@convolve.register_fake  # type: ignore[untyped-decorator,unused-ignore]
def _convolve_shape(x: Tensor, w: Tensor, bias: Tensor | None, *walk: Any) -> Tensor:
    return _like(x, [x.shape[0], w.shape[0], *WindowArguments(*walk).outputs(x.shape[2:], w.shape[2:])])


@transposed.register_fake  # type: ignore[untyped-decorator,unused-ignore]
def _transpose_shape(y: Tensor, w: Tensor, I: Any, *walk: Any) -> Tensor:
    return _like(y, [y.shape[0], w.shape[1] * WindowArguments(*walk).groups, *I])


@weight_gradient.register_fake  # type: ignore[untyped-decorator,unused-ignore]
def _weight_gradient_shape(x: Tensor, dy: Tensor, F: Any, *walk: Any) -> Tensor:
    return torch.empty(
        [dy.shape[1], x.shape[1] // WindowArguments(*walk).groups, *F], dtype=x.dtype, device=x.device
    )


# -- their gradients ---------------------------------------------------------------------------------------------------


def _make_function(compute: Callable[..., Tensor], gradient: Callable[..., Any]) -> Any:
    """The autograd.Function of a computation."""

    def forward(ctx: Any, *inputs: Any) -> Tensor:
        _keep(ctx, inputs)
        return compute(*inputs)

    methods = {"forward": staticmethod(forward), "backward": staticmethod(gradient)}
    return new_class(
        compute.__name__, (torch.autograd.Function,), exec_body=lambda names: names.update(methods)
    )


class OperatorWay:
    """One of the three computations on its way: at once, as a Function of eager autograd, or as an operator.

    It is called with what its operator is called with.
    """

    def __init__(self, compute: Callable[..., Tensor], operator: Any, gradient: Callable[..., Any]) -> None:
        self._compute, self._operator = compute, operator
        self._function = _make_function(compute, gradient)
        operator.register_autograd(gradient, setup_context=_keep)

    def __call__(self, first: Tensor, second: Tensor, third: Any, *walk: Any) -> Tensor:
        """The tensor that is computed of these."""
        tensors = (first, second, third if isinstance(third, torch.Tensor) else None)
        if is_plain(*tensors):
            return self._compute(first, second, third, *walk)
        call = self._function.apply if is_eager(*tensors) else self._operator
        found: Tensor = call(first, second, third, *walk)
        return found


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor | None = None) -> None:
    """What a gradient needs: both tensors, and the walk."""
    first, second, _, *walk = inputs
    ctx.save_for_backward(first, second)
    ctx.walk = walk


def _convolve_gradient(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
    (x, w), walk, needs = ctx.saved_tensors, ctx.walk, ctx.needs_input_grad
    dx = run_transposed(dy, w.conj(), x.shape[2:], *walk) if needs[0] else None
    dw = run_weight_gradient(x, dy, w.shape[2:], *walk) if needs[1] else None
    db = dy.sum([0, *range(2, dy.dim())]) if needs[2] else None
    return dx, dw, db, *(None,) * len(walk)


def _transpose_gradient(ctx: Any, dx: Tensor) -> tuple[Any, ...]:
    (y, w), walk, needs = ctx.saved_tensors, ctx.walk, ctx.needs_input_grad
    dy = run_convolve(dx, w.conj(), None, *walk) if needs[0] else None
    dw = run_weight_gradient(dx, y, w.shape[2:], *walk).conj() if needs[1] else None
    return dy, dw, None, *(None,) * len(walk)


def _weight_gradient_gradient(ctx: Any, dw: Tensor) -> tuple[Any, ...]:
    (x, dy), walk, needs = ctx.saved_tensors, ctx.walk, ctx.needs_input_grad
    dx = run_transposed(dy, dw.conj(), x.shape[2:], *walk) if needs[0] else None
    ddy = run_convolve(x, dw, None, *walk) if needs[1] else None
    return dx, ddy, None, *(None,) * len(walk)


def _borrowed_gradient(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
    (x, w), walk, needs = ctx.saved_tensors, ctx.walk, ctx.needs_input_grad
    how = WindowArguments(*walk)
    dw = torch.ops.aten.convolution_backward(
        dy, x, w, None, how.stride, how.lo, how.dilation, False, [0] * len(how.lo), how.groups, (False, True, False)
    )[1] if needs[1] else None  # fmt: skip
    dx = run_transposed(dy, w.conj(), x.shape[2:], *walk) if needs[0] else None
    db = dy.sum([0, *range(2, dy.dim())]) if needs[2] else None
    return dx, dw, db, *(None,) * len(walk)


_borrowing = _make_function(compute, _borrowed_gradient)


def run_convolve_borrowing(x: Tensor, w: Tensor, bias: Tensor | None, *walk: Any) -> Tensor:
    """`run_convolve` whose weight gradient is PyTorch's where eager autograd follows, and PyTorch pads alike."""
    how = WindowArguments(*walk)
    if how.lo == how.hi and how.mode == "zeros" and is_eager(x, w, bias) and not is_plain(x, w, bias):
        found: Tensor = _borrowing.apply(x, w, bias, *walk)
        return found
    return run_convolve(x, w, bias, *walk)


run_convolve = OperatorWay(compute, convolve, _convolve_gradient)
run_transposed = OperatorWay(compute_transposed, transposed, _transpose_gradient)
run_weight_gradient = OperatorWay(compute_weight_gradient, weight_gradient, _weight_gradient_gradient)

for _each in (convolve, transposed):
    _each.register_autocast("cpu", torch.bfloat16)
