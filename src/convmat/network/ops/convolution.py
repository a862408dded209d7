"""Conv and ConvTranspose: convmat's own products, with what rewriting put into their epilogues.

    y = activation(conv(x, w) + bias + residual)

ONNX's inputs are x, w and bias; a rewritten node has the residual as its fourth input and the attributes `activation`
and `scale`, a factor of w for each output channel: one array of weights is scaled at a time, just before it is packed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ... import api
from ...arguments import format_shape
from ...engine import Sweep, buffers, pixel_shuffle, thread_pool
from ...errors import ConvmatError, EngineError
from ...geometry import Geometry
from ...planner import Plan, PlanOptions
from ...problem import WORK_DTYPES
from ..graph import Array, Graph, Node, Shape, Spec
from .base import Specs, Step, has_input, input_at, operator
from .options import Options, bind_node, plan_again, plan_node
from .planned import Interleaved, Planned, Unpacked

Pairs = tuple[tuple[int, int], ...]

INTEGER_TRANSPOSE = "IntegerConvTranspose"
"""The name of ConvTranspose of 8-bit numbers, with the inputs of QLinearConv; rewriting makes it."""

TRANSPOSED = ("ConvTranspose", INTEGER_TRANSPOSE)


def geometry_of(node: Node, x: Shape, w: Shape) -> tuple[dict[str, Any], Geometry]:
    """The keywords of `conv` or `conv_transpose` that the node's attributes mean, and the geometry they make.

    A node is asked for them where shapes are inferred, rewritten, planned and run: it keeps those of the last shapes.
    """
    shapes, found = node.__dict__.get("_geometry", (None, None))
    if shapes != (x, w) or found is None:
        found = _resize_geometry(node, shapes, found, x, w) or _read_geometry(node, x, w)
        node.__dict__["_geometry"] = (x, w), found
    keywords, geometry = found
    return dict(keywords), geometry


def _resize_geometry(
    node: Node, shapes: tuple[Shape, Shape] | None, found: Any, x: Shape, w: Shape
) -> tuple[dict[str, Any], Geometry] | None:
    """Keywords and geometry, from what was `found` for other shapes; None where they have to be read."""
    if shapes is None or shapes[1] != w or len(x) != len(w) or shapes[0][1] != x[1]:
        return None
    if node.get("output_shape") is not None or auto_pad(node) not in ("NOTSET", "VALID"):
        return None
    made = found[1].resize(x[0], x[2:])
    return None if made is None else (found[0], made)


def _read_geometry(node: Node, x: Shape, w: Shape) -> tuple[dict[str, Any], Geometry]:
    """Keywords and geometry of a node, worked out anew: see `geometry_of`."""
    if len(x) < 3 or len(x) != len(w):
        raise node.error(
            f"x has {len(x)} axes and w {len(w)}\n  both need a first axis, channels, and the same spatial axes"
        )
    rank = len(x) - 2
    if tuple(node.get("kernel_shape", w[2:])) != w[2:]:
        raise node.error(f"its kernel_shape {tuple(node.get('kernel_shape'))} is not that of w, {w[2:]}")
    keywords: dict[str, Any] = {
        "stride": per_axis(node, "strides", rank, 1),
        "dilation": per_axis(node, "dilations", rank, 1),
        "groups": node.get("group", 1),
    }
    transposed = node.op in TRANSPOSED
    takes = w[0] if transposed else w[1] * keywords["groups"]
    if x[1] != takes:
        raise node.error(
            f"its input {node.inputs[0]!r} has {x[1]} channels, its filters take {takes}\n"
            f"  {format_shape(x)} with filters {format_shape(w)} in {keywords['groups']} groups"
        )
    if transposed:
        keywords["output_padding"] = per_axis(node, "output_padding", rank, 0)
    keywords["padding"] = (_transpose_pads if transposed else _pads)(node, x, w, keywords)
    try:
        return keywords, (Geometry.transposed if transposed else Geometry.of)(
            x, w, call=node.label, **keywords
        )
    except ConvmatError as error:
        raise node.error(str(error)) from None


def per_axis(node: Node, name: str, rank: int, default: int) -> tuple[int, ...]:
    """An attribute with one number for each spatial axis."""
    value = tuple(node.get(name) or (default,) * rank)
    if len(value) != rank:
        raise node.error(f"its {name} {value} are not one for each of {rank} spatial axes")
    return value


def pads_of(node: Node, rank: int) -> Pairs:
    """The attribute `pads`, (lo, hi) per axis."""
    pads = tuple(node.get("pads") or (0,) * (2 * rank))
    if len(pads) != 2 * rank:
        raise node.error(f"its pads {pads} are not two for each of {rank} spatial axes")
    return tuple(zip(pads[:rank], pads[rank:], strict=True))


def auto_pad(node: Node) -> str:
    """The attribute `auto_pad`; NetworkError for an unknown word."""
    word = node.get("auto_pad") or "NOTSET"
    if word not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise node.error(f"its auto_pad is {word!r}\n  NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    return str(word)


def _pads(node: Node, x: Shape, w: Shape, keywords: dict[str, Any]) -> str | Pairs:
    word = auto_pad(node)
    return (
        pads_of(node, len(x) - 2)
        if word == "NOTSET"
        else {"VALID": "valid", "SAME_UPPER": "same"}.get(word, "same_lower")
    )


def _transpose_pads(node: Node, x: Shape, w: Shape, keywords: dict[str, Any]) -> Pairs:
    """`output_shape` and `auto_pad` say how much is cut off in all, and at which end the odd element.

    Where less than nothing is (the output is to be longer than what the windows reach), zeros follow at the end: the
    standard does not say where, TensorFlow and onnxruntime begin with the first window.
    """
    rank, word = len(x) - 2, auto_pad(node)
    wanted = node.get("output_shape")
    if wanted is None and word in ("NOTSET", "VALID"):
        return pads_of(node, rank) if word == "NOTSET" else ((0, 0),) * rank
    s = keywords["stride"]
    if wanted is None:
        wanted = tuple(x[a + 2] * s[a] for a in range(rank))
    wanted = tuple(wanted)[-rank:]
    if len(wanted) != rank:
        raise node.error(f"its output_shape {wanted} is not one extent for each of {rank} spatial axes")
    pairs = []
    for a in range(rank):
        whole = (
            (x[a + 2] - 1) * s[a]
            + keywords["output_padding"][a]
            + (w[a + 2] - 1) * keywords["dilation"][a]
            + 1
        )
        total = whole - wanted[a]
        if total < 0:
            pairs.append((0, total))
            continue
        small = total // 2
        pairs.append((small, total - small) if word == "SAME_UPPER" else (total - small, small))
    return tuple(pairs)


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, w = input_at(node, specs, 0), input_at(node, specs, 1)
    _, g = geometry_of(node, x.shape, w.shape)
    if x.dtype != w.dtype:
        raise node.error(f"x is {x.dtype} and w {w.dtype}")
    for at, shape in ((2, (g.O,)), (3, g.y_shape)):
        other = specs[at] if at < len(specs) else None
        if other is not None and (other.shape != shape or other.dtype != x.dtype):
            raise node.error(f"its input {at} is {other}, expected {Spec(shape, x.dtype)}")
    return (Spec(g.y_shape, x.dtype),)


def plan_of(node: Node, specs: Specs, options: Options) -> Plan:
    """The plan of a Conv or ConvTranspose for inputs of these shapes."""
    if options.plan is not None:
        return options.plan
    x, w = input_at(node, specs, 0), input_at(node, specs, 1)
    if plan_weaving(node, specs, options) is not None:
        filters = (w.size // x.shape[1], x.shape[1], *(1,) * (x.rank - 2))
        if options.workspace_limit is not None:
            left = options.workspace_limit - _between(x, w).bytes
            options = replace(options, workspace_limit=left)
        asked = PlanOptions(activation=node.get("activation"), bias=has_input(specs, 2))
        return plan_node(options, x.shape, filters, x.dtype, asked)
    keywords, geometry = geometry_of(node, x.shape, w.shape)
    constant = _are_constant(specs, w)
    given = (x.rank, w.shape, x.dtype, has_input(specs, 2), has_input(specs, 3), constant)

    def make() -> Plan:
        asked = PlanOptions(
            transposed=node.op == "ConvTranspose", activation=node.get("activation"), bias=has_input(specs, 2),
            residual=has_input(specs, 3), **keywords,
        )  # fmt: skip
        return plan_node(options, x.shape, w.shape, x.dtype, asked, constant=constant)

    return plan_again(options, node, given, lambda _: geometry, make)


def _are_constant(specs: Specs, w: Spec) -> bool:
    """Whether weights and bias are known before a call."""
    bias = specs[2] if has_input(specs, 2) else None
    return w.value is not None and (bias is None or bias.value is not None)


SCALED = ("Conv", "ConvTranspose", "MatMul", "Gemm")
"""Operators whose nodes rewriting gives the attribute `scale`."""


def make_room_for_scaled(graph: Graph) -> buffers.Slots:
    """Memory for the largest array of weights in a graph that is scaled before it is packed."""
    # RandomNormal and others have an attribute of that name, too.
    products = (node for node in graph.nodes if node.op in SCALED)
    scaled = (node for node in products if node.get("scale") is not None)
    kept = (graph.constants.get(node.inputs[1]) for node in scaled)
    return buffers.Slots(max((w.nbytes for w in kept if w is not None), default=0))


def scale_weights(node: Node, w: Array, room: buffers.Slots | None = None) -> Array:
    """The weights times the node's `scale`, computed in float64 and rounded once; in `room`, if it is given."""
    scale = node.get("scale")
    if scale is None:
        return w
    if node.op == "Conv":
        each = scale.reshape(-1, *(1,) * (w.ndim - 1))
    else:  # (C, O//G, *F): the filters of group g are rows g*C/G .. and all columns
        groups = node.get("group", 1)
        each = np.repeat(scale.reshape(groups, -1), w.shape[0] // groups, axis=0)
        each = each.reshape(w.shape[:2] + (1,) * (w.ndim - 2))
    made = np.empty(w.shape, w.dtype) if room is None else room.empty(w.shape, w.dtype)
    return np.asarray(np.multiply(w, each, out=made, casting="same_kind"))


def plan_weaving(node: Node, specs: Specs, options: Options) -> Sweep | None:
    """Kernel that puts the pixels of a ConvTranspose, whose windows lie side by side, where they belong.

    y[b, o, p*s + f] = sum over c of w[c, o, f] * x[b, c, p]: one product of rows (o, f) reads x once, where one for
    each f would read it for each.
    """
    x, w = input_at(node, specs, 0), input_at(node, specs, 1)
    if node.op != "ConvTranspose" or x.rank not in (3, 4) or has_input(specs, 3) or node.get("group", 1) != 1:
        return None
    keywords, g = geometry_of(node, x.shape, w.shape)
    F = w.shape[2:]
    apart = any(d != 1 for d in keywords["dilation"]) or any(keywords["output_padding"])
    if (
        keywords["stride"] != F
        or apart
        or any(any(pair) for pair in keywords["padding"])
        or math.prod(F) == 1
    ):
        return None
    limit = MOST_WOVEN if options.workspace_limit is None else options.workspace_limit // 2
    fits = x.bytes >= LEAST_WOVEN and _between(x, w).bytes <= limit
    if options.whole is not None:
        fits = w.size // x.shape[1] == options.whole.problem.geometry.O
    if not _are_constant(specs, w) or not fits:
        return None
    block, plane = (((1,) * (2 - len(each)) + each) for each in (F, x.shape[2:]))
    plan = pixel_shuffle(
        x.shape[0] * g.O, (block[0], block[1]), (plane[0], plane[1]), x.dtype.name, thread_pool.count()
    )
    if isinstance(plan, str):
        return None
    found = Sweep(plan)
    try:
        found.load()
    except EngineError:
        return None
    if options.record is not None:
        options.record.add_program(found)
    return found


LEAST_WOVEN, MOST_WOVEN = 512 << 10, 16 << 20
"""Bytes: of x, since fewer stay in a cache while each f reads them; of the product before it is woven."""


def _between(x: Spec, w: Spec) -> Spec:
    """The product before its pixels are put where they belong: (B, O*F, *P)."""
    return Spec((x.shape[0], w.size // x.shape[1], *x.shape[2:]), x.dtype)


def _prepare(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    """Constant weights are packed now; a residual follows x. Those that are computed are packed in each call."""
    w, bias = input_at(node, specs, 1).value, specs[2].value if has_input(specs, 2) and specs[2] else None
    if input_at(node, specs, 0).dtype.name not in WORK_DTYPES:
        return None
    if w is None or (has_input(specs, 2) and bias is None):
        if node.get("scale") is not None:
            return None
        return Unpacked(plan_of(node, specs, options), has_input(specs, 2), has_input(specs, 3))
    woven = plan_weaving(node, specs, options)
    if woven is not None:
        w = scale_weights(node, w, options.scaled)
        filters = np.ascontiguousarray(w.reshape(len(w), -1).T).reshape(-1, len(w), *(1,) * (w.ndim - 2))
        added = None if bias is None else bias.repeat(math.prod(w.shape[2:]))
        bound = plan_of(node, specs, options).bind(filters, added)
        between = _between(input_at(node, specs, 0), input_at(node, specs, 1))
        return Interleaved(bound, lambda arrays: (arrays[0], None, arrays[-1]), woven, between)
    factor = node.get("scale")
    scale = None if factor is None else (factor.tobytes(), partial(scale_weights, node, room=options.scaled))
    bound = bind_node(options, plan_of(node, specs, options), w, bias, scale)
    at = 2 + has_input(specs, 2) if has_input(specs, 3) else None
    return Planned(bound, lambda arrays: (arrays[0], arrays[at] if at else None, arrays[-1]))


@operator("Conv", "ConvTranspose", shape=_shape, prepare=_prepare)
def convolution(
    node: Node, x: Array, w: Array, bias: Array | None = None, residual: Array | None = None
) -> Array:
    """x: (B, C, *I), w: (O, C//G, *F), or (C, O//G, *F) transposed -> (B, O, *P)."""
    keywords, _ = geometry_of(node, x.shape, w.shape)
    call = api.conv_transpose if node.op == "ConvTranspose" else api.conv
    if x.dtype.name not in WORK_DTYPES:
        raise node.error(f"x is {x.dtype}\n  one of {', '.join(WORK_DTYPES)} is taken")
    try:
        return np.asarray(
            call(
                x,
                scale_weights(node, w),
                bias,
                residual=residual,
                activation=node.get("activation"),
                exact=True,
                **keywords,
            )
        )
    except ConvmatError as error:
        raise node.error(str(error)) from None
