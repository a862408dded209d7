"""What rewriting rules ask about the node that wrote a value."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...problem import WORK_DTYPES
from ..graph import Array, Node, type_name
from ..ops.linear import dense_product
from .draft import Draft

CONVOLUTIONS = ("Conv", "ConvTranspose")


def constant_convolution(draft: Draft, name: str, *, plain: bool = False) -> Node | None:
    """The convolution with constant weights that writes a value of known shape.

    `plain`: that nobody else sees, with nothing in its epilogue but a constant bias.
    """
    conv = draft.writer(name, *CONVOLUTIONS)
    if conv is None or name not in draft.specs or draft.constant(conv.inputs[1]) is None:
        return None
    if len(conv.inputs) > 2 and conv.inputs[2] and draft.constant(conv.inputs[2]) is None:
        return None
    if type_name(draft.specs[name].dtype) not in WORK_DTYPES:
        return None
    if plain and (not draft.has_one_reader(name) or len(conv.inputs) > 3 or conv.get("activation")):
        return None
    return conv


def constant_dense(draft: Draft, name: str, *, plain: bool = False, residual: bool = False) -> Node | None:
    """The Gemm or MatMul that writes a value, if it is a product with constants; `plain` as above.

    `residual`: with one, perhaps.
    """
    dense = draft.writer(name, "Gemm", "MatMul")
    if dense is None or name not in draft.specs or any(n and n not in draft.specs for n in dense.inputs):
        return None
    if plain and (not draft.has_one_reader(name) or dense.get("activation")):
        return None
    if plain and len(dense.inputs) > 3 and not residual:
        return None
    return dense if dense_product(dense, [draft.specs[n] if n else None for n in dense.inputs]) else None


def is_real(draft: Draft, conv: Node) -> bool:
    """Whether its results are floating-point numbers, which activations are for."""
    return draft.specs[conv.outputs[0]].dtype.kind == "f"


def constant_number(draft: Draft, name: str, beside: str) -> Array | None:
    """A constant of one element that gives a value beside it no further axes."""
    value, other = draft.constant(name), draft.specs.get(beside)
    if value is None or value.size != 1 or (value.ndim and (other is None or value.ndim > other.rank)):
        return None
    return value


def is_near(value: float, wanted: float, dtype: np.dtype[Any]) -> bool:
    """Whether a number is the one wanted, to one unit in the last place of a float type.

    >>> is_near(0.16666667, 1 / 6, np.dtype("float32")), is_near(0.1667, 1 / 6, np.dtype("float32"))
    (True, False)
    """
    rounded = dtype.type(wanted)
    return abs(value - float(rounded)) <= float(np.spacing(rounded))
