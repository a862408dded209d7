"""A training step as a graph: the network, its loss, their gradients, and what becomes of the parameters.

    x, target  ->  loss, counts          parameters, the optimiser's state and its scalars are kept from call to call

Parameters stop being constants and become inputs that are kept: an update writes where its parameter lies, after all
that reads it. So a step is prepared and run as any network is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import NetworkError
from ..network.gradients import VERSION, Tape, differentiate
from ..network.gradients.differentiate import reached_values
from ..network.graph import Array, Graph, Input, Node
from ..network.ops.base import OWN
from .losses import Built, Loss
from .optimisers import Optimiser

SEED = "train.seed"
"""The name of the array of seed and step that random operators read."""

GUARD = "loss.finite"
"""The name of the loss behind the node that raises where it is no number."""

SHARE = "train.share"
"""The name of the number that a part of a batch counts for."""


@dataclass(frozen=True)
class Rules:
    """What a step does beside its loss and optimiser: `clip`, the norm that all gradients together may have;
    `accumulate`, of how many batches they are the mean.
    """

    clip: float | None = None
    accumulate: int = 1


@dataclass(frozen=True)
class StepGraph:
    """The graph of a step, the arrays that it keeps, and what its outputs are.

    `gather` is the step of a batch whose gradients are only added up, where several batches make one update.
    """

    graph: Graph
    held: dict[str, Array]
    built: Built
    parameters: tuple[str, ...]
    running: tuple[str, ...]
    gather: Graph | None = None

    @property
    def seen(self) -> frozenset[str]:
        """The values that end the forward pass."""
        nexts = (self.graph.kept[name] for name in self.running)
        return frozenset({self.built.loss, GUARD, *self.built.counts.values(), *nexts})


@dataclass
class _StepDraft:
    """A step in the making: what it keeps, with what takes its place, and the nodes that are added."""

    tape: Tape
    held: dict[str, Array]
    after: dict[str, str] = field(default_factory=dict)

    def keep(self, name: str, array: Array, next: str = "") -> str:
        """An array that stays from call to call."""
        self.held[name] = array
        self.after[name] = next
        return name

    def finish(self, graph: Graph, outputs: Collection[str]) -> Graph:
        """The graph with what was added, its kept inputs named."""
        given = {each.name for each in graph.inputs}
        more = (Input(n, a.dtype, a.shape) for n, a in self.held.items() if n not in given)
        whole = graph.with_nodes((*graph.nodes, *self.tape.nodes), self.tape.constants)
        outputs = dict.fromkeys((*outputs, *filter(None, self.after.values())))
        made = replace(
            whole, inputs=(*graph.inputs, *more), outputs=tuple(outputs), kept={**graph.kept, **self.after}
        )
        return made.prune()


def training_graph(graph: Graph, trained: Collection[str]) -> tuple[Graph, dict[str, tuple[str, float]]]:
    """The graph with what runs otherwise while it is trained, and of running values what they are made of.

    A running value goes on as the share that stays of it, and the rest of the batch's.

    BatchNormalization measures its batch, if its scale or bias is trained, and keeps to the limits of a Relu or Clip
    that alone reads it; Dropout draws.
    """
    graph, reached = biases_apart(graph, trained), reached_values(graph, [*trained])
    nodes: list[Node] = []
    running: dict[str, tuple[str, float]] = {}
    taken, bends, done = Tape(graph), limiting(graph), set[int]()
    for node in graph.nodes:
        if id(node) in done:
            continue
        made = node
        if node.op == "BatchNormalization" and reached.intersection(node.inputs[1:3]):
            if any(name not in graph.constants for name in node.inputs[3:5]):
                raise NetworkError(
                    f"train: {node.label} has no running mean and variance of its own\n"
                    "  these are computed by the network: freeze its scale and bias"
                )
            y = node.outputs[0]
            mean, by, spread, add = (taken.name(f"{y}.{name}") for name in ("mean", "by", "spread", "add"))
            keep = node.get("momentum", 0.9)
            running |= {node.inputs[3]: (mean, keep), node.inputs[4]: (spread, keep)}
            words: dict[str, Any] = {"epsilon": node.get("epsilon", 1e-5)}
            if (bent := bends.get(y)) is not None:
                y, words["limits"] = bent.outputs[0], limits_of(graph, bent)
                done.add(id(bent))
            made = Node("BatchNorm", node.inputs[:3], (y, mean, by, spread, add), words, node.name, 0, OWN)
        elif node.op == "Dropout" and (ratio := _ratio(graph, node)) != 0:
            outputs = (node.outputs[0], taken.name(f"{node.outputs[0]}.factor"))
            words = {"ratio": ratio, "number": len(nodes)}
            made = Node("DropoutDrawn", (node.inputs[0], SEED), outputs, words, node.name, 0, OWN)
        nodes.append(made)
    return graph.with_nodes(nodes), running


def limiting(graph: Graph) -> dict[str, Node]:
    """Relus and Clips by what they read, where nothing else reads it and their limits are numbers."""
    readers = Counter(name for node in graph.nodes for name in node.reads)
    return {
        node.inputs[0]: node
        for node in graph.nodes
        if not node.domain and node.op in ("Relu", "Clip") and readers[node.inputs[0]] == 1
        and node.inputs[0] not in graph.outputs and limits_of(graph, node) is not None
    }  # fmt: skip


def limits_of(graph: Graph, node: Node) -> tuple[float, float] | None:
    """What a Relu or Clip keeps to; None where that is no number, or the wrong way round."""
    if node.op == "Relu":
        return 0.0, math.inf
    found = [node.get("min", -math.inf), node.get("max", math.inf)]
    for at, name in enumerate(node.inputs[1:3]):
        if name:
            value = graph.constants.get(name)
            if value is None or value.size != 1:
                return None
            found[at] = float(value.item())
    return (found[0], found[1]) if found[0] < found[1] else None


def biases_apart(graph: Graph, trained: Collection[str]) -> Graph:
    """The graph with the dense layers whose weights change as a product, and a sum that joins what follows."""
    taken, nodes = Tape(graph), list[Node]()
    for node in graph.nodes:
        plain = node.op == "Gemm" and node.get("alpha", 1.0) == node.get("beta", 1.0) == 1
        if not plain or not set(trained).intersection(node.inputs[:2]) or len(node.inputs) < 3:
            nodes.append(node)
            continue
        product = taken.name(f"{node.outputs[0]}.product")
        nodes.append(replace(node, inputs=node.inputs[:2], outputs=(product,)))
        name = f"{node.name}.bias" if node.name else ""
        nodes.append(Node("Add", (product, node.inputs[2]), node.outputs, {}, name, VERSION))
    return graph.with_nodes(nodes)


def _ratio(graph: Graph, node: Node) -> float:
    """The share of elements that a Dropout leaves out."""
    name = node.inputs[1] if len(node.inputs) > 1 else ""
    value = graph.constants.get(name) if name else None
    return float(node.get("ratio", 0.5) if value is None else value.item())


def step_graph(
    graph: Graph, loss: Loss, optimiser: Optimiser, trained: Collection[str], rules: Rules | None = None
) -> StepGraph:
    """The step of a network with one output. Raises NetworkError where it cannot be differentiated."""
    rules = rules or Rules()
    draft, built, whole, gradients, running = _differentiate(graph, loss, trained, parts=False)
    seen = (built.loss, GUARD, *built.counts.values())
    gather = None if rules.accumulate == 1 else _make_gather(whole, draft, gradients, seen)
    made = _make_update(whole, draft, gradients, optimiser, rules, seen)
    return StepGraph(made, draft.held, built, tuple(trained), tuple(running), gather)


def _differentiate(
    graph: Graph, loss: Loss, trained: Collection[str], parts: bool
) -> tuple[_StepDraft, Built, Graph, dict[str, str], dict[str, tuple[str, float]]]:
    """The network with its loss and gradients: a draft, the loss, the graph so far, the gradients' names, and of
    running values the batch's own with the share that stays.

    In `parts` running values are left to who adds the parts up, and the batch's own are among the outputs.
    """
    forward, running = training_graph(graph, trained)
    names = [*trained, *running]
    held = {name: np.array(graph.constants[name], order="C") for name in names}
    constants = {name: array for name, array in graph.constants.items() if name not in held}
    draft = _StepDraft(Tape(forward), {})
    for name in trained if parts else names:
        draft.keep(name, held[name])
    if any(node.op == "DropoutDrawn" for node in forward.nodes):
        draft.keep(SEED, np.zeros(2, np.int64))
    built = loss.build(draft.tape, forward.outputs[0], held[names[0]].dtype)
    draft.tape.op("Finite", built.loss, near=GUARD, own=True)
    if not parts:  # behind the loss: a step that fails there has changed nothing
        for name, (batch, keep) in running.items():
            draft.after[name] = _next(draft.tape, name, batch, keep)
    forward = replace(forward, constants=constants, inputs=(*forward.inputs, built.target))
    more = [batch for batch, _ in running.values()] if parts else []
    seen = (built.loss, GUARD, *built.counts.values(), *more)
    whole, gradients = differentiate(draft.finish(forward, seen), built.gradients, tuple(trained))
    if not parts:
        whole = replace(whole, outputs=(*seen, *filter(None, draft.after.values())))
    return draft, built, whole, gradients, running


def _next(tape: Tape, name: str, batch: str, keep: float) -> str:
    """What a running value becomes."""
    steps = (("scale", 0, (keep,)), ("scale", 1, (1 - keep,)), ("add", 2, 3))
    return tape.each(*steps, inputs=[name, batch], near=f"{name}.next")


@dataclass(frozen=True)
class ShardGraphs:
    """A step in parts, over the arrays that a step keeps and the `totals`.

    `part` gives the loss, counts, gradients and statistics of a part of the batch; `add` adds a share of these to the
    totals, whose names in `adds` say of what; `update`, or `gather`, does with the totals what a step does with the
    gradients of a whole batch, and empties them.
    """

    part: Graph
    seen: frozenset[str]
    drawn: bool
    adds: dict[str, str]
    add: Graph
    totals: dict[str, Array]
    update: Graph
    gather: Graph | None


def shard_graphs(
    graph: Graph, loss: Loss, optimiser: Optimiser, whole: StepGraph, rules: Rules
) -> ShardGraphs:
    """The step of `whole` in parts: it keeps the same arrays, and the totals."""
    first, built, part, gradients, running = _differentiate(graph, loss, whole.parameters, parts=True)
    first.after = dict.fromkeys(first.held, "")
    part = replace(part, outputs=tuple(dict.fromkeys((*part.outputs, *gradients.values())))).prune()
    adds = {f"{name}.total": each for name, each in gradients.items()}
    adds |= {f"{name}.total": batch for name, (batch, _) in running.items()}
    like = {f"{name}.total": whole.held[name] for name in (*gradients, *running)}
    totals = {name: np.zeros_like(array) for name, array in like.items()}
    dtype = next(iter(totals.values())).dtype
    nothing = Graph((), (), (), {})

    adding = _StepDraft(Tape(nothing), {})
    inputs = tuple(Input(each, totals[name].dtype, totals[name].shape) for name, each in adds.items())
    adding.tape = Tape(replace(nothing, inputs=inputs))
    for name, each in adds.items():
        steps = (("mul", 1, 2), ("add", 0, 3))
        adding.keep(
            name, totals[name], adding.tape.each(*steps, inputs=[name, each, SHARE], near=f"{name}.next")
        )
    given = replace(nothing, inputs=(*dict.fromkeys(inputs), Input(SHARE, dtype, ())))

    changing = _StepDraft(Tape(nothing), {})
    for name in (*whole.parameters, *whole.running):
        changing.keep(name, whole.held[name])
    for name, array in totals.items():
        changing.keep(name, array)
        changing.after[name] = changing.tape.op("Zeros", name, own=True)
    for name, (_, keep) in running.items():
        changing.after[name] = _next(changing.tape, name, f"{name}.total", keep)
    sums = {name: f"{name}.total" for name in gradients}
    base = changing.finish(nothing, ())
    gather = None if rules.accumulate == 1 else _make_gather(base, changing, sums, ())
    update = _make_update(base, changing, sums, optimiser, rules, ())
    seen = {built.loss, GUARD, *built.counts.values(), *(batch for batch, _ in running.values())}
    return ShardGraphs(
        part, frozenset(seen), SEED in first.held, adds, adding.finish(given, ()), totals, update, gather
    )


def score_graph(graph: Graph, loss: Loss, held: Mapping[str, Array]) -> Graph:
    """The network as it is outside training, and its loss, over the parameters that are held."""
    graph = biases_apart(graph, held)
    constants = {name: array for name, array in graph.constants.items() if name not in held}
    names = [name for name in graph.constants if name in held]
    inputs = (*graph.inputs, *(Input(name, held[name].dtype, held[name].shape) for name in names))
    forward = replace(graph, constants=constants, inputs=inputs, kept=dict.fromkeys(names, ""))
    tape = Tape(forward)
    built = loss.build(tape, graph.outputs[0], held[names[0]].dtype)
    whole = forward.with_nodes((*forward.nodes, *tape.nodes), tape.constants)
    return replace(
        whole, inputs=(*inputs, built.target), outputs=(built.loss, *built.counts.values())
    ).prune()


def _make_gather(
    whole: Graph, draft: _StepDraft, gradients: Mapping[str, str], seen: Collection[str]
) -> Graph:
    """The step that only adds its gradients up."""
    adding = _StepDraft(Tape(whole), dict(draft.held), dict(draft.after))
    for name, gradient in gradients.items():
        total = f"{name}.gathered"
        draft.held[total] = np.zeros_like(draft.held[name])
        sums = adding.tape.each(("add", 0, 1), inputs=[total, gradient], near=f"{total}.next")
        adding.keep(total, draft.held[total], sums)
    return adding.finish(whole, seen)


def _make_update(
    whole: Graph, draft: _StepDraft, gradients: Mapping[str, str], optimiser: Optimiser, rules: Rules,
    seen: Collection[str],
) -> Graph:  # fmt: skip
    """The step that changes the parameters."""
    draft.tape = tape = Tape(whole)
    dtype = draft.held[min(gradients)].dtype
    scalars = {name: draft.keep(f"train.{name}", np.zeros((), dtype)) for name in optimiser.scalars(0)}
    found = dict(gradients)
    if rules.accumulate > 1:
        for name, gradient in gradients.items():
            total = f"{name}.gathered"
            found[name] = tape.each(
                ("add", 0, 1),
                ("scale", 2, (1 / rules.accumulate,)),
                inputs=[total, gradient],
                near=f"d.{name}",
            )
            draft.after[total] = tape.op("Zeros", total, own=True)
    if rules.clip is not None:
        factor = tape.op("NormFactor", *found.values(), own=True, most=float(rules.clip))
        found = {
            name: tape.each(("mul", 0, 1), inputs=[gradient, factor], near=f"d.{name}.clipped")
            for name, gradient in found.items()
        }
    for name, gradient in found.items():
        own = {
            each: draft.keep(f"{name}.{each}", np.zeros_like(draft.held[name])) for each in optimiser.state
        }
        made = optimiser.update(tape, name, gradient, {**scalars, **own})
        draft.after[name] = made.pop("w")
        for each, next in made.items():
            draft.after[own[each]] = next
    return draft.finish(whole, seen)


__all__ = [
    "SEED",
    "SHARE",
    "Rules",
    "ShardGraphs",
    "StepGraph",
    "score_graph",
    "shard_graphs",
    "step_graph",
    "training_graph",
]
