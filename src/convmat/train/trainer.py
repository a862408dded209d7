"""Trainer: a network, what it is to learn by, and the arrays that change while it does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import require_whole
from ..doors import open_room
from ..errors import NetworkError, format_value
from ..network import Network
from ..network.graph import Array, Graph, Input, Shape, Spec, specs_of
from ..network.ops.gradients.losses import NotFiniteError
from ..network.preparing import infer
from ..network.preparing.program import Program
from ..network.preparing.programs import Programs, Setting
from ..whole_files import require_writable
from .checked import (
    choose_parameters,
    read_examples,
    read_limit,
    read_rules,
    require_callables,
    require_flag,
    require_last_batch,
    require_one_way,
)
from .checkpoints import read_checkpoint, write_checkpoint
from .data import Augment, Data, Examples
from .fit import Course, Epoch, Position, Progress, divide, run
from .losses import Loss, Output, loss_of
from .memory import StepMemory
from .not_finite import describe_not_finite
from .optimisers import Optimiser, optimiser_of
from .parameters import own_constants
from .recomputing import Sparing, count_repeats, scratch
from .shards import Crew, Sharded, require_shards
from .step import SEED, score_graph, step_graph


class Trainer:
    """Changes a network's parameters, a batch at a time. One call at a time.

    `loss`: one of `convmat.train`, or its name. `frozen`: patterns of the names of parameters that stay as they are; a
    BatchNormalization whose scale and bias are among them keeps its running means too. `clip`: the norm that all
    gradients together may have. `accumulate`: so many batches make one change. `seed`: of what is drawn.
    `deterministic`: the same bits for the same seed with any number of threads. `memory_limit`: bytes that a step may
    take, as `memory` counts them; it is kept by computing values of the forward pass again, to the same bits, where
    the backward pass needs them. Raises NetworkError.

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
        clip: float | None = None,
        accumulate: int = 1,
        seed: int = 0,
        deterministic: bool = False,
        memory_limit: int | None = None,
    ) -> None:
        self.source = network._around(own_constants(network.graph))
        self.seed = require_whole("train", "seed", seed, least=0)
        self.loss = loss_of(loss)
        self.optimiser: Optimiser = optimiser_of(optimiser)
        graph = self.source.graph
        require_one_way(graph)
        require_flag("deterministic", deterministic)
        self.rules, self._limit = read_rules(clip, accumulate), read_limit(memory_limit)
        trained = choose_parameters(self.source, frozen)
        self.made = made = step_graph(graph, self.loss, self.optimiser, trained, self.rules)
        self.held = made.held
        options = replace(network.options, deterministic=deterministic or network.options.deterministic)
        setting = Setting(options, network.memory_limit, held=self.held)
        self._setting = setting
        self._programs = self._sparing(made.graph)
        self._gather = self._sparing(made.gather) if made.gather else None
        self._outputs: dict[Shape, Spec] = {}
        score = score_graph(graph, self.loss, self.held)
        self._score = Programs(score, setting)
        self.steps = self.batches = self.epoch = self.right = self.counted = 0
        self.weight = 0.0
        self.position = Position()
        self.last: int | None = None
        self._sharded: Sharded | None = None

    def step(
        self, x: Any, target: Any = None, *, shards: int | None = None, crew: Crew | None = None
    ) -> float:
        """Learn from a batch: x (B, C, *I) and what the loss takes. The loss before the change.

        `shards`: in so many parts, each normalised by itself, whose gradients are added in their order; `crew` computes
        them elsewhere, to the same bits. Raises NetworkError, for a loss that is no number too; parameters are then as
        they were.
        """
        if shards is not None:
            require_shards(shards)
        inputs = self._read(x, target)
        for name, value in self.optimiser.scalars(self.steps).items():
            self.held[f"train.{name}"][...] = value
        last = (self.batches + 1) % self.rules.accumulate == 0
        if shards is None:
            loss = self._at_once(inputs, last)
        else:
            loss, self.right = self.sharded.step(inputs, shards, last, crew)
        target = inputs[self.made.built.target.name]
        self.weight = self.loss.count_examples(target, len(x))
        self.counted = self.loss.count_targets(target)
        self.batches += 1
        self.steps += last
        return loss

    def _at_once(self, inputs: dict[str, Array], last: bool) -> float:
        """The step of a whole batch."""
        if SEED in self.held:
            self.held[SEED][...] = self.seed, self.batches
        programs = self._programs if last or self._gather is None else self._gather
        program = programs.program({name: Spec(v.shape, v.dtype) for name, v in inputs.items()})
        try:
            found = program(inputs)
        except NotFiniteError as error:
            raise self.not_finite(program, inputs, error) from None
        counts = self.made.built.counts
        self.right = int(found[counts["right"]]) if "right" in counts else 0
        return float(found[self.made.built.loss])

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the constants that change: patterns of `frozen` name them.

        >>> from convmat import nn
        >>> nn.build(nn.Linear(2), (3,)).trainer().parameters
        ('weight', 'bias')
        """
        return self.made.parameters

    @property
    def sharded(self) -> Sharded:
        """Its step in parts, made when it is first asked for."""
        if self._sharded is None:
            self._sharded = Sharded(self, self._setting, self._limit)
        return self._sharded

    def _sparing(self, graph: Graph) -> Sparing:
        """What prepares a step's graph within the limit."""
        fixed = sum(array.nbytes for array in self.held.values())
        return Sparing(graph, self._setting, self.made.seen, self._limit, fixed)

    @property
    def counts(self) -> bool:
        """Whether the loss counts what is right."""
        return "right" in self.made.built.counts

    def evaluate(self, examples: Examples, batch: int = 64) -> tuple[float, float]:
        """The mean loss of examples, and the share that is right, nothing being learned; NaN where none can be."""
        loss, weight, right, counted = 0.0, 0.0, 0, 0
        for x, target in examples.batches(batch):
            inputs = self._read(x, target)
            found = self._score.program({name: Spec(v.shape, v.dtype) for name, v in inputs.items()})(inputs)
            here = inputs[self.made.built.target.name]
            share = self.loss.count_examples(here, len(x))
            loss += float(found[self.made.built.loss]) * share
            weight += share
            right += int(found[self.made.built.counts["right"]]) if self.counts else 0
            counted += self.loss.count_targets(here)
        return divide(loss, weight), divide(right, counted) if self.counts else float("nan")

    def fit(
        self,
        data: Examples | Data,
        epochs: int = 1,
        *,
        batch: int = 64,
        validate: Examples | None = None,
        augment: Augment | None = None,
        shards: int | None = None,
        client: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
        history: str | os.PathLike[str] | None = None,
        progress: Callable[[Progress], object] | None = None,
        each_epoch: Callable[[Epoch], object] | None = None,
    ) -> list[Epoch]:
        """Learn from all examples so many times, in an order drawn anew each time; what came of each.

        `validate`: examples that are judged after each epoch, a data set's own where it is given whole. `shards`: each
        step in so many parts, as `step` has it. `client`: a dask.distributed.Client, whose workers compute the shards,
        to the bits that they have here; what a lost one had goes to others, one that comes later is used. `checkpoint`:
        a file that is written after each epoch, when Ctrl-C ends the fit and when the cluster is lost; a trainer that
        `resume`d one goes on to the epochs that were asked for then. `history`: a CSV file, a line an epoch. `progress`
        is told after each batch, `each_epoch` after each epoch. Raises NetworkError.
        """
        if shards is not None:
            require_shards(shards)
        elif client is not None:
            raise NetworkError(
                "train: a cluster computes shards, and their number is part of the result\n  shards = None\n"
                f"  e.g. shards={max(len(client.nthreads()), 2)}, with fewer workers or more"
            )
        crew = None if client is None else open_room("chunks").crew(client, self.sharded)
        epochs = require_whole("train", "epochs", epochs, least=0)
        batch = require_whole("train", "batch", batch, least=1)
        examples, judged = read_examples(data, validate)
        if shards is None:
            require_last_batch(self, examples, batch)
        require_callables(augment=augment, progress=progress, each_epoch=each_epoch)
        if self.last is None or self.last <= self.epoch:
            self.last = self.epoch + epochs
        save_as, table = (None if each is None else Path(each) for each in (checkpoint, history))
        for file in filter(None, (save_as, table)):
            require_writable(file, "train")
        course = Course(
            examples, judged, batch, augment, self.seed, save_as, table, progress, shards, crew, each_epoch
        )  # fmt: skip
        found = run(self, course, self.last)
        self.last = None
        return found

    def memory(self, x_shape: Sequence[int], shards: int | None = None) -> StepMemory:
        """Bytes that a step on inputs of this shape takes, known before one runs. Raises NetworkError.

        >>> from convmat import nn
        >>> made = nn.lenet().trainer().memory((128, 1, 28, 28))
        >>> made.parameters, made.total > made.arena > 2**20
        (320808, True)
        """
        names, given, more = {*self.made.parameters, *self.made.running}, 0, 0
        programs: Programs = self._programs
        if shards is not None:
            require_shards(shards)
            programs = self.sharded.part
            given = more = sum(total.nbytes for total in self.sharded.graphs.totals.values())
            x_shape = (-(-x_shape[0] // shards), *x_shape[1:])
        x = Spec(tuple(x_shape), self.source.inputs[0].dtype)
        program = programs.program(
            {
                self.source.inputs[0].name: x,
                self.made.built.target.name: self.loss.target(self.output(x)),
            }
        )
        again, repeats, seconds = count_repeats(program)
        return StepMemory(
            parameters=sum(self.held[name].nbytes for name in names),
            state=sum(array.nbytes for name, array in self.held.items() if name not in names) + more,
            arena=program.memory.size + given,
            alive=program.memory.least + given,
            scratch=scratch(program),
            again=again,
            again_seconds=repeats,
            seconds=seconds,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint: parameters, the optimiser's state, how far the fit is. Raises PlanError."""
        write_checkpoint(self, path)

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Go on from a checkpoint of such a trainer: what follows is what would have without the stop.

        Raises NetworkError where it is of another network or optimiser; nothing has changed then.
        """
        read_checkpoint(self, path)

    def _read(self, x: Any, target: Any) -> dict[str, Array]:
        """The inputs by name, checked."""
        entry = self.source.inputs[0]
        x = _read_numbers(x, entry)
        if target is None and not isinstance(self.loss, Output):
            raise NetworkError("train: the loss takes targets\n  target = None\n  trainer.step(x, target)")
        y = self.output(x)
        return {entry.name: x, self.made.built.target.name: self.loss.read(target, y)}

    def output(self, x: Array | Spec) -> Spec:
        """Shape and element type of the network's output for such an input. Raises NetworkError.

        >>> from convmat import nn
        >>> nn.build(nn.Linear(2), (3,)).trainer().output(np.zeros((5, 3), np.float32))
        Spec(shape=(5, 2), dtype=dtype('float32'), value=None)
        """
        if x.shape not in self._outputs:
            name, limit = self.source.inputs[0].name, self.source.memory_limit
            known = {name: Spec(x.shape, x.dtype)} | specs_of(self.held)
            specs = infer.infer_specs(self._score.graph, known, limit)[1]
            found = specs.get(self.source.outputs[0])
            if found is None:
                raise NetworkError(
                    "train: shapes depend on numbers, not on the shape of the input alone\n"
                    f"  those of the output {self.source.outputs[0]!r}; {', '.join(self.parameters[:8])} are trained\n"
                    "  freeze parameters that shapes are computed of, or train a part of the network"
                )
            self._outputs[x.shape] = found
        return self._outputs[x.shape]

    def not_finite(self, program: Program, inputs: Mapping[str, Array], error: Exception) -> NotFiniteError:
        """Which node was the first whose values are no numbers."""
        said = f"{error} at step {self.steps}"
        return describe_not_finite(program, inputs, self.held, self.parameters, said)

    def network(self) -> Network:
        """The network as it is now, ready to be called: a copy, which further steps do not change."""
        graph = self.source.graph
        now = {name: self.held[name].copy() for name in (*self.made.parameters, *self.made.running)}
        return self.source._around(replace(graph, constants={**graph.constants, **now}))


def _read_numbers(x: Any, entry: Input) -> Array:
    """A batch in the element type of the network's input. Raises NetworkError."""
    try:
        found = np.asarray(x)
    except Exception:  # an object's own `__array__`, or lists of several lengths
        found = np.empty((), object)
    whole = entry.dtype.kind in "iu"
    if found.dtype.kind not in ("biu" if whole else "biuf"):
        raise NetworkError(
            f"train: the examples are no {'whole ' if whole else ''}numbers\n  x = {format_value(x)}\n"
            f"  an array like the network's input is needed: {entry}"
        )
    return np.ascontiguousarray(found, entry.dtype)


__all__ = ["Trainer"]
