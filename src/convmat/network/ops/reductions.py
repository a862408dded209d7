"""Reductions: one number of all along some axes; and softmax, which divides by one.

softmax(x) = exp(x - max) / sum of exp(x - max)        along an axis
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Array, Node, Spec
from .base import (
    Specs,
    Step,
    attribute_or_input,
    axes_of,
    axis_of,
    input_at,
    operator,
    same_spec,
    step_operator,
)
from .blocks import cut_slabs
from .options import Options

Reduction = Callable[..., Any]

# -- sums, means, extremes ---------------------------------------------------------------------------------------------


def reduced_axes(node: Node, specs: Specs, rank: int) -> tuple[int, ...]:
    """The axes reduced; none at all where a node says so: sums of single elements, each by the node's function."""
    since = 13 if node.op == "ReduceSum" else 18
    axes = attribute_or_input(node, specs, "axes", 1, since)
    if not axes:
        return () if node.get("noop_with_empty_axes", 0) and node.version >= since else tuple(range(rank))
    return axes_of(node, axes, rank)


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    axes = reduced_axes(node, specs, x.rank)
    keep = node.get("keepdims", 1)
    return (
        Spec(tuple(1 if a in axes else n for a, n in enumerate(x.shape) if keep or a not in axes), x.dtype),
    )


def _extreme(ufunc: np.ufunc, above: bool) -> Reduction:
    def reduce(x: Array, axis: Any, out: Array, keepdims: bool) -> None:
        if x.dtype == bool:
            worst: Any = above
        elif x.dtype.kind in "iu":
            worst = np.iinfo(x.dtype).max if above else np.iinfo(x.dtype).min
        else:
            worst = np.inf if above else -np.inf
        ufunc.reduce(x, axis=axis, out=out, keepdims=keepdims, initial=worst)

    return reduce


def _sum(x: Array, axis: Any, out: Array, keepdims: bool) -> None:
    np.add.reduce(x, axis=axis, out=out, keepdims=keepdims)


def _mean(x: Array, axis: Any, out: Array, keepdims: bool) -> None:
    """The sum by the number of elements; of whole numbers the exact mean, cut towards zero."""
    n = math.prod(x.shape[a] for a in axis)
    if x.dtype.kind not in "iu":
        _sum(x, axis, out, keepdims)
        np.divide(out, n, out=out)
        return
    wide = x.astype(np.uint64 if x.dtype == np.uint64 else np.int64)
    # x = whole * n + part: neither sum leaves 64 bits, as that of x might
    whole, part = (np.empty(out.shape, wide.dtype) for _ in range(2))
    for each, y in zip(np.divmod(wide, max(n, 1)), (whole, part), strict=True):
        _sum(each, axis, y, keepdims)
    whole, part = whole + part // max(n, 1), part % max(n, 1)
    np.copyto(out, whole + ((whole < 0) & (part > 0)), casting="unsafe")


def _log_sum_exp(x: Array, axis: Any, out: Array, keepdims: bool) -> None:
    """log(sum(exp(x))), around the largest so that nothing overflows."""
    if x.dtype.kind in "iu":
        wide = np.empty(out.shape)
        _log_sum_exp(x.astype(np.float64), axis, wide, keepdims)
        np.copyto(out, wide, casting="unsafe")
        return
    most = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    most = np.where(np.isfinite(most), most, x.dtype.type(0))
    _sum(np.exp(x - most), axis, out, keepdims)
    np.log(out, out=out)
    np.add(out, most.reshape(out.shape), out=out)


REDUCTIONS: dict[str, Reduction] = {
    "ReduceSum": _sum,
    "ReduceMean": _mean,
    "ReduceProd": lambda x, axis, out, keepdims: np.multiply.reduce(x, axis=axis, out=out, keepdims=keepdims),
    "ReduceMax": _extreme(np.maximum, above=False),
    "ReduceMin": _extreme(np.minimum, above=True),
    "ReduceL1": lambda x, axis, out, keepdims: _sum(np.abs(x), axis, out, keepdims),
    "ReduceL2": lambda x, axis, out, keepdims: np.copyto(
        out, np.sqrt(np.add.reduce(np.square(x), axis=axis, keepdims=keepdims)), casting="unsafe"
    ),
    "ReduceSumSquare": lambda x, axis, out, keepdims: _sum(np.square(x), axis, out, keepdims),
    "ReduceLogSum": lambda x, axis, out, keepdims: np.copyto(
        out, np.log(np.add.reduce(x, axis=axis, keepdims=keepdims)), casting="unsafe"
    ),
    "ReduceLogSumExp": _log_sum_exp,
}


@step_operator(*REDUCTIONS, shape=_shape)
def reduction(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The `axes` of x reduced; all of them where none are named."""
    axes, reduce, keep = (
        reduced_axes(node, specs, input_at(node, specs, 0).rank),
        REDUCTIONS[node.op],
        bool(node.get("keepdims", 1)),
    )
    return lambda x, *rest: reduce(x, axes, rest[-1], keep)


# -- where, and in which order -----------------------------------------------------------------------------------------


def _place_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    axis = axis_of(node, node.get("axis", 0), x.rank)
    if not x.shape[axis : axis + 1] or not x.shape[axis]:
        raise node.error(f"its input {x} has nothing along axis {axis}")
    kept = (1,) if node.get("keepdims", 1) else ()
    return (Spec((*x.shape[:axis], *kept, *x.shape[axis + 1 :]), np.dtype(np.int64)),)


@operator("ArgMax", "ArgMin", shape=_place_shape)
def place(node: Node, x: Array) -> Any:
    """Where along an axis the extreme is: the first place, or with `select_last_index` the last."""
    axis, find = node.get("axis", 0), np.argmax if node.op == "ArgMax" else np.argmin
    if node.get("select_last_index", 0):
        found = x.shape[axis] - 1 - find(np.flip(x, axis), axis=axis, keepdims=True)
    else:
        found = find(x, axis=axis, keepdims=True)
    return found if node.get("keepdims", 1) else np.squeeze(found, axis)


def _top_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    axis, k = axis_of(node, node.get("axis", -1), x.rank), wanted_count(node, specs)
    if not x.rank or not 0 <= k <= x.shape[axis]:
        raise node.error(f"its k is {k}\n  {x} has fewer along axis {axis}")
    shape, places = (*x.shape[:axis], k, *x.shape[axis + 1 :]), None
    if (
        x.shape[axis] == 1 and math.prod(shape) <= FEW_PLACES
    ):  # one thing is sorted, as one sequence by its length
        places = np.zeros(shape, np.int64)
        places.flags.writeable = False
    return (Spec(shape, x.dtype), Spec(shape, np.dtype(np.int64), places))


def wanted_count(node: Node, specs: Specs) -> int:
    """How many elements TopK takes of each line."""
    k = attribute_or_input(node, specs, "k", 1, 10)
    if k is None or len(k) != 1:
        raise node.error("its k is not one number")
    return k[0]


FEW_PLACES = 1024
"""Places that are known before a call, at most."""


def _top_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    """The step where one thing is sorted."""
    x = input_at(node, specs, 0)
    if x.shape[axis_of(node, node.get("axis", -1), x.rank)] != 1:
        return None

    def step(x: Array, *rest: Array) -> None:
        for name, out in zip(filter(None, node.outputs), rest[-len(made) :], strict=True):
            np.copyto(out, x if name == node.outputs[0] else 0)

    return step


@operator("TopK", shape=_top_shape, prepare=_top_step)
def top(node: Node, x: Array, k: Array | None = None) -> Any:
    """The k largest (or smallest) along an axis in their order, and where they are; of equal ones the first."""
    axis = node.get("axis", -1)
    count = node.get("k") if k is None else int(k.reshape(()))
    if x.shape[axis] == 1:
        shape = (*x.shape[: axis % x.ndim], count, *x.shape[axis % x.ndim + 1 :])
        return np.array(x[tuple(map(slice, shape))]), np.zeros(shape, np.int64)
    largest, rows = bool(node.get("largest", 1)), np.moveaxis(x, axis, -1)
    if not 0 < count * FEW <= rows.shape[-1] or rows.shape[-1] < LONG or x.dtype.kind not in "iuf":
        order = _order_rows(rows, largest)[..., :count].astype(np.int64)
    else:
        order = np.empty((*rows.shape[:-1], count), np.int64)
        for at in np.ndindex(*rows.shape[:-1]):
            order[at] = _first_in_order(rows[at], count, largest)
    order = np.ascontiguousarray(np.moveaxis(order, -1, axis))
    return np.take_along_axis(x, order, axis), order


FEW, LONG = 64, 512
"""How often the numbers wanted must go into a row, and how long that must be, for a row not to be sorted as a whole."""


def _first_in_order(row: Array, count: int, largest: bool) -> Array:
    """Where the `count` largest or smallest of a row are, in their order; NaN is the largest.

    None of them is beyond the last of the `count` largest among the largest of each block: few others are not.
    """
    whole = len(row) // BLOCK * BLOCK
    blocks, extreme = row[:whole].reshape(BLOCK, -1), np.maximum if largest else np.fmin
    ends = np.concatenate([extreme.reduce(blocks, axis=0), row[whole:]])
    if len(ends) < count:
        return _order_rows(row, largest)[:count]
    last = len(ends) - count if largest else count - 1
    limit = np.partition(ends, last)[last]
    if limit != limit:
        return _order_rows(row, largest)[:count]
    found = np.flatnonzero(~(row < limit) if largest else row <= limit)
    order: Array = found[_order_rows(row[found], largest)]
    return order[:count]


BLOCK = 32
"""Elements of a row, far apart, of which the largest is found first: of many such blocks at once."""


def _order_rows(rows: Array, largest: bool) -> Array:
    """The places of the elements of rows in their order, of equal ones the first first."""
    if largest:  # the order of the row read backwards, backwards
        found: Array = rows.shape[-1] - 1 - np.argsort(rows[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    else:
        found = np.argsort(rows, axis=-1, kind="stable")
    return found


def _sum_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, axis = input_at(node, specs, 0), input_at(node, specs, 1)
    if axis.size != 1 or axis.dtype.kind not in "iu" or not x.rank:
        raise node.error(f"its axis is {axis}\n  one whole number is needed, an axis of {x}")
    if axis.value is not None:
        axis_of(node, int(axis.value.reshape(())), x.rank)
    return same_spec(node, specs)


@operator("CumSum", shape=_sum_shape)
def cumulative_sum(node: Node, x: Array, axis: Array) -> Any:
    """Sums of all up to each element; `exclusive` of itself, `reverse` from the end."""
    at = axis_of(node, int(axis.reshape(())), x.ndim)
    y = np.flip(x, at) if node.get("reverse", 0) else x
    y = np.cumsum(y, axis=at, dtype=x.dtype)
    if node.get("exclusive", 0):
        y = np.roll(y, 1, at)
        y[(slice(None),) * at + (slice(0, 1),)] = 0
    return np.ascontiguousarray(np.flip(y, at) if node.get("reverse", 0) else y)


# -- softmax -----------------------------------------------------------------------------------------------------------

ONE_AXIS = 13
"""The operator set since which softmax is along one axis; before, along that and all behind it."""


def _softmax_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    axis_of(node, node.get("axis", -1 if node.version >= ONE_AXIS else 1), x.rank)
    return (Spec(x.shape, x.dtype),)


def planes(node: Node, rank: int) -> Callable[[Array], Array]:
    """x as (before, along, behind)."""
    if node.version >= ONE_AXIS:
        axis = axis_of(node, node.get("axis", -1), rank)
        return lambda x: x.reshape(
            int(np.prod(x.shape[:axis])), x.shape[axis] if rank else 1, int(np.prod(x.shape[axis + 1 :]))
        )
    axis = axis_of(node, node.get("axis", 1), rank)
    return lambda x: x.reshape(int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:])), 1)


def _soft(x: Array, out: Array) -> None:
    np.subtract(x, x.max(1, keepdims=True), out=out)
    np.exp(out, out=out)
    np.divide(out, out.sum(1, keepdims=True), out=out)


def _log_soft(x: Array, out: Array) -> None:
    np.subtract(x, x.max(1, keepdims=True), out=out)
    np.subtract(out, np.log(np.exp(out).sum(1, keepdims=True)), out=out)


def _hard(x: Array, out: Array) -> None:
    out[...] = 0
    np.put_along_axis(out, np.argmax(x, axis=1, keepdims=True), 1, axis=1)


@step_operator("Softmax", "LogSoftmax", "Hardmax", shape=_softmax_shape, in_place=True)
def softmax(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """exp(x) over its sum, the logarithm of that, or 1 at the first maximum."""
    folded = planes(node, input_at(node, specs, 0).rank)
    function = {"Softmax": _soft, "LogSoftmax": _log_soft, "Hardmax": _hard}[node.op]

    def step(x: Array, out: Array) -> None:
        if not x.size:
            return
        x, out = folded(x), folded(out)
        if x.shape[2] == 1:  # rows: what is along is also innermost
            x, out = x[:, :, 0], out[:, :, 0]
        for index in cut_slabs(x.shape, x.itemsize, keep=x.ndim - 1):
            part = index if isinstance(index[0], slice) else (slice(index[0], index[0] + 1),)
            function(x[part], out[part])

    return step
