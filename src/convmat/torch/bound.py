"""Weights of a module, packed once and used until they change: for inference.

A change is seen by PyTorch's version counter, by the place of the memory, and by 64 elements spread over each tensor:
`.data` counts no versions, and whoever writes through it (averaging, loading) writes all of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import convmat
from convmat.engine import thread_pool

from .memory import CHANNELS_LAST, Array, Tensor, array_of, channels_last, from_layout, pool, to_layout

MOST_PLANS = 8
"""Input shapes that one module has plans for at a time."""

PROBES = 64


class SeenTensors:
    """What some tensors held when they were last looked at."""

    def __init__(self, tensors: Sequence[Tensor | None]) -> None:
        self._tensors = [each for each in tensors if each is not None]
        self._marks = [(each._version, each.data_ptr()) for each in self._tensors]
        self._probes = [_probe(each) for each in self._tensors]
        self._held = [probe.tobytes() for probe in self._probes]

    def same(self, tensors: Sequence[Tensor | None]) -> bool:
        """Whether these are the same tensors, and hold that still."""
        there = [each for each in tensors if each is not None]
        return len(there) == len(self._tensors) and all(
            each is known and (each._version, each.data_ptr()) == mark and probe.tobytes() == held
            for each, known, mark, probe, held in zip(
                there, self._tensors, self._marks, self._probes, self._held, strict=True
            )
        )


def _probe(tensor: Tensor) -> Array:
    """PROBES elements or so, spread over a tensor's memory: a view of it, whatever the order of its axes."""
    last = CHANNELS_LAST.get(tensor.dim())
    dense = tensor.is_contiguous() or (last is not None and tensor.is_contiguous(memory_format=last))
    plain = tensor.detach()
    # An array with gaps is looked at along its first axis alone.
    lined = (
        plain.as_strided((tensor.numel(),), (1,))
        if dense
        else plain[(slice(None), *(0,) * (tensor.dim() - 1))]
    )
    flat = array_of(lined)
    return flat[:: max(1, flat.size // PROBES)]


def can_trace(*tensors: Tensor | None) -> bool:
    """Whether changes of these tensors can be seen at all: inference tensors count no versions."""
    return not any(each is not None and each.is_inference() for each in tensors)


class PackedLayer:
    """One layer's weights, bound to plans for the shapes that come; `fold` gives weights and bias when asked.

    `sources` gives the tensors that they are made of, `keywords` are those of `convmat.plan`; `fits` is asked before a
    plan is made whether there can be one.
    """

    def __init__(
        self,
        sources: Callable[[], Sequence[Tensor | None]],
        fold: Callable[[], tuple[Array, Array | None]],
        keywords: dict[str, Any],
        fits: Callable[[Tensor, Tensor | None], bool] = lambda x, residual: True,
    ) -> None:
        self._fold, self._sources, self._keywords, self._fits = fold, sources, keywords, fits
        self._bound: OrderedDict[Any, Any] = OrderedDict()
        self._seen = SeenTensors(sources())
        self._weights: tuple[Array, Array | None] | None = None

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """x: (B, C, *I), residual: (B, O, *P) -> activation(conv + bias + residual), in the memory format of x.

        None for what does not fit, and for weights whose changes cannot be seen.
        """
        pool.follow()
        sources = self._sources()
        if not self._seen.same(sources):
            if not can_trace(*sources):
                return None
            self._bound.clear()
            self._weights, self._seen = None, SeenTensors(sources)
        last = channels_last(x)
        beside = None if residual is None else (residual.shape, residual.dtype)
        key = (x.shape, last, x.dtype, beside, thread_pool.count())
        bound = self._bound.get(key)
        if bound is None:
            if not self._fits(x, residual):
                return None
            bound = self._bind(x, last, residual is not None)
            self._bound[key] = bound
            while len(self._bound) > MOST_PLANS:
                self._bound.popitem(last=False)
        array = to_layout(x, last)
        if residual is None:
            return from_layout(bound(array), last)
        return from_layout(bound(array, residual=np.ascontiguousarray(to_layout(residual, last))), last)

    def _bind(self, x: Tensor, last: bool, residual: bool) -> Any:
        if self._weights is None:
            self._weights = self._fold()
        w, bias = self._weights
        array = to_layout(x, last)
        plan = convmat.plan(
            array.shape, w.shape, dtype=array.dtype, bias=bias is not None, residual=residual,
            layout="NHWC" if last else "NCHW", **self._keywords,
        )  # fmt: skip
        return plan.bind(w, bias)
