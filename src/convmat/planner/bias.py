"""A bias as calls give it, and its gradient: dy summed over images and pixels.

    db[o] = sum over b, p of dy[b, o, p]

Rounded as a product's sums are: short runs in the type of the sums, the runs in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import PlanError
from ..problem import WORK_DTYPES, Problem
from .arrays import require_operand
from .integers import require_small

Array = npt.NDArray[Any]

RUN = 128
"""Pixels of a run, where channels lie side by side; along lines NumPy adds up in pairs of such runs itself."""


def bias_gradient(dy: Array, channel: int) -> Array:
    """dy: (B, O, *P) with its channels on axis `channel` -> (O,), of dy's type; of 8-bit integers int32.

    >>> bias_gradient(np.ones((2, 3, 4), np.float32), 1)
    array([8., 8., 8.], dtype=float32)
    """
    out = np.dtype(np.int32) if dy.dtype.kind in "iu" else dy.dtype
    work = np.dtype(WORK_DTYPES[dy.dtype.name]) if dy.dtype.kind not in "iu" else np.dtype(np.int64)
    wide = np.dtype(np.complex128) if work.kind == "c" else np.dtype(np.float64) if work.kind == "f" else work
    with np.errstate(all="ignore"):  # NaN and infinities pass through, as in products
        if work != dy.dtype and work.kind != "i":
            dy = dy.astype(work)
        if channel == dy.ndim - 1:
            rows = dy.reshape(-1, dy.shape[-1])
            whole = len(rows) // RUN * RUN
            runs = rows[:whole].reshape(-1, RUN, rows.shape[1]).sum(axis=1, dtype=work)
            total = runs.sum(axis=0, dtype=wide) + rows[whole:].sum(axis=0, dtype=wide)
        else:
            runs = dy.reshape(*dy.shape[:2], -1).sum(axis=2, dtype=work)
            total = runs.sum(axis=0, dtype=wide)
        return np.asarray(total).astype(out)


def read_bias(problem: Problem, bias: Any, dtype: np.dtype[Any]) -> Array | None:
    """The bias of a call, (O,), as an array of that type; None where the plan has none.

    Raises PlanError where the plan was made for calls of the other kind, GeometryError for what does not fit.
    """
    if problem.epilogue.bias != (bias is not None):
        wanted = "with" if problem.epilogue.bias else "without"
        raise PlanError(
            f"plan: made {wanted} a bias, called {'with' if bias is not None else 'without'} one\n"
            f"  bias = {'an array' if bias is not None else None}\n"
            f"  plan again with bias={bias is not None}"
        )
    if bias is None:
        return None
    added = require_operand("bias", bias, (problem.geometry.O,), dtype)
    require_small(problem, bias=added)
    return added


__all__ = ["bias_gradient", "read_bias"]
