"""Trainer: a network, what it is to learn by, and the arrays that change while it does."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import NetworkError
from ..network import Network
from ..network.graph import Array, Shape, Spec
from ..network.preparing import infer
from ..network.preparing.programs import Programs, Setting
from .data import Augment, Data, Examples
from .losses import Loss, loss_of
from .optimisers import SGD, Optimiser
from .step import parameters, step_graph


@dataclass(frozen=True)
class Epoch:
    """What came of one time through the examples: mean loss, share that was right, seconds, the score on others."""

    loss: float
    accuracy: float
    seconds: float
    score: float | None


class Trainer:
    """Changes a network's parameters, a batch at a time. One call at a time.

    `frozen`: patterns of the names of parameters that stay as they are.

    >>> from convmat import nn, train
    >>> trainer = nn.build(nn.Linear(2), (3,)).trainer(loss="cross_entropy", optimiser=train.SGD(0.1))
    >>> first = trainer.step(np.eye(3, dtype=np.float32), np.array([0, 1, 1]))
    >>> trainer.step(np.eye(3, dtype=np.float32), np.array([0, 1, 1])) < first
    True
    """

    def __init__(
        self,
        network: Network,
        *,
        loss: Loss | str = "cross_entropy",
        optimiser: Optimiser | None = None,
        frozen: Sequence[str] = (),
    ) -> None:
        self.source = network
        self.loss, self.optimiser = loss_of(loss), optimiser or SGD(0.01)
        graph = network.graph
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise NetworkError(
                f"train: one input and one output are trained\n  inputs {[each.name for each in graph.inputs]}, "
                f"outputs {list(graph.outputs)}\n  make a network of the part that is to be trained"
            )
        every = parameters(graph)
        trained = [name for name in every if not any(fnmatch.fnmatch(name, each) for each in frozen)]
        if not trained:
            raise NetworkError(
                f"train: there is nothing to train\n  {len(every)} parameters, frozen = {list(frozen)}\n"
                "  name fewer in frozen, or train a network with weights"
            )
        self.made = step_graph(graph, self.loss, self.optimiser, trained)
        self.held = self.made.held
        setting = Setting(network.options, network.memory_limit, held=self.held)
        self._programs = Programs(self.made.graph, setting)
        self._outputs: dict[Shape, Spec] = {}
        self.steps = 0
        self.right = 0

    def step(self, x: Any, target: Any) -> float:
        """One step on a batch: x (B, C, *I) and what the loss takes. The loss before it. Raises NetworkError."""
        x = np.ascontiguousarray(x, self.source.inputs[0].dtype)
        inputs = {self.source.inputs[0].name: x}
        target = self.loss.read(target, self._output(x))
        inputs[self.made.built.target.name] = target
        for name, value in self.optimiser.scalars(self.steps).items():
            self.held[f"train.{name}"][...] = value
        program = self._programs.program({name: Spec(v.shape, v.dtype) for name, v in inputs.items()})
        found = program(inputs)
        self.steps += 1
        self.right = int(found[self.made.built.counts["right"]])
        return float(found[self.made.built.loss])

    def fit(
        self,
        data: Examples | Data,
        epochs: int = 1,
        *,
        batch: int = 64,
        validate: Examples | None = None,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> list[Epoch]:
        """So many times through all examples, in an order drawn anew each time; what came of each.

        `validate`: examples that are judged after each epoch, a data set's own where it is given whole.
        """
        examples = data.train if isinstance(data, Data) else data
        judged = data.test if validate is None and isinstance(data, Data) else validate
        rng, found = np.random.default_rng(seed), []
        for _ in range(epochs):
            begun, losses, right = time.perf_counter(), 0.0, 0
            for x, target in examples.batches(batch, rng, augment):
                losses += self.step(x, target) * len(x)
                right += self.right
            seconds = time.perf_counter() - begun
            scored = None if judged is None else self.score(judged, batch)
            found.append(Epoch(losses / len(examples), right / len(examples), seconds, scored))
        return found

    def score(self, examples: Examples, batch: int = 64) -> float:
        """The share of examples whose largest score is their class's."""
        net, right = self.network(), 0
        for x, target in examples.batches(batch):
            right += int((np.asarray(net(x)).argmax(axis=1) == target).sum())
        return right / len(examples)

    def _output(self, x: Array) -> Spec:
        """What is known of the network's output for such an input."""
        if x.shape not in self._outputs:
            name, limit = self.source.inputs[0].name, self.source.memory_limit
            specs = infer.inferred(self.source.graph, {name: Spec(x.shape, x.dtype)}, limit)[1]
            self._outputs[x.shape] = specs[self.source.outputs[0]]
        return self._outputs[x.shape]

    def network(self) -> Network:
        """The network as it is now, ready to be called: a copy, which further steps do not change."""
        graph = self.source.graph
        now = {name: self.held[name].copy() for name in self.made.parameters}
        return self.source._around(replace(graph, constants={**graph.constants, **now}))


__all__ = ["Trainer"]
