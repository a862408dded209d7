"""Half precision: what operators compute of float16 and bfloat16 numbers, they compute in float32 and round once.

    run(node, *arrays)     = round(run(node, *widened arrays))
    step(*inputs, *outputs): the inputs widened, a step for float32, its results rounded into the outputs

So an operator's own text knows nothing of half precision, and no sum, mean or norm runs in it. What only moves
elements stays as narrow as it is; so do Conv and ConvTranspose, whose products sum in float32 already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...engine import buffers
from ...lazy_dataclass import dataclass
from ...planner import Prepared
from ..graph import Array, Node, Spec, type_name
from .planned import Planned, Unpacked

WIDE = np.dtype(np.float32)
"""What half precision is widened to."""

NARROW = ("float16", "bfloat16")
"""Element types that are widened."""

AS_THEY_ARE = frozenset({
    "ArrayFeatureExtractor", "BitCast", "Cast", "CastLike", "Compress", "Concat", "Constant", "ConstantOfShape",
    "Conv", "ConvTranspose", "DepthToSpace", "DequantizeLinear", "Dropout", "Expand", "EyeLike", "Gather",
    "GatherElements", "GatherND", "Identity", "If", "Loop", "NonZero", "OneHot", "Pad", "QuantizeLinear",
    "ReverseSequence", "Scan", "Shape", "Size", "Slice", "SpaceToDepth", "Split", "TensorScatter", "Tile",
    "Transpose", "Trilu", "Unique", "Where",
})  # fmt: skip
"""Operators that round nothing, do so once by themselves, or run others that do."""

Run = Callable[..., Any]
Shaped = Callable[[Node, Sequence[Spec | None]], tuple[Spec, ...]]


def is_half(of: Spec | Array | None) -> bool:
    """Whether it holds numbers that are widened.

    >>> is_half(np.zeros(3, np.float16)), is_half(np.zeros(3, np.float32)), is_half(None)
    (True, False, False)
    """
    return of is not None and type_name(of.dtype) in NARROW


def widen_arrays(array: Array) -> Array:
    """The same numbers in float32, where they are half precision.

    >>> widen_arrays(np.ones(2, np.float16)).dtype
    dtype('float32')
    """
    return array.astype(WIDE) if is_half(array) else array


def wide_spec(spec: Spec) -> Spec:
    """The Spec of `widen_arrays`."""
    if not is_half(spec):
        return spec
    return Spec(spec.shape, WIDE, None if spec.value is None else widen_arrays(spec.value))


def wide_run(shape: Shaped, run: Run, unknown: type[Exception]) -> Run:
    """`run`, on widened arrays; `unknown` is what `shape` raises where it cannot tell the outputs' types yet."""

    def wide(node: Node, *arrays: Array | None) -> Any:
        half = next((array for array in arrays if is_half(array)), None)
        if half is None:
            return run(node, *arrays)
        found = run(node, *(array if array is None else widen_arrays(array) for array in arrays))
        several = found if isinstance(found, tuple) else (found,)
        try:
            specs = [None if array is None else Spec.of(array) for array in arrays]
            types: list[Any] = [spec.dtype for spec in shape(node, specs)]
        except unknown:
            types = [half.dtype if np.asarray(each).dtype == WIDE else None for each in several]
        types += [None] * (len(several) - len(types))
        made = tuple(
            each if dtype is None else np.asarray(each).astype(dtype, copy=False)
            for each, dtype in zip(several, types, strict=False)
        )
        return made if isinstance(found, tuple) else made[0]

    return wide


@dataclass(frozen=True)
class Widened:
    """A step for float32 that runs between arrays of half precision.

    `known`: what the step gets for each input that is constant, None for the others.
    """

    inner: Callable[..., Any]
    known: tuple[Array | None, ...]

    def __call__(self, *arrays: Array) -> None:
        """Inputs first, then the outputs that are written."""
        inputs, outputs = arrays[: len(self.known)], arrays[len(self.known) :]
        wide = [
            widen_arrays(x) if value is None else value for x, value in zip(inputs, self.known, strict=True)
        ]
        made = [buffers.empty(y.shape, WIDE) if is_half(y) else y for y in outputs]
        self.inner(*wide, *made)
        for y, result in zip(outputs, made, strict=True):
            if y is not result:
                np.copyto(y, result, casting="unsafe")


def plan_behind(step: Any) -> Prepared | None:
    """The plan that a step runs, if it has one."""
    inner = step.inner if isinstance(step, Widened) else step
    return inner.plan if isinstance(inner, Planned | Unpacked) else None


def packed_sizes(steps: Iterable[Any]) -> dict[int, int]:
    """The bytes of the packed weights of steps, by their identity: those that several share once."""
    inner = (step.inner if isinstance(step, Widened) else step for step in steps)
    return {key: size for step in inner for key, size in (getattr(step, "packed", None) or {}).items()}


def wide_prepare(prepare: Callable[..., Any]) -> Callable[..., Any]:
    """`prepare`, for widened Specs: its step between arrays that are widened before it and rounded behind it."""

    def wide(
        node: Node, specs: Sequence[Spec | None], made: tuple[Spec, ...], options: Any
    ) -> Callable[..., Any] | None:
        if not any(map(is_half, (*specs, *made))):
            step: Callable[..., Any] | None = prepare(node, specs, made, options)
            return step
        given = [None if spec is None else wide_spec(spec) for spec in specs]
        # The plan that may be there is of arrays as they are.
        inner = prepare(node, given, tuple(wide_spec(spec) for spec in made), replace(options, plan=None))
        if inner is None:
            return None
        there = [(spec, wide) for spec, wide in zip(specs, given, strict=True) if spec and wide]
        packed = isinstance(inner, Planned)  # it has its weights, and asks for no other copy
        return Widened(inner, tuple(spec.value if packed else wide.value for spec, wide in there))

    return wide
