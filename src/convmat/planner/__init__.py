"""The planner: which product and schedule, and why.

`make(problem)` weighs every candidate (lowering x packing) and returns a Plan, which it remembers.
"""

from __future__ import annotations

from ..problem import WORK_DTYPES
from .bias import bias_gradient
from .blocks import chosen_way, plan_block, plan_short_block, request_block
from .candidates import Candidate, dtype_of
from .choices import export_choices, forget_choices, import_choices
from .contraction import Contracted, Contraction, contraction
from .cost import Cost, error_bound, error_estimate
from .decision import Decision
from .making import make
from .options import ActivationLike, ConvKeywords, PlanOptions, TransposeKeywords, Tuning
from .pad import padded_source
from .plan import Plan
from .prepared import Bound, Prepared, load_plans
from .quickest import keep_kinds
from .reading import dtype_name, read_tuning, require_limits
from .record import Choice, Record
from .request import request, request_resized, request_tuned, what_plans_follow
from .unroll import fold, unroll

DTYPES = tuple(WORK_DTYPES)
"""The names of the element types that are taken."""

__all__ = [
    "DTYPES",
    "ActivationLike",
    "Bound",
    "Candidate",
    "Choice",
    "Contracted",
    "Contraction",
    "ConvKeywords",
    "Cost",
    "Decision",
    "Plan",
    "PlanOptions",
    "Prepared",
    "Record",
    "TransposeKeywords",
    "Tuning",
    "bias_gradient",
    "chosen_way",
    "contraction",
    "dtype_name",
    "dtype_of",
    "error_bound",
    "error_estimate",
    "export_choices",
    "fold",
    "forget_choices",
    "import_choices",
    "keep_kinds",
    "load_plans",
    "make",
    "padded_source",
    "plan_block",
    "plan_short_block",
    "read_tuning",
    "request",
    "request_block",
    "request_resized",
    "request_tuned",
    "require_limits",
    "unroll",
    "what_plans_follow",
]
