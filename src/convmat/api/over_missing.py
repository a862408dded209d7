"""`conv` over what is there of x, where some of it is missing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import GeometryError, format_value
from ..missing import convolve_present, read_missing
from ..planner import (
    PlanOptions,
    request,
)
from .calls import Array, add_batch, name_dtype, run_plan


def convolve_missing(
    x: Array, w: Array, out: Any, options: PlanOptions, missing: Any, normalize: bool
) -> Array:
    """`conv` over what is there of x; `options` are those of the whole call."""
    later = {"bias": options.bias, "residual": options.residual, "activation": options.activation is not None}
    if given := [name for name, there in later.items() if there]:
        raise GeometryError(
            f"conv: missing= gives means, to which nothing is added on the way\n  {given[0]} is given\n"
            f"  convolve without {given[0]}, then apply it to the result"
        )
    if name_dtype(x.dtype) in (
        "float16",
        "bfloat16",
    ):  # sums and the weights that they met are divided, then rounded once
        wide = convolve_missing(x.astype(np.float32), w.astype(np.float32), None, options, missing, normalize)
        return wide.astype(x.dtype) if out is None else _store_into(out, wide.astype(x.dtype))
    if x.dtype.kind not in "fc":
        raise GeometryError(
            f"conv: missing= takes numbers with a fraction\n  x.dtype = {x.dtype}\n"
            "  give x.astype('float32') and w.astype('float32')"
        )
    gone = read_missing("conv", x, missing)

    def run(part: Array, into: Any = None) -> Array:
        plan = request("conv", add_batch(part, w), w.shape, name_dtype(x.dtype), options)
        return run_plan("conv", plan, part, w, None, None, into)

    if not normalize:
        return run(np.where(gone, x.dtype.type(0), x), out)
    cost = request("conv", add_batch(x, w), w.shape, name_dtype(x.dtype), options).chosen.cost
    channels = -1 if options.layout == "NHWC" else -1 - (w.ndim - 2)
    rounding = 4 * cost.error if cost else 0.0
    made = convolve_present("conv", x, w, gone, run, channels=channels, rounding=rounding)
    return made if out is None else _store_into(out, made)


def _store_into(out: Any, made: Array) -> Array:
    """The result in the array that was given for it."""
    if not isinstance(out, np.ndarray) or out.shape != made.shape or out.dtype != made.dtype:
        raise GeometryError(
            f"conv: out does not fit the result\n"
            f"  out: {getattr(out, 'shape', format_value(out))}, expected {made.shape} of "
            f"{made.dtype}\n  give an array of that shape and type"
        )
    np.copyto(out, made)
    return out
