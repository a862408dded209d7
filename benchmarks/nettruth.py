"""Is a network's answer right? Held against the same graph in float64, operator by operator.

    error = |y - y64| / |y64|           Frobenius norms, of the output where it is largest

Every operator is the ONNX standard's own reference, but for those that would take it minutes (convolutions are the sums
over taps of `benchmarks.truth`, maxima the largest of shifted images, Resize by whole factors repeats pixels) and
BatchNormalization, which it takes for training before operator set 14. No engine and no lowering has a part in it.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from benchmarks.netjobs import NetJob, given
from benchmarks.truth import Array, forward, input_grad
from convmat.geometry import Geometry


class NetTruth:
    """The outputs of one network for its input, made once. `flops`: of its convolutions and dense layers."""

    def __init__(self, job: NetJob) -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        model = onnx.load(job.file)
        for domain in model.opset_import:
            # From 19 on, and no earlier, the reference has the operators of 8-bit networks; others stayed as they were.
            domain.version = 19 if not domain.domain and domain.version == 18 else domain.version
        widen(model)
        operators, counted = _operators()
        evaluator = ReferenceEvaluator(model, new_ops=operators)
        feeds = {
            value.name: x.astype(np.float64) if x.dtype == np.float32 else x
            for value, x in zip(model.graph.input, given(job), strict=True)
        }
        self.expected: list[Array] = evaluator.run(None, feeds)
        self.flops = sum(counted)

    def error(self, answer: Array) -> float:
        """The largest norm-wise error of an output; inf for another size or numbers that are not finite."""
        sizes = [y.size for y in self.expected]
        if answer.size != sum(sizes) or not np.isfinite(answer).all():
            return float("inf")
        parts = np.split(answer.ravel().astype(np.float64), np.cumsum(sizes)[:-1])
        return max(
            float(np.linalg.norm(part - y.ravel()) / np.linalg.norm(y))
            for part, y in zip(parts, self.expected, strict=True)
        )


def widen(model: Any) -> None:
    """Turn the float32 of a model into float64: weights, constants, casts and declared types, in place."""
    from onnx import TensorProto, numpy_helper

    def wide(tensor: Any) -> None:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name)
            )

    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        for tensor in graph.initializer:
            wide(tensor)
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type == TensorProto.FLOAT:
                value.type.tensor_type.elem_type = TensorProto.DOUBLE
        for attribute in (attribute for node in graph.node for attribute in node.attribute):
            wide(attribute.t)
            graphs += [attribute.g] if attribute.HasField("g") else []
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE


def _operators() -> tuple[list[Any], list[int]]:
    """Operators for the reference evaluator that are faster than its own, or count, and the list of FLOPs counted."""
    from onnx.reference.op_run import OpRun
    from onnx.reference.ops.op_matmul import MatMul as OwnMatMul
    from onnx.reference.ops.op_resize import Resize as OwnResize

    counted: list[int] = []

    class Conv(OpRun):  # type: ignore[misc]  # onnx is Any
        op_domain = ""

        def _run(self, x: Array, w: Array, bias: Array | None = None, **about: Any) -> tuple[Array]:
            g = geometry(x.shape, w.shape, about)
            counted.append(g.flops)
            y = forward(x, w, g)
            return (y if bias is None else y + bias.reshape(-1, *(1,) * g.rank),)

    class Gemm(OpRun):  # type: ignore[misc]
        op_domain = ""

        def _run(self, a: Array, b: Array, c: Array | None = None, **about: Any) -> tuple[Array]:
            a, b = (each.T if about.get(word) else each for each, word in ((a, "transA"), (b, "transB")))
            counted.append(2 * a.shape[0] * a.shape[1] * b.shape[1])
            y = about.get("alpha", 1.0) * (a @ b)
            return (y if c is None else y + about.get("beta", 1.0) * c,)

    class MatMul(OwnMatMul):  # type: ignore[misc]
        def _run(self, a: Array, b: Array, **about: Any) -> Any:
            (y,) = super()._run(a, b, **about)
            counted.append(2 * y.size * a.shape[-1])
            return (y,)

    class ConvTranspose(OpRun):  # type: ignore[misc]
        op_domain = ""

        def _run(self, x: Array, w: Array, bias: Array | None = None, **about: Any) -> tuple[Array]:
            counted.append(2 * x.size * w[0].size)
            y = transposed(x, w, about)
            return (y if bias is None else y + bias.reshape(-1, *(1,) * (x.ndim - 2)),)

    class Resize(OwnResize):  # type: ignore[misc]
        def _run(self, x: Array, roi: Any = None, scales: Any = None, sizes: Any = None, **about: Any) -> Any:
            words = ("mode", "coordinate_transformation_mode", "nearest_mode")
            plain = [about.get(word) for word in words] == ["nearest", "asymmetric", "floor"]
            if not plain or scales is None or len(scales) != x.ndim or any(n < 1 or n % 1 for n in scales):
                return super()._run(x, roi, scales, sizes, **about)
            for axis, n in enumerate(scales):
                x = x.repeat(int(n), axis)
            return (x,)

    class MaxPool(OpRun):  # type: ignore[misc]
        op_domain = ""

        def _run(self, x: Array, **about: Any) -> tuple[Array]:
            return (maxima(x, about),)

    class BatchNormalization(OpRun):  # type: ignore[misc]
        op_domain = ""

        def _run(self, x: Array, *statistics: Array, epsilon: float = 1e-5, **about: Any) -> tuple[Array]:
            shape = (-1, *(1,) * (x.ndim - 2))
            gamma, beta, mean, variance = (each.reshape(shape) for each in statistics)
            return (gamma * (x - mean) / np.sqrt(variance + (epsilon or 1e-5)) + beta,)

    return [Conv, Gemm, MatMul, ConvTranspose, Resize, MaxPool, BatchNormalization], counted


def geometry(x: tuple[int, ...], w: tuple[int, ...], about: dict[str, Any]) -> Geometry:
    """The geometry of a Conv with these attributes; those that are left away are None or absent."""
    rank = len(w) - 2
    pads = about.get("pads") or [0] * (2 * rank)
    words = {"VALID": "valid", "SAME_UPPER": "same", "SAME_LOWER": "same_lower"}
    return Geometry.of(
        x, w,
        stride=tuple(about.get("strides") or (1,) * rank),
        dilation=tuple(about.get("dilations") or (1,) * rank),
        padding=words.get(about.get("auto_pad") or "", tuple(zip(pads[:rank], pads[rank:], strict=True))),
        groups=about.get("group") or 1,
    )  # fmt: skip


def transposed(x: Array, w: Array, about: dict[str, Any]) -> Array:
    """ConvTranspose without `auto_pad` and `output_shape`: the input gradient of the convolution that gives x.

    >>> transposed(np.array([[[1.0, 100.0]]]), np.array([[[10.0, 1.0]]]), {"strides": [2], "output_padding": [1]})
    array([[[  10.,    1., 1000.,  100.,    0.]]])
    """
    assert about.get("auto_pad") in (None, "NOTSET")
    assert not about.get("output_shape")
    rank, groups = x.ndim - 2, about.get("group") or 1
    pads, more = (about.get(word) or [0] * 2 * rank for word in ("pads", "output_padding"))
    I = [
        s * (p - 1) + m + d * (f - 1) + 1 - lo - hi
        for p, f, s, d, m, lo, hi in zip(
            x.shape[2:], w.shape[2:], about.get("strides") or [1] * rank, about.get("dilations") or [1] * rank,
            more[:rank], pads[:rank], pads[rank:], strict=True,
        )
    ]  # fmt: skip
    shape = (len(x), w.shape[1] * groups, *I)
    return input_grad(x, w, geometry(shape, w.shape, about))


def maxima(x: Array, about: dict[str, Any]) -> Array:
    """MaxPool: y[b, c, p] = the largest of x[b, c, p*s + f - lo] over all f.

    >>> maxima(np.array([[[3.0, 1.0, 2.0]]]), {"kernel_shape": [2], "strides": [2], "ceil_mode": 1})
    array([[[3., 2.]]])
    """
    F = about["kernel_shape"]
    rank = len(F)
    s, pads = about.get("strides") or [1] * rank, about.get("pads") or [0] * (2 * rank)
    if about.get("auto_pad") == "SAME_UPPER":
        needed = [max((-(-i // n) - 1) * n + f - i, 0) for i, f, n in zip(x.shape[2:], F, s, strict=True)]
        pads = [n // 2 for n in needed] + [n - n // 2 for n in needed]
    P, sides = [], [(0, 0), (0, 0)]
    for i, f, step, lo, hi in zip(x.shape[2:], F, s, pads[:rank], pads[rank:], strict=True):
        left = lo + i + hi - f
        p = left // step + 1
        # A window of ceil_mode has to begin before the padding at the end does.
        p += bool(about.get("ceil_mode")) and left % step > 0 and p * step < lo + i
        P.append(p)
        sides.append((lo, max(hi, (p - 1) * step + f - lo - i)))
    padded = np.pad(x, sides, constant_values=-np.inf)
    y = np.full((*x.shape[:2], *P), -np.inf, x.dtype)
    for tap in itertools.product(*map(range, F)):
        window: Any = tuple(
            slice(f, f + (p - 1) * step + 1, step) for f, p, step in zip(tap, P, s, strict=True)
        )
        np.maximum(y, padded[(..., *window)], out=y)
    return y
