"""A training step as a graph: the network, its loss, their gradients, and what becomes of the parameters.

    x, target  ->  loss, counts          parameters, the optimiser's state and its scalars are kept from call to call

Parameters stop being constants and become inputs that are kept: an update writes where its parameter lies, after all
that reads it. So a step is prepared and run as any network is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..network.gradients import Tape, differentiate
from ..network.graph import Array, Graph, Input
from .losses import Built, Loss
from .optimisers import Optimiser

PARAMETERS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (0, 1),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "PRelu": (1,),
    "Gather": (0,),
    "Add": (0, 1),
}
"""By operator, the inputs whose constants are trained."""


@dataclass(frozen=True)
class StepGraph:
    """The graph of a step, the arrays that it keeps, and what its outputs are."""

    graph: Graph
    held: dict[str, Array]
    built: Built
    parameters: tuple[str, ...]


def parameters(graph: Graph) -> tuple[str, ...]:
    """The names of the constants that are trained: floats at the places of PARAMETERS, one number alone excepted."""
    found: dict[str, None] = {}
    for node in graph.nodes:
        for at in PARAMETERS.get(node.op, ()) if not node.domain else ():
            name = node.inputs[at] if at < len(node.inputs) else ""
            value = graph.constants.get(name)
            if value is not None and value.dtype.kind == "f" and (value.size > 1 or node.op != "Add"):
                found[name] = None
    return tuple(found)


def step_graph(graph: Graph, loss: Loss, optimiser: Optimiser, trained: Collection[str]) -> StepGraph:
    """The step of a network with one output. Raises NetworkError where it cannot be differentiated."""
    held = {name: np.array(graph.constants[name], order="C") for name in trained}
    dtype = next(iter(held.values())).dtype
    constants = {name: array for name, array in graph.constants.items() if name not in held}
    kept = dict.fromkeys(held, "")
    inputs = (*graph.inputs, *(Input(name, array.dtype, array.shape) for name, array in held.items()))
    forward = replace(graph, inputs=inputs, constants=constants, kept=kept)
    tape = Tape(forward)
    built = loss.build(tape, graph.outputs[0], dtype)
    forward = replace(
        forward.with_nodes((*forward.nodes, *tape.nodes), tape.constants),
        inputs=(*inputs, built.target),
        outputs=(built.loss, *built.counts.values()),
    )
    whole, gradients = differentiate(forward, built.gradients, tuple(trained))
    tape = Tape(whole)
    scalars = {name: f"train.{name}" for name in optimiser.scalars(0)}
    state: dict[str, Array] = {each: np.zeros((), dtype) for each in scalars.values()}
    after: dict[str, str] = dict.fromkeys(state, "")
    for name in trained:
        own = {each: f"{name}.{each}" for each in optimiser.state}
        state |= {each: np.zeros_like(held[name]) for each in own.values()}
        made = optimiser.update(tape, name, gradients[name], {**scalars, **own})
        after[name] = made.pop("w")
        after |= {own[each]: next for each, next in made.items()}
    more = tuple(Input(name, array.dtype, array.shape) for name, array in state.items())
    outputs = (built.loss, *built.counts.values(), *filter(None, after.values()))
    made_graph = replace(
        whole.with_nodes((*whole.nodes, *tape.nodes), tape.constants),
        inputs=(*whole.inputs, *more),
        outputs=outputs,
        kept=after,
    )
    return StepGraph(made_graph.needed(), held | state, built, tuple(trained))


__all__ = ["PARAMETERS", "StepGraph", "parameters", "step_graph"]
