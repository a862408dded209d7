"""Which part of a network's time each engine takes: predicted, of products by their plans, of other nodes by traffic.

    kernels     the bytes that a node reads and writes, at the rate of the level that holds them; its FMAs at their peak
    NumPy       the same bytes PASSES times, on one thread, and a CALL
    reference   REFERENCE times as long as NumPy

The rates are this machine's, measured once; the three constants say of NumPy what profiles of networks show, roughly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...engine import host, machine, peaks
from ...errors import EngineError
from .layers import SLOW, LayerReport

PASSES = 3
"""Over memory, of an operator in NumPy: it has intermediate results, on fresh pages."""

CALL = 5e-6
"""Seconds of a step in Python."""

REFERENCE = 20
"""Times as long as NumPy: the standard's reference looks at shapes, copies, and loops in Python."""


def engine_shares(layers: Sequence[LayerReport], threads: int) -> Mapping[str, float]:
    """The share of the predicted time by engine, the largest first; of what waits for shapes nothing is known.

    Empty where nothing takes time.
    """
    seconds: dict[str, float] = {}
    for layer in layers:
        if layer.engine:
            seconds[layer.engine] = seconds.get(layer.engine, 0.0) + predicted_seconds(layer, threads)
    whole = sum(seconds.values())
    return {name: seconds[name] / whole for name in sorted(seconds, key=lambda name: -seconds[name]) if whole}


def predicted_seconds(layer: LayerReport, threads: int) -> float:
    """Seconds that a node is predicted to take."""
    if layer.seconds is not None:
        return layer.seconds
    if layer.engine == "jit":
        try:
            found = peaks(threads)
        except EngineError:
            return layer.moved / machine(threads).copy_bandwidth
        levels = (host().l2, found.l2_bandwidth), (host().l3, found.l3_bandwidth)
        rate = next((rate for size, rate in levels if layer.moved <= size), found.memory_bandwidth)
        return max(layer.moved / rate, layer.flops / found.fma_flops)
    known = machine(1)
    plain = max(PASSES * layer.moved / known.copy_bandwidth, layer.flops / known.blas_flops) + CALL
    return REFERENCE * plain if layer.engine == SLOW else plain


__all__ = ["engine_shares", "predicted_seconds"]
