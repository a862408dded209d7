"""Cast and CastLike: the same elements in another element type, texts among them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Array, Node, Spec
from .base import Specs, Step, input_at, operator
from .blocks import blockwise
from .dtypes import NARROW, convert, dtype_numbered
from .options import Options

ROUNDINGS = ("up", "down", "nearest")


def _target(node: Node, like: np.dtype[Any] | None) -> np.dtype[Any]:
    rounding = node.get("round_mode", "up")
    if rounding not in ROUNDINGS:
        raise node.error(f"its round_mode is {rounding!r}\n  one of {', '.join(ROUNDINGS)}")
    return dtype_numbered(node, node.get("to", 0), "attribute 'to'") if like is None else like


def _cast_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    like = input_at(node, specs, 1).dtype if node.op == "CastLike" else None
    return (Spec(input_at(node, specs, 0).shape, _target(node, like)),)


def _keywords(node: Node) -> dict[str, Any]:
    return {"saturate": bool(node.get("saturate", 1)), "rounding": node.get("round_mode", "up")}


def _cast_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    x, dtype, keywords = input_at(node, specs, 0).dtype, made[0].dtype, _keywords(node)
    if x.hasobject or {x.name, dtype.name} & NARROW:
        return lambda x, *rest: blockwise(lambda part: convert(part, dtype, **keywords), rest[-1], x)
    return lambda x, *rest: np.copyto(rest[-1], x, casting="unsafe")


@operator("Cast", "CastLike", shape=_cast_shape, prepare=_cast_step)
def cast(node: Node, x: Array, like: Array | None = None) -> Any:
    """x with another element type: that of the number `to`, or that of another array."""
    return convert(x, _target(node, None if like is None else like.dtype), **_keywords(node))
