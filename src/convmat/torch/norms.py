"""PyTorch's batch normalisation while it is trained, a channel at a time, with the activation that follows it.

    y = clip((x - mean) / sqrt(variance + eps) * weight + bias)         mean and variance of the batch

A channel is read from memory once each way, its limits included; PyTorch's own passes go over it two to three times,
and once more for each activation. Evaluation, other memory formats and whatever else follows stay with PyTorch.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from convmat.engine import Sweep, batch_norm, batch_norm_grad, buffers, thread_pool

from .following import is_eager
from .memory import Tensor, array_of, pool, tensor_of
from .standing import Standing

Limits = tuple[float, float] | None
"""What y is kept between."""


@lru_cache(maxsize=512)
def _sweeps(
    shape: tuple[int, ...], epsilon: float, dtype: str, threads: int, limits: Limits
) -> tuple[Sweep, Sweep] | None:
    """The kernels forward and backward, loaded; None where there are none."""
    plans = (
        batch_norm(shape, epsilon, dtype, threads, limits),
        batch_norm_grad(shape, dtype, threads, limits=limits),
    )
    made = []
    for plan in plans:
        if isinstance(plan, str):
            return None
        made.append(Sweep(plan))
        made[-1].load()
    return made[0], made[1]


class BatchNormFunction(torch.autograd.Function):
    """x: (B, C, *P), weight, bias: (C,) -> y like x, the mean and the variance over n - 1: (C,) each."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float, limits: Limits
    ) -> tuple[Tensor, Tensor, Tensor]:
        """y is within the limits."""
        array, w = array_of(x), array_of(weight)
        ctx.sweeps = _sweeps(array.shape, epsilon, array.dtype.name, thread_pool.count(), limits)
        y = buffers.empty(array.shape, array.dtype)
        mean, by, spread, add = np.empty((4, len(w)), w.dtype)
        ctx.sweeps[0](array, w, array_of(bias), y, mean, by, spread, add)
        ctx.save_for_backward(x, weight, bias)
        ctx.measured, ctx.settings = (mean, by, add), (epsilon, limits)
        made = tensor_of(y), tensor_of(mean), tensor_of(spread)
        ctx.mark_non_differentiable(*made[1:])
        return made

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *measured: Any) -> tuple[Any, ...]:
        """Gradients in x, weight and bias; where these are followed too, PyTorch's own of the same formula."""
        x, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled() or not is_eager(dy):  # several gradients at once are no array
            return *_followed_gradient(dy, (x, weight, bias), ctx.needs_input_grad, *ctx.settings), None, None
        limited = ctx.settings[1] is not None
        array, w = array_of(x), array_of(weight)
        dx = buffers.empty(array.shape, array.dtype)
        dscale, dbias = np.empty((2, len(w)), w.dtype)
        mean, by, add = ctx.measured
        ctx.sweeps[1](array_of(dy), array, w, mean, by, *(add,) * limited, dx, dscale, dbias)
        return tensor_of(dx), tensor_of(dscale), tensor_of(dbias), None, None


def _followed_gradient(
    dy: Tensor, given: tuple[Tensor, ...], needs: tuple[bool, ...], epsilon: float, limits: Limits
) -> list[Tensor | None]:
    """The gradients as PyTorch computes them, which can be differentiated again where gradients are followed."""
    x, weight, bias = given
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        y = functional.batch_norm(x, None, None, weight, bias, training=True, eps=epsilon)
        y = y if limits is None else y.clamp(*limits)
        wanted = [each for each, need in zip(given, needs, strict=False) if need]
        found = iter(torch.autograd.grad(y, wanted, dy, create_graph=again))
    return [next(found) if need else None for need in needs[:3]]


class _OwnNorm(Standing):
    """What the three normalisations have in common."""

    def forward(self: Any, input: Tensor) -> Tensor:
        """input: (B, C, *P) -> the same shape."""
        theirs: Any = super()
        if (node := self.as_node(input)) is not None:
            return node
        found: Tensor | None = self.normalise(input, None)
        return theirs.forward(input) if found is None else found

    def normalise(self: Any, x: Tensor, limits: Limits) -> Tensor | None:
        """x normalised by its batch and kept within limits, running statistics moved on; None for what is PyTorch's."""
        if not self._takes(x):
            return None
        pool.follow()
        dtype = str(x.dtype).removeprefix("torch.")
        if _sweeps(tuple(x.shape), self.eps, dtype, thread_pool.count(), limits) is None:
            return None
        weight, bias = self.weight, self.bias
        if weight is None:
            weight, bias = x.new_ones(x.shape[1]), x.new_zeros(x.shape[1])
        y, mean, spread = BatchNormFunction.apply(x, weight, bias, self.eps, limits)
        if self.track_running_stats and self.running_mean is not None:
            self._move_on(mean, spread)
        return y

    def _takes(self: Any, x: Tensor) -> bool:
        """Whether the kernels do: numbers of one type in training, in PyTorch's usual order of axes."""
        if (
            not self.training
            or not isinstance(x, torch.Tensor)
            or x.dtype not in (torch.float32, torch.float64)
        ):
            return False
        beside = (self.weight, self.bias, self.running_mean, self.running_var)
        if not is_eager(x, *beside) or any(each is not None and each.dtype != x.dtype for each in beside):
            return False
        here = all(each is None or each.device.type == "cpu" for each in (x, *beside))
        shaped = x.dim() > 1 and x.shape[1] == self.num_features and x.numel() > x.shape[1]
        known = (self.weight is None) == (self.bias is None)
        fits = here and shaped and known and x.is_contiguous() and prod(x.shape) > 0
        if fits:
            self._check_input_dim(x)
        return bool(fits)

    def _move_on(self: Any, mean: Tensor, spread: Tensor) -> None:
        """Running statistics moved towards those of a batch, as PyTorch does."""
        with torch.no_grad():
            share = self.momentum
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
                if share is None:
                    share = 1.0 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean, share or 0.0)
            self.running_var.lerp_(spread, share or 0.0)


class BatchNorm1d(_OwnNorm, nn.BatchNorm1d):
    """torch.nn.BatchNorm1d: x: (B, C) or (B, C, L) -> the same.

    >>> BatchNorm1d(3)(torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """


class BatchNorm2d(_OwnNorm, nn.BatchNorm2d):
    """torch.nn.BatchNorm2d: x: (B, C, H, W) -> the same.

    >>> BatchNorm2d(3)(torch.zeros(2, 3, 4, 5)).shape
    torch.Size([2, 3, 4, 5])
    """


class BatchNorm3d(_OwnNorm, nn.BatchNorm3d):
    """torch.nn.BatchNorm3d: x: (B, C, D, H, W) -> the same.

    >>> BatchNorm3d(3)(torch.zeros(2, 3, 4, 5, 6)).shape
    torch.Size([2, 3, 4, 5, 6])
    """


NORMS = {nn.BatchNorm1d: BatchNorm1d, nn.BatchNorm2d: BatchNorm2d, nn.BatchNorm3d: BatchNorm3d}
"""PyTorch's normalisations and those that take their place in training."""
