"""A crew: the workers of a Dask cluster that compute the shards of a training step.

    here       cuts the batch, adds gradients in the shards' order, changes the parameters, writes checkpoints
    a worker   keeps a shard's gradients prepared; is sent parameters and shards, and gives gradients

All that a step needs goes out from here, so nothing is lost with a worker: its shards go to others. A worker that comes
later is used from the next step on. What a shard's result is does not depend on who computes it, so neither does a
step's; a worker whose version of convmat or of NumPy, or whose CPU, could give other bits is refused.
"""

from __future__ import annotations

import time
import uuid
import warnings
from asyncio import CancelledError as _AsyncCancelled
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import host, preloaded, threads
from ..errors import NetworkError, format_value
from ..network.graph import Graph, Spec, specs_of
from ..network.ops.gradients.losses import NotFiniteError
from ..network.preparing.programs import Setting
from ..train.recomputing import Sparing
from ..train.shards import CrewLostError, Shard, Sharded
from ..train.step import SEED
from .work import one_at_a_time, threads_here

Array = npt.NDArray[Any]

PATIENCE = 60.0
"""Seconds that a step waits for a worker where none is left."""

ATTEMPTS = 5
"""Times that a shard is handed out."""

KEPT = 2
"""Trainers whose shards a worker keeps prepared."""


@dataclass(frozen=True)
class Facts:
    """What a shard's bits depend on: versions, the kernels' source, the CPU; and how that is called."""

    convmat: str
    kernels: str
    numpy: str
    cpu: str
    model: str


def facts() -> Facts:
    """Facts of this process."""
    from .. import __version__

    cpu = host()
    return Facts(__version__, preloaded.version(), np.__version__, cpu.key, cpu.model)


def describe_mismatch(name: str, found: Facts | BaseException, ours: Facts, cpu: Facts) -> str:
    """Why a worker cannot be used, in two lines, or "": its versions must be ours, its CPU that of the others."""
    if isinstance(found, BaseException):
        return f"it cannot say what it is\n  {name}: {type(found).__name__}: {found}"
    for what in ("convmat", "numpy"):
        if getattr(found, what) != getattr(ours, what):
            theirs, here = getattr(found, what), getattr(ours, what)
            return f"it has another version of {what}\n  {name} has {theirs}, here is {here}"
    if found.kernels != ours.kernels:
        return (
            f"its convmat {found.convmat} has another source\n  {name} has {found.kernels[:8]}, "
            f"here is {ours.kernels[:8]}"
        )
    if found.cpu != cpu.cpu:
        return f"its CPU is of another kind, whose bits are others\n  {name} has {found.model}, the others {cpu.model}"
    return ""


# -- on a worker -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShardWork:
    """What is prepared to compute shards: a name of its own, the graph, how it is prepared, what is held for it."""

    name: str
    graph: Graph
    setting: Setting
    held: dict[str, Spec]
    seen: frozenset[str]
    limit: int | None
    fixed: int


_prepared: OrderedDict[str, Sparing] = OrderedDict()


def shard(work: ShardWork, held: Mapping[str, Array], part: Shard) -> dict[str, Any] | None:
    """The outputs of a shard; None where its loss is no number."""
    with one_at_a_time(), threads(threads_here()):
        programs = _prepared.pop(work.name, None)
        if programs is None:
            own = {name: np.empty(spec.shape, spec.dtype) for name, spec in work.held.items()}
            setting = replace(work.setting, held=own)
            programs = Sparing(work.graph, setting, work.seen, work.limit, work.fixed)
        _prepared[work.name] = programs
        while len(_prepared) > KEPT:
            _prepared.popitem(last=False)
        for name, array in programs.setting.held.items():
            array[...] = held.get(name, part.drawn)
        try:
            return programs(part.inputs)
        except NotFiniteError:
            return None


# -- here --------------------------------------------------------------------------------------------------------------


class DaskCrew:
    """The workers of a client, for the shards of one trainer. Raises NetworkError where it has none of use."""

    def __init__(self, client: Any, sharded: Sharded) -> None:
        import distributed

        if not isinstance(client, distributed.Client) or client.asynchronous:
            raise NetworkError(
                f"train: client is a dask.distributed.Client that waits\n  client = {type(client).__name__}\n"
                "  client = dask.distributed.Client('tcp://..') is one"
            )
        self.client = client
        part, name = sharded.part, uuid.uuid4().hex
        setting, held = replace(part.setting, held={}), specs_of(sharded.held)
        self.work = ShardWork(name, part.graph, setting, held, part.seen, part.limit, part.fixed)
        self._ours = facts()
        self._cpu: Facts | None = None
        self._known: dict[str, bool] = {}
        self._sent: dict[str, Any] = {}
        self.workers(first=True)

    def workers(self, first: bool = False) -> dict[str, int]:
        """The addresses of those that can be used, and how many threads each has; waits for one where there is none."""
        until = time.monotonic() + (0 if first else PATIENCE)
        while True:
            there = self.list_workers()
            self._learn([name for name in there if name not in self._known], first)
            found = {name: count for name, count in there.items() if self._known.get(name)}
            if found:
                return found
            if time.monotonic() >= until:
                raise (NetworkError if first else CrewLostError)(
                    f"train: the cluster has no workers\n  {len(there)} at {self.client.scheduler.address}"
                    f"{'' if first else f', waited {PATIENCE:.0f} s'}\n  start some: dask worker tcp://.."
                )
            time.sleep(0.2)

    def list_workers(self) -> dict[str, int]:
        """All workers that the scheduler knows now. Raises CrewLostError where there is no scheduler."""
        until = time.monotonic() + PATIENCE
        while self.client.status == "connecting" and time.monotonic() < until:
            time.sleep(0.1)
        try:
            if self.client.status == "running":
                return dict(self.client.nthreads())
            why = f"its client is {self.client.status}"
        except (OSError, TimeoutError, ValueError, CancelledError, _AsyncCancelled) as error:
            why = f"{type(error).__name__}: {error}"
        raise CrewLostError(f"train: the scheduler is lost\n  {why}")

    def _learn(self, new: Sequence[str], first: bool) -> None:
        """Ask new workers what they are; one that cannot be used ends a fit that begins, and is left out later."""
        if not new:
            return
        try:
            said = self.client.run(facts, workers=list(new), on_error="return")
        except (OSError, TimeoutError, ValueError, KeyError):  # gone meanwhile
            return
        for name in sorted(said):
            found = said[name]
            if self._cpu is None and isinstance(found, Facts):
                self._cpu = found
                if found.cpu != self._ours.cpu:
                    warnings.warn(
                        f"train: the workers' CPUs are {found.model}, this one is {self._ours.model}: a fit "
                        "here with as many shards may have other bits",
                        stacklevel=6,
                    )
            why = describe_mismatch(name, found, self._ours, self._cpu or self._ours)
            if why and first:
                raise NetworkError(
                    f"train: a worker cannot be used: {why}\n  install the same there, or leave it out"
                )
            if why:
                warnings.warn(f"train: a worker is left out: {why}", stacklevel=6)
            self._known[name] = not why

    def gradients(
        self, parts: Sequence[Shard], held: Mapping[str, Array]
    ) -> Iterator[dict[str, Array] | None]:
        """What each part gives, in their order: see `convmat.train.shards.Crew`."""
        held = {name: array for name, array in held.items() if name != SEED}
        step = _ShardStep(self, parts, held)
        if not parts:
            return
        step.hand_out(range(len(parts)))
        for at in range(len(parts)):
            yield step.result(at)

    def send_work(self, name: str) -> Any:
        """The work, where a worker has it."""
        if name not in self._sent:
            (self._sent[name],) = self.client.scatter([self.work], workers=[name], direct=True, hash=False)
        return self._sent[name]

    def forget(self, names: Sequence[str]) -> None:
        """Forget workers that are no more."""
        for name in names:
            self._known.pop(name, None)
            self._sent.pop(name, None)


class _ShardStep:
    """The shards of one step, on their way."""

    def __init__(self, crew: DaskCrew, parts: Sequence[Shard], held: dict[str, Array]) -> None:
        self.crew, self.parts, self.held = crew, parts, held
        self.where: list[str] = [""] * len(parts)
        self.futures: list[Any] = [None] * len(parts)
        self.times = [0] * len(parts)
        self.last = "the worker went away"

    def hand_out(self, numbers: Sequence[int]) -> None:
        """Send these shards to the workers that are there, more to those with more threads."""
        while True:
            workers = self.crew.workers()
            plan: dict[str, list[int]] = {name: [] for name in workers}
            for number in numbers:
                name = min(plan, key=lambda each: ((len(plan[each]) + 1) / workers[each], each))
                plan[name].append(number)
            plan = {name: given for name, given in plan.items() if given}
            for number in numbers:
                self.times[number] += 1
                if self.times[number] > ATTEMPTS:
                    raise CrewLostError(
                        f"train: the workers are lost while they compute a shard\n  shard {number}, handed out "
                        f"{ATTEMPTS} times; {self.last}\n"
                        "  a worker may have too little memory for it: more shards take less"
                    )
            try:
                return self._send(plan)
            except (OSError, TimeoutError, ValueError, KeyError, CancelledError, _AsyncCancelled):
                self.crew.forget(list(plan))  # one of them went away: look again who is there

    def _send(self, plan: Mapping[str, Sequence[int]]) -> None:
        client, names = self.crew.client, list(plan)
        (held,) = client.scatter(
            [self.held], workers=names, broadcast=len(names) > 1, direct=True, hash=False
        )
        for name, numbers in plan.items():
            work = self.crew.send_work(name)
            given = [self.parts[number] for number in numbers]
            given = client.scatter(given, workers=[name], direct=True, hash=False)
            for number, part in zip(numbers, given, strict=True):
                self.where[number] = name
                self.futures[number] = client.submit(shard, work, held, part, workers=[name], pure=False)

    def result(self, at: int) -> dict[str, Array] | None:
        """What a shard gives; where its worker is lost, what another one does."""
        from distributed import KilledWorker

        seconds = 1.0
        while True:
            broken = False
            try:
                found: dict[str, Array] | None = self.futures[at].result(timeout=seconds)
                self.futures[at] = None
                return found
            except TimeoutError:
                seconds = min(2 * seconds, 30)
            except (CancelledError, _AsyncCancelled, OSError, KilledWorker) as error:
                self.last, broken = f"{type(error).__name__}: {format_value(str(error))}", True
            there = self.crew.list_workers()
            left = range(at, len(self.parts))
            lost = [number for number in left if self.where[number] not in there or (broken and number == at)]
            if lost:
                self.crew.forget([self.where[number] for number in lost])
                self.hand_out(lost)


__all__ = ["DaskCrew", "Facts", "describe_mismatch", "facts", "shard"]
