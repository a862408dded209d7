"""Filters of scipy.ndimage over what is there: of x with zeros in its holes, divided by the same filter of ones.

y = filter(m x) / filter(m)        m is 1 where x is there, and outside it where `mode` is "constant"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..missing import divide, read_missing, require_sum
from .arguments import make_output, require_type
from .borders import store_rounded

Array = npt.NDArray[Any]

ROUNDING = 1e-13
"""Share of the sum of absolute weights: less than that is the rounding of a window in which nothing is."""


def filter_present(
    apply: Callable[[Array, Any], Array],
    input: Any,
    output: Any,
    cval: Any,
    missing: Any,
    normalize: bool,
    weights: Array,
) -> Array:
    """`apply(x, cval)` over what is there of the input, divided by the weights that met it; NaN where nothing is.

    Sums are float64's. GeometryError where the weights sum to next to nothing, and for a mask that does not fit.
    """
    x = np.asarray(input)
    require_type(x.dtype)
    gone = np.broadcast_to(read_missing("ndimage", x, missing), x.shape)
    total = require_sum("ndimage", weights.reshape(1, -1))[0] if normalize else 1.0
    out = make_output(output, x, complex_output=x.dtype.kind == "c" or weights.dtype.kind == "c")
    wide = np.promote_types(x.dtype, np.float64)
    made = apply(np.where(gone, 0, x).astype(wide), cval)
    if normalize and gone.any():
        met = apply((~gone).astype(np.float64), 1.0)
        made = divide(made, met, ROUNDING * float(np.abs(weights).sum()))
    else:
        made = made / total
    store_rounded(made, out)
    return out


__all__ = ["filter_present"]
