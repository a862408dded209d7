"""Movement by kernels: a node as copies between strided places of its arrays.

    copies(node, specs, made)    which array's elements go where, None for what is no such

Arrays are counted as a step gets them, inputs first; a constant may stand in an input's place.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from ...engine import Strides, contiguous_strides
from ...lazy_dataclass import dataclass
from ..graph import Array, Node, Shape, Spec
from .base import Specs, has_input, input_at, read_whole_numbers
from .movement import cuts, inside, pads_around, parts, permutation


@dataclass(frozen=True)
class Move:
    """A shape, where its elements are in the array `source` (or in a constant), and where in the array `target`."""

    shape: Shape
    source: int | Array
    x: Strides
    target: int
    y: Strides


Copies = Callable[[Node, Specs, Sequence[Spec]], list[Move] | None]


def _steps(spec: Spec) -> Shape:
    return contiguous_strides(spec.shape, spec.dtype.itemsize)


def _all_of(spec: Spec) -> Strides:
    return Strides(0, _steps(spec))


def _cut(spec: Spec, slices: Sequence[slice]) -> tuple[Shape, Strides]:
    """The shape of a part of an array, one slice an axis, and where it is."""
    steps = _steps(spec)
    ranges = [range(*cut.indices(n)) for cut, n in zip(slices, spec.shape, strict=True)]
    start = sum(each.start * step for each, step in zip(ranges, steps, strict=True) if len(each))
    return tuple(map(len, ranges)), Strides(
        start, tuple(each.step * step for each, step in zip(ranges, steps, strict=True))
    )


def _move_transpose(node: Node, specs: Specs, made: Sequence[Spec]) -> list[Move]:
    x = input_at(node, specs, 0)
    steps = _steps(x)
    return [
        Move(
            made[0].shape,
            0,
            Strides(0, tuple(steps[a] for a in permutation(node, x.rank))),
            -1,
            _all_of(made[0]),
        )
    ]


def _move_concat(node: Node, specs: Specs, made: Sequence[Spec]) -> list[Move]:
    axis, y, at = int(node.get("axis", 1)) % made[0].rank, made[0], 0
    found = []
    for i, spec in enumerate(each for each in specs if each is not None):
        found.append(Move(spec.shape, i, _all_of(spec), -1, Strides(at * _steps(y)[axis], _steps(y))))
        at += spec.shape[axis]
    return found


def _move_split(node: Node, specs: Specs, made: Sequence[Spec]) -> list[Move]:
    x, (axis, sizes) = input_at(node, specs, 0), parts(node, specs)
    starts = [0, *itertools.accumulate(sizes)]
    named = [at for at, name in zip(starts, node.outputs, strict=False) if name]
    return [
        Move(y.shape, 0, Strides(at * _steps(x)[axis], _steps(x)), i - len(made), _all_of(y))
        for i, (at, y) in enumerate(zip(named, made, strict=True))
    ]


def _cut_out(node: Node, specs: Specs, made: Sequence[Spec]) -> list[Move]:
    _, strides = _cut(input_at(node, specs, 0), cuts(node, specs))
    return [Move(made[0].shape, 0, strides, -1, _all_of(made[0]))]


def _move_pad(node: Node, specs: Specs, made: Sequence[Spec]) -> list[Move] | None:
    """x, and a margin at either end of each axis: what lies beyond it along the axes before is theirs."""
    if (mode := node.get("mode", "constant")) != "constant":
        return _move_mirror(node, specs, made[0], mode)
    x, y = input_at(node, specs, 0), made[0]
    here, there = inside(x.shape, pads_around(node, specs))
    value: int | Array = 0
    if node.version >= 11 and has_input(specs, 2):
        value = sum(each is not None for each in specs[:2])
    else:
        value = np.asarray(node.get("value", 0.0) if node.version < 11 else 0, x.dtype)
    found = []
    for axis, (n, cut) in enumerate(zip(y.shape, here, strict=True)):
        for margin in (slice(0, cut.start), slice(cut.stop, n)):
            shape, place = _cut(y, (*here[:axis], margin, *(slice(0, m) for m in y.shape[axis + 1 :])))
            found.append(Move(shape, value, Strides(0, (0,) * len(shape)), -1, place))
    (shape, place), (_, source) = _cut(y, here), _cut(x, there)
    found.append(Move(shape, 0, source, -1, place))
    return [each for each in found if math.prod(each.shape)]


def _move_mirror(node: Node, specs: Specs, y: Spec, mode: str) -> list[Move] | None:
    """x, then axis by axis the margins, read where they stand in y already; None where x is too short for one walk."""
    x, pads = input_at(node, specs, 0), pads_around(node, specs)
    longest = {"reflect": -1, "wrap": 0}
    if any(
        min(pad) < 0 or (mode in longest and max(pad) > n + longest[mode])
        for n, pad in zip(x.shape, pads, strict=True)
    ):
        return None
    here, _ = inside(x.shape, pads)
    shape, place = _cut(y, here)
    found = [Move(shape, 0, _all_of(x), -1, place)]
    filled = list(here)
    for axis, (n, (lo, hi)) in enumerate(zip(x.shape, pads, strict=True)):
        first, last = lo, lo + n - 1
        before, behind, step = {
            "reflect": (first + lo, last - 1, -1), "edge": (first, last, 0), "wrap": (first + n - lo, first, 1),
        }[mode]  # fmt: skip
        for margin, begin in ((slice(0, lo), before), (slice(last + 1, last + 1 + hi), behind)):
            filled[axis] = margin
            shape, place = _cut(y, filled)
            steps = list(place.steps)
            steps[axis] *= step
            start = place.start + (begin - margin.start) * place.steps[axis]
            found.append(Move(shape, -1, Strides(start, tuple(steps)), -1, place))
        filled[axis] = slice(0, y.shape[axis])
    return [each for each in found if math.prod(each.shape)]


def _move_tile(node: Node, specs: Specs, made: Sequence[Spec]) -> list[Move] | None:
    repeats = specs[1].value if len(specs) > 1 and specs[1] is not None else None
    if repeats is None:
        return None
    x, y = input_at(node, specs, 0), made[0]
    times = read_whole_numbers(node, repeats, "repeats")
    shape, a, b = [], [], []
    for n, r, step, other in zip(x.shape, times, _steps(x), _steps(y), strict=True):
        shape += [r, n]
        a += [0, step]
        b += [n * other, other]
    return [Move(tuple(shape), 0, Strides(0, tuple(a)), -1, Strides(0, tuple(b)))]


def _move_expand(node: Node, specs: Specs, made: Sequence[Spec]) -> list[Move]:
    x, y = input_at(node, specs, 0), made[0]
    shape = (*(1,) * (y.rank - x.rank), *x.shape)
    steps = contiguous_strides(shape, x.dtype.itemsize)
    spread = tuple(step if n > 1 else 0 for n, step in zip(shape, steps, strict=True))
    return [Move(y.shape, 0, Strides(0, spread), -1, _all_of(y))]


def _move_gather(node: Node, specs: Specs, made: Sequence[Spec]) -> list[Move] | None:
    """One place along an axis, known beforehand."""
    x, places = input_at(node, specs, 0), input_at(node, specs, 1).value
    axis = int(node.get("axis", 0)) % max(x.rank, 1)
    if places is None or places.size != 1 or not -x.shape[axis] <= int(places.reshape(())) < x.shape[axis]:
        return None
    at = int(places.reshape(())) % x.shape[axis]
    shape, strides = _cut(x, [slice(at, at + 1) if a == axis else slice(None) for a in range(x.rank)])
    return [Move(shape, 0, strides, -1, Strides(0, contiguous_strides(shape, x.dtype.itemsize)))]


def _blocks(node: Node, specs: Specs, made: Sequence[Spec]) -> list[Move]:
    """Channels to blocks of pixels, or back: both arrays in six axes, pixels as rows and columns of blocks."""
    x, y, b = input_at(node, specs, 0), made[0], node.get("blocksize")
    deep = node.op == "DepthToSpace"
    B, C, H, W = x.shape if deep else y.shape
    c, item = C // (b * b), x.dtype.itemsize
    pixels = contiguous_strides((B, c, H, b, W, b), item)
    if node.get("mode", "DCR") == "DCR":
        s = contiguous_strides((B, b, b, c, H, W), item)
        channels = (s[0], s[3], s[4], s[1], s[5], s[2])
    else:
        s = contiguous_strides((B, c, b, b, H, W), item)
        channels = (s[0], s[1], s[4], s[2], s[5], s[3])
    source, target = (channels, pixels) if deep else (pixels, channels)
    return [Move((B, c, H, b, W, b), 0, Strides(0, source), -1, Strides(0, target))]


COPIES: dict[str, Copies] = {
    "Transpose": _move_transpose,
    "Concat": _move_concat,
    "Split": _move_split,
    "Slice": _cut_out,
    "Pad": _move_pad,
    "Tile": _move_tile,
    "Expand": _move_expand,
    "Gather": _move_gather,
    "DepthToSpace": _blocks,
    "SpaceToDepth": _blocks,
}
"""By ONNX's name."""
