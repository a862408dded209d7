"""Gradients of what copies elements: the elements of dy that one of x went to are added.

    SumTo       dy, a shape that broadcasts to dy's     ->  sums over the axes along which x was repeated
    Spread      dy of a sum or mean, the shape of x     ->  dy repeated along the axes that were summed over
    Ones, Zeros     x                                   ->  as many
    SliceGrad, PadGrad, GatherGrad, TileGrad            dy, the shape of x, what else the node reads
    PlacesGrad          the same of GatherElements and GatherND

The last have the node that is differentiated as an attribute, `of`: its own rule says where elements went.
"""

from __future__ import annotations

import math

import numpy as np

from ...graph import Array, Node, Spec
from ..base import Specs, Step, axis_of, broadcast_shape, input_at, own_operator, same_spec, whole_numbers_at
from ..gather import PLACES
from ..movement import cuts, inside, pads_around, sources
from ..options import Options
from ..reductions import reduced_axes


def shape_given(node: Node, specs: Specs) -> tuple[Spec, ...]:
    """The shape that the second input says."""
    return (Spec(whole_numbers_at(node, specs, 1, "shape"), input_at(node, specs, 0).dtype),)


def of(node: Node, specs: Specs) -> tuple[Node, list[Spec | None]]:
    """The node that is differentiated, and its inputs: x is known by its shape alone."""
    x = Spec(whole_numbers_at(node, specs, 1, "shape"), input_at(node, specs, 0).dtype)
    return node.attributes["of"], [x, *specs[2:]]


def _sum_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    dy, shape = input_at(node, specs, 0), whole_numbers_at(node, specs, 1, "shape")
    if broadcast_shape(node, [dy.shape, shape]) != dy.shape:
        raise node.error(f"its shape {shape} does not broadcast to {dy}")
    return (Spec(shape, dy.dtype),)


@own_operator("SumTo", shape=_sum_shape)
def sum_to(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The sum over what broadcasting repeated, axis by axis from the last, whose elements lie side by side."""
    dy, shape = input_at(node, specs, 0).shape, made[0].shape
    padded = (1,) * (len(dy) - len(shape)) + shape
    axes = tuple(a for a, (n, m) in enumerate(zip(dy, padded, strict=True)) if n != m)

    def step(dy: Array, shape: Array, out: Array) -> None:
        if not axes:
            np.copyto(out, dy.reshape(out.shape))
            return
        last = dy
        for axis in reversed(axes[1:]):
            last = np.add.reduce(last, axis=axis, keepdims=True)
        np.add.reduce(last, axis=axes[0], keepdims=True, out=out.reshape(padded))

    return step


@own_operator("Ones", "Zeros", shape=same_spec)
def fill(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """One number in the shape of x."""
    value = 1 if node.op == "Ones" else 0
    return lambda x, out: out.fill(value)


@own_operator("Spread", shape=shape_given)
def spread(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """dy along the axes that the node summed over, divided by their elements for a mean."""
    forward, inputs = of(node, specs)
    shape = made[0].shape
    if forward.op.startswith("Global"):
        axes: tuple[int, ...] = tuple(range(2, len(shape)))
    else:
        axes = reduced_axes(forward, inputs, len(shape))
    kept = tuple(1 if a in axes else n for a, n in enumerate(shape))
    share = 1 / math.prod(shape[a] for a in axes) if node.get("mean") else 1

    def step(dy: Array, *rest: Array) -> None:
        dy = dy.reshape(kept)
        np.copyto(rest[-1], dy if share == 1 else dy * dy.dtype.type(share))

    return step


@own_operator("SliceGrad", shape=shape_given)
def slice_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """dy where it came from, zeros elsewhere."""
    places = cuts(*of(node, specs))

    def step(dy: Array, *rest: Array) -> None:
        rest[-1].fill(0)
        rest[-1][places] = dy

    return step


@own_operator("PadGrad", shape=shape_given)
def pad_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The part of dy that is x, and where the margin is made of x, what comes from there too."""
    forward, inputs = of(node, specs)
    around, mode = pads_around(forward, inputs), forward.get("mode", "constant")
    if mode == "constant":
        here, there = inside(made[0].shape, around)

        def cut(dy: Array, *rest: Array) -> None:
            rest[-1].fill(0)
            rest[-1][there] = dy[here]

        return cut
    along = [sources(n, lo, hi, mode) for n, (lo, hi) in zip(made[0].shape, around, strict=True)]

    def step(dy: Array, *rest: Array) -> None:
        for axis, at in enumerate(along):
            dy = scatter_sums(dy, at, axis, made[0].shape[axis])
        np.copyto(rest[-1], dy)

    return step


def scatter_sums(dy: Array, at: Array, axis: int, extent: int) -> Array:
    """dy along an axis added up at the places `at` of as many as `extent`, in their order."""
    if np.array_equal(at, np.arange(extent)):
        return dy
    rows, order = np.moveaxis(dy, axis, 0), np.argsort(at, kind="stable")
    found = np.zeros((extent, *rows.shape[1:]), dy.dtype)
    places = at[order]
    first = np.flatnonzero(np.diff(places, prepend=-1))  # of those that go to one place
    if first.size == at.size:
        found[at] = rows
    else:
        found[places[first]] = np.add.reduceat(rows[order], first, axis=0)
    return np.moveaxis(found, 0, axis)


@own_operator("GatherGrad", shape=shape_given)
def gather_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """Each row of dy added to the row of x that it is."""
    axis = axis_of(node, node.get("axis", 0), made[0].rank)
    extent = made[0].shape[axis]

    def step(dy: Array, shape: Array, indices: Array, out: Array) -> None:
        at = np.where(indices < 0, indices + extent, indices).reshape(-1)
        rows = dy.reshape(*dy.shape[:axis], at.size, *dy.shape[axis + indices.ndim :])
        np.copyto(out, scatter_sums(rows, at, axis, extent))

    return step


@own_operator("PlacesGrad", shape=shape_given)
def places_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """Each element of dy added to the one of x that it is."""
    forward, find = node.attributes["of"], PLACES[node.attributes["of"].op]

    def step(dy: Array, shape: Array, indices: Array, out: Array) -> None:
        out.fill(0)
        np.add.at(out, find(forward, indices, out.shape), dy)

    return step


@own_operator("TileGrad", shape=shape_given)
def tile_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The sum over the copies."""
    shape = made[0].shape

    def step(dy: Array, *rest: Array) -> None:
        times = [m // max(n, 1) for m, n in zip(dy.shape, shape, strict=True)]
        split: list[int] = [v for pair in zip(times, shape, strict=True) for v in pair]
        np.add.reduce(dy.reshape(split), axis=tuple(range(0, 2 * len(shape), 2)), out=rest[-1])

    return step
