"""The planner: which product and schedule, and why.

`make(problem)` weighs every candidate (lowering x packing) and returns a Plan, which it remembers.
"""

from __future__ import annotations

from ..problem import WORK_DTYPES
from .candidates import Candidate
from .choices import export_choices, forget_choices, import_choices
from .choose import make
from .cost import Cost, error_bound, error_estimate
from .plan import Bound, Plan, ready_together
from .request import ActivationLike, dtype_name, request, tuning_asked
from .shown import present_with
from .unroll import fold, unroll

DTYPES = tuple(WORK_DTYPES)
"""The names of the element types that are taken."""

__all__ = [
    "DTYPES",
    "ActivationLike",
    "Bound",
    "Candidate",
    "Cost",
    "Plan",
    "dtype_name",
    "error_bound",
    "error_estimate",
    "export_choices",
    "fold",
    "forget_choices",
    "import_choices",
    "make",
    "present_with",
    "ready_together",
    "request",
    "tuning_asked",
    "unroll",
]
