"""Sweeps for nodes that are no products: which kernel passes over their arrays, if one does.

In a row of kernels a small node costs less than a microsecond, by NumPy five to ten, and it cuts the row. So it is the
whole network that is asked for its size: where no value has LEAST elements, kernels would not repay being compiled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ...engine import Sweep, SweepPlan, elementwise, pixel_shuffle, reduce_rows, thread_pool, upsample
from ..graph import Node, Spec
from .base import Specs, Unknown, axis_of
from .planned import Swept
from .pointwise import described, expression
from .reductions import ONE_AXIS, reduced
from .resize import repeats

LEAST = 4096
"""Elements of a network's largest value, from which on its nodes get kernels."""

FEWEST = 512
"""Elements from which on a node of integers or bools gets one: below they are sizes and places, of many kinds."""

Found = Swept | None


def swept(node: Node, specs: Specs, made: Sequence[Spec]) -> Found:
    """The step of a node by a kernel that is not loaded yet; None where NumPy runs it."""
    there = [spec for spec in specs if spec is not None]
    if not there or len(made) != 1 or not made[0].size or not there[0].size:
        return None
    said = expression(node, specs)
    if said is not None:
        if made[0].size < FEWEST and not {*said.types} <= {"float32", "float64"}:
            return None
        shapes = [each.shape for each in there]
        plan = elementwise(said, shapes, made[0].shape, thread_pool.count())
        return _step(plan, described(node), len(said.inputs))
    if node.domain or node.op not in KINDS:
        return None
    try:
        return KINDS[node.op](node, specs, there[0], made[0])
    except Unknown:
        return None


def _step(plan: SweepPlan | str, way: str, reads: int = 1) -> Found:
    return None if isinstance(plan, str) else Swept(Sweep(plan), way, reads)


def _rows(name: str, x: Spec, kept: int, way: str) -> Found:
    """Of the first `kept` axes each, over all others."""
    lines, columns = math.prod(x.shape[:kept]), math.prod(x.shape[kept:])
    return _step(reduce_rows(name, lines, columns, x.dtype.name, thread_pool.count()), way)


def _global(name: str) -> Callable[[Node, Specs, Spec, Spec], Found]:
    return lambda node, specs, x, y: _rows(name, x, 2, "rows")


def _reduce(name: str) -> Callable[[Node, Specs, Spec, Spec], Found]:
    def made(node: Node, specs: Specs, x: Spec, y: Spec) -> Found:
        axes = reduced(node, specs, x.rank) or ()
        kept = [a for a in range(x.rank) if a not in axes and x.shape[a] != 1]
        gone = [a for a in axes if x.shape[a] != 1]
        if not gone or (kept and kept[-1] > min(gone)):
            return None
        return _rows(name, x, min(gone), "rows")

    return made


def _softmax(node: Node, specs: Specs, x: Spec, y: Spec) -> Found:
    single = node.version >= ONE_AXIS
    axis = axis_of(node, node.get("axis", -1 if single else 1), x.rank)
    if single and math.prod(x.shape[axis + 1 :]) != 1:
        return None
    return _rows("softmax", x, axis, "rows")


def _resize(node: Node, specs: Specs, x: Spec, y: Spec) -> Found:
    times = repeats(node, specs)
    if times is None or x.rank < 2 or any(n != 1 for n in times[:-2]):
        return None
    lines, columns = math.prod(x.shape[:-1]), x.shape[-1]
    return _step(
        upsample(lines, columns, times[-2], times[-1], x.dtype.name, thread_pool.count()), "repeated"
    )


def _depth_to_space(node: Node, specs: Specs, x: Spec, y: Spec) -> Found:
    b, (B, C, H, W) = node.get("blocksize"), x.shape
    if node.get("mode", "DCR") != "CRD":
        return None
    return _step(
        pixel_shuffle(B * C // (b * b), (b, b), (H, W), x.dtype.name, thread_pool.count()), "interleaved"
    )


KINDS: dict[str, Callable[[Node, Specs, Spec, Spec], Found]] = {
    "GlobalAveragePool": _global("mean"),
    "GlobalMaxPool": _global("max"),
    "ReduceSum": _reduce("sum"),
    "ReduceMean": _reduce("mean"),
    "ReduceMax": _reduce("max"),
    "ReduceMin": _reduce("min"),
    "Softmax": _softmax,
    "DepthToSpace": _depth_to_space,
    "Resize": _resize,
    "Upsample": _resize,
}
"""By ONNX's name, operators that are no expressions."""
