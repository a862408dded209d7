"""From what was asked to a Plan, remembered.

Only plain values (numbers, words, tuples of them) are keys of the memory, each with its type: True is not 1 and 2.0
is not 2, whichever came first. Anything else is read anew at each call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ..arguments import Shape
from ..geometry import Geometry
from ..product import Activation
from . import choices
from .making import make
from .options import PlanOptions, Tuning
from .plan import Plan
from .reading import read_problem
from .record import Record

_PLAIN = frozenset({int, str, float, bool, type(None)})


def request(
    call: str, x_shape: Shape, w_shape: Shape, dtype: str, options: PlanOptions, record: Record | None = None
) -> Plan:
    """The plan for what was asked; shapes and dtype are read already. Raises ConvmatError.

    A `record` is followed and written to; plans are then not taken from memory.
    """
    if record is None:
        try:
            values = [v if type(v) in _PLAIN else _make_plain(v) for v in options]
        except TypeError:
            pass
        else:
            return _plan_once(call, x_shape, w_shape, dtype, thread_count(), choices.version(), *values)
    problem = read_problem(call, x_shape, w_shape, dtype, options, thread_count())
    return make(problem, options.lowering, options.engine, record)


def request_resized(plan: Plan, geometry: Geometry, record: Record | None = None) -> Plan | None:
    """The plan for what another one was asked for, but for a geometry that differs in batch, extents and padding.

    None where what was asked has to be read again: of whole numbers, whose sums have limits, and of problems that were
    chosen otherwise than by prediction.
    """
    problem = plan.problem
    plain = problem.dtype in ("float32", "float64") and problem.pad is None and problem.whole is None
    if not plain or problem.deterministic or plan.forced or problem.threads != thread_count():
        return None
    if record is None:
        return _resize_once(plan, geometry, choices.version())
    return make(problem.resize(geometry), record=record)


@lru_cache(maxsize=1024)
def _resize_once(plan: Plan, geometry: Geometry, version: int) -> Plan:
    """The same without a record, remembered: layers of a network that are alike have one plan."""
    return make(plan.problem.resize(geometry))


def request_tuned(
    call: str,
    x_shape: Shape,
    w_shape: Shape,
    dtype: str,
    options: PlanOptions,
    tuning: Tuning,
    record: Record | None = None,
) -> Plan:
    """The same, chosen by measurement where `tuning` asks for it; what the record has a choice for is not measured."""
    plan = request(call, x_shape, w_shape, dtype, options, record)
    if tuning.effort == "none" or (record is not None and record.follows(plan)):
        return plan
    from .tuning import tune_plan

    return tune_plan(plan.problem, options.lowering, options.engine, tuning, record)


def _make_plain(value: Any) -> Any:
    """Lists as tuples and NumPy's integers as Python's; TypeError for what cannot be a key of the memory.

    Integers of one byte keep their type: a zero point has that of its array.
    """
    if isinstance(value, np.integer):
        return int(value) if value.itemsize > 1 else value
    if isinstance(value, Activation):
        return value
    if not isinstance(value, tuple | list):
        raise TypeError
    # ("clip", 0, 6.0) may hold any numbers; a stride of (2.0, 2) must not be taken for (2, 2)
    allowed = (int, str, float) if value and type(value[0]) is str else (int, str)
    return tuple([each if type(each) in allowed else _make_plain(each) for each in value])


@lru_cache(maxsize=4096, typed=True)
def _plan_once(
    call: str, x_shape: Shape, w_shape: Shape, dtype: str, threads: int, version: int, *values: Any
) -> Plan:
    """The plan for the values of PlanOptions, in its order; `version` is that of what tuning has found."""
    options = PlanOptions._make(values)
    problem = read_problem(call, x_shape, w_shape, dtype, options, threads)
    return make(problem, options.lowering, options.engine)


@lru_cache(maxsize=1)
def _counter() -> Callable[[], int]:
    from ..engine import thread_pool

    return thread_pool.count


def thread_count() -> int:
    """How many threads a call may use now."""
    count: int = _counter()()
    return count


def what_plans_follow() -> tuple[int, int]:
    """What the plan of the same words depends on beside them: the number of threads, and what tuning has found.

    >>> what_plans_follow() == what_plans_follow()
    True
    """
    return thread_count(), choices.version()


__all__ = ["request", "request_resized", "request_tuned", "thread_count", "what_plans_follow"]
