"""PyTorch's convolution modules, computed by convmat: the same constructors, parameters and state.

    Conv1d Conv2d Conv3d                        torch.nn's own, with another `_conv_forward`
    ConvTranspose1d ConvTranspose2d ConvTranspose3d

Where nothing follows the computation (no gradient, no tracing, no subclass of Tensor) the product is taken at once;
elsewhere as `operators` says. Complex numbers and other devices stay with PyTorch.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn
from torch.autograd import forward_ad

from . import operators
from .bound import PackedLayer, can_trace
from .following import is_plain
from .memory import Array, Tensor, array_of
from .standing import Standing

BORROWS = "_convmat_borrows"
"""The attribute of a module that leaves its weight gradient to PyTorch: `accelerate` sets it where that is quicker."""

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
"""Element types that convmat computes with."""

MODES = ("zeros", "reflect", "replicate", "circular")


def _with_batch_axis(x: Tensor, rank: int) -> tuple[Tensor, bool]:
    """x with its batch axis, and whether it came without. Raises RuntimeError, as PyTorch does."""
    if x.dim() == rank + 2:
        return x, False
    if x.dim() != rank + 1:
        raise RuntimeError(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to conv{rank}d, "
            f"but got input of size: {list(x.shape)}"
        )
    return x.unsqueeze(0), True


def _ours(x: Tensor, w: Tensor) -> bool:
    """Whether convmat computes with these: real numbers on the CPU, in no transform of torch.func or forward_ad.

    PyTorch has rules for its own convolutions there, and in ONNX, and none for operators that were made in Python.
    """
    if torch.onnx.is_in_onnx_export():
        return False
    if not torch.compiler.is_compiling() and (
        torch._C._functorch.maybe_current_level() or forward_ad._current_level >= 0
    ):
        return False
    if not w.device.type == x.device.type == "cpu" or not x.layout is w.layout is torch.strided:
        return False
    if torch.is_autocast_enabled("cpu"):  # to bfloat16, to which the operators are registered
        narrow = torch.get_autocast_dtype("cpu") == torch.bfloat16
        return bool(narrow and {x.dtype, w.dtype} <= {torch.float32, torch.bfloat16, torch.float16})
    return bool(w.dtype == x.dtype and w.dtype in FLOATS)


def _extends(*extents: Any) -> bool:
    """Whether there is something along every axis: what PyTorch makes of nothing, it says itself."""
    return all(n > 0 for each in extents for n in each)


def _walks(walk: operators.WindowArguments) -> bool:
    """Whether a window can walk so: PyTorch pads by no negative number."""
    return min(*walk.stride, *walk.dilation, walk.groups) > 0 and min(*walk.lo, *walk.hi) >= 0


def _find_outputs(x: Tensor, w: Tensor, walk: operators.WindowArguments) -> list[Any] | None:
    """Output extents, None where the channels, the window or the extents do not fit."""
    if x.shape[1] != w.shape[1] * walk.groups or not _walks(walk):
        return None
    found = walk.outputs(x.shape[2:], w.shape[2:])
    return found if _extends(x.shape[2:], found) else None


def _for_each_axis(value: Any, rank: int) -> list[int]:
    return [value] * rank if isinstance(value, int) else list(value)


class _OwnForward(Standing):
    """What the three convolutions have in common."""

    def _conv_forward(self: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        theirs: Any = super()
        if (node := self.as_node(input)) is not None:
            return node
        if not _ours(input, weight):
            return theirs._conv_forward(input, weight, bias)
        x, single = _with_batch_axis(input, weight.dim() - 2)
        walk = self.walk()
        if _find_outputs(x, weight, walk) is None:
            return theirs._conv_forward(input, weight, bias)  # which says why not
        often = not self.training and weight is self.weight
        if not (often and is_plain(x, weight, bias) and can_trace(weight, bias)):
            borrows = self.__dict__.get(BORROWS, False)
            y = (operators.run_convolve_borrowing if borrows else operators.run_convolve)(
                x, weight, bias, *walk
            )
        else:
            y = find_packed(self, walk)(x)
        return y.squeeze(0) if single else y

    def outputs(self: Any, x: Tensor) -> list[int] | None:
        """Output extents for x: (B, C, *I); None for what is not such a tensor, or has none."""
        if x.dim() != self.weight.dim() or not _ours(x, self.weight):
            return None
        return _find_outputs(x, self.weight, self.walk())

    def walk(self: Any) -> operators.WindowArguments:
        """How its window walks: as its attributes say now, which may be set anew, to numbers for all axes too."""
        rank = len(self.kernel_size)
        stride, dilation = _for_each_axis(self.stride, rank), _for_each_axis(self.dilation, rank)
        if self.padding_mode != "zeros":  # PyTorch then reads this alone: (lo, hi) of the last axis first
            pads = self._reversed_padding_repeated_twice
            lo, hi = list(pads[-2::-2]), list(pads[-1::-2])
        elif self.padding == "same":
            reach = [d * (f - 1) for d, f in zip(dilation, self.kernel_size, strict=True)]
            lo, hi = [n // 2 for n in reach], [n - n // 2 for n in reach]
        else:
            lo = hi = _for_each_axis(0 if self.padding == "valid" else self.padding, rank)
        return operators.WindowArguments(stride, lo, hi, dilation, self.groups, self.padding_mode)


_packed: WeakKeyDictionary[Any, tuple[operators.WindowArguments, PackedLayer]] = WeakKeyDictionary()
"""Weights of modules that were called for inference; not in the modules, which are copied, pickled and saved."""


def find_packed(conv: Any, walk: operators.WindowArguments) -> PackedLayer:
    """The packed weights of a convolution whose window walks so, which follow them."""
    before, found = _packed.get(conv, (None, None))
    if found is None or before != walk:
        here = ref(conv)

        def sources() -> tuple[Tensor, Tensor | None]:
            there: Any = here()
            return there.weight, there.bias

        def weights() -> tuple[Array, Array | None]:
            w, bias = sources()
            return array_of(w), None if bias is None else array_of(bias)

        found = PackedLayer(sources, weights, walk.keywords)
        _packed[conv] = walk, found
    return found


class _Transposed(Standing):
    """What the three transposed convolutions have in common."""

    def forward(self: Any, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """input: (B, C, *I) or (C, *I) -> (B, O, *P) or (O, *P), as PyTorch's own module."""
        weight, bias = self.weight, self.bias
        theirs: Any = super()
        if output_size is None and (node := self.as_node(input)) is not None:
            return node
        if not _ours(input, weight) or torch.jit.is_tracing():  # which has no numbers for extents
            return theirs.forward(input, output_size)
        if self.padding_mode != "zeros":
            raise ValueError(f"Only `zeros` padding mode is supported for {type(self).__name__}")
        rank = weight.dim() - 2
        x, single = _with_batch_axis(input, rank)
        named = (self.stride, self.padding, self.dilation)
        stride, pads, dilation = (_for_each_axis(each, rank) for each in named)
        more = self._output_padding(x, output_size, stride, pads, self.kernel_size, rank, dilation)
        # Where more is added than a stride, as dilation allows, the input is longer by zeros.
        longer = [extra // s for extra, s in zip(more, stride, strict=True)]
        if any(longer):
            x = nn.functional.pad(x, [n for extent in reversed(longer) for n in (0, extent)])
            more = [extra % s for extra, s in zip(more, stride, strict=True)]
        each = zip(x.shape[2:], stride, pads, dilation, self.kernel_size, more, strict=True)
        I = [(p - 1) * s - 2 * lo + d * (f - 1) + extra + 1 for p, s, lo, d, f, extra in each]
        walk = operators.WindowArguments(stride, pads, pads, dilation, self.groups, "zeros")
        if x.shape[1] != weight.shape[0] or not _walks(walk) or not _extends(input.shape[-rank:], I):
            return theirs.forward(input, output_size)  # which says why not
        y = operators.run_transposed(x, weight, I, *walk)
        if bias is not None:
            y = y + bias.to(y.dtype).view(-1, *(1,) * rank)
        return y.squeeze(0) if single else y


class Conv1d(_OwnForward, nn.Conv1d):
    """torch.nn.Conv1d: x: (B, C, L) or (C, L) -> (B, O, P) or (O, P).

    >>> Conv1d(2, 3, 5)(torch.zeros(1, 2, 9)).shape
    torch.Size([1, 3, 5])
    """


class Conv2d(_OwnForward, nn.Conv2d):
    """torch.nn.Conv2d: x: (B, C, H, W) or (C, H, W) -> (B, O, *P) or (O, *P).

    >>> Conv2d(2, 3, 5, padding="same")(torch.zeros(1, 2, 9, 9)).shape
    torch.Size([1, 3, 9, 9])
    """


class Conv3d(_OwnForward, nn.Conv3d):
    """torch.nn.Conv3d: x: (B, C, D, H, W) or without B -> (B, O, *P).

    >>> Conv3d(2, 4, 3, groups=2)(torch.zeros(2, 5, 5, 5)).shape
    torch.Size([4, 3, 3, 3])
    """


class ConvTranspose1d(_Transposed, nn.ConvTranspose1d):
    """torch.nn.ConvTranspose1d: x: (B, C, L) or (C, L) -> (B, O, P).

    >>> ConvTranspose1d(2, 3, 4, stride=2)(torch.zeros(1, 2, 5)).shape
    torch.Size([1, 3, 12])
    """


class ConvTranspose2d(_Transposed, nn.ConvTranspose2d):
    """torch.nn.ConvTranspose2d: x: (B, C, H, W) or (C, H, W) -> (B, O, *P).

    >>> ConvTranspose2d(2, 3, 2, stride=2)(torch.zeros(1, 2, 5, 6)).shape
    torch.Size([1, 3, 10, 12])
    """


class ConvTranspose3d(_Transposed, nn.ConvTranspose3d):
    """torch.nn.ConvTranspose3d: x: (B, C, D, H, W) or without B -> (B, O, *P).

    >>> ConvTranspose3d(2, 3, 2)(torch.zeros(1, 2, 3, 3, 3)).shape
    torch.Size([1, 3, 4, 4, 4])
    """


COUNTERPARTS = {
    nn.Conv1d: Conv1d,
    nn.Conv2d: Conv2d,
    nn.Conv3d: Conv3d,
    nn.ConvTranspose1d: ConvTranspose1d,
    nn.ConvTranspose2d: ConvTranspose2d,
    nn.ConvTranspose3d: ConvTranspose3d,
}
"""PyTorch's modules and those that take their place."""
