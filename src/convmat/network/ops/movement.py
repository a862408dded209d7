"""Elements moved as they are: transposed, joined, cut out, padded, interleaved.

Each is copies between strided views of the input and of the output: one `copyto` for all elements that move alike.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import Array, Node, Shape, Spec
from .base import (
    Specs,
    Step,
    attribute_or_input,
    axes_of,
    axis_of,
    has_input,
    input_at,
    operator,
    read_whole_numbers,
    step_operator,
    whole_numbers_at,
)
from .options import Options

Cuts = tuple[slice, ...]


def permutation(node: Node, rank: int) -> tuple[int, ...]:
    """The order of axes that a Transpose asks for. Raises NetworkError."""
    perm = tuple(node.get("perm") or range(rank)[::-1])
    if len(perm) != rank or len(axes_of(node, perm, rank)) != rank:
        raise node.error(f"its perm {perm} does not order {rank} axes")
    return perm


def _transpose_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    return (Spec(tuple(x.shape[a] for a in permutation(node, x.rank)), x.dtype),)


@step_operator("Transpose", shape=_transpose_shape)
def transpose(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The axes of x in the order `perm`."""
    perm = permutation(node, input_at(node, specs, 0).rank)
    return lambda x, out: np.copyto(out, x.transpose(perm))


# -- joining and cutting -----------------------------------------------------------------------------------------------


def _join_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    several = [input_at(node, specs, i) for i in range(max(1, len(specs)))]
    first = several[0]
    axis = axis_of(node, node.get("axis", 1), first.rank)
    for other in several[1:]:
        alike = other.rank == first.rank and other.dtype == first.dtype
        if not alike or any(
            n != m for a, (n, m) in enumerate(zip(first.shape, other.shape, strict=True)) if a != axis
        ):
            raise node.error(f"its inputs {first} and {other} cannot be joined along axis {axis}")
    if not first.rank:
        raise node.error("its inputs have no axes to be joined along")
    extent = sum(each.shape[axis] for each in several)
    return (Spec((*first.shape[:axis], extent, *first.shape[axis + 1 :]), first.dtype),)


@step_operator("Concat", shape=_join_shape)
def concat(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The inputs one after the other along an axis."""
    axis = axis_of(node, node.get("axis", 1), made[0].rank)
    return lambda *arrays: np.concatenate(arrays[:-1], axis=axis, out=arrays[-1])


def parts(node: Node, specs: Specs) -> tuple[int, list[int]]:
    """The axis, and how much of it each output gets."""
    x, count = input_at(node, specs, 0), len(node.outputs)
    axis = axis_of(node, node.get("axis", 0), x.rank)
    if not x.rank or not count:
        raise node.error(f"its input is {x} and it has {count} outputs")
    extent, sizes = x.shape[axis], attribute_or_input(node, specs, "split", 1, 13)
    if sizes is None:
        each = -(-extent // count)
        return axis, [max(0, min(each, extent - i * each)) for i in range(count)]
    if len(sizes) != count or min(sizes) < 0 or sum(sizes) != extent:
        raise node.error(f"its parts {sizes} are not {count} that make {extent}\n  along axis {axis} of {x}")
    return axis, list(sizes)


def _split_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, (axis, sizes) = input_at(node, specs, 0), parts(node, specs)
    return tuple(Spec((*x.shape[:axis], n, *x.shape[axis + 1 :]), x.dtype) for n in sizes)


@step_operator("Split", shape=_split_shape)
def split(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """x in parts along an axis: the `split` sizes, or equal ones, the last the smaller."""
    axis, sizes = parts(node, specs)
    ends = np.cumsum([0, *sizes]).tolist()
    cuts = [(*(slice(None),) * axis, slice(a, b)) for a, b in itertools.pairwise(ends)]
    named = [cut for cut, name in zip(cuts, node.outputs, strict=True) if name]

    def step(x: Array, *rest: Array) -> None:
        for cut, out in zip(named, rest[-len(named) :], strict=True):
            np.copyto(out, x[cut])

    return step


def cuts(node: Node, specs: Specs) -> Cuts:
    """One slice for each axis."""
    x = input_at(node, specs, 0)
    if node.version < 10:
        starts, ends = (
            read_whole_numbers(node, node.get("starts", ()), "starts"),
            read_whole_numbers(node, node.get("ends", ()), "ends"),
        )
        axes, steps = node.get("axes"), None
    else:
        starts, ends = whole_numbers_at(node, specs, 1, "starts"), whole_numbers_at(node, specs, 2, "ends")
        axes = whole_numbers_at(node, specs, 3, "axes") if has_input(specs, 3) else None
        steps = whole_numbers_at(node, specs, 4, "steps") if has_input(specs, 4) else None
    axes = tuple(range(len(starts))) if axes is None else tuple(axes)
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise node.error(
            f"its starts {starts}, ends {ends}, axes {axes} and steps {steps} do not fit together"
        )
    cuts = [slice(None)] * x.rank
    for axis, start, end, by in zip(axes_of(node, axes, x.rank), starts, ends, steps, strict=True):
        n = x.shape[axis]
        start, end = (v + n if v < 0 else v for v in (start, end))
        if by > 0:
            cuts[axis] = slice(min(max(start, 0), n), min(max(end, 0), n), by)
        else:
            last = max(end, -1)
            cuts[axis] = (
                slice(min(max(start, 0), n - 1), None if last < 0 else last, by) if n else slice(0, 0)
            )
    return tuple(cuts)


def _cut_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    return (
        Spec(
            tuple(len(range(*cut.indices(n))) for cut, n in zip(cuts(node, specs), x.shape, strict=True)),
            x.dtype,
        ),
    )


@step_operator("Slice", shape=_cut_shape)
def cut_out(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """x from starts to ends, without those, in steps, along some axes."""
    places = cuts(node, specs)
    return lambda x, *rest: np.copyto(rest[-1], x[places])


# -- padding -----------------------------------------------------------------------------------------------------------

MODES = ("constant", "reflect", "edge", "wrap")


def pads_around(node: Node, specs: Specs) -> list[tuple[int, int]]:
    """(lo, hi) for each axis; below 0 they cut off."""
    x, pads = input_at(node, specs, 0), attribute_or_input(node, specs, "pads", 1, 11)
    axes = (
        axes_of(node, whole_numbers_at(node, specs, 3, "axes"), x.rank)
        if has_input(specs, 3)
        else tuple(range(x.rank))
    )
    if pads is None or len(pads) != 2 * len(axes) or node.get("mode", "constant") not in MODES:
        raise node.error(
            f"its pads {pads} (mode {node.get('mode', 'constant')!r}) do not fit\n"
            f"  two for each of {len(axes)} axes are needed"
        )
    found = [(0, 0)] * x.rank
    for i, axis in enumerate(axes):
        found[axis] = (pads[i], pads[i + len(axes)])
    return found


def _pad_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, pads = input_at(node, specs, 0), pads_around(node, specs)
    shape = tuple(n + lo + hi for n, (lo, hi) in zip(x.shape, pads, strict=True))
    copies = node.get("mode", "constant") != "constant"
    if min(shape, default=0) < 0 or (
        copies and any(m and not n for n, m in zip(x.shape, shape, strict=True))
    ):
        raise node.error(f"its pads {pads} cut off more than there is\n  {x}")
    return (Spec(shape, x.dtype),)


def inside(extents: Shape, pads: Sequence[tuple[int, int]]) -> tuple[Cuts, Cuts]:
    """Where x lands in the output, and which part of x does."""
    here, there = [], []
    for n, (lo, hi) in zip(extents, pads, strict=True):
        first, end = max(0, -lo), n - max(0, -hi)
        here.append(slice(first + lo, max(end, first) + lo))
        there.append(slice(first, max(end, first)))
    return tuple(here), tuple(there)


@step_operator("Pad", shape=_pad_shape)
def pad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """x with a margin: a constant, its own elements mirrored or from the other end, or its edge."""
    x, pads, mode = input_at(node, specs, 0), pads_around(node, specs), node.get("mode", "constant")
    if mode != "constant":
        places = np.ix_(*(sources(n, lo, hi, mode) for n, (lo, hi) in zip(x.shape, pads, strict=True)))
        return lambda x, *rest: np.copyto(rest[-1], x[places])
    here, there = inside(x.shape, pads)
    valued = 2 if has_input(specs, 2) and node.version >= 11 else 0

    def step(*arrays: Array) -> None:
        out = arrays[-1]
        out[...] = (
            arrays[valued].reshape(()) if valued else node.get("value", 0.0) if node.version < 11 else 0
        )
        out[here] = arrays[0][there]

    return step


def sources(n: int, lo: int, hi: int, mode: str) -> Array:
    """Which element of n stands at each place from -lo to n + hi."""
    at = np.arange(-lo, n + hi)
    if mode == "edge":
        return np.clip(at, 0, n - 1)
    if mode == "wrap":
        return at % n
    period = max(2 * (n - 1), 1)
    at = at % period
    return np.where(at < n, at, period - at)


# -- channels and space ------------------------------------------------------------------------------------------------


def _block_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, b = input_at(node, specs, 0), node.get("blocksize", 0)
    deep = node.op == "DepthToSpace"
    if x.rank != 4 or b < 1 or (x.shape[1] % (b * b) if deep else x.shape[2] % b or x.shape[3] % b):
        raise node.error(f"its input {x} has no blocks of {b} x {b}")
    B, C, H, W = x.shape
    return (Spec((B, C // (b * b), H * b, W * b) if deep else (B, C * b * b, H // b, W // b), x.dtype),)


@step_operator("DepthToSpace", shape=_block_shape)
def depth_to_space(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """b*b channels to b x b pixels; the block's axes come before the channels (DCR) or after them (CRD)."""
    b, (B, C, H, W) = node.get("blocksize"), input_at(node, specs, 0).shape
    c = C // (b * b)
    if node.get("mode", "DCR") == "DCR":
        return lambda x, out: np.copyto(
            out.reshape(B, c, H, b, W, b), x.reshape(B, b, b, c, H, W).transpose(0, 3, 4, 1, 5, 2)
        )
    return lambda x, out: np.copyto(
        out.reshape(B, c, H, b, W, b), x.reshape(B, c, b, b, H, W).transpose(0, 1, 4, 2, 5, 3)
    )


@step_operator("SpaceToDepth", shape=_block_shape)
def space_to_depth(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """b x b pixels to b*b channels, in the order of `mode`."""
    b, (B, C, H, W) = node.get("blocksize"), input_at(node, specs, 0).shape
    h, w = H // b, W // b
    if node.get("mode", "DCR") == "DCR":
        return lambda x, out: np.copyto(
            out.reshape(B, b, b, C, h, w), x.reshape(B, C, h, b, w, b).transpose(0, 3, 5, 1, 2, 4)
        )
    return lambda x, out: np.copyto(
        out.reshape(B, C, b, b, h, w), x.reshape(B, C, h, b, w, b).transpose(0, 1, 3, 5, 2, 4)
    )


# -- columns back to an image ------------------------------------------------------------------------------------------


def _columns(node: Node, specs: Specs) -> tuple[Shape, Shape, Shape, Shape, list[tuple[int, int]], Shape]:
    """Image, block, strides, dilations, pads, and how many places the block has along each axis."""
    x, image, block = (
        input_at(node, specs, 0),
        whole_numbers_at(node, specs, 1, "image_shape"),
        whole_numbers_at(node, specs, 2, "block_shape"),
    )
    rank = len(image)
    s, d = (tuple(node.get(name) or (1,) * rank) for name in ("strides", "dilations"))
    pads = tuple(node.get("pads") or (0,) * (2 * rank))
    if (
        x.rank != 3
        or not rank
        or {len(block), len(s), len(d)} != {rank}
        or len(pads) != 2 * rank
        or min(*image, *block, *s, *d) < 1
        or min(pads) < 0
    ):
        raise node.error(
            f"its image {image}, block {block}, strides {s}, dilations {d} and pads {pads} do not fit {x}"
        )
    pairs = [(pads[a], pads[a + rank]) for a in range(rank)]
    places = tuple((image[a] + sum(pairs[a]) - (block[a] - 1) * d[a] - 1) // s[a] + 1 for a in range(rank))
    if x.shape[1] % math.prod(block) or min(places) < 1 or math.prod(places) != x.shape[2]:
        raise node.error(
            f"its columns are {x}\n  a block of {block} has {places} places in the image {image}"
        )
    return image, block, s, d, pairs, places


def _image(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, (image, block, *_) = input_at(node, specs, 0), _columns(node, specs)
    return (Spec((x.shape[0], x.shape[1] // math.prod(block), *image), x.dtype),)


@operator("Col2Im", shape=_image)
def columns_to_image(node: Node, x: Array, image: Array, block: Array) -> Any:
    """(B, C*F, P) -> (B, C, *I): every column added to its window, the adjoint of im2col."""
    specs = [Spec.of(x), Spec.of(image), Spec.of(block)]
    I, F, s, d, pads, P = _columns(node, specs)
    C, rank = x.shape[1] // math.prod(F), len(I)
    wide = np.zeros((x.shape[0], C, *(I[a] + sum(pads[a]) for a in range(rank))), x.dtype)
    parts = x.reshape(x.shape[0], C, *F, *P)
    for f in np.ndindex(*F):
        window: Any = tuple(
            slice(f[a] * d[a], f[a] * d[a] + (P[a] - 1) * s[a] + 1, s[a]) for a in range(rank)
        )
        wide[(..., *window)] += parts[(slice(None), slice(None), *f)]
    inner: Any = tuple(slice(lo, lo + n) for (lo, _), n in zip(pads, I, strict=True))
    return wide[(..., *inner)]
