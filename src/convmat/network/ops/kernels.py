"""Sweeps for nodes that are no products: which kernel passes over their arrays, if one does.

In a row of kernels a small node costs less than a microsecond, by NumPy five to thirty, and it cuts the row. So it is
the whole network that is asked: where it has no products with packed weights, whose kernels are compiled anyway, and no
value has LEAST elements, kernels would not repay being compiled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ...engine import (
    Sweep,
    SweepPlan,
    batch_norm,
    batch_norm_grad,
    byte_means,
    elementwise,
    extreme_places,
    normalise,
    pixel_shuffle,
    reduction,
    resample,
    running_sums,
    softmax,
    strided_copy,
    thread_pool,
    upsample,
)
from ...planner import contraction
from ..graph import Node, Spec
from .base import OWN, Specs, Unknown, axis_of, broadcast_shape, input_at
from .byte_functions import find_table, find_weighed
from .einsum import LETTERS, equation_of
from .expressions import BY_RANGE, BY_RANGE_SCALE, BY_RANGE_ZERO
from .indexed import FOUND, find_indexed
from .integer_means import INTEGER_MEAN, mean_factors
from .moving import COPIES
from .ordered import find_top
from .planned import Moved, Multiplied, Swept
from .pointwise import describe_pass, expression
from .quantised_sweeps import sweep_by_axis
from .reductions import ONE_AXIS, reduced_axes
from .resize import find_repeats, find_weights
from .walked import WALKED, find_walk

LEAST = 4096
"""Elements of a network's largest value, from which on its nodes get kernels."""

FEWEST = 512
"""Elements from which on a node of integers or bools alone gets one: below they are sizes and places, of many kinds."""

LEAST_FMAS = 4096
"""FMAs of a product of two computed arrays, from which on it gets a kernel."""

Found = Moved | Multiplied | Swept | None

Kind = Callable[[Node, Specs, Spec, Spec], Found]
"""From a node, the Specs of its inputs, its first input and its one output."""


def run_sweep(node: Node, specs: Specs, made: Sequence[Spec]) -> Found:
    """The step of a node by kernels that are not loaded yet; None where NumPy runs it."""
    there = [spec for spec in specs if spec is not None]
    if not there or not all(spec.size for spec in (*made, there[0])):
        return None
    try:
        if node.key in WALKED:
            return find_walk(node, specs, made)
        if not node.domain and node.op in COPIES:
            moves = _find_moves(node, specs, made)
            return moves if moves or node.op not in FOUND else _find_indexed(node, specs, made)
        if not node.domain and node.op in FOUND:
            return _find_indexed(node, specs, made)
        if node.op == "TopK" and not node.domain:
            small = there[0].size < FEWEST and there[0].dtype.kind != "f"
            return None if small else find_top(node, specs, made)
        if node.op == "DynamicQuantizeLinear" and not node.domain:
            return _find_range_pass(there[0], made)
        if node.domain == OWN and node.op in LEARNED:
            return _find_batch_norm(node, there, made)
        if node.domain == OWN and node.op == INTEGER_MEAN:
            return _find_mean(there, made[0])
        if node.domain == OWN and node.op == "MatMulGrad":
            return _matmul_grad(node, there, made[0])
        return _find_pass(node, specs, made[0]) if len(made) == 1 else None
    except Unknown:
        return None


def _find_moves(node: Node, specs: Specs, made: Sequence[Spec]) -> Found:
    """Woven in registers where that is quicker than copies."""
    if woven := node.op == "DepthToSpace" and _depth_to_space(node, specs, input_at(node, specs, 0), made[0]):
        return woven
    dtype = input_at(node, specs, 0).dtype
    moves = None if dtype.hasobject else COPIES[node.op](node, specs, made)
    if not moves:
        return None
    plans = [strided_copy(each.shape, each.x, each.y, dtype.itemsize, thread_pool.count()) for each in moves]
    if any(isinstance(plan, str) for plan in plans):
        return None
    return Moved(
        tuple(
            (Sweep(plan), (move.source,), move.target)
            for plan, move in zip(plans, moves, strict=True)
            if not isinstance(plan, str)
        )
    )


def _find_pass(node: Node, specs: Specs, made: Spec) -> Found:
    """One pass over the arrays."""
    there = [spec for spec in specs if spec is not None]
    said = expression(node, specs)
    if said is None:
        known = not node.domain and node.op in KINDS
        return KINDS[node.op](node, specs, there[0], made) if known else None
    if made.size < FEWEST and not {*said.types} & {"float32", "float64"}:
        return None
    if (tabled := find_table(node, said, there, made)) is not None:
        return tabled
    if (found := find_weighed(node, said, there, made)) is not None:
        return found
    plan = elementwise(said, [each.shape for each in there], made.shape, thread_pool.count())
    return _step(plan, describe_pass(node), len(said.inputs))


def _find_indexed(node: Node, specs: Specs, made: Sequence[Spec]) -> Found:
    """Elements or rows by indices: all that is no text."""
    return None if made[0].dtype.hasobject else find_indexed(node, specs, made[0])


def _find_range_pass(x: Spec, made: Sequence[Spec]) -> Found:
    """Least and greatest, from them scale and zero point, with these the numbers."""
    if len(made) != 3 or x.dtype != np.float32:
        return None
    one, count = Spec((1,), x.dtype), thread_pool.count()
    ends = [reduction(name, x.shape, range(x.rank), x.dtype.name, count) for name in ("low", "high")]
    single = [elementwise(said, [(), ()], (), count) for said in (BY_RANGE_SCALE, BY_RANGE_ZERO)]
    whole = elementwise(BY_RANGE, [x.shape, (), ()], x.shape, count)
    plans = [plan for plan in (*ends, *single, whole) if not isinstance(plan, str)]
    if len(plans) < 5:
        return None
    low, high, scale, zero, all_ = map(Sweep, plans)
    # x 0, y 1, scale 2, zero point 3; least 4 and greatest 5 lie between
    moves = ((low, (0,), 4), (high, (0,), 5), (scale, (4, 5), 2), (zero, (4, 2), 3), (all_, (0, 2, 3), 1))
    return Moved(moves, "by range", (one, one))


def _find_mean(there: Sequence[Spec], made: Spec) -> Found:
    """Lines of bytes summed, each for the mean that it has."""
    x, *numbers = there
    known = [each.value for each in numbers if each.value is not None]
    lines, pixels = made.size, x.size // made.size
    plan = byte_means(lines, pixels, (x.dtype.name, made.dtype.name), thread_pool.count())
    if isinstance(plan, str) or len(known) < len(numbers):
        return None
    x_scale, x_zero, y_scale, y_zero = known
    factors = mean_factors(pixels, x_zero, x_scale, y_scale, y_zero)
    return Moved(((Sweep(plan), (0, *factors), -1),), "sums of bytes")


def _step(plan: SweepPlan | str, way: str, reads: int = 1) -> Found:
    return None if isinstance(plan, str) else Swept(Sweep(plan), way, reads)


def _find_reduction(name: str, x: Spec, axes: Sequence[int]) -> Found:
    return _step(reduction(name, x.shape, axes, x.dtype.name, thread_pool.count()), "reduced")


def _global(name: str) -> Kind:
    """Over all but the first two axes."""
    return lambda node, specs, x, y: _find_reduction(name, x, range(2, x.rank))


def _reduce(name: str) -> Kind:
    def find(node: Node, specs: Specs, x: Spec, y: Spec) -> Found:
        axes = reduced_axes(node, specs, x.rank)
        return _find_reduction(name, x, axes) if axes else None

    return find


def _extreme(least: bool) -> Kind:
    def find(node: Node, specs: Specs, x: Spec, y: Spec) -> Found:
        axis, last = axis_of(node, node.get("axis", 0), x.rank), bool(node.get("select_last_index", 0))
        found = extreme_places(x.shape, axis, x.dtype.name, thread_pool.count(), least=least, last=last)
        return _step(found, "compared")

    return find


def _running(node: Node, specs: Specs, x: Spec, y: Spec) -> Found:
    axis = input_at(node, specs, 1).value
    if axis is None or y.size < FEWEST:
        return None
    at = axis_of(node, int(axis.reshape(())), x.rank)
    exclusive, reverse = (bool(node.get(name, 0)) for name in ("exclusive", "reverse"))
    dtype, threads = x.dtype.name, thread_pool.count()
    plan = running_sums(x.shape, at, dtype, threads, exclusive=exclusive, reverse=reverse)
    return _step(plan, "added up")


def _softmax(logarithm: bool) -> Kind:
    def find(node: Node, specs: Specs, x: Spec, y: Spec) -> Found:
        single = node.version >= ONE_AXIS
        axis = axis_of(node, node.get("axis", -1 if single else 1), x.rank)
        along = (axis, axis + 1 if single else x.rank)
        return _step(softmax(x.shape, along, logarithm, x.dtype.name, thread_pool.count()), "softmax")

    return find


def _find_contraction(equation: str, specs: Specs) -> Found:
    a, b = specs[0], specs[1]
    if a is None or b is None or a.dtype != b.dtype:
        return None
    found = contraction(equation, a.shape, b.shape, a.dtype.name, thread_pool.count())
    if isinstance(found, str) or math.prod(found.product) < LEAST_FMAS:
        return None
    return Multiplied(found)


def _einsum(node: Node, specs: Specs, x: Spec, y: Spec) -> Found:
    return _find_contraction(equation_of(node, specs), specs) if len(specs) == 2 else None


def _matmul(node: Node, specs: Specs, x: Spec, y: Spec) -> Found:
    """What is no product with a constant matrix, which has its weights packed once."""
    a, b = input_at(node, specs, 0), input_at(node, specs, 1)
    if a.rank < 2 or b.rank < 2 or (b.rank == 2 and b.value is not None):
        return None
    batch = LETTERS[: max(a.rank, b.rank) - 2]
    first, second = (batch[len(batch) + 2 - each.rank :] for each in (a, b))
    return _find_contraction(f"{first}XZ,{second}ZY->{batch}XY", specs)


def _matmul_grad(node: Node, specs: Sequence[Spec], y: Spec) -> Found:
    """Gradient of a product of matrices, none of which was repeated along an axis of its own of extent 1."""
    _, a, b = specs
    if a.rank < 2 or b.rank < 2:
        return None
    batch = LETTERS[: max(a.rank, b.rank) - 2]
    first, second = (batch[len(batch) + 2 - each.rank :] for each in (a, b))
    whole = broadcast_shape(node, [a.shape[:-2], b.shape[:-2]])
    if any(each.shape[:-2] != whole[len(whole) + 2 - each.rank :] for each in (a, b)):
        return None
    if node.get("of") == 0:
        found, reads = _find_contraction(f"{batch}XY,{second}ZY->{first}XZ", (specs[0], b)), (0, 2)
    else:
        found, reads = _find_contraction(f"{first}XZ,{batch}XY->{second}ZY", (a, specs[0])), (1, 0)
    return replace(found, reads=reads) if isinstance(found, Multiplied) else None


def _gemm(node: Node, specs: Specs, x: Spec, y: Spec) -> Found:
    """A product and nothing else, of two computed matrices or with none whose weights are packed once."""
    b = input_at(node, specs, 1)
    plain = len(specs) == 2 and node.get("alpha", 1.0) == 1 and not node.get("activation")
    if not plain or (b.value is not None and not node.get("transA")):
        return None
    first, second = ("ZX" if node.get("transA") else "XZ"), ("YZ" if node.get("transB") else "ZY")
    return _find_contraction(f"{first},{second}->XY", specs)


def _singles(*specs: Spec | None) -> bool:
    return all(spec is None or spec.dtype == np.float32 for spec in specs)


def _image_norm(node: Node, specs: Specs, x: Spec, y: Spec) -> Found:
    """A scale and a bias for each channel; for each group in operator sets before 21."""
    (B, C), scale = x.shape[:2], specs[1]
    groups = node.get("num_groups", 1) if node.op == "GroupNormalization" else C
    if scale is None or not _singles(*specs) or scale.size % groups:
        return None
    plan = normalise(
        B * groups, x.size // (B * groups), node.get("epsilon", 1e-5), thread_pool.count(),
        parts=scale.size // groups, cycle=groups,
    )  # fmt: skip
    return _step(plan, "normalised", 3)


def _layer_norm(node: Node, specs: Specs, x: Spec, y: Spec) -> Found:
    """Kernel of a normalisation whose scale and bias have the shape of what is normalised."""
    axis = axis_of(node, node.get("axis", -1), x.rank)
    own, rest = x.shape[axis:], [spec for spec in specs[1:] if spec is not None]
    fits = all(math.prod(each.shape) == math.prod(own) and each.rank <= len(own) for each in rest)
    if not fits or not _singles(*specs) or (len(rest) > 1 and node.op == "RMSNormalization"):
        return None
    plan = normalise(
        x.size // math.prod(own), math.prod(own), node.get("epsilon", 1e-5), thread_pool.count(),
        biased=len(rest) > 1, centred=node.op == "LayerNormalization",
    )  # fmt: skip
    return _step(plan, "normalised", 1 + len(rest))


def _find_batch_norm(node: Node, specs: Sequence[Spec], made: Sequence[Spec]) -> Found:
    """BatchNorm and its gradients, whose means are the batch's own or given."""
    x, epsilon, limits = specs[LEARNED[node.op]], node.get("epsilon", 1e-5), node.get("limits")
    if any(spec.dtype != x.dtype for spec in (*specs, *made)):
        return None
    dtype, threads = x.dtype.name, thread_pool.count()
    plan = (
        batch_norm(x.shape, epsilon, dtype, threads, limits)
        if node.op == "BatchNorm"
        else batch_norm_grad(
            x.shape, dtype, threads, limits=limits, given=epsilon if node.get("given") else None
        )
    )
    return None if isinstance(plan, str) else Swept(Sweep(plan), "a channel at a time", len(specs), len(made))


def _resize(node: Node, specs: Specs, x: Spec, y: Spec) -> Found:
    """Nearest neighbours that repeat elements are shuffles; others are weighted sums along the last two axes."""
    times, threads = find_repeats(node, specs), thread_pool.count()
    if times is not None and x.rank >= 2 and all(n == 1 for n in times[:-2]):
        lines, columns = math.prod(x.shape[:-1]), x.shape[-1]
        found = _step(upsample(lines, columns, times[-2], times[-1], x.dtype.name, threads), "repeated")
        if found is not None:
            return found
    along = find_weights(node, specs)
    if along is None:
        return None
    plane = (x.shape[-2] if x.rank > 1 else 1, x.shape[-1])
    made = resample(math.prod(x.shape[:-2]), plane, *along, threads, x.dtype.name)
    if isinstance(made, str):
        return None
    plan, tables = made
    return Moved(((Sweep(plan), (0, *tables), -1),), "resampled")


def _depth_to_space(node: Node, specs: Specs, x: Spec, y: Spec) -> Found:
    b, (B, C, H, W) = node.get("blocksize"), x.shape
    if node.get("mode", "DCR") != "CRD":
        return None
    return _step(
        pixel_shuffle(B * C // (b * b), (b, b), (H, W), x.dtype.name, thread_pool.count()), "interleaved"
    )


LEARNED = {"BatchNorm": 0, "BatchNormGrad": 1}
"""Normalisation over the batch, by the place of x among the inputs."""

REDUCTIONS = {
    "ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "max", "ReduceMin": "min", "ReduceProd": "prod",
    "ReduceL1": "l1", "ReduceL2": "l2", "ReduceSumSquare": "square", "ReduceLogSum": "log_sum",
    "ReduceLogSumExp": "log_sum_exp",
}  # fmt: skip

KINDS: dict[str, Kind] = {
    "GlobalAveragePool": _global("mean"),
    "GlobalMaxPool": _global("max"),
    **{op: _reduce(name) for op, name in REDUCTIONS.items()},
    "ArgMax": _extreme(least=False),
    "ArgMin": _extreme(least=True),
    "CumSum": _running,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "Softmax": _softmax(logarithm=False),
    "LogSoftmax": _softmax(logarithm=True),
    "InstanceNormalization": _image_norm,
    "GroupNormalization": _image_norm,
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _layer_norm,
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), sweep_by_axis),
    "Resize": _resize,
    "Upsample": _resize,
}
"""By ONNX's name, operators that are no expressions."""
