"""Where the time of a network goes, measured node by node.

seconds   median of several calls, one clock reading a node; the first calls, which warm up, are not counted
total     median of calls without the clock between nodes
peak      FMAs on registers, all threads: what no product exceeds
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

from ...engine import peaks
from ...errors import EngineError
from ...lazy_dataclass import dataclass
from ...planner.columns import align_columns
from ...planner.units import format_seconds
from ..graph import Node, Value
from ..preparing.program import Program
from ..preparing.tasks import NodeTask
from .cells import draw_bar, shorten_name
from .layers import DEPTH_FIRST, LayerReport, list_layers, nodes_of
from .summary import count_threads

HEAD = ("node", "operator", "way", "m x n x k", "time", "share", "GFLOP/s", "of peak", "")

FEWEST, MOST = 3, 100
"""Calls, however long or short they are."""


@dataclass(frozen=True)
class Profile:
    """Measured seconds of each node. `peak` is FLOP/s, None where it could not be measured."""

    layers: tuple[LayerReport, ...]
    seconds: tuple[float, ...]
    total: float
    runs: int
    threads: int
    peak: float | None

    def as_dict(self) -> dict[str, Any]:
        """The figures, for JSON; times in seconds."""
        return {
            "seconds": self.total,
            "runs": self.runs,
            "threads": self.threads,
            "peak_flops": self.peak,
            "layers": [
                {**each.as_dict(), "seconds": seconds}
                for each, seconds in zip(self.layers, self.seconds, strict=True)
            ],
        }

    def __str__(self) -> str:
        whole, most = sum(self.seconds) or 1.0, max(self.seconds, default=0.0) or 1.0
        rows = []
        for each, seconds in zip(self.layers, self.seconds, strict=True):
            rate = each.flops / seconds if seconds else 0.0
            rows.append(
                (
                    shorten_name(each.name),
                    each.op,
                    each.way or each.engine,
                    each.product_text,
                    format_seconds(seconds),
                    f"{100 * seconds / whole:.1f} %",
                    f"{rate / 1e9:.3g}" if each.flops else "",
                    f"{100 * rate / self.peak:.0f} %" if each.flops and self.peak else "",
                    draw_bar(seconds / most),
                )
            )
        # The bars stand last and flush left, where their lengths compare.
        width = max((len(row[-1]) for row in rows), default=0)
        rows = [(*row[:-1], row[-1].ljust(width)) for row in rows]
        flops = sum(each.flops for each in self.layers)
        rate = flops / self.total if self.total else 0.0
        last = (
            f"{format_seconds(self.total)} a call on {count_threads(self.threads)}, median of {self.runs}; "
            f"{flops / 1e9:.4g} GFLOP, {rate / 1e9:.3g} GFLOP/s"
        )
        if self.peak:
            last += f", {100 * rate / self.peak:.0f} % of this machine's FMA peak"
        if any(each.way.endswith(DEPTH_FIRST) for each in self.layers):
            last += f"\nLayers that run {DEPTH_FIRST} are timed one by one; a call computes them together, in strips."
        return "\n".join([*align_columns(HEAD, rows, words=3), "", last])


def profile(program: Program, inputs: Mapping[str, Value], count: int, seconds: float = 1.0) -> Profile:
    """Call the program for about so many seconds, half of them with a clock between nodes."""
    whole = time_calls(lambda: program(inputs), seconds / 2)
    spent: dict[int, tuple[Node, list[float]]] = {}
    clock = _Clock(spent)
    time_calls(lambda: clock.start(program, inputs), seconds / 2)
    by_node = {id(node): statistics.median(times) for node, times in spent.values()}
    try:
        peak = peaks(count).fma_flops
    except EngineError:
        peak = None
    return Profile(
        layers=tuple(list_layers(program)),
        seconds=tuple(by_node.get(id(node), 0.0) for _, node in nodes_of(program)),
        total=statistics.median(whole),
        runs=len(whole),
        threads=count,
        peak=peak,
    )


def time_calls(call: Any, seconds: float) -> list[float]:
    """Seconds of each of several calls, for about so many seconds in all; the first call is not counted."""
    call()
    found: list[float] = []
    while len(found) < FEWEST or (sum(found) < seconds and len(found) < MOST):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return found


class _Clock:
    """Reads the time after each task."""

    def __init__(self, spent: dict[int, tuple[Node, list[float]]]) -> None:
        self.spent, self.last = spent, 0.0

    def start(self, program: Program, inputs: Mapping[str, Value]) -> None:
        self.last = time.perf_counter()
        program(inputs, self)

    def __call__(self, task: NodeTask) -> None:
        now = time.perf_counter()
        self.spent.setdefault(id(task), (task.node, []))[1].append(now - self.last)
        self.last = time.perf_counter()
