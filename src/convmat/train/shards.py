"""Shards: a step whose batch is cut in parts, each with gradients of its own, added in the parts' order.

    d loss / d w  =  sum over the shards s of  share_s * d loss_s / d w          share_s = counted_s / counted

A normalisation measures its shard; its running values become the shards' mean. How many shards there are is part of
what is computed, as the size of a batch is; who computes a shard is not: its bits are the same with any number of
threads, in this process or in another one on such a CPU, so those of a step are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import NetworkError, format_value
from ..network.graph import Array, specs_of
from ..network.ops.gradients.losses import NotFiniteError
from ..network.preparing.program import Program
from ..network.preparing.programs import Programs, Setting
from .losses import TARGET
from .recomputing import Sparing
from .step import SEED, SHARE, shard_graphs

if TYPE_CHECKING:
    from .trainer import Trainer


@dataclass(frozen=True)
class Shard:
    """A shard of one batch: its inputs by name, the share of the loss that it counts for, and what it draws by."""

    inputs: dict[str, Array]
    share: float
    drawn: tuple[int, int]


class CrewLostError(NetworkError):
    """Raised where nobody is left to compute shards; the trainer is as it was before the step."""


class Crew(Protocol):
    """Who computes the shards of a step elsewhere."""

    def gradients(
        self, parts: Sequence[Shard], held: Mapping[str, Array]
    ) -> Iterable[dict[str, Array] | None]:
        """What each part gives for the parameters held, in the order of the parts.

        None where its loss is no number. Raises CrewLostError.
        """


def require_shards(shards: Any) -> None:
    """Require a number of shards to be a whole number from 1 on."""
    if isinstance(shards, bool) or not isinstance(shards, (int, np.integer)) or shards < 1:
        raise NetworkError(
            f"train: shards is a number of parts of each batch\n  shards = {format_value(shards)}\n  e.g. shards=4"
        )


class Sharded:
    """The steps of a trainer in parts. One call at a time."""

    def __init__(self, trainer: Trainer, setting: Setting, limit: int | None) -> None:
        made = trainer.made
        self.trainer = trainer
        self.graphs = graphs = shard_graphs(
            trainer.source.graph, trainer.loss, trainer.optimiser, made, trainer.rules
        )
        self.options = replace(setting.options, deterministic=True)
        held = {name: trainer.held[name] for name in made.parameters}
        if graphs.drawn:
            held[SEED] = trainer.held[SEED]
        self.held = held
        fixed = sum(array.nbytes for array in trainer.held.values())
        fixed += 2 * sum(total.nbytes for total in graphs.totals.values())  # and a part's own gradients
        setting_of_parts = replace(setting, options=self.options, held=held)
        self.part = Sparing(graphs.part, setting_of_parts, graphs.seen, limit, fixed)
        kept = replace(setting, options=self.options, held={**trainer.held, **graphs.totals})
        self._add = Programs(graphs.add, replace(kept, held=graphs.totals))
        self._update = Programs(graphs.update, kept)
        self._gather = None if graphs.gather is None else Programs(graphs.gather, kept)

    def parts(self, inputs: Mapping[str, Array], shards: int) -> list[Shard]:
        """The shards of a batch, as equal as they can be; none without an example."""
        trainer, first = self.trainer, next(iter(inputs.values()))
        cuts = [len(first) * each // shards for each in range(shards + 1)]
        places = [slice(lo, hi) for lo, hi in pairwise(cuts) if lo < hi]
        found = [
            {name: np.ascontiguousarray(array[place]) for name, array in inputs.items()} for place in places
        ]
        counted = [
            trainer.loss.count_examples(each[TARGET], place.stop - place.start)
            for each, place in zip(found, places, strict=True)
        ]
        total = sum(counted) or 1.0
        number = trainer.batches * shards
        return [
            Shard(each, count / total, (trainer.seed, number + at))
            for at, (each, count) in enumerate(zip(found, counted, strict=True))
        ]

    def step(
        self, inputs: Mapping[str, Array], shards: int, last: bool, crew: Crew | None
    ) -> tuple[float, int]:
        """Learn from a batch, or add up its gradients where more batches come before the change: its loss, and how many
        were right. Nothing has changed where it raises.
        """
        built, graphs = self.trainer.made.built, self.graphs
        parts = self.parts(inputs, shards)
        loss, right = 0.0, 0
        try:
            found = self.compute_here(parts) if crew is None else crew.gradients(parts, self.held)
            for part, each in zip(parts, found, strict=True):
                given = self.of_part(part) if each is None else each
                share = np.array(part.share, given[built.loss].dtype)
                adds = {name: given[name] for name in graphs.adds.values()}
                self._add({**adds, SHARE: share})
                loss += part.share * float(given[built.loss])
                right += int(given[built.counts["right"]]) if "right" in built.counts else 0
        except BaseException:
            for total in graphs.totals.values():
                total[...] = 0
            raise
        if SEED in self.held:
            self.held[SEED][...] = parts[-1].drawn
        (self._update if last or self._gather is None else self._gather)({})
        return loss, right

    def compute_here(self, parts: Sequence[Shard]) -> Iterable[dict[str, Array]]:
        """What each part gives, computed in this process."""
        return map(self.of_part, parts)

    def of_part(self, part: Shard) -> dict[str, Any]:
        """The outputs of a part. Raises NetworkError where its loss is no number."""
        if SEED in self.held:
            self.held[SEED][...] = part.drawn
        program = self.program(part.inputs)
        try:
            return program(part.inputs)
        except NotFiniteError as error:
            raise self.trainer.not_finite(program, part.inputs, error) from None

    def program(self, inputs: Mapping[str, Array]) -> Program:
        """What runs a part with such inputs."""
        return self.part.program(specs_of(inputs))


__all__ = ["Crew", "CrewLostError", "Shard", "Sharded", "require_shards"]
