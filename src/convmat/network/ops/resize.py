"""Resize and Upsample: along each axis, a sparse matrix that says what every output is made of.

    y[..., p, ...] = sum over t of  weight[p, t] * x[..., index[p, t], ...]

    nearest    one term          linear    2 terms          cubic    4 terms (Keys, 1981)

A coordinate c(p) in x belongs to every output; the terms are its neighbours, at the edge the edge's element again. With
`antialias` a filter that shrinks is stretched by as much, so that every input counts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...engine import Weighted
from ...lazy_dataclass import dataclass
from ..graph import Array, Node, Shape, Spec
from .base import Specs, Step, axes_of, input_at, optional_constant_at, step_operator
from .blocks import cut_slabs
from .options import Options

MODES = ("nearest", "linear", "cubic")
COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "simple")


@dataclass(frozen=True)
class ResizeAxis:
    """One axis: input and output extent, outputs per input, and which part of the input is meant."""

    axis: int
    I: int
    P: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class ResizeTaps:
    """What every output along an axis is made of: `index` and `weight` (P, T), and where it is outside of x."""

    axis: int
    index: Array
    weight: Array
    outside: Array


def takes_means(node: Node) -> bool:
    """Whether a node's results are weighted means of elements: what is added to all of them is added to those, too."""
    smooth = node.op in ("Resize", "Upsample") and node.get("mode", "nearest") != "nearest"
    return smooth and not node.domain and node.get("coordinate_transformation_mode") != "tf_crop_and_resize"


# -- attributes and inputs ---------------------------------------------------------------------------------------------


def _word(node: Node, name: str, default: str, allowed: tuple[str, ...]) -> str:
    word = str(node.get(name, default))
    if word not in allowed:
        raise node.error(f"its {name} is {word!r}\n  one of {', '.join(allowed)}")
    return word


def mode_of(node: Node) -> str:
    """nearest, linear or cubic."""
    mode = node.get("mode", "nearest")
    return _word(node, "mode", "nearest", MODES) if mode != "bilinear" else "linear"


def coordinates_of(node: Node) -> str:
    """How places in the output and in the input belong together: one of COORDINATES."""
    old = node.op == "Upsample" or node.version < 11
    return "asymmetric" if old else _word(node, "coordinate_transformation_mode", "half_pixel", COORDINATES)


def rounding_of(node: Node) -> str:
    """Which element is the nearest: one of ROUNDINGS."""
    if node.op == "Upsample" or node.version < 11:
        return "simple"
    return _word(node, "nearest_mode", "round_prefer_floor", ROUNDINGS[:-1])


def resized_axes(node: Node, specs: Specs) -> list[ResizeAxis]:
    """The axes that are resized. Raises NetworkError, and Unknown where the scales or sizes are no constants."""
    x = input_at(node, specs, 0)
    old = node.op == "Upsample" or node.version < 11
    scales = (
        node.get("scales") if old and len(specs) < 2 else optional_constant_at(node, specs, 1 if old else 2)
    )
    sizes = None if old else optional_constant_at(node, specs, 3)
    scales = None if scales is None or not np.size(scales) else np.asarray(scales, np.float64)
    sizes = None if sizes is None or not np.size(sizes) else np.asarray(sizes)
    named = node.get("axes")
    at = tuple(range(x.rank)) if named is None else axes_of(node, named, x.rank)
    wanted = scales if sizes is None else sizes
    if wanted is None or wanted.shape != (len(at),) or (scales is not None and sizes is not None):
        raise node.error(
            f"its scales or sizes do not fit\n  {x}, {len(at)} axes: one scale or one size for each is needed"
        )
    if not np.isfinite(wanted).all() or wanted.min(initial=1) <= 0:
        raise node.error(f"its scales or sizes are {wanted.tolist()}\n  numbers above 0 are needed")
    by, to = _extents(node, tuple(x.shape[a] for a in at), scales, sizes)
    roi = np.asarray([0.0] * len(at) + [1.0] * len(at))
    if coordinates_of(node) == "tf_crop_and_resize":
        region = optional_constant_at(node, specs, 1)
        if region is None or region.size != 2 * len(at):
            raise node.error(
                "its roi is missing\n  tf_crop_and_resize needs where to begin and end along each axis"
            )
        roi = region.astype(np.float64)
        if not np.isfinite(roi).all():
            raise node.error(f"its roi is {roi.tolist()}\n  finite numbers are needed")
    found = [
        ResizeAxis(a, x.shape[a], to[i], by[i], (float(roi[i]), float(roi[i + len(at)])))
        for i, a in enumerate(at)
    ]
    if any(not each.I and each.P for each in found):
        raise node.error(f"its input {x} has nothing to make {to} of")
    return found


def as_meant(scale: float) -> float:
    """A scale in double precision: single precision has no third, and would read further off from output to output.

    >>> as_meant(float(np.float32(1 / 3))) == 1 / 3, as_meant(0.75)
    (True, 0.75)
    """
    part = 1 / max(round(1 / scale), 1)
    return part if np.float32(part) == np.float32(scale) else scale


def _extents(
    node: Node, I: Shape, scales: Array | None, sizes: Array | None
) -> tuple[list[float], list[int]]:
    """Scale and output extent along each axis."""
    if sizes is None:
        assert scales is not None
        given = scales.tolist()
        return list(map(as_meant, given)), [_scale_extent(n, s) for n, s in zip(I, given, strict=True)]
    by = [int(size) / max(n, 1) for size, n in zip(sizes, I, strict=True)]
    policy = node.get("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return by, [int(size) for size in sizes]
    one = min(by) if policy == "not_larger" else max(by)
    return [one] * len(I), [math.floor(one * n + 0.5) for n in I]


def _scale_extent(extent: int, scale: float) -> int:
    """The product in whole numbers; one that falls short of a whole number by its scale's rounding to float32 is it.

    A scale with few binary digits was not rounded.
    """
    product, near = extent * scale, round(extent * scale)
    rounded = not (scale * 2**12).is_integer()
    return near if rounded and abs(product - near) <= product * 2.0**-24 else math.floor(product)


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, shape = input_at(node, specs, 0), list(input_at(node, specs, 0).shape)
    mode_of(node), rounding_of(node)
    for each in resized_axes(node, specs):
        shape[each.axis] = each.P
    return (Spec(tuple(shape), x.dtype),)


# -- the matrix along one axis -----------------------------------------------------------------------------------------


def coordinates(how: str, a: ResizeAxis) -> Array:
    """(P,): the place in x that belongs to each output."""
    p, length = np.arange(a.P, dtype=np.float64), a.scale * a.I
    if how == "asymmetric":
        return _divide(p, a.scale)
    if how == "align_corners":
        return p * ((a.I - 1) / (length - 1)) if length != 1 else 0 * p
    if how == "tf_crop_and_resize":
        begin, end = a.roi
        if length == 1:
            return 0 * p + (begin + end) * (a.I - 1) / 2
        return begin * (a.I - 1) + p * ((end - begin) * (a.I - 1) / (length - 1))
    if how == "pytorch_half_pixel" and length == 1:
        return 0 * p - 0.5
    found = _divide(p + 0.5, a.scale) - 0.5
    return found + a.I / 2 * (1 - a.P / length) if how == "half_pixel_symmetric" else found


def _divide(p: Array, scale: float) -> Array:
    """p / scale, exact where that is a part of 1."""
    times = max(round(1 / scale), 1)
    return p * times if 1 / times == scale else p / scale


def _nearest(at: Array, how: str, scale: float) -> Array:
    if how == "round_prefer_floor":
        return np.ceil(at - 0.5)
    if how == "round_prefer_ceil":
        return np.floor(at + 0.5)
    up = how == "ceil" or (how == "simple" and scale < 1)
    return np.ceil(at) if up else np.floor(at)


def _filter(mode: str, distance: Array, a: float) -> Any:
    """A tent, or Keys' cubic with its parameter a."""
    z = np.abs(distance)
    if mode == "linear":
        return np.clip(1 - z, 0, None)
    near = ((a + 2) * z - (a + 3)) * z * z + 1
    far = ((z - 5) * z + 8) * z * a - 4 * a
    return np.where(z <= 1, near, np.where(z < 2, far, 0))


def weigh_taps(node: Node, a: ResizeAxis) -> ResizeTaps:
    """The terms of every output along one axis."""
    mode, how = mode_of(node), coordinates_of(node)
    at = coordinates(how, a)
    outside = (at < 0) | (at > a.I - 1) if how == "tf_crop_and_resize" else np.zeros(a.P, bool)
    if mode == "nearest":
        index = np.clip(_nearest(at, rounding_of(node), a.scale), 0, a.I - 1).astype(np.intp)[:, None]
        return ResizeTaps(a.axis, index, np.ones((a.P, 1)), outside)
    if not a.P:
        return ResizeTaps(a.axis, np.zeros((0, 1), np.intp), np.zeros((0, 1)), outside)
    stretch = min(a.scale, 1.0) if node.get("antialias", 0) else 1.0
    reach = (1 if mode == "linear" else 2) / stretch
    neighbours = np.floor(at)[:, None] + np.arange(math.floor(-reach) + 1, math.ceil(reach) + 1)
    weight = _filter(mode, (neighbours - at[:, None]) * stretch, node.get("cubic_coeff_a", -0.75))
    if node.get("exclude_outside", 0):
        weight = np.where((neighbours < 0) | (neighbours > a.I - 1), 0, weight)
    if stretch < 1 or node.get("exclude_outside", 0):
        weight /= weight.sum(1, keepdims=True)
    return ResizeTaps(a.axis, np.clip(neighbours, 0, a.I - 1).astype(np.intp), weight, outside)


# -- running -----------------------------------------------------------------------------------------------------------


@step_operator("Resize", "Upsample", shape=_shape)
def resize(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """x with other extents."""
    x, times = input_at(node, specs, 0), find_repeats(node, specs)
    if times is not None:
        return lambda x, *rest: _repeat(x, rest[-1], times)
    along = sorted((weigh_taps(node, each) for each in moved_axes(node, specs)), key=lambda t: -t.axis)
    outside = [t for t in along if t.outside.any()]
    value = _round_to(np.asarray(node.get("extrapolation_value", 0.0)), x.dtype)
    work = _work(x.dtype)
    inner = x.rank - min((t.axis for t in along), default=x.rank)

    def step(x: Array, *rest: Array) -> None:
        out = rest[-1]
        for index in cut_slabs(out.shape, out.itemsize, keep=inner):
            y = x[index]
            for t in along:
                y = _apply(y, t, t.axis - x.ndim, work)
            out[index] = _round_to(y, out.dtype)
        for t in outside:
            place: tuple[Any, ...] = (*(slice(None),) * t.axis, t.outside)
            out[place] = value

    return step


def _work(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What sums of weighted elements are taken in: whole numbers of 8 bytes need more digits than float64 has."""
    if dtype.kind in "fc":
        return dtype
    return np.dtype(np.longdouble if dtype.kind in "iu" and dtype.itemsize == 8 else np.float64)


def _apply(x: Array, t: ResizeTaps, axis: int, work: np.dtype[Any]) -> Array:
    """The matrix of one axis, applied to x; sums are of the type `work`, and not rounded to that of x.

    A weight of 0 is no term: an infinity beside the window stays where it is.
    """
    if t.index.shape[1] == 1:
        return np.take(x, t.index[:, 0], axis=axis)
    weight = t.weight.astype(work).reshape(*t.weight.shape, *(1,) * (-1 - axis))
    found = None
    for k in range(t.index.shape[1]):
        term = np.take(x, t.index[:, k], axis=axis) * weight[:, k]
        nothing = t.weight[:, k] == 0
        if nothing.any():
            term[(..., nothing, *(slice(None),) * (-1 - axis))] = 0
        found = term if found is None else np.add(found, term, out=found)
    assert found is not None
    return np.asarray(found)


def _round_to(y: Array, dtype: np.dtype[Any]) -> Array:
    """y as elements of this type: whole numbers are the nearest, of what the type can hold."""
    if dtype.kind not in "iu" or y.dtype.kind not in "f":
        return y
    limits = np.iinfo(dtype)
    most = y.dtype.type(limits.max)
    if int(most) > limits.max:  # rounded up: the number before it
        most = np.nextafter(most, y.dtype.type(0))
    found: Array = np.clip(np.rint(y), y.dtype.type(limits.min), most).astype(dtype)
    return found


def moved_axes(node: Node, specs: Specs) -> list[ResizeAxis]:
    """The axes along which anything changes."""
    cropped = coordinates_of(node) == "tf_crop_and_resize"
    return [each for each in resized_axes(node, specs) if each.P != each.I or each.scale != 1 or cropped]


def find_repeats(node: Node, specs: Specs) -> tuple[int, ...] | None:
    """How often each element comes along each axis, if nearest neighbours are just that."""
    times = [1] * input_at(node, specs, 0).rank
    for each in moved_axes(node, specs):
        if mode_of(node) != "nearest" or not each.I or each.P % each.I:
            return None
        times[each.axis] = each.P // each.I
        if not np.array_equal(weigh_taps(node, each).index[:, 0], np.arange(each.P) // times[each.axis]):
            return None
    return tuple(times)


def find_weights(node: Node, specs: Specs) -> tuple[Weighted, Weighted] | None:
    """What each output is made of along the last two axes; None where others change, or an output lies outside of x."""
    x = input_at(node, specs, 0)
    found = {each.axis - x.rank: weigh_taps(node, each) for each in moved_axes(node, specs)}
    if not x.rank or not {-2, -1} >= set(found) or any(each.outside.any() for each in found.values()):
        return None
    rows, columns = (
        Weighted(found[axis].index, found[axis].weight)
        if axis in found
        else Weighted(np.arange(n)[:, None], np.ones((n, 1)))
        for axis, n in ((-2, x.shape[-2] if x.rank > 1 else 1), (-1, x.shape[-1]))
    )
    return rows, columns


def _repeat(x: Array, out: Array, times: tuple[int, ...]) -> None:
    """Every element `times` along each axis: the last axis by strided copies, the others by copies of what is there."""
    lanes = tuple(slice(None, None, t) for t in times[:-1])
    first = out[lanes]
    for i in range(times[-1]):
        first[..., i :: times[-1]] = x
    for axis in range(len(times) - 2, -1, -1):
        if times[axis] > 1:
            seen: tuple[Any, ...] = lanes[:axis]
            for i in range(1, times[axis]):
                out[(*seen, slice(i, None, times[axis]))] = out[(*seen, slice(0, None, times[axis]))]
