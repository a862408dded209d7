"""Networks read from what `load` is given, and their options checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..engine import jit_cache
from ..errors import PlanError, format_value
from ..planner import require_limits
from .files import save
from .files.readings import read_again
from .graph import MEMORY_LIMIT
from .net import Network
from .ops import Options
from .ops.options import PRECISIONS
from .reading.sources import locate
from .rewriting.rewrite import choose_rules
from .starts.start import Start


def open_network(
    source: Any,
    words: Mapping[str, Any],
    memory_limit: int,
    rewrite: bool | Collection[str],
    trust: bool,
    start: Start | None,
) -> Network:
    """What `load` gives where nothing is known of the network; `words` are the keywords that plans know.

    What is prepared is written down in the `start`, whose file was read already. Raises NetworkError and PlanError.
    """
    rules = _read_rules(rewrite)
    _require_bytes(memory_limit)
    given = Options(**words)
    _require_options(given)
    source = locate(source)
    if save.is_saved(source):
        found = save.unpack(source, trust)
        options = save.merge_saved_options(found.options, given)
        kept = found.rules if rules is None else rules
        return Network(found.graph, options, memory_limit, kept, found.choices)
    jit_cache.expect_kernels()
    if start is None:
        made = Network(read_again(source), given, memory_limit, rules)
    else:
        made = Network(read_again(start.take_file()()), given, memory_limit, rules, start=start)
    made.source = source
    return made


def _read_rules(rewrite: bool | Collection[str]) -> tuple[str, ...] | None:
    """The rules by which a network is rewritten; None: all. Raises NetworkError for names that there are not."""
    rules = None if rewrite is True else () if rewrite is False else rewrite
    choose_rules(rules)
    return None if rules is None else tuple(rules)


def _require_bytes(limit: Any) -> None:
    """Raise PlanError for a limit of memory that is no number of bytes."""
    if isinstance(limit, bool) or not isinstance(limit, (int, np.integer)) or limit < 0:
        raise PlanError(
            f"load: memory_limit must be a number of bytes\n  memory_limit = {format_value(limit)}\n"
            f"  e.g. memory_limit={MEMORY_LIMIT}"
        )


def _require_options(given: Options) -> None:
    """Raise PlanError for keywords that mean nothing, alone or beside each other."""
    if given.precision not in PRECISIONS:
        raise PlanError(
            f"load: precision must be one of {', '.join(PRECISIONS)}\n  precision = {format_value(given.precision)}\n"
            '  e.g. precision="float32"'
        )
    if given.precision == "bfloat16" and (given.exact or given.deterministic):
        keyword = "exact" if given.exact else "deterministic"
        raise PlanError(
            f"load: precision='bfloat16' rounds what products multiply, {keyword}=True admits no such product\n"
            f"  omit {keyword}=, or use precision='float32'"
        )
    require_limits(
        "load",
        rtol=given.rtol,
        workspace_limit=given.workspace_limit,
        weight_limit=given.weight_limit,
        deterministic=given.deterministic,
        tune=given.tune,
    )
