"""Operators of onnxruntime's own that its quantiser and its optimiser write, as nodes of the standard.

    QLinearAdd         quantise(dequantise(a) + dequantise(b)), and QLinearMul, QLinearConcat, QLinearSigmoid,
                       QLinearLeakyRelu, QLinearSoftmax, QLinearWhere, QLinearAveragePool, QLinearGlobalAveragePool
                       likewise
    QGemm              Gemm of dequantised numbers, quantised if a scale of y is there; C counts in steps of
                       alpha * a_scale * b_scale
    MatMulIntegerToFloat, DynamicQuantizeMatMul
                       MatMulInteger times both scales, plus bias; the latter quantises a by its range
    DynamicQuantizeLSTM
                       LSTM of dequantised weights, which lie transposed, and of x quantised by its range;
                       rewriting makes one of it whose states are quantised, too
    MatMulNBits        MatMul by dequantised numbers of 2, 4 or 8 bits, which a constant has side by side; zero points
                       likewise, or floats
    QuantizeLinear, DequantizeLinear
                       the standard's

What rewriting does for graphs that quantise and dequantise around float operators then serves these as well. Those of
float numbers stand in `fused`. Other operators of that domain, and other domains, are not read. Meanings are those of
onnxruntime's documentation of its contributed operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..graph import Array
from .fused import FUSED, GEMM
from .spelling import DOMAIN, OLDEST, Foreign, Spelt


def _of_two(op: str) -> Callable[[Spelt], None]:
    def spell(s: Spelt) -> None:
        s.quantise(s(op, s.dequantise(0, 1, 2), s.dequantise(3, 4, 5)), 6, 7)

    return spell


def _of_one(op: str, *, channels: bool = False) -> Callable[[Spelt], None]:
    def spell(s: Spelt) -> None:
        more = {name: value for name, value in s.attributes.items() if name != "channels_last"}
        x = s.dequantise(0, 1, 2)
        if channels and s.attributes.get("channels_last", 0):
            found = _windows_last(s, op, x, more) if "kernel_shape" in more else _means_last(s, op, x)
            s.quantise(found, 3, 4)
            return
        s.quantise(s(op, x, **more), 3, 4)

    return spell


def _windows_last(s: Spelt, op: str, x: str, more: Mapping[str, Any]) -> str:
    """The same of images whose channels lie last; how many axes they have is told by the window."""
    rank = 2 + len(more["kernel_shape"])
    first, back = (0, rank - 1, *range(1, rank - 1)), (0, *range(2, rank), 1)
    return s("Transpose", s(op, s("Transpose", x, perm=first), **more), perm=back)


def _means_last(s: Spelt, op: str, x: str) -> str:
    """Means of whole images of any rank, channels last: (B, *I, C) as (B, I, C), whose mean is (B, 1 .., C)."""
    shape = s("Shape", x)

    def part(low: int, high: int) -> str:
        return s("Slice", shape, s.keep(np.array([low])), s.keep(np.array([high])))

    images, within, channels = part(0, 1), part(1, -1), part(-1, np.iinfo(np.int64).max)
    lines = s("Reshape", x, s("Concat", images, s("ReduceProd", within), channels, axis=0))
    means = s(op, s("Transpose", lines, perm=(0, 2, 1)))
    ones = s("ConstantOfShape", s("Shape", within), value=np.ones(1, np.int64))
    return s("Reshape", means, s("Concat", images, ones, channels, axis=0))


def _concat(s: Spelt) -> None:
    parts = [s.dequantise(at, at + 1, at + 2) for at in range(2, len(s.inputs) - 2, 3)]
    s.quantise(s("Concat", *parts, axis=s.attributes.get("axis", 0)), 0, 1, like=2)


def _where(s: Spelt) -> None:
    s.quantise(s("Where", s.input(0), s.dequantise(1, 2, 3), s.dequantise(4, 5, 6)), 7, 8, like=1)


def _softmax(s: Spelt) -> None:
    """Over one axis, or, as sets before 13 have it, over all from one on: `opset` is the set that is meant."""
    more = {name: value for name, value in s.attributes.items() if name == "axis"}
    made = s("Softmax", s.dequantise(0, 1, 2), **more)
    s.nodes[-1] = replace(s.nodes[-1], version=int(s.attributes.get("opset", s.version)))
    s.quantise(made, 3, 4)


def _gemm(s: Spelt) -> None:
    whole = bool(s.attributes.get("transB", 0))
    a, b = s.dequantise(0, 1, 2), s.dequantise(3, 4, 5, axis=0 if whole else 1)
    more = {name: value for name, value in s.attributes.items() if name in ("transA", "transB", "alpha")}
    added = (_in_steps(s),) if s.input(6) else ()
    if s.input(7):
        s.quantise(s("Gemm", a, b, *added, **more), 7, 8)
    else:
        s("Gemm", a, b, *added, out=s.outputs[0], **more)


def _in_steps(s: Spelt) -> str:
    """C of QGemm in float32: as the standard has a bias where all of it is known, computed otherwise."""
    alpha, known = np.float32(s.attributes.get("alpha", 1.0)), [s.known.get(s.input(at)) for at in (1, 4, 6)]
    a, b, c = known
    if a is not None and b is not None and c is not None and c.ndim == 1 and b.size in (1, c.size):
        steps = np.broadcast_to(a.reshape(()) * b.reshape(-1) * alpha, c.shape)
        return s("DequantizeLinear", s.input(6), s.keep(np.ascontiguousarray(steps, np.float32)), axis=0)
    name = s("Mul", s("Mul", s.input(1), s.input(4)), s.keep(alpha))
    return s("Mul", s("Cast", s.input(6), to=1), name)


def _scale(s: Spelt, sums: str, factor: str, bias: str) -> None:
    """Sums of integers in float32."""
    made = ("Mul", s("Cast", sums, to=1), factor)
    if bias:
        s("Add", s(*made), bias, out=s.outputs[0])
    else:
        s(*made, out=s.outputs[0])


def _integer_to_float(s: Spelt) -> None:
    sums = s("MatMulInteger", s.input(0), s.input(1), s.input(4), s.input(5))
    _scale(s, sums, s("Mul", s.input(2), s.input(3)), s.input(6))


def _dynamic_matmul(s: Spelt) -> None:
    near = f"{s.outputs[0]}/{DOMAIN}/by-range"
    names = (f"{near}.q", f"{near}.scale", f"{near}.zero")
    s("DynamicQuantizeLinear", s.input(0), outputs=names)
    sums = s("MatMulInteger", names[0], s.input(1), names[2], s.input(3))
    _scale(s, sums, s("Mul", names[1], s.input(2)), s.input(4))


def _lstm(s: Spelt) -> None:
    w, r = _recurrent_weights(s, 1, 8), _recurrent_weights(s, 2, 10)
    near = f"{s.outputs[0] or s.name}/{DOMAIN}/by-range"
    names = (f"{near}.q", f"{near}.scale", f"{near}.zero")
    s("DynamicQuantizeLinear", s.input(0), outputs=names)
    x = s("DequantizeLinear", *names)
    s("LSTM", x, w, r, *(s.input(at) for at in range(3, 8)), outputs=s.outputs, **s.attributes)


def _recurrent_weights(s: Spelt, at: int, scale: int) -> str:
    """Weights (D, columns, rows) as (D, rows, columns) in float32: of constants, rows in int8 with a scale each."""
    known = [s.known.get(s.input(each)) for each in (at, scale, scale + 1)]
    q, scales, zeros = known
    if q is not None and scales is not None and q.dtype in (np.int8, np.uint8) and q.ndim == 3:
        zeros = np.zeros(scales.shape, q.dtype) if not s.input(scale + 1) else zeros
        rows = (q.shape[0], q.shape[2])
        if zeros is not None and scales.shape == zeros.shape and scales.shape in (rows[:1], rows):
            move = 0 if q.dtype == np.int8 else 128
            turned = (q.transpose(0, 2, 1).astype(np.int16) - move).astype(np.int8)
            each = [np.repeat(a.reshape(-1), rows[1] if a.shape == rows[:1] else 1) for a in (scales, zeros)]
            less = (each[1].astype(np.int16) - move).astype(np.int8)
            flat = s.keep(turned.reshape(-1, q.shape[1]))
            found = s("DequantizeLinear", flat, s.keep(each[0]), s.keep(less), axis=0)
            return s("Reshape", found, s.keep(np.array(turned.shape, np.int64)))
    where = s.keep(np.array([0, 1, -1], np.int64))
    numbers = s("Cast", s.input(at), to=1)
    if s.input(scale + 1):
        numbers = s("Sub", numbers, s("Reshape", s("Cast", s.input(scale + 1), to=1), where))
    return s("Transpose", s("Mul", numbers, s("Reshape", s.input(scale), where)), perm=(0, 2, 1))


def _few_bits(s: Spelt) -> str | None:
    """A product by rows of blocks, each with a scale: why it is none where it is not."""
    bits, block, k, n = (s.attributes.get(name, 4) for name in ("bits", "block_size", "K", "N"))
    if bits not in (2, 4, 8) or min(block, k, n) < 1 or block * bits % 8:
        return f" has bits = {bits}, block_size = {block}, K = {k}, N = {n}\n  2, 4 or 8 bits, blocks of whole bytes"
    q, scales, zeros = (s.known.get(s.input(at)) for at in (1, 2, 3))
    if q is None or scales is None or (s.input(3) and zeros is None) or s.input(4):
        return " has weights, scales or zero points that are computed, or a g_idx\n  constants are read, in their order"
    blocks, half = -(-k // block), 1 << bits >> 1
    apart = zeros is not None and zeros.dtype == scales.dtype  # each a float of its own, else side by side
    sizes = {
        "weights": (q, n * blocks * block * bits // 8, ("uint8",)),
        "scales": (scales, n * blocks, ("float32", "float16")),
    }
    if zeros is not None:
        size = n * blocks if apart else n * -(-blocks * bits // 8)
        sizes["zero points"] = (zeros, size, (scales.dtype.name,) if apart else ("uint8",))
    for what, (array, size, kinds) in sizes.items():
        if array.size != size or array.dtype.name not in kinds:
            return f" has {array.size} {what} of {array.dtype}\n  {size} {' or '.join(kinds)} are needed"
    numbers = s.keep((_unpack(q.reshape(n * blocks, -1), bits) - half).astype(np.int8))
    grain = scales.reshape(-1).astype(np.float32)
    if zeros is not None and apart:
        less = zeros.reshape(-1, 1).astype(np.float32) - np.float32(half)
        rows = s("Mul", s("Sub", s("Cast", numbers, to=1), s.keep(less)), s.keep(grain[:, None]))
    else:
        whole = 0 if zeros is None else _unpack(zeros.reshape(n, -1), bits)[:, :blocks] - half
        every = np.broadcast_to(whole, (n, blocks)).reshape(-1).astype(np.int8)
        rows = s("DequantizeLinear", numbers, s.keep(grain), s.keep(every), axis=0)
    w = s("Transpose", s("Reshape", rows, s.keep(np.array([n, blocks * block]))), perm=(1, 0))
    w = s("Slice", w, s.keep(np.array([0])), s.keep(np.array([k])), s.keep(np.array([0])))
    if scales.dtype == np.float16:
        w = s("Cast", w, to=10)
    made = ("MatMul", s.input(0), w)
    if s.input(5):
        s("Add", s(*made), s.input(5), out=s.outputs[0])
    else:
        s(*made, out=s.outputs[0])
    return None


def _unpack(q: Array, bits: int) -> Array:
    """Bytes as the numbers that lie in them, the first in the lowest bits: (rows, columns) -> (rows, more)."""
    parts = [q >> shift & (1 << bits) - 1 for shift in range(0, 8, bits)]
    return np.stack(parts, axis=-1).reshape(len(q), -1).astype(np.int16)


def _same(op: str) -> Callable[[Spelt], None]:
    def spell(s: Spelt) -> None:
        s(op, *s.inputs, out=s.outputs[0], **s.attributes)

    return spell


POOL = {
    "auto_pad": "STRING", "ceil_mode": "INT", "channels_last": "INT", "count_include_pad": "INT",
    "kernel_shape": "INTS", "pads": "INTS", "strides": "INTS",
}  # fmt: skip

FOREIGN: dict[str, Foreign] = {
    "DequantizeLinear": Foreign(_same("DequantizeLinear"), (2, 3), {"axis": "INT"}),
    "QuantizeLinear": Foreign(_same("QuantizeLinear"), (2, 3), {"axis": "INT"}),
    "QLinearAdd": Foreign(_of_two("Add"), (7, 8)),
    "QLinearMul": Foreign(_of_two("Mul"), (7, 8)),
    "QLinearConcat": Foreign(_concat, (5, 2**31 - 1), {"axis": "INT"}),
    "QLinearSigmoid": Foreign(_of_one("Sigmoid"), (4, 5)),
    "QLinearLeakyRelu": Foreign(_of_one("LeakyRelu"), (4, 5), {"alpha": "FLOAT"}),
    "QLinearSoftmax": Foreign(_softmax, (5, 5), {"axis": "INT", "opset": "INT"}),
    "QLinearWhere": Foreign(_where, (9, 9)),
    "QLinearAveragePool": Foreign(_of_one("AveragePool", channels=True), (4, 5), POOL),
    "QLinearGlobalAveragePool": Foreign(
        _of_one("GlobalAveragePool", channels=True), (5, 5), {"channels_last": "INT"}
    ),
    "QGemm": Foreign(_gemm, (6, 9), GEMM),
    "MatMulIntegerToFloat": Foreign(_integer_to_float, (4, 7)),
    "DynamicQuantizeMatMul": Foreign(_dynamic_matmul, (3, 5)),
    "MatMulNBits": Foreign(
        _few_bits, (3, 6), dict.fromkeys(("K", "N", "accuracy_level", "bits", "block_size"), "INT"),
    ),
    "DynamicQuantizeLSTM": Foreign(
        _lstm, (12, 12),
        {"activation_alpha": "FLOATS", "activation_beta": "FLOATS", "activations": "STRINGS", "clip": "FLOAT",
         "direction": "STRING", "hidden_size": "INT", "input_forget": "INT"}, (0, 3),
    ),
} | FUSED  # fmt: skip
"""By name, those that are read: of DOMAIN, but for BEFORE_THEIR_TIME."""

BEFORE_THEIR_TIME = {"LayerNormalization": 17, "SimplifiedLayerNormalization": 2**31}
"""Those that onnxruntime writes in the standard's domain, and the operator set from which the standard has them."""


def is_read(domain: str, op: str, version: int = OLDEST) -> bool:
    """Whether it is one of them; `version`: the operator set of the standard's domain.

    >>> is_read("com.microsoft", "QLinearAdd"), is_read("com.microsoft", "Inverse"), is_read("my", "QLinearAdd")
    (True, False, False)
    >>> is_read("", "LayerNormalization", 14), is_read("", "LayerNormalization", 17)
    (True, False)
    """
    if domain in ("", "ai.onnx"):
        return version < BEFORE_THEIR_TIME.get(op, 0)
    return domain == DOMAIN and op in FOREIGN and op not in BEFORE_THEIR_TIME


def misfit(proto: Any, attributes: Sequence[tuple[str, int]], types: Mapping[str, int]) -> str | None:
    """Why a node is not as its operator wants it, with its values; None where it is.

    `attributes`: names and types of the node's; `types`: numbers of attributes' types by name.
    """
    found = FOREIGN[proto.op_type]
    for word, count, (least, most) in (
        ("inputs", len(proto.input), found.inputs), ("outputs", len(proto.output), found.outputs)
    ):  # fmt: skip
        if not least <= count <= most:
            return f" has {count} {word}\n  the operator has {least}" + (
                f" to {most}" if most > least else ""
            )
    if proto.op_type == "QLinearConcat" and len(proto.input) % 3 != 2:
        return f" has {len(proto.input)} inputs\n  two, and three for each array that is joined, are needed"
    for name, kind in attributes:
        wanted = found.attributes.get(name)
        if wanted is None or kind != types[wanted]:
            known = ", ".join(f"{each} ({of})" for each, of in found.attributes.items()) or "none"
            return f": its attribute {name!r} is none of the operator's, or of another type\n  it has {known}"
    return None


__all__ = ["DOMAIN", "FOREIGN", "OLDEST", "Spelt", "is_read", "misfit"]
