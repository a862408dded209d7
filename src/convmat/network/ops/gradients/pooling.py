"""Gradients of pooling.

MaxPoolGrad        dy, x, y  ->  dx: dy goes to the first element of its window that is y, in C order
AveragePoolGrad    dy, the shape of x  ->  dx: to all of them in equal parts
LpPoolGrad         dy, x, y  ->  dx: to each by sign(x) |x / y|^(p - 1)
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np

from ....engine import Sweep, thread_pool, unpool, unpool_overlapping
from ...graph import Array, Node, Spec
from ..base import Specs, Step, input_at, own_operator, whole_numbers_at
from ..options import Options
from ..planned import Swept
from ..pooling import LEAST, PoolingWindow, pooling_windows
from .kernels import load


def _like_x(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 1)
    return (Spec(x.shape, x.dtype),)


@own_operator("MaxPoolGrad", shape=_like_x)
def max_pool_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """Tap by tap, those windows that have not found their largest element yet."""
    along = pooling_windows(node, made[0].shape)
    kernel = _kernel(along, made[0])
    if kernel is not None:
        return Swept(kernel, "to where maxima were", 3)

    def step(dy: Array, x: Array, y: Array, out: Array) -> None:
        out.fill(0)
        free = np.ones(y.shape, bool)
        for taps in product(*(w.taps() for w in along)):
            reached: Any = (..., *(t[0] for t in taps))
            inside: Any = (..., *(t[1] for t in taps))
            found = (x[inside] == y[reached]) & free[reached]
            part = out[inside]
            np.add(part, dy[reached], out=part, where=found)
            free[reached] &= ~found

    return step


def _kernel(along: tuple[PoolingWindow, ...], x: Spec) -> Sweep | None:
    """The kernel for windows in a plane: side by side with nothing left over, or else as they lie."""
    if len(along) != 2 or x.size < LEAST or any(w.d != 1 for w in along):
        return None
    (rows, columns), planes, threads = along, math.prod(x.shape[:2]), thread_pool.count()
    if all(w.s == w.F and w.P * w.s == w.I for w in along):
        return load(unpool(planes * rows.P, columns.P, rows.F, columns.F, x.dtype.name, threads))
    taken = tuple((w.F, w.s, w.lo, w.I, w.P) for w in along)
    return load(unpool_overlapping(planes, (taken[0], taken[1]), x.dtype.name, threads))


def _shape_of(node: Node, specs: Specs) -> tuple[Spec, ...]:
    return (Spec(whole_numbers_at(node, specs, 1, "shape"), input_at(node, specs, 0).dtype),)


@own_operator("AveragePoolGrad", shape=_shape_of)
def average_pool_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """Each window's share, added at each of its taps."""
    along = pooling_windows(node, made[0].shape)
    counts = np.ones(())
    for w in along:
        counts = np.multiply.outer(counts, w.counts(bool(node.get("count_include_pad"))))
    each = (1 / counts).astype(made[0].dtype)

    def step(dy: Array, shape: Array, out: Array) -> None:
        out.fill(0)
        share = dy * each
        for taps in product(*(w.taps() for w in along)):
            reached: Any = (..., *(t[0] for t in taps))
            inside: Any = (..., *(t[1] for t in taps))
            part = out[inside]
            np.add(part, share[reached], out=part)

    return step


@own_operator("LpPoolGrad", shape=_like_x)
def lp_pool_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """dy, x and y of a LpPool or GlobalLpPool; 0 where the norm is, which has no direction to grow in."""
    forward = node.attributes["of"]
    p, whole = forward.get("p", 2), forward.op == "GlobalLpPool"
    along = () if whole else pooling_windows(forward, made[0].shape)

    def step(dy: Array, x: Array, y: Array, out: Array) -> None:
        share = np.divide(dy, np.power(y, p - 1), out=np.zeros_like(dy), where=y != 0)
        if whole:
            np.copyto(out, share)
        else:
            out.fill(0)
            for taps in product(*(w.taps() for w in along)):
                inside: Any = (..., *(t[1] for t in taps))
                out[inside] += share[(..., *(t[0] for t in taps))]
        out *= np.sign(x) * np.power(np.abs(x), p - 1)

    return step
