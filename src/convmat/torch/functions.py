"""convmat's functions on PyTorch tensors: a tensor in, a tensor out, and its gradient follows.

`api` hands over what it is given when an array is a tensor. Who computes depends on what PyTorch has to see of it:

    nothing                                     the function itself, on the arrays that the tensors are
    a gradient, or a mode that fakes tensors    the operators
    vmap, torch.func, derivatives forwards      PyTorch's own convolutions, for which it has rules
    torch.compile                               any of these, between two graphs
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import torch
from torch._compile import (
    _disable_dynamo,
)  # loads the compiler when it is needed, as torch.compiler.disable does not
from torch.autograd import forward_ad
from torch.nn import functional

from convmat import api, foreign
from convmat.errors import GeometryError, NetworkError, format_value
from convmat.planner import Plan, PlanOptions

from . import operators
from .memory import Array, Tensor, array_of, pool, tensor_of

PYTORCHS_MODES = {"zeros": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
"""What torch.nn.functional.pad calls borders."""


def _between_graphs(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that `torch.compile` leaves as it is: NumPy's arrays are nothing for its graphs."""
    apart = _disable_dynamo(function)

    @wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        return (apart if torch.compiler.is_compiling() else function)(*arguments, **keywords)

    return call


@_between_graphs
def convolve(
    call: str, options: PlanOptions, x: Any, w: Any, bias: Any, residual: Any, out: Any, more: Mapping[str, Any]
) -> Tensor:  # fmt: skip
    """`conv` and `conv_transpose` of tensors. Raises GeometryError and PlanError as they do."""
    if not _is_followed(x, w, bias, residual):
        given = {"bias": bias, "residual": residual, "out": out, **more}
        given = {name: _array(value) for name, value in given.items() if value is not None}
        return _compute(call, options, {"x": x, "w": w}, given, out)
    for name in more:
        raise GeometryError(
            f"{call}: a gradient cannot follow {name}=\n"
            f"  {name} is given, and a tensor requires a gradient or is transformed\n"
            f"  omit {name}=, or give x.detach()"
        )
    if call != "conv" or residual is not None:
        raise _unfollowed_error(call, options, out)
    x, w = torch.as_tensor(x), torch.as_tensor(w)
    single = x.dim() == w.dim() - 1
    images = x.unsqueeze(0) if single else x
    walk = _walk(call, options, images.shape, w, out)
    through = _by_pytorch if _is_transformed() else operators.run_convolve
    y = through(images, w, None if bias is None else torch.as_tensor(bias), *walk)
    return y.squeeze(0) if single else y


def _by_pytorch(x: Tensor, w: Tensor, bias: Tensor | None, *walk: Any) -> Tensor:
    """The convolution as PyTorch computes it, by whose rules transforms go. Raises GeometryError where it has none."""
    how, rank = operators.WindowArguments(*walk), w.dim() - 2
    if rank > 3 or how.mode not in PYTORCHS_MODES:
        raise GeometryError(
            f"conv: PyTorch has no such convolution, by which it would transform this\n"
            f"  {rank} spatial axes, padding_mode = {how.mode!r}\n"
            f"  give one to three axes and one of {', '.join(map(repr, PYTORCHS_MODES))}, or call it outside"
        )
    pads = [n for each in reversed(list(zip(how.lo, how.hi, strict=True))) for n in each]
    wide = functional.pad(x, pads, PYTORCHS_MODES[how.mode]) if any(pads) else x
    own: Tensor = getattr(functional, f"conv{rank}d")(
        wide, w, bias, tuple(how.stride), 0, tuple(how.dilation), how.groups
    )
    return own


@_between_graphs
def input_grad(call: str, options: PlanOptions, dy: Any, w: Any, shape: tuple[int, ...], out: Any) -> Tensor:
    """`conv_input_grad` of tensors. Raises GeometryError and PlanError as it does."""
    if not _is_followed(dy, w):
        return _compute(call, options, {"dy": dy, "w": w, "shape": shape}, {}, out)
    _refuse_transforms(call)
    dy, w = torch.as_tensor(dy), torch.as_tensor(w)
    return operators.run_transposed(dy, w.conj(), list(shape[2:]), *_walk(call, options, shape, w, out))


@_between_graphs
def weight_grad(call: str, options: PlanOptions, x: Any, dy: Any, shape: tuple[int, ...], out: Any) -> Tensor:
    """`conv_weight_grad` of tensors. Raises GeometryError and PlanError as it does."""
    if not _is_followed(x, dy):
        return _compute(call, options, {"x": x, "dy": dy, "shape": shape}, {}, out)
    _refuse_transforms(call)
    x, dy = torch.as_tensor(x), torch.as_tensor(dy)
    walk = _walk(call, options, x.shape, torch.empty(shape, dtype=x.dtype), out)
    return operators.run_weight_gradient(x, dy, list(shape[2:]), *walk)


@_between_graphs
def grads(call: str, options: PlanOptions, x: Any, w: Any, dy: Any) -> api.ConvGrads:
    """`conv_grads` of tensors. Raises GeometryError and PlanError as it does."""
    if not _is_followed(x, w, dy):
        made: api.ConvGrads = _compute(call, options, {"x": x, "w": w, "dy": dy}, {}, None)
        return made
    x, w, dy = map(torch.as_tensor, (x, w, dy))
    dx = input_grad("conv_input_grad", options, dy, w, tuple(x.shape), None)
    dw = weight_grad("conv_weight_grad", options, x, dy, tuple(w.shape), None)
    found = dx, dw, dy.sum([a for a in range(dy.dim()) if a != 1])
    return api.ConvGrads(*found)


@_between_graphs
def unroll(call: str, x: Any, *rest: Any, **keywords: Any) -> Tensor:
    """`im2col` and `col2im` of a tensor, through which no gradient goes. Raises GeometryError."""
    if _is_followed(x):
        raise GeometryError(
            f"{call}: a gradient cannot follow this\n  the tensor requires one, or is transformed\n"
            "  use torch.nn.functional.unfold and fold, or give it without its gradient, x.detach()"
        )
    pool.follow()
    return tensor_of(getattr(api, call)(array_of(x), *rest, **keywords))


def plan(options: PlanOptions, x: Tensor, w: tuple[int, ...]) -> Plan:
    """`plan` of a tensor in the place of its shape."""
    return api.plan(tuple(x.shape), w, dtype=array_of(x).dtype, **foreign.keywords_of("plan", options))


@_between_graphs
def run(network: Any, x: Any) -> Any:
    """`network(x)` of tensors, a `convmat.Network`: its outputs as tensors. Raises NetworkError.

    Shapes and element types are the network's; no gradient goes through it.
    """
    given = dict(x) if isinstance(x, Mapping) else {"": x}
    if _is_followed(*given.values()):
        raise NetworkError(
            "call: a gradient cannot follow a network\n  its input requires one\n"
            "  give x.detach(), or train the network itself: net.trainer(...)"
        )
    pool.follow()
    arrays = {name: _array(value) for name, value in given.items()}
    return foreign.give_values(tensor_of, network(arrays if isinstance(x, Mapping) else arrays[""]))


def _is_transformed() -> bool:
    """Whether a transform of torch.func, or forward_ad, follows what is computed."""
    return bool(torch._C._functorch.maybe_current_level()) or forward_ad._current_level >= 0


def _is_followed(*operands: Any) -> bool:
    """Whether PyTorch wants to know how a result came about."""
    tensors = [each for each in operands if isinstance(each, torch.Tensor)]
    if _is_transformed() or torch._C._len_torch_dispatch_stack():
        return bool(tensors)
    return torch.is_grad_enabled() and any(each.requires_grad for each in tensors)


def _refuse_transforms(call: str) -> None:
    """GeometryError where a transform follows, for which there is no rule."""
    if _is_transformed():
        raise GeometryError(
            f"{call}: torch.func and forward_ad have no rule for this\n  a transform follows the tensors\n"
            "  call it outside of the transform, or transform conv itself, of which this is the gradient"
        )


def _array(value: Any) -> Array | Any:
    return array_of(value) if isinstance(value, torch.Tensor) else value


def _compute(
    call: str, options: PlanOptions, operands: Mapping[str, Any], given: dict[str, Any], out: Any
) -> Any:
    """What the function itself gives for these arrays, as a tensor over the same memory; `out`, where that is given."""
    pool.follow()
    exchange = foreign.Exchange(lambda call, name, value: _array(value), tensor_of)
    more = given if out is None else {**given, "out": _array(out)}
    found = foreign.compute(exchange, call, options, operands, more)
    return found if out is None else out


def _walk(call: str, options: PlanOptions, x: Any, w: Tensor, out: Any) -> operators.WindowArguments:
    """How the window walks over an input of shape x, once it is checked. Raises GeometryError and PlanError."""
    if out is not None or options.activation is not None or options.layout != "NCHW":
        raise _unfollowed_error(call, options, out)
    how = {
        name: getattr(options, name) for name in ("stride", "padding", "dilation", "groups", "padding_mode")
    }
    dtype = str(w.dtype).removeprefix("torch.")
    problem = api.plan(tuple(x), tuple(w.shape), dtype=dtype, **how).problem
    g, pad = problem.geometry, problem.pad
    lo, hi, mode = (g.lo, g.hi, "zeros") if pad is None else (pad.lo, pad.hi, pad.mode)
    return operators.WindowArguments(list(g.s), list(lo), list(hi), list(g.d), g.G, mode)


def _unfollowed_error(call: str, options: PlanOptions, out: Any) -> GeometryError:
    return GeometryError(
        f"{call}: a gradient cannot follow this\n"
        f"  activation = {format_value(options.activation)}, layout = {options.layout!r}, out is "
        f"{'given' if out is not None else 'not given'}; a tensor requires a gradient or is transformed\n"
        "  use conv without activation, residual, layout and out, convmat.torch.ConvTranspose2d, or x.detach()"
    )
