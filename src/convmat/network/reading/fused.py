"""Operators of float numbers that onnxruntime's optimiser writes, as nodes of the standard.

    FusedConv, FusedGemm, FusedMatMul
                       Conv, plus Z, and an activation; Gemm and an activation; alpha * a @ b of transposed matrices
    Gelu, BiasGelu, FastGelu, QuickGelu
                       Gelu, by erf or tanh, of x or x + bias; x * sigmoid(alpha * x)
    SkipLayerNormalization, SkipSimplifiedLayerNormalization
                       LayerNormalization, RMSNormalization of x + skip + bias
    EmbedLayerNormalization, Attention
                       as transformers have them: rows of tables, added and normalised; softmax(q @ k^T + mask) @ v of
                       heads
    LayerNormalization, SimplifiedLayerNormalization
                       in the standard's own domain: written there before the standard had them

What rewriting fuses of the standard's nodes is fused here again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .spelling import DOMAIN, Foreign, Spelt

ACTIVATIONS = {
    "Relu": (), "Sigmoid": (), "Tanh": (), "Softplus": (), "Softsign": (), "HardSwish": (), "LeakyRelu": ("alpha",),
    "Elu": ("alpha",), "ThresholdedRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Selu": ("alpha", "gamma"),
}  # fmt: skip
"""What fused nodes may end with, and the attributes that it has there."""


def _fused_conv(s: Spelt) -> str | None:
    own = ("activation", "activation_params")
    more = {name: value for name, value in s.attributes.items() if name not in own}
    params = tuple(s.attributes.get("activation_params", ()))
    made = s("Conv", *s.inputs[: 3 if s.input(2) else 2], **more)
    if s.input(3):
        made = s("Add", made, s.input(3))
    return _activate(s, made, params)


def _fused_gemm(s: Spelt) -> str | None:
    more = {name: value for name, value in s.attributes.items() if not name.startswith("activation")}
    names = ACTIVATIONS.get(s.attributes.get("activation", ""), ())
    params = tuple(float(s.attributes[word]) for n in names if (word := f"activation_{n}") in s.attributes)
    return _activate(s, s("Gemm", *s.inputs, **more), params)


def _activate(s: Spelt, value: str, params: tuple[float, ...]) -> str | None:
    """The output: a value's activation, by the attribute of that name."""
    name = s.attributes.get("activation", "")
    if name == "Clip" and len(params) == 2:
        s("Clip", value, *(s.keep_like(number, 1) for number in params), out=s.outputs[0])
    elif name in ACTIVATIONS and len(params) in (0, len(ACTIVATIONS[name])):
        given: dict[str, Any] = dict(zip(ACTIVATIONS[name], params, strict=False))
        s(name, value, out=s.outputs[0], **given)
    else:
        known = ", ".join((*ACTIVATIONS, "Clip"))
        return f" ends with {name!r} and {len(params)} numbers\n  {known} are read, with all of their numbers or none"
    return None


def _fused_matmul(s: Spelt) -> None:
    """Transposed where the attributes say so, which also have rows before the axes that are not multiplied."""
    terms = []
    for side, (row, column) in (("A", ("m", "k")), ("B", ("k", "n"))):
        if s.attributes.get(f"trans{side}", 0):
            row, column = column, row
        terms.append(f"{row}...{column}" if s.attributes.get(f"transBatch{side}", 0) else f"...{row}{column}")
    alpha = float(s.attributes.get("alpha", 1.0))
    out = s.outputs[0] if alpha == 1 else ""
    if terms == ["...mk", "...kn"]:
        made = s("MatMul", s.input(0), s.input(1), out=out)
    else:
        made = s("Einsum", s.input(0), s.input(1), out=out, equation=f"{','.join(terms)}->...mn")
    if alpha != 1:
        s("Mul", made, s.keep_like(alpha, 0, 1), out=s.outputs[0])


def _gelu(approximate: str) -> Callable[[Spelt], None]:
    def spell(s: Spelt) -> None:
        x = s("Add", s.input(0), s.input(1)) if s.input(1) else s.input(0)
        s("Gelu", x, out=s.outputs[0], since=20, approximate=approximate)

    return spell


def _quick_gelu(s: Spelt) -> None:
    alpha = float(s.attributes.get("alpha", 1.702))
    x = s.input(0)
    gate = s("Sigmoid", x if alpha == 1 else s("Mul", x, s.keep_like(alpha, 0)))
    s("Mul", x, gate, out=s.outputs[0])


def _skip_layer_norm(s: Spelt) -> None:
    total = s("Add", s.input(0), s.input(1), out="" if s.input(4) else s.output(3))
    if s.input(4):
        total = s("Add", total, s.input(4), out=s.output(3))
    given = (s.input(2), s.input(3)) if s.input(3) else (s.input(2),)
    outputs = (s.outputs[0], s.output(1), s.output(2)) if s.output(1) or s.output(2) else s.outputs[:1]
    s("LayerNormalization", total, *given, outputs=outputs, since=17, axis=-1, epsilon=_epsilon(s, 1e-12))


def _skip_rms_norm(s: Spelt) -> str | None:
    total = s("Add", s.input(0), s.input(1), out="" if s.input(3) else s.output(3))
    if s.input(3):
        total = s("Add", total, s.input(3), out=s.output(3))
    return _rms_norm_of(s, total, s.input(2), axis=-1, epsilon=_epsilon(s, 1e-12))


def _rms_norm(s: Spelt) -> str | None:
    return _rms_norm_of(s, s.input(0), s.input(1), **s.attributes)


def _rms_norm_of(s: Spelt, x: str, scale: str, **attributes: Any) -> str | None:
    if s.output(1) or s.output(2):
        return " gives its mean or deviation too\n  its first output, and the sum, are read"
    s("RMSNormalization", x, scale, out=s.outputs[0], since=23, **attributes)
    return None


def _layer_norm(s: Spelt) -> None:
    s("LayerNormalization", *s.inputs, outputs=s.outputs, since=17, **s.attributes)


def _epsilon(s: Spelt, otherwise: float) -> float:
    return float(s.attributes.get("epsilon", otherwise))


def _embedding(s: Spelt) -> None:
    """Rows of words, places and segments, added and normalised; how many places of the mask are not 0."""
    rows = s("Gather", s.input(2), s.input(0))
    places = s.input(8)
    if not places:
        length = s("Squeeze", s("Slice", s("Shape", s.input(0)), s.keep([1]), s.keep([2])), s.keep([0]))
        places = s("Range", s.keep(0), length, s.keep(1))
    total = s("Add", rows, s("Gather", s.input(3), places))
    last = s("Add", total, s("Gather", s.input(4), s.input(1)), out=s.output(2)) if s.input(1) else total
    if s.output(2) and not s.input(1):
        s("Identity", total, out=s.output(2))
    s("LayerNormalization", last, s.input(5), s.input(6), out=s.outputs[0], since=17, axis=-1,
      epsilon=_epsilon(s, 1e-12))  # fmt: skip
    if s.output(1) and s.input(7):
        s("ReduceSum", s("Cast", s.input(7), to=6), s.keep([1]), out=s.output(1), keepdims=0)
    elif s.output(1):
        batch = s("Slice", s("Shape", s.input(0)), s.keep([0]), s.keep([1]))
        s("ConstantOfShape", batch, out=s.output(1), value=np.zeros(1, np.int32))


def _attention(s: Spelt) -> str | None:
    """Heads side by side in q, k and v, which are one product; a mask of one of four shapes."""
    if any(s.input(at) for at in (4, 6)) or s.output(1) or s.attributes.get("do_rotary", 0):
        return " has a past, a present or rotates\n  one without is read: export the model without a cache"
    w = s.known.get(s.input(1))
    heads = s.attributes.get("num_heads", 0)
    if w is None or w.ndim != 2 or heads < 1:
        return " has weights that are computed, or no heads\n  a constant (inputs, outputs) and num_heads are needed"
    sizes = tuple(s.attributes.get("qkv_hidden_sizes", ())) or (w.shape[1] // 3,) * 3
    if (
        len(sizes) != 3
        or sum(sizes) != w.shape[1]
        or any(n % heads or n < 1 for n in sizes)
        or sizes[0] != sizes[1]
    ):
        return f" has {sizes} columns for q, k and v\n  multiples of its {heads} heads that add up to {w.shape[1]}"
    x = s("MatMul", s.input(0), s.input(1))
    if s.input(2):
        x = s("Add", x, s.input(2))
    near = f"{s.outputs[0]}/{DOMAIN}/part"
    parts = tuple(f"{near}.{name}" for name in "qkv")
    s("Split", x, s.keep(sizes), outputs=parts, axis=2)
    q, k, v = (
        s("Transpose", s("Reshape", part, s.keep([0, 0, heads, size // heads])), perm=turn)
        for part, size, turn in zip(parts, sizes, ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)), strict=True)
    )
    scale = float(s.attributes.get("scale", 0.0)) or (sizes[0] // heads) ** -0.5
    scores = s("Mul", s("MatMul", q, k), s.keep(np.asarray(scale, w.dtype)))
    if s.input(5):
        scores = s("Add", scores, s.input(5))
    hidden = np.asarray(s.attributes.get("mask_filter_value", -10000.0), w.dtype)
    if s.attributes.get("unidirectional", 0):
        length = s("Slice", s("Shape", scores), s.keep([2]), s.keep([4]))
        ones = s("ConstantOfShape", length, value=np.ones(1, bool))
        seen = s("Cast", s("Trilu", s("Cast", ones, to=6), since=14, upper=0), to=9)
        scores = s("Where", seen, scores, s.keep(np.asarray(np.finfo(w.dtype).min, w.dtype)))
    if s.input(3):
        scores = s(
            "Add", scores, s("Where", _compare_mask(s, scores), s.keep(np.zeros((), w.dtype)), s.keep(hidden))
        )
    made = s("Transpose", s("MatMul", s("Softmax", scores, axis=-1), v), perm=(0, 2, 1, 3))
    s("Reshape", made, s.keep([0, 0, sizes[2]]), out=s.outputs[0])
    return None


def _compare_mask(s: Spelt, scores: str) -> str:
    """Whether the mask of an Attention lets each of the scores (B, H, S, T) be seen, broadcast to them.

    It has numbers that are not 0 where it does, (B, T) or (B, S, T), or where keys end, (B,), and behind these where
    they begin, (2B,). Of other shapes a node here says that they do not fit.
    """
    mask, none, one = s.input(3), s.keep([0]), s.keep([1])
    shape, extents = s("Shape", scores), s("Shape", mask)
    batch, rank = s("Slice", shape, none, one), s("Shape", extents)
    more = s("ConstantOfShape", s("Sub", s.keep([3]), rank), value=np.ones(1, np.int64))
    to = s("Concat", s("Slice", extents, none, one), one, more, s("Slice", extents, one, s.keep([4])), axis=0)
    lines = s("Cast", s("Reshape", mask, to), to=9)
    ranges = s("Equal", rank, one)
    flat = s("Cast", s("Reshape", mask, s.keep([-1])), to=7)
    flat = s("Slice", flat, none, s("Where", ranges, s("Shape", flat), batch))
    twice = s("Mul", batch, s.keep([2]))
    missing = s("Sub", twice, s("Shape", flat))  # below 0: no such mask
    both = s("Concat", flat, s("ConstantOfShape", missing, value=np.zeros(1, np.int64)), axis=0)
    column = s("Concat", batch, s.keep([1, 1, 1]), axis=0)
    ends, begins = (
        s("Reshape", s("Slice", both, first, stop), column) for first, stop in ((none, batch), (batch, twice))
    )
    last = s("Squeeze", s("Slice", shape, s.keep([3]), s.keep([4])), none)
    keys = s("Range", s.keep(0), last, s.keep(1))
    within = s("And", s("Less", keys, ends), s("Not", s("Less", keys, begins)))
    return s("Where", ranges, within, s("Slice", lines, none, batch))


CONV = {
    "auto_pad": "STRING", "dilations": "INTS", "group": "INT", "kernel_shape": "INTS", "pads": "INTS",
    "strides": "INTS",
}  # fmt: skip

GEMM = {"alpha": "FLOAT", "transA": "INT", "transB": "INT"}

FUSED: dict[str, Foreign] = {
    "FusedConv": Foreign(_fused_conv, (2, 4), CONV | {"activation": "STRING", "activation_params": "FLOATS"}),
    "FusedGemm": Foreign(
        _fused_gemm, (2, 3),
        GEMM | {"activation": "STRING", "activation_alpha": "FLOAT", "activation_beta": "FLOAT",
                "activation_gamma": "FLOAT", "beta": "FLOAT"},
    ),
    "FusedMatMul": Foreign(_fused_matmul, (2, 2), GEMM | {"transBatchA": "INT", "transBatchB": "INT"}),
    "Gelu": Foreign(_gelu("none"), (1, 1)),
    "BiasGelu": Foreign(_gelu("none"), (2, 2)),
    "FastGelu": Foreign(_gelu("tanh"), (1, 2)),
    "QuickGelu": Foreign(_quick_gelu, (1, 1), {"alpha": "FLOAT"}),
    "SkipLayerNormalization": Foreign(_skip_layer_norm, (3, 5), {"epsilon": "FLOAT"}, (1, 4)),
    "SkipSimplifiedLayerNormalization": Foreign(_skip_rms_norm, (3, 4), {"epsilon": "FLOAT"}, (1, 4)),
    "EmbedLayerNormalization": Foreign(_embedding, (7, 9), {"epsilon": "FLOAT", "mask_index_type": "INT"}, (1, 3)),
    "Attention": Foreign(
        _attention, (2, 7),
        {"do_rotary": "INT", "mask_filter_value": "FLOAT", "num_heads": "INT", "past_present_share_buffer": "INT",
         "qkv_hidden_sizes": "INTS", "rotary_embedding_dim": "INT", "scale": "FLOAT", "unidirectional": "INT"},
        (1, 2),
    ),
    "LayerNormalization": Foreign(
        _layer_norm, (2, 3), {"axis": "INT", "epsilon": "FLOAT", "stash_type": "INT"}, (1, 3)
    ),
    "SimplifiedLayerNormalization": Foreign(
        _rms_norm, (2, 2), {"axis": "INT", "epsilon": "FLOAT", "stash_type": "INT"}, (1, 2)
    ),
}  # fmt: skip
"""By name, with their inputs, attributes and outputs."""


__all__ = ["FUSED", "GEMM"]
