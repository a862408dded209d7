"""Nodes that kernels pass over: which there are, their kernels compiled side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from ...engine import load_together
from ...errors import EngineError
from ...planner import Plan, Record
from ..graph import Graph, Spec
from ..ops.attention import WovenAttention, weave_attention
from ..ops.depth_first import BlockStep, DepthFirst, FusedGroup, weave_layers
from ..ops.indexed import copy_whole
from ..ops.kernels import LEAST, run_sweep
from ..ops.planned import Moved, Multiplied, Swept
from ..ops.walked import WALKED
from .places import is_view

K = TypeVar("K")
S = TypeVar("S", Multiplied | Moved | Swept, WovenAttention, DepthFirst)


def repay_sweeps(graph: Graph, specs: Mapping[str, Spec], plans: Mapping[int, Plan]) -> bool:
    """Whether kernels pass over what is no product: where a value is large, or products or trees have them anyway."""
    compiled = any(plan.chosen.engine == "jit" for plan in plans.values())
    compiled = compiled or any(node.key in WALKED for node in graph.nodes)
    return compiled or max((spec.size for spec in specs.values()), default=0) >= LEAST


def find_sweeps(
    graph: Graph, specs: Mapping[str, Spec], record: Record | None
) -> dict[int, Multiplied | Moved | Swept]:
    """The steps of nodes that a kernel passes over, by the identity of their nodes, where it can be had."""
    found: dict[int, Multiplied | Moved | Swept] = {}
    for node in graph.nodes:
        inputs = [specs.get(name) for name in node.inputs]
        made = [specs.get(name) for name in node.outputs if name]
        if None not in made and all(s or not name for s, name in zip(inputs, node.inputs, strict=True)):
            step = run_sweep(node, inputs, [spec for spec in made if spec])
            if step is None and is_view(node) and node.outputs[0] in graph.outputs and made[0]:
                step = None if made[0].dtype.hasobject or not made[0].size else copy_whole(made[0])
            found |= {} if step is None else {id(node): step}
    return _load_kernels(found, record)


def find_attention(
    graph: Graph,
    specs: Mapping[str, Spec],
    sweeps: Mapping[int, Multiplied | Moved | Swept],
    record: Record | None,
) -> dict[tuple[int, ...], WovenAttention]:
    """The attentions that run in turns, by the places of their nodes, where their kernels can be had."""
    return _load_kernels(weave_attention(graph, specs, sweeps), record)


def find_layers(
    groups: Sequence[FusedGroup], block_step: BlockStep, record: Record | None
) -> dict[tuple[int, ...], DepthFirst]:
    """The groups of layers that are computed depth first, by the places of their nodes, where they can be."""
    made = ((group.places, weave_layers(group, block_step)) for group in groups)
    return _load_kernels({places: step for places, step in made if step is not None}, record)


def _load_kernels(found: dict[K, S], record: Record | None) -> dict[K, S]:
    """Sweeps whose kernels can be had, written down in the record; where nothing is compiled, NumPy runs the nodes."""
    load_together([kernel for step in found.values() for kernel in step.kernels])
    for key, step in list(found.items()):
        try:
            for kernel in step.kernels:
                kernel.load()
        except EngineError:
            del found[key]
    if record is not None:
        for kernel in (kernel for step in found.values() for kernel in step.kernels):
            record.add_program(kernel)
    return found
