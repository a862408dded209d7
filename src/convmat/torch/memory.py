"""PyTorch's CPU tensors as arrays over the same memory, and back.

    tensor (B, C, *I)                         array (B, C, *I), layout NCHW
    tensor (B, C, *I) in channels_last        array (B, *I, C), layout NHWC

bfloat16 goes by its bits: PyTorch and NumPy have no way to hand it to each other.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from convmat.engine import Team, thread_pool, threads, usable_cores
from convmat.errors import EngineError, GeometryError

Array = npt.NDArray[Any]
Tensor = Any
"""A torch.Tensor: PyTorch's own types are there only where it is installed."""

UNKNOWN = {getattr(torch, name) for name in dir(torch) if name.startswith(("float8", "float4"))}
"""Element types of PyTorch that NumPy has none for, and no kernel multiplies."""

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The memory formats with channels last, by the number of axes."""


def array_of(tensor: Tensor) -> Array:
    """A tensor's elements, where they lie. Raises GeometryError for what is not on the CPU, or no array of numbers.

    >>> array_of(torch.ones(2, dtype=torch.bfloat16)).dtype
    dtype(bfloat16)
    """
    if tensor.device.type != "cpu":
        raise GeometryError(
            f"conv: a tensor is not on the CPU\n  its device is {tensor.device}\n  give it on the CPU, x.cpu()"
        )
    if tensor.layout is not torch.strided or tensor.is_quantized:
        kind, way = (tensor.dtype, "dequantize") if tensor.is_quantized else (tensor.layout, "to_dense")
        raise GeometryError(
            f"conv: a tensor is no array of numbers\n  it is of {kind}\n  give its numbers, x.{way}()"
        )
    plain = tensor.detach()
    if (
        plain.is_neg() or plain.is_complex()
    ):  # of z.conj() the imaginary part is real, and negative by a mark alone
        plain = plain.resolve_conj().resolve_neg()
    if plain.dtype == torch.bfloat16:
        import ml_dtypes

        bits: Array = plain.view(torch.int16).numpy()
        return bits.view(ml_dtypes.bfloat16)
    if plain.dtype in UNKNOWN:
        raise GeometryError(
            f"conv: a tensor has an element type that is not taken\n  its type is {plain.dtype}\n"
            "  give numbers of another, e.g. x.float()"
        )
    found: Array = plain.numpy()
    return found


def tensor_of(array: Array) -> Tensor:
    """The tensor over an array's memory, which it keeps alive.

    >>> tensor_of(np.zeros((2, 3), np.float32)).shape
    torch.Size([2, 3])
    """
    if array.dtype.kind == "V":  # bfloat16, which NumPy has no kind for
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def channels_last(tensor: Tensor) -> bool:
    """Whether its channels lie last, and nothing says that they lie second.

    >>> channels_last(torch.ones(2, 3, 4, 5).contiguous(memory_format=torch.channels_last))
    True
    """
    form = CHANNELS_LAST.get(tensor.dim())
    return form is not None and not tensor.is_contiguous() and bool(tensor.is_contiguous(memory_format=form))


def to_layout(tensor: Tensor, last: bool) -> Array:
    """A tensor (B, C, *I) as an array of a layout: (B, *I, C) with the channels `last`."""
    array = array_of(tensor)
    return array.transpose(0, *range(2, array.ndim), 1) if last else array


def from_layout(array: Array, last: bool) -> Tensor:
    """The tensor (B, C, *I) over an array of a layout."""
    return tensor_of(array.transpose(0, array.ndim - 1, *range(1, array.ndim - 1)) if last else array)


class Threads:
    """PyTorch's threads: its OpenMP's do our jobs too, as many as it was told to use.

    A pool of our own beside it would wait for the cores that the other's idle threads spin on.
    """

    def __init__(self) -> None:
        self.seen = torch.get_num_threads()
        self.enter()

    def enter(self) -> None:
        """Have our jobs done by the threads of PyTorch's OpenMP, where it has one that can be asked."""
        for library in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*")):
            with suppress(OSError, EngineError):
                thread_pool.use_team(Team(library))
                return

    def follow(self) -> None:
        """Use as many threads as PyTorch, if it was told another number since the last call."""
        now = torch.get_num_threads()
        if now != self.seen:
            self.seen = now
            threads(max(1, min(now, usable_cores())))


pool = Threads()
