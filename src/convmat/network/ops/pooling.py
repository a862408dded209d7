"""Pooling: one number of every window.

    y[b, c, p] = max or sum over f of  x[b, c, p*s + f*d - lo]        (terms outside [0, I) are left out)

Maxima and sums of boxes are taken one axis after the other, one strided slice for each f, over a block of channels.
An average divides by the elements in the window, or with `count_include_pad` by those in the padded input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from ...engine import reduction, thread_pool
from ...errors import ConvmatError, EngineError
from ...geometry import Geometry
from ...lazy_dataclass import dataclass
from ...planner import Bound, PlanOptions
from ...planner.maxima import Maxima, maxima
from ..graph import Array, Node, Shape, Spec
from .base import Specs, Step, input_at, step_operator
from .blocks import cut_slabs
from .convolution import auto_pad, pads_of, per_axis
from .options import Options, load_sweep, plan_node
from .planned import Compared, Planned, Swept

LEAST = 4096
"""Elements of x, from which on an average repays being planned."""

MOST_WEIGHTS = 1024
"""Taps of a window that are written out as equal weights."""

MOST_TAPS = 2**20
"""Along one axis of a window; no network has more, and one that says so wants time."""


@dataclass(frozen=True)
class PoolingWindow:
    """Along one axis: input, filter and output extent, stride, dilation, padding before and after."""

    I: int
    F: int
    P: int
    s: int
    d: int
    lo: int
    hi: int

    def taps(self) -> list[tuple[slice, slice]]:
        """Taps: for each f the outputs it reaches, and the inputs that they read there."""
        found = []
        for f in range(self.F):
            first = max(0, -((f * self.d - self.lo) // self.s))
            end = min(self.P, (self.I - 1 + self.lo - f * self.d) // self.s + 1)
            if first < end:
                start = first * self.s + f * self.d - self.lo
                found.append(
                    (slice(first, end), slice(start, start + (end - first - 1) * self.s + 1, self.s))
                )
        return found

    def counts(self, padded: bool) -> Any:
        """(P,): how many elements each window has in the input, or in the padded one."""
        lowest, end = (-self.lo, self.I + self.hi) if padded else (0, self.I)
        start = np.arange(self.P) * self.s - self.lo
        before = np.maximum(0, -((start - lowest) // self.d))
        after = np.minimum(self.F, -((start - end) // self.d))
        return np.maximum(after - before, 0)


def pooling_windows(node: Node, x: Shape) -> tuple[PoolingWindow, ...]:
    """The window along each spatial axis of x: (B, C, *I). Raises NetworkError."""
    rank = len(x) - 2
    F = tuple(node.get("kernel_shape") or ())
    if rank < 1 or len(F) != rank:
        raise node.error(
            f"its kernel_shape {F} does not fit an input with {len(x)} axes\n  one for each spatial axis is needed"
        )
    s, d = per_axis(node, "strides", rank, 1), per_axis(node, "dilations", rank, 1)
    pads, word = pads_of(node, rank), auto_pad(node)
    return tuple(_window(node, x[a + 2], F[a], s[a], d[a], pads[a], word) for a in range(rank))


def _window(node: Node, I: int, F: int, s: int, d: int, pads: tuple[int, int], word: str) -> PoolingWindow:
    if min(F, s, d) < 1 or min(pads) < 0 or F > MOST_TAPS:
        raise node.error(f"its window is no window\n  filter {F}, stride {s}, dilation {d}, padding {pads}")
    reach, (lo, hi) = (F - 1) * d + 1, (pads if word == "NOTSET" else (0, 0))
    if word.startswith("SAME"):
        P = -(-I // s)
        total = max((P - 1) * s + reach - I, 0)
        lo = total // 2 if word == "SAME_UPPER" else total - total // 2
        return PoolingWindow(I, F, P, s, d, lo, total - lo)
    free = lo + I + hi - reach
    if free < 0:
        raise node.error(f"its window is wider than the padded input\n  {reach} of {lo} + {I} + {hi}")
    P = free // s + 1
    if node.get("ceil_mode") and free % s and P * s < I + lo:  # a last window begins inside, or is none
        P += 1
    return PoolingWindow(I, F, P, s, d, lo, hi)


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    shape = (*x.shape[:2], *(w.P for w in pooling_windows(node, x.shape)))
    return (Spec(shape, x.dtype), Spec(shape, np.dtype(np.int64)))[: max(len(node.outputs), 1)]


RUN = 16
"""Terms that are joined one after the other; more are joined as a tree, whose sums round as pairwise ones do."""


def _boxes(ufunc: np.ufunc, fill: Any, x: Array, out: Array, along: tuple[PoolingWindow, ...]) -> None:
    """x: (C, *I) -> out: (C, *P), the ufunc's result of each box."""
    for axis, window in enumerate(along, 1):
        shape = (*x.shape[:axis], window.P, *x.shape[axis + 1 :])
        y = out if axis == len(along) else np.empty(shape, x.dtype)
        taps = sorted(
            window.taps(), key=lambda tap: tap[0] != slice(0, window.P)
        )  # first those that reach all of y
        _line(ufunc, fill, x, y, axis, taps)
        x = y


def _line(ufunc: np.ufunc, fill: Any, x: Array, y: Array, axis: int, taps: list[tuple[slice, slice]]) -> None:
    """The ufunc's result along one axis of the slices of x that `taps` names, into y."""
    if len(taps) > RUN:
        half, other = len(taps) // 2, np.empty_like(y)
        _line(ufunc, fill, x, y, axis, taps[:half])
        _line(ufunc, fill, x, other, axis, taps[half:])
        ufunc(y, other, out=y)
        return
    before, whole = (slice(None),) * axis, slice(0, y.shape[axis])
    full = sum(reached == whole for reached, _ in taps)
    if full > 1:
        ufunc(x[(*before, taps[0][1])], x[(*before, taps[1][1])], out=y)
    else:
        y[...] = x[(*before, taps[0][1])] if full else fill
    for reached, inside in taps[min(full, 2) :]:
        part = y[(*before, reached)]
        ufunc(part, x[(*before, inside)], out=part)


# -- maxima ------------------------------------------------------------------------------------------------------------


def _lowest(dtype: np.dtype[Any]) -> Any:
    return -np.inf if dtype.kind not in "iu" else np.iinfo(dtype).min


@step_operator("MaxPool", shape=_shape)
def max_pool(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The largest element of each window, and where in x it is."""
    x = input_at(node, specs, 0)
    along, lowest = pooling_windows(node, x.shape), _lowest(x.dtype)
    rank = len(along)
    kernel = _kernel(x, along, options) if len(made) == 1 and len(node.outputs) == 1 else ""
    if not isinstance(kernel, str):
        return Compared(kernel)
    if len(node.outputs) == 1 and (reduced := _reduce_tiles("max", x, along, options)) is not None:
        return reduced
    if len(node.outputs) > 1 and node.outputs[1]:
        return lambda x, *outs: _with_indices(
            x, outs[0] if node.outputs[0] else None, outs[-1], along, lowest, node.get("storage_order", 0)
        )

    def step(x: Array, out: Array) -> None:
        x, out = x.reshape(-1, *x.shape[2:]), out.reshape(-1, *out.shape[2:])
        for index in cut_slabs(x.shape, x.itemsize, keep=rank):
            _boxes(
                np.maximum,
                lowest,
                np.atleast_1d(x[index]).reshape(-1, *x.shape[1:]),
                out[index].reshape(-1, *out.shape[1:]),
                along,
            )

    return step


def _kernel(x: Spec, along: tuple[PoolingWindow, ...], options: Options) -> Maxima | str:
    """Machine code for it; a sentence where there is none."""
    if x.dtype.name not in ("float32", "float64", "int8", "uint8") or not x.size:
        return f"takes float32, float64 and 8-bit integers, got {x.dtype}"
    w = (x.shape[1], 1, *(each.F for each in along))
    stride, dilation = tuple(each.s for each in along), tuple(each.d for each in along)
    try:
        g = Geometry.of(
            x.shape, w, stride=stride, padding=pad_windows(along), dilation=dilation, groups=x.shape[1]
        )
    except ConvmatError as error:
        return str(error)
    found = maxima(g, x.dtype.name, thread_pool.count())
    if options.record is not None and not isinstance(found, str):
        options.record.add_program(found.program)
    return found


def _reduce_tiles(name: str, x: Spec, along: tuple[PoolingWindow, ...], options: Options) -> Swept | None:
    """The step where windows lie side by side and cover x, as those of adaptive pools do: axes of x are reduced."""
    tiles = all(w.lo == 0 and w.d == 1 and w.P * w.F == w.I and (w.P == 1 or w.s == w.F) for w in along)
    if not tiles or not x.size:
        return None
    shape = (math.prod(x.shape[:2]), *(n for w in along for n in (w.P, w.F)))
    plan = reduction(name, shape, range(2, len(shape), 2), x.dtype.name, thread_pool.count())
    try:
        sweep = load_sweep(plan, options)
    except EngineError:  # where nothing is compiled
        return None
    return None if sweep is None else Swept(sweep, "reduced")


def _with_indices(
    x: Array, out: Array | None, where: Array, along: tuple[PoolingWindow, ...], lowest: Any, order: int
) -> None:
    """Maxima and the flat index in x of each: the first one, in C order, where several are equal, or NaN.

    A window without an element of x has the least number there is, and index 0.
    """
    best = np.empty(where.shape, x.dtype) if out is None else out
    best[...], where[...] = lowest, NOWHERE
    I = x.shape[2:]
    places = np.arange(math.prod(I)).reshape(I, order="F" if order else "C")
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * len(I)) * math.prod(I)
    for taps in product(*(w.taps() for w in along)):
        reached: Any = tuple(t[0] for t in taps)
        inside: Any = tuple(t[1] for t in taps)
        part, at = best[(..., *reached)], where[(..., *reached)]
        value = x[(..., *inside)]
        better = (value > part) | (np.isnan(value) & ~np.isnan(part)) | (at == NOWHERE)
        np.copyto(part, value, where=better)
        np.copyto(at, np.broadcast_to(planes + places[inside], value.shape), where=better)
    where[where == NOWHERE] = 0


NOWHERE = -1
"""The index of a window that has seen no element yet."""


# -- averages and norms ------------------------------------------------------------------------------------------------


@step_operator("AveragePool", shape=_shape)
def average_pool(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The mean of each window."""
    x = input_at(node, specs, 0)
    along = pooling_windows(node, x.shape)
    bound = _plan_mean(node, x, along, options)
    if bound is not None:
        return Planned(bound, lambda arrays: (arrays[0], None, arrays[-1]))
    if (reduced := _reduce_tiles("mean", x, along, options)) is not None:
        return reduced
    counts = np.ones((), x.dtype)
    for w in along:
        counts = np.multiply.outer(counts, w.counts(bool(node.get("count_include_pad"))).astype(x.dtype))

    def step(x: Array, out: Array) -> None:
        x, out = x.reshape(-1, *x.shape[2:]), out.reshape(-1, *out.shape[2:])
        for index in cut_slabs(x.shape, x.itemsize, keep=len(along)):
            y = out[index].reshape(-1, *out.shape[1:])
            _boxes(np.add, 0, x[index].reshape(-1, *x.shape[1:]), y, along)
            np.divide(y, counts, out=y)

    return step


def _plan_mean(node: Node, x: Spec, along: tuple[PoolingWindow, ...], options: Options) -> Bound | None:
    """The mean as a depthwise product with equal weights, where all windows have as many elements."""
    taps = math.prod(w.F for w in along)
    full = all((w.counts(bool(node.get("count_include_pad"))) == w.F).all() for w in along)
    small = x.size < LEAST if options.whole is None else False
    if not full or x.dtype.name not in ("float32", "float64") or small or taps > MOST_WEIGHTS:
        return None
    weights = np.full((x.shape[1], 1, *(w.F for w in along)), 1 / taps, x.dtype)
    asked = PlanOptions(
        stride=tuple(w.s for w in along),
        dilation=tuple(w.d for w in along),
        padding=pad_windows(along),
        groups=x.shape[1],
    )
    try:
        made = plan_node(options, x.shape, weights.shape, x.dtype, asked)
    except ConvmatError:  # padding wider than a geometry has it, or limits that no plan keeps to
        return None
    return made.bind(weights) if made.chosen.engine == "jit" else None


def pad_windows(along: tuple[PoolingWindow, ...]) -> tuple[tuple[int, int], ...]:
    """Before and after, so that there are as many outputs as the node has."""
    return tuple((w.lo, (w.P - 1) * w.s + (w.F - 1) * w.d + 1 - w.I - w.lo) for w in along)


@step_operator("LpPool", shape=_shape)
def lp_pool(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """(sum of |x|^p) ** (1/p) over each window."""
    along, p = pooling_windows(node, input_at(node, specs, 0).shape), node.get("p", 2)

    def step(x: Array, out: Array) -> None:
        x, out = x.reshape(-1, *x.shape[2:]), out.reshape(-1, *out.shape[2:])
        for index in cut_slabs(x.shape, x.itemsize, keep=len(along)):
            y = out[index].reshape(-1, *out.shape[1:])
            _boxes(np.add, 0, np.power(np.abs(x[index]), p).reshape(-1, *x.shape[1:]), y, along)
            np.power(y, 1 / p, out=y)

    return step


# -- whole planes ------------------------------------------------------------------------------------------------------


def _global_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    if x.rank < 3:
        raise node.error(f"its input {x} has no spatial axes\n  (batch, channels, *spatial) is needed")
    return (Spec((*x.shape[:2], *(1,) * (x.rank - 2)), x.dtype),)


Lines = Callable[[Node, Array, Array], Any]


def _global(name: str) -> Callable[[Lines], Lines]:
    """Enter a function that writes a number for each line of a matrix."""

    def enter(lines: Lines) -> Lines:
        def prepare(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
            x = input_at(node, specs, 0)
            shape = (math.prod(x.shape[:2]), math.prod(x.shape[2:]))
            return lambda x, out: lines(node, x.reshape(shape), out.reshape(-1))

        step_operator(name, shape=_global_shape)(prepare)
        return lines

    return enter


@_global("GlobalAveragePool")
def _mean(node: Node, x: Array, out: Array) -> None:
    """The mean.

    By einsum: along short rows a third of the time of `np.mean`, and no BLAS, whose threads get into ours' way.
    """
    np.einsum("ij->i", x, out=out)
    np.divide(out, x.shape[1], out=out)


@_global("GlobalMaxPool")
def _most(node: Node, x: Array, out: Array) -> None:
    """The largest element; the least number there is, where there is no element."""
    np.max(x, axis=1, out=out, initial=_lowest(x.dtype))


@_global("GlobalLpPool")
def _norm(node: Node, x: Array, out: Array) -> None:
    """(sum of |x|^p) ** (1/p)."""
    p = node.get("p", 2)
    np.power(np.power(np.abs(x), p).sum(axis=1), 1 / p, out=out)
