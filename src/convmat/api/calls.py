"""Arrays on their way to a plan: what is added to the result, a missing batch axis, ranks and types."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..doors import open_room_of_arrays
from ..errors import GeometryError
from ..planner import (
    Plan,
    PlanOptions,
)
from ..planner.arrays import read_addend, read_array

Array = npt.NDArray[Any]


def read_epilogue(
    call: str, bias: Any, residual: Any, dtype: np.dtype[Any], options: PlanOptions
) -> tuple[Array | None, Array | None]:
    """Bias and residual, of the result's element type; of the sums' where the result is one of 8-bit integers."""
    wide = np.dtype(np.int32) if dtype.kind in "iu" else dtype
    bias = None if bias is None else read_addend(call, "bias", bias, wide)
    if residual is None:
        return bias, None
    small = options.scale and options.out_dtype is not None
    return bias, read_addend(call, "residual", residual, np.dtype(options.out_dtype) if small else wide)


def run_plan(
    call: str, plan: Plan, x: Array, w: Array, bias: Array | None, residual: Any, out: Any, **channels: Any
) -> Array:
    """The plan on a whole batch, or on one image without its batch axis, whose result has none either."""
    if x.ndim == w.ndim and bias is None and residual is None:
        return plan(x, w, out=out, call=call, **channels)
    single, shape = x.ndim < w.ndim, plan.problem.shape("y")
    expected = {"bias": (plan.problem.geometry.O,), "residual": shape[1:] if single else shape}
    if single:
        expected["out"] = shape[1:]
    given = {"bias": bias, "residual": residual, "out": out}
    for name, wanted in expected.items():
        array = given[name]
        if isinstance(array, np.ndarray) and array.shape != wanted:
            without = ", and x has no batch axis" if single and name != "bias" else ""
            raise GeometryError(
                f"{call}: {name} does not fit the result{without}\n  {name}.shape = {array.shape}, expected {wanted}\n"
                f"  give an array of that shape"
                + (", or give x a batch axis, e.g. x[None]" if without else "")
            )
    if not single:
        return plan(x, w, bias, residual=residual, out=out, call=call, **channels)
    residual = residual if residual is None else residual[None]
    written = out[None] if isinstance(out, np.ndarray) else out
    found = plan(x[None], w, bias, residual=residual, out=written, call=call, **channels)
    image: Array = found[0] if out is None else out
    return image


def add_batch(x: Array, w: Array) -> tuple[int, ...]:
    """x's shape with a batch axis, if it is only that one which it lacks."""
    return (1, *x.shape) if x.ndim == w.ndim - 1 else x.shape


def require_rank(call: str, w: Any, rank: int) -> Any:
    """w itself, if it has the rank that the function's name promises."""
    foreign = type(w) is not np.ndarray and hasattr(w, "ndim") and open_room_of_arrays(w) is not None
    array = w if foreign else read_array("w", w, call)
    if array.ndim != rank + 2:
        if array.ndim == rank:
            more = "[[w]]" if isinstance(w, list | tuple) else "w[None, None]"
            fix = f"give it two more axes, {more}, and x likewise if it is one image of one channel"
        else:
            other = "" if array.ndim < 3 else ", or call conv, which takes any rank"
            fix = f"(O, C//G, *F) with {rank} spatial {'axis' if rank == 1 else 'axes'}{other}"
        raise GeometryError(
            f"{call}: w must have {rank + 2} axes\n  w has {array.ndim}: {tuple(array.shape)}\n  {fix}"
        )
    return w if isinstance(w, list | tuple) else array


@lru_cache(maxsize=64)
def name_dtype(dtype: np.dtype[Any]) -> str:
    """NumPy takes a microsecond to name a dtype."""
    return dtype.name
