"""Trainer: a network, what it is to learn by, and the arrays that change while it does."""

from __future__ import annotations

import fnmatch
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..doors import open_room
from ..errors import NetworkError, format_value
from ..network import Network
from ..network.graph import Array, Graph, Shape, Spec
from ..network.ops.gradients.losses import NotFiniteError
from ..network.preparing import infer
from ..network.preparing.program import NodeTask, Program
from ..network.preparing.programs import Programs, Setting
from . import safetensors
from .data import Augment, Data, Examples
from .fit import Course, Epoch, Position, Progress, run
from .losses import Loss, Output, loss_of
from .memory import StepMemory
from .optimisers import SGD, Optimiser
from .parameters import own_statistics, parameters
from .ranges import is_between
from .recomputing import Sparing, count_repeats, scratch
from .shards import Crew, Sharded, require_shards
from .step import SEED, Rules, score_graph, step_graph


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
        self.source, self.seed = network._around(own_statistics(network.graph)), seed
        self.loss = loss_of(loss)
        self.optimiser: Optimiser = SGD(0.01) if optimiser is None else optimiser
        graph = self.source.graph
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise NetworkError(
                f"train: one input and one output are trained\n  inputs {[each.name for each in graph.inputs]}, "
                f"outputs {list(graph.outputs)}\n  make a network of the part that is to be trained"
            )
        batches: Any = accumulate
        if not isinstance(batches, int) or batches < 1:
            raise NetworkError(
                f"train: accumulate is a number of batches\n  accumulate = {format_value(accumulate)}\n"
                f"  e.g. accumulate=4"
            )
        if clip is not None and not (clip and is_between(clip, 0, math.inf)):
            raise NetworkError(
                f"train: clip is the norm that gradients may have\n  clip = {format_value(clip)}\n"
                f"  e.g. clip=1.0, or None"
            )
        self.rules = Rules(clip, accumulate)
        self.made = made = step_graph(
            graph, self.loss, self.optimiser, _choose_parameters(self.source, frozen), self.rules
        )
        self.held = made.held
        options = replace(network.options, deterministic=deterministic or network.options.deterministic)
        setting = Setting(options, network.memory_limit, held=self.held)
        self._setting = setting
        self._limit = _read_limit(memory_limit)
        self._programs = self._sparing(made.graph)
        self._gather = self._sparing(made.gather) if made.gather else None
        self._outputs: dict[Shape, Spec] = {}
        score = score_graph(graph, self.loss, self.held)
        self._score = Programs(score, setting)
        self.steps = self.batches = self.epoch = self.right = 0
        self.position = Position()
        self._last: int | None = None
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
        """The mean loss of examples, and the share that is right (NaN where none can be), nothing being learned."""
        loss, right = 0.0, 0
        for x, target in examples.batches(batch):
            inputs = self._read(x, target)
            found = self._score.program({name: Spec(v.shape, v.dtype) for name, v in inputs.items()})(inputs)
            loss += float(found[self.made.built.loss]) * len(x)
            right += int(found[self.made.built.counts["right"]]) if self.counts else 0
        size = max(len(examples), 1)
        return loss / size, right / size if self.counts else float("nan")

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
        examples = data.train if isinstance(data, Data) else data
        judged = data.test if validate is None and isinstance(data, Data) else validate
        if self._last is None or self._last <= self.epoch:
            self._last = self.epoch + epochs
        files = [None if each is None else Path(each) for each in (checkpoint, history)]
        course = Course(
            examples,
            judged,
            batch,
            augment,
            self.seed,
            files[0],
            files[1],
            progress,
            shards,
            crew,
            each_epoch,
        )
        found = run(self, course, self._last)
        self._last = None
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
                self.made.built.target.name: self.loss.target(self._output(x)),
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
        here = {
            "steps": self.steps, "batches": self.batches, "epoch": self.epoch, "seed": self.seed,
            "last": self._last, "position": asdict(self.position), "optimiser": repr(self.optimiser),
        }  # fmt: skip
        safetensors.write_safetensors(path, self.held, {"convmat": json.dumps(here)})

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Go on from a checkpoint of such a trainer: what follows is what would have without the stop.

        Raises NetworkError where it is of another network or optimiser; nothing has changed then.
        """
        arrays, words = safetensors.read_safetensors(path)
        expected = {name: Spec(array.shape, array.dtype) for name, array in self.held.items()}
        found = {name: Spec(array.shape, array.dtype) for name, array in arrays.items()}
        if found != expected or "convmat" not in words:
            wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
            raise NetworkError(
                f"train: {path} is of another trainer\n"
                f"  {len(wrong)} of {len({*found, *expected})} arrays differ, {wrong[0] if wrong else 'none'} first\n"
                "  make the trainer with the network, the optimiser and the frozen names of that one"
            )
        here = json.loads(words["convmat"])
        for name, array in arrays.items():
            self.held[name][...] = array
        self.steps, self.batches, self.epoch = here["steps"], here["batches"], here["epoch"]
        self.seed, self._last, self.position = here["seed"], here["last"], Position(**here["position"])

    def _read(self, x: Any, target: Any) -> dict[str, Array]:
        """The inputs by name, checked."""
        entry = self.source.inputs[0]
        x = np.ascontiguousarray(x, entry.dtype)
        if target is None and not isinstance(self.loss, Output):
            raise NetworkError("train: the loss takes targets\n  target = None\n  trainer.step(x, target)")
        y = self._output(x)
        return {entry.name: x, self.made.built.target.name: self.loss.read(target, y)}

    def _output(self, x: Array | Spec) -> Spec:
        """What is known of the network's output for such an input."""
        if x.shape not in self._outputs:
            name, limit = self.source.inputs[0].name, self.source.memory_limit
            specs = infer.infer_specs(self.source.graph, {name: Spec(x.shape, x.dtype)}, limit)[1]
            self._outputs[x.shape] = specs[self.source.outputs[0]]
        return self._outputs[x.shape]

    def not_finite(self, program: Program, inputs: Mapping[str, Array], error: Exception) -> NotFiniteError:
        """Which node was the first whose values are no numbers."""
        first = [
            name for name, array in inputs.items() if array.dtype.kind == "f" and not np.isfinite(array).all()
        ]
        place = f"the input {first[0]!r} has NaN or inf in it" if first else ""
        lost = [name for name in self.made.parameters if not np.isfinite(self.held[name]).all()]
        if lost and not place:
            place = f"the parameter {lost[0]!r} has NaN or inf in it since an earlier step"
        place = place or first_not_finite(program, inputs)
        remedy = "a smaller rate, clip=1.0, or a warm-up help"
        if first:
            remedy = "look for it in the data"
        return NotFiniteError(
            f"{error} at step {self.steps}\n  {place}\n"
            f"  {remedy}; the parameters are as they were before this step"
        )

    def network(self) -> Network:
        """The network as it is now, ready to be called: a copy, which further steps do not change."""
        graph = self.source.graph
        now = {name: self.held[name].copy() for name in (*self.made.parameters, *self.made.running)}
        return self.source._around(replace(graph, constants={**graph.constants, **now}))


def _choose_parameters(network: Network, frozen: Sequence[str]) -> list[str]:
    """The names of the parameters that none of the patterns names."""
    every = parameters(network.graph)
    patterns = [frozen] if isinstance(frozen, str) else list(frozen)
    for each in patterns:
        if not fnmatch.filter(every, each):
            raise NetworkError(
                f"train: a pattern names no parameter\n  frozen = {format_value(each)}\n"
                f"  there are {', '.join(every[:8])}{' ..' if len(every) > 8 else ''}"
            )
    found = [name for name in every if not any(fnmatch.fnmatch(name, each) for each in patterns)]
    if not found:
        raise NetworkError(
            f"train: there is nothing to train\n  {len(every)} parameters, frozen = {patterns}\n"
            "  name fewer in frozen, or train a network with weights"
        )
    return found


def _read_limit(limit: Any) -> int | None:
    """Bytes that a step may take; None: any."""
    if limit is None:
        return None
    if isinstance(limit, (int, np.integer)) and not isinstance(limit, bool) and limit > 0:
        return int(limit)
    raise NetworkError(
        f"train: memory_limit is a number of bytes\n  memory_limit = {format_value(limit)}\n"
        "  e.g. memory_limit=2**30, or None"
    )


def first_not_finite(program: Program, inputs: Mapping[str, Array]) -> str:
    """Describe the first node of a program whose results are not finite for these inputs."""
    state = program.state()
    found: list[str] = []

    def watch(task: NodeTask) -> None:
        for name in task.node.outputs:
            value = state.values[program._slot[name]] if name else None
            if (
                not found
                and isinstance(value, np.ndarray)
                and value.dtype.kind == "f"
                and not np.isfinite(value).all()
            ):
                found.append(f"{task.node.label} is the first node that gives NaN or inf")

    program._idle.append(state)
    with suppress(NotFiniteError):
        program(inputs, watch)
    return found[0] if found else "no node before the loss gives NaN or inf"


__all__ = ["Trainer", "first_not_finite"]
