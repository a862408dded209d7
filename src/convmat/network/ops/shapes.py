"""Other shapes for the same elements, shapes as values, and arrays made of a shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import Array, Node, Shape, Spec
from .base import (
    Specs,
    Unknown,
    attribute_or_input,
    axes_of,
    axis_of,
    constant_at,
    has_input,
    input_at,
    operator,
    optional_constant_at,
    read_whole_numbers,
    same_spec,
    specs_of,
    whole_numbers_at,
)

# -- views: no element moves -------------------------------------------------------------------------------------------


def _reshape_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    """0 keeps an extent (unless `allowzero`), one -1 takes what is left."""
    x, wanted = input_at(node, specs, 0), whole_numbers_at(node, specs, 1, "shape")
    shape = list(wanted)
    if not node.get("allowzero", 0):
        for a, n in enumerate(shape):
            if n == 0:
                if a >= x.rank:
                    raise node.error(f"its shape {wanted} keeps axis {a}\n  its input is {x}")
                shape[a] = x.shape[a]
    if shape.count(-1) == 1:
        rest = math.prod(n for n in shape if n != -1)
        if not rest and not x.size:  # no batch: what is left of the others' extents
            rest, size = (math.prod(n for n in extents if n > 0) for extents in (shape, x.shape))
            shape[shape.index(-1)] = size // rest
        else:
            shape[shape.index(-1)] = x.size // rest if rest else 0
    if min(shape, default=0) < 0 or math.prod(shape) != x.size:
        raise node.error(f"its shape {wanted} does not fit its input\n  {x} has {x.size:,} elements")
    return (Spec(tuple(shape), x.dtype),)


@operator("Reshape", shape=_reshape_shape, view=True)
def reshape(node: Node, x: Array, shape: Array) -> Any:
    """x in another shape."""
    return x.reshape(_reshape_shape(node, specs_of((x, shape)))[0].shape)


def _flat(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    axis = node.get("axis", 1)
    if not -x.rank <= axis <= x.rank:
        raise node.error(f"axis {axis} of an array with {x.rank} axes")
    axis += x.rank if axis < 0 else 0
    return (Spec((math.prod(x.shape[:axis]), math.prod(x.shape[axis:])), x.dtype),)


@operator("Flatten", shape=_flat, view=True)
def flatten(node: Node, x: Array) -> Any:
    """x as a matrix: the axes before `axis`, and those from there on."""
    return x.reshape(_flat(node, specs_of((x,)))[0].shape)


def _squeeze_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, axes = input_at(node, specs, 0), attribute_or_input(node, specs, "axes", 1, 13)
    gone = [a for a, n in enumerate(x.shape) if n == 1] if axes is None else axes_of(node, axes, x.rank)
    if any(x.shape[a] != 1 for a in gone):
        raise node.error(f"its axes {axes} are not all of extent 1\n  {x}")
    return (Spec(tuple(n for a, n in enumerate(x.shape) if a not in gone), x.dtype),)


@operator("Squeeze", shape=_squeeze_shape, view=True)
def squeeze(node: Node, x: Array, axes: Array | None = None) -> Any:
    """x without axes of extent 1."""
    return x.reshape(_squeeze_shape(node, specs_of((x, axes)))[0].shape)


def _unsqueeze_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, axes = input_at(node, specs, 0), attribute_or_input(node, specs, "axes", 1, 13)
    if axes is None or len(axes) > 64:
        raise node.error(f"its axes are {axes}\n  the places of new axes are needed")
    rank = x.rank + len(axes)
    new, old = axes_of(node, axes, rank), iter(x.shape)
    return (Spec(tuple(1 if a in new else next(old) for a in range(rank)), x.dtype),)


@operator("Unsqueeze", shape=_unsqueeze_shape, view=True)
def unsqueeze(node: Node, x: Array, axes: Array | None = None) -> Any:
    """x with more axes, of extent 1."""
    return x.reshape(_unsqueeze_shape(node, specs_of((x, axes)))[0].shape)


@operator("Identity", shape=same_spec, view=True)
def identity(node: Node, x: Array) -> Any:
    """x."""
    return x


def _dropout_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    """Nothing is dropped but in training, which is asked for by an input; what is dropped is new at each call."""
    x = input_at(node, specs, 0)
    if node.version >= 12 and has_input(specs, 2) and constant_at(node, specs, 2).any():
        share = optional_constant_at(node, specs, 1)
        if share is None or share.any():
            raise Unknown
    mask = np.dtype(bool) if node.version >= 10 else x.dtype
    return (Spec(x.shape, x.dtype), Spec(x.shape, mask))[: max(1, len(node.outputs))]


@operator("Dropout", shape=_dropout_shape, view=True)
def dropout(node: Node, x: Array, ratio: Array | None = None, training: Array | None = None) -> Any:
    """x; in training, elements at random with probability `ratio` set to 0 and the others made larger."""
    share = 0.5 if ratio is None else float(ratio.reshape(()))
    if node.version < 12 or training is None or not training.any() or share == 0:
        return x, np.ones(x.shape, bool if node.version >= 10 else x.dtype)
    kept = np.random.default_rng(node.get("seed")).random(x.shape) >= share
    return (x * kept / x.dtype.type(1 - share)).astype(x.dtype), kept


# -- shapes as values --------------------------------------------------------------------------------------------------


def _count_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    rank = input_at(node, specs, 0).rank
    shape = () if node.op == "Size" else (len(range(rank)[node.get("start", 0) : node.get("end")]),)
    return (Spec(shape, np.dtype(np.int64)),)


@operator("Shape", "Size", shape=_count_shape)
def shape_of(node: Node, x: Array) -> Any:
    """The extents of x from `start` to `end`, or how many elements it has."""
    return np.array(
        x.size if node.op == "Size" else x.shape[node.get("start", 0) : node.get("end")], np.int64
    )


# -- arrays made of a shape --------------------------------------------------------------------------------------------


def _fill_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    shape, value = whole_numbers_at(node, specs, 0, "shape"), node.get("value")
    if min(shape, default=0) < 0 or len(shape) > 64 or (value is not None and value.size != 1):
        raise node.error(
            f"its shape is {shape} and its value {value}\n  extents from 0 on and one number are needed"
        )
    return (Spec(shape, np.dtype(np.float32) if value is None else value.dtype),)


@operator("ConstantOfShape", shape=_fill_shape)
def constant_of_shape(node: Node, shape: Array) -> Any:
    """The `value` everywhere: 0 if there is none."""
    (spec,) = _fill_shape(node, specs_of((shape,)))
    value = node.get("value")
    return np.full(spec.shape, 0 if value is None else value.reshape(()), spec.dtype)


def _counting(node: Node, specs: Specs) -> tuple[Spec, ...]:
    start, limit, delta = (constant_at(node, specs, i) for i in range(3))
    if delta.size != 1 or start.size != 1 or limit.size != 1 or not delta.any():
        raise node.error("its start, limit and delta are not three numbers, the last not 0")
    first, end, by = (each.item() for each in (start, limit, delta))
    if (
        not math.isfinite(first)
        or not math.isfinite(end)
        or not math.isfinite(by)
        or start.dtype != delta.dtype
    ):
        raise node.error(
            f"its start is {first}, its limit {end} and its delta {by}\n  finite numbers of one type are needed"
        )
    count = (
        max(-int((first - end) // by), 0) if isinstance(by, int) else max(math.ceil((end - first) / by), 0)
    )
    return (Spec((count,), start.dtype),)


@operator("Range", shape=_counting)
def count(node: Node, start: Array, limit: Array, delta: Array) -> Any:
    """start, start + delta, ... up to but without limit."""
    (spec,) = _counting(node, specs_of((start, limit, delta)))
    return start.reshape(()) + np.arange(spec.shape[0], dtype=spec.dtype) * delta.reshape(())


def _expand_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, wanted = input_at(node, specs, 0), whole_numbers_at(node, specs, 1, "shape")
    shape: list[int] = []
    for n, m in zip(_prepend_ones(x.shape, len(wanted)), _prepend_ones(wanted, x.rank), strict=True):
        if (n != m and 1 not in (n, m)) or min(n, m) < 0:
            raise node.error(f"its input {x} does not broadcast to the shape {wanted}")
        shape.append(m if n == 1 else n)
    return (Spec(tuple(shape), x.dtype),)


def _prepend_ones(shape: Shape, rank: int) -> Shape:
    return (*(1,) * (rank - len(shape)), *shape)


@operator("Expand", shape=_expand_shape, prepare=lambda *_: lambda x, shape, out: np.copyto(out, x))
def expand(node: Node, x: Array, shape: Array) -> Any:
    """x repeated along axes of extent 1, as far as the shape says."""
    return np.broadcast_to(x, _expand_shape(node, specs_of((x, shape)))[0].shape)


def _tile_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, repeats = input_at(node, specs, 0), whole_numbers_at(node, specs, 1, "repeats")
    if len(repeats) != x.rank or min(repeats, default=0) < 0:
        raise node.error(f"its repeats are {repeats}\n  {x} needs one, from 0 on, for each axis")
    return (Spec(tuple(n * r for n, r in zip(x.shape, repeats, strict=True)), x.dtype),)


@operator("Tile", shape=_tile_shape)
def tile(node: Node, x: Array, repeats: Array) -> Any:
    """x side by side with itself, so many times along each axis."""
    return np.tile(x, read_whole_numbers(node, repeats, "repeats"))


def _one_hot(node: Node, specs: Specs) -> tuple[Spec, ...]:
    indices, values = input_at(node, specs, 0), input_at(node, specs, 2)
    depth = constant_at(node, specs, 1)
    axis = axis_of(node, node.get("axis", -1), indices.rank + 1)
    if depth.size != 1 or int(depth.item()) < 1 or values.shape != (2,):
        raise node.error(
            f"its depth is {depth.tolist()} and its values are {values}\n  a number from 1 on and two values are needed"
        )
    return (Spec((*indices.shape[:axis], int(depth.item()), *indices.shape[axis:]), values.dtype),)


@operator("OneHot", shape=_one_hot)
def one_hot(node: Node, indices: Array, depth: Array, values: Array) -> Any:
    """The second value at each index along a new axis, the first elsewhere; fractions are cut off."""
    (spec,) = _one_hot(node, specs_of((indices, depth, values)))
    axis = axis_of(node, node.get("axis", -1), spec.rank)
    n = spec.shape[axis]
    cut = np.trunc(indices) if indices.dtype.kind not in "iu" else indices
    known = (cut >= -n) & (cut < n)
    at = np.where(known, np.where(known, cut, 0).astype(np.int64) % n, -1)
    places = np.arange(n).reshape(n, *(1,) * (spec.rank - 1 - axis))
    return np.where(np.expand_dims(at, axis) == places, values[1], values[0])
