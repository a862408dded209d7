"""convmat's functions on PyTorch tensors: a tensor in, a tensor out, and its gradient follows.

`api` hands over what it is given when an array is a tensor; where one requires a gradient the operators compute,
elsewhere the functions themselves do, on the arrays that the tensors are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from inspect import signature
from typing import Any

import numpy as np
import torch

from convmat import api
from convmat.errors import GeometryError, NetworkError, format_value
from convmat.planner import Plan, PlanOptions

from . import operators
from .memory import Array, Tensor, array_of, pool, tensor_of

COUNTING = ("w_dtype", "x_zero_point", "w_zero_point", "scale", "out_dtype", "y_zero_point")
"""Options of 8-bit arrays, which are given as arrays."""


def convolve(
    call: str, options: PlanOptions, x: Any, w: Any, bias: Any = None, residual: Any = None, out: Any = None
) -> Tensor:
    """`conv` and `conv_transpose` of tensors. Raises GeometryError and PlanError as they do."""
    if not _is_followed(x, w, bias, residual):
        return _compute(call, options, (x, w, bias), out, residual=_array(residual))
    if call != "conv" or residual is not None:
        raise _unfollowed_error(call, options, out)
    x, w = torch.as_tensor(x), torch.as_tensor(w)
    single = x.dim() == w.dim() - 1
    images = x.unsqueeze(0) if single else x
    walk = _walk(call, options, images.shape, w, out)
    y = operators.run_convolve(images, w, None if bias is None else torch.as_tensor(bias), *walk)
    return y.squeeze(0) if single else y


def input_grad(call: str, options: PlanOptions, dy: Any, w: Any, shape: tuple[int, ...], out: Any) -> Tensor:
    """`conv_input_grad` of tensors. Raises GeometryError and PlanError as it does."""
    if not _is_followed(dy, w):
        return _compute(call, options, (dy, w, shape), out)
    dy, w = torch.as_tensor(dy), torch.as_tensor(w)
    return operators.run_transposed(dy, w.conj(), list(shape[2:]), *_walk(call, options, shape, w, out))


def weight_grad(call: str, options: PlanOptions, x: Any, dy: Any, shape: tuple[int, ...], out: Any) -> Tensor:
    """`conv_weight_grad` of tensors. Raises GeometryError and PlanError as it does."""
    if not _is_followed(x, dy):
        return _compute(call, options, (x, dy, shape), out)
    x, dy = torch.as_tensor(x), torch.as_tensor(dy)
    walk = _walk(call, options, x.shape, torch.empty(shape, dtype=x.dtype), out)
    return operators.run_weight_gradient(x, dy, list(shape[2:]), *walk)


def grads(call: str, options: PlanOptions, x: Any, w: Any, dy: Any) -> api.ConvGrads:
    """`conv_grads` of tensors. Raises GeometryError and PlanError as it does."""
    found: Any
    if _is_followed(x, w, dy):
        x, w, dy = map(torch.as_tensor, (x, w, dy))
        dx = input_grad("conv_input_grad", options, dy, w, tuple(x.shape), None)
        dw = weight_grad("conv_weight_grad", options, x, dy, tuple(w.shape), None)
        found = dx, dw, dy.sum([a for a in range(dy.dim()) if a != 1])
    else:
        pool.follow()
        keywords = {name: value for name, value in options._asdict().items() if name in _names(call)}
        found = map(tensor_of, api.conv_grads(*map(_array, (x, w, dy)), **keywords))
    return api.ConvGrads(*found)


def plan(options: PlanOptions, x: Tensor, w: tuple[int, ...]) -> Plan:
    """`plan` of a tensor in the place of its shape."""
    keywords = {name: value for name, value in options._asdict().items() if name in _names("plan")}
    return api.plan(tuple(x.shape), w, dtype=array_of(x).dtype, **keywords)


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
    found = network(arrays if isinstance(x, Mapping) else arrays[""])
    return (
        {name: _tensors(value) for name, value in found.items()}
        if isinstance(found, dict)
        else _tensors(found)
    )


def _tensors(value: Any) -> Any:
    """An output as a tensor, a sequence as a list of them; texts and maps as they are."""
    if isinstance(value, list):
        return [_tensors(each) for each in value]
    return tensor_of(value) if isinstance(value, np.ndarray) and not value.dtype.hasobject else value


def _is_followed(*operands: Any) -> bool:
    """Whether PyTorch wants to know how a result came about."""
    tensors = [each for each in operands if isinstance(each, torch.Tensor)]
    return torch.is_grad_enabled() and any(each.requires_grad for each in tensors)


def _array(value: Any) -> Array | Any:
    return array_of(value) if isinstance(value, torch.Tensor) else value


@lru_cache(maxsize=8)
def _names(call: str) -> frozenset[str]:
    """What a function takes beside its operands."""
    return frozenset(signature(getattr(api, call)).parameters) - {"bias", "residual", "out", *COUNTING}


def _compute(call: str, options: PlanOptions, operands: tuple[Any, ...], out: Any, **more: Any) -> Tensor:
    """What the function itself gives for these arrays, as a tensor over the same memory."""
    pool.follow()
    counting = [name for name in COUNTING if getattr(options, name)]
    if counting:
        raise GeometryError(
            f"{call}: {counting[0]} goes with NumPy's arrays\n  x is a tensor\n  give x.numpy() and w.numpy()"
        )
    keywords = {name: value for name, value in options._asdict().items() if name in _names(call)}
    given = {} if out is None else {"out": _array(out)}
    more = {name: value for name, value in more.items() if value is not None}
    found = getattr(api, call)(*map(_array, operands), **keywords, **given, **more)
    return tensor_of(found) if out is None else out


def _walk(call: str, options: PlanOptions, x: Any, w: Tensor, out: Any) -> operators.WindowArguments:
    """How the window walks over an input of shape x, once it is checked. Raises GeometryError and PlanError."""
    if out is not None or options.activation is not None or options.layout != "NCHW":
        raise _unfollowed_error(call, options, out)
    how = {
        name: getattr(options, name) for name in ("stride", "padding", "dilation", "groups", "padding_mode")
    }
    problem = api.plan(tuple(x), tuple(w.shape), dtype=array_of(w).dtype, **how).problem
    g, pad = problem.geometry, problem.pad
    lo, hi = (g.lo, g.hi) if pad is None else (pad.lo, pad.hi)
    return operators.WindowArguments(list(g.s), list(lo), list(hi), list(g.d), g.G, options.padding_mode)


def _unfollowed_error(call: str, options: PlanOptions, out: Any) -> GeometryError:
    return GeometryError(
        f"{call}: a gradient cannot follow this\n"
        f"  activation = {format_value(options.activation)}, layout = {options.layout!r}, out is "
        f"{'given' if out is not None else 'not given'}; one of the tensors requires a gradient\n"
        "  use conv without activation, residual, layout and out, convmat.torch.ConvTranspose2d, or x.detach()"
    )
