"""fit: many steps, with what came of them in a table, on the screen and in files.

The order of the examples follows from seed and epoch, what is drawn for a batch from its number too: so a fit that goes
on from a checkpoint takes the same steps as one that never stopped.
"""

from __future__ import annotations

import csv
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import NetworkError, cannot_write
from ..network.graph import Array
from ..network.ops.gradients.losses import NotFiniteError
from .data import Augment, Examples
from .shards import Crew, CrewLostError

if TYPE_CHECKING:
    from .trainer import Trainer


@dataclass(frozen=True)
class Epoch:
    """What came of one time through the examples: the mean loss, and the share that was right, of those learned from
    and of those judged by (NaN where there are none, or where nothing can be right); and the seconds that it took.
    """

    epoch: int
    steps: int
    loss: float
    accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float


@dataclass(frozen=True)
class Progress:
    """How far a fit is, told after each batch."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    examples: int
    loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Course:
    """What is learned from and how: see `Trainer.fit`."""

    examples: Examples
    judged: Examples | None
    batch: int
    augment: Augment | None
    seed: int
    checkpoint: Path | None
    history: Path | None
    progress: Callable[[Progress], object] | None
    shards: int | None = None
    crew: Crew | None = None
    each_epoch: Callable[[Epoch], object] | None = None


def run(trainer: Trainer, course: Course, last: int) -> list[Epoch]:
    """Take steps until the epoch `last`; write a checkpoint after each epoch, and when Ctrl-C ends it."""
    found: list[Epoch] = []
    saved = trainer.steps
    with interruptible() as stopped:
        while trainer.epoch < last:
            try:
                made = _epoch(trainer, course, last, stopped)
            except CrewLostError as error:
                raise _describe_lost_crew(trainer, course, error) from error
            except NotFiniteError as error:
                raise _where(course, saved, error) from None
            if made is None:
                if course.checkpoint is not None:
                    trainer.save(course.checkpoint)
                raise KeyboardInterrupt
            found.append(made)
            if course.checkpoint is not None:
                trainer.save(course.checkpoint)
                saved = trainer.steps
            if course.history is not None:
                _append(course.history, made)
            if course.each_epoch is not None:
                course.each_epoch(made)
    return found


def _where(course: Course, saved: int, error: NotFiniteError) -> NotFiniteError:
    """The error, with the checkpoint that was written before it, and how many steps that has seen."""
    if course.checkpoint is None or not course.checkpoint.exists():
        return error
    return NotFiniteError(f"{error}\n  {course.checkpoint} is from before it, after {saved} steps")


def _describe_lost_crew(trainer: Trainer, course: Course, error: CrewLostError) -> CrewLostError:
    """The error, with how the fit goes on: from the checkpoint that is written now, if one is asked for."""
    on = "fit of this trainer with another client goes on from here"
    if course.checkpoint is not None:
        trainer.save(course.checkpoint)
        on += f", and a trainer that resumes {course.checkpoint}"
    return CrewLostError(f"{error}\n  {trainer.steps} steps are done: {on}")


def _epoch(trainer: Trainer, course: Course, last: int, stopped: threading.Event) -> Epoch | None:
    """One time through the examples, from the batch on that is next; None where it was stopped."""
    begun, here = time.perf_counter(), trainer.position
    size, of = course.batch, len(course.examples)
    if here.batch and here.size and (here.size, here.of) != (size, of):
        raise NetworkError(
            f"train: the epoch was begun with other batches\n  {here.batch} of {here.size} of {here.of:,} examples are "
            f"done; now they are of {size} of {of:,}\n  go on with the same examples and batch={here.size}"
        )
    here.size, here.of = size, of
    count = -(-of // size)
    for x, target in batches(course, trainer.epoch, here.batch):
        if stopped.is_set():
            return None
        loss = trainer.step(x, target, shards=course.shards, crew=course.crew)
        here.batch += 1
        here.seen += len(x)
        here.loss += loss * trainer.weight
        here.weight += trainer.weight
        here.right += trainer.right
        here.counted += trainer.counted
        if course.progress is not None:
            seconds = time.perf_counter() - begun
            course.progress(
                Progress(
                    trainer.epoch, last, here.batch, count, here.seen, divide(here.loss, here.weight),
                    divide(here.right, here.counted), seconds,
                )
            )  # fmt: skip
    seconds = time.perf_counter() - begun
    test = trainer.evaluate(course.judged, course.batch) if course.judged is not None else (np.nan, np.nan)
    trainer.epoch += 1
    loss, accuracy = divide(here.loss, here.weight), divide(here.right, here.counted)
    made = Epoch(trainer.epoch, trainer.steps, loss, accuracy, *test, seconds)
    trainer.position = Position()
    return made


@dataclass
class Position:
    """How far an epoch is: batches that are done, their examples, the sum of their losses and of what these count for,
    targets that were right and that could be; examples a batch, and of the epoch.
    """

    batch: int = 0
    seen: int = 0
    loss: float = 0.0
    right: int = 0
    weight: float = 0.0
    counted: int = 0
    size: int = 0
    of: int = 0


def divide(total: float, count: float) -> float:
    """A mean, NaN of nothing."""
    return total / count if count else float("nan")


def batches(course: Course, epoch: int, first: int) -> Iterator[tuple[Array, Array]]:
    """The batches of an epoch from one on, each made while the one before it is learned from."""
    order = np.random.default_rng([course.seed, epoch]).permutation(len(course.examples))

    def make(at: int) -> tuple[Array, Array]:
        chosen = order[at * course.batch : (at + 1) * course.batch]
        x, target = course.examples[chosen]
        if course.augment is not None:
            x = course.augment(x, np.random.default_rng([course.seed, epoch, at]))
        return np.ascontiguousarray(x), target

    count = -(-len(order) // course.batch)
    with ThreadPoolExecutor(1, "batches") as pool:
        waiting = pool.submit(make, first) if first < count else None
        for at in range(first, count):
            assert waiting is not None
            found = waiting.result()
            if at + 1 < count:
                waiting = pool.submit(make, at + 1)
            yield found


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Let Ctrl-C set an event meanwhile, so that a step is never left half done; a second one ends everything."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: Any) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def _append(path: Path, epoch: Epoch) -> None:
    """One more line of a table, its names above the first."""
    try:
        fresh = not path.exists() or not os.path.getsize(path)
        with path.open("a", newline="") as file:
            table = csv.writer(file)
            if fresh:
                table.writerow(each.name for each in fields(Epoch))
            table.writerow(astuple(epoch))
    except OSError as error:
        raise cannot_write("train", path, error) from error


__all__ = ["Course", "Epoch", "Position", "Progress", "batches", "divide", "interruptible", "run"]
