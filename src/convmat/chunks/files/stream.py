"""A file made of another, block by block, within a number of bytes.

    read block i+1   |   compute block i   |   write block i-1         three threads, one block each

The blocks and their order are fixed before anything is read; a manifest says which are done.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...errors import PlanError, cannot_write
from . import stores
from .manifest import Manifest, manifest_path, read_run

Array = npt.NDArray[Any]
Progress = Callable[[int, int, float], object]
"""Told blocks done, all blocks, and the seconds that are left."""


class Job(Protocol):
    """What is to be done to each block; it may be pickled and run elsewhere.

    `run`: what decides the result, in plain values: a manifest's first line. `count`: how many blocks there are.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    count: int
    run: dict[str, Any]

    @property
    def chunks(self) -> tuple[int, ...]:
        """The extents of the chunks that a Zarr result has."""

    def follow(self, before: dict[str, Any]) -> None:
        """Take the blocks of a run that is resumed, where they are all that differs from this one's."""

    def prepare(self, folder: Path) -> None:
        """Do what goes before all blocks; what that makes is kept in `folder`, and gone on with there."""

    def read(self, block: int) -> Array:
        """What a block needs of the input."""

    def compute(self, block: int, x: Array, threads: int) -> Array:
        """The block."""

    def place(self, block: int) -> stores.Place:
        """Where it lies in the output."""


STEP = 0.1
"""Seconds after which who waits looks up."""


@dataclass(frozen=True)
class Done:
    """What a run took: blocks made and found done, seconds of reading, computing and writing (they overlap)."""

    blocks: int
    before: int
    seconds: float
    reading: float
    computing: float
    writing: float

    def as_dict(self) -> dict[str, float]:
        """The figures, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        found = f", {self.before} done before" if self.before else ""
        return (
            f"{self.blocks} block{'s' * (self.blocks != 1)} in {self.seconds:.1f} s{found}; side by side, "
            f"reading {self.reading:.1f} s, computing {self.computing:.1f} s, writing {self.writing:.1f} s"
        )


def make(
    job: Job, out: Path, threads: int, *, resume: bool = False, progress: Progress | None = None
) -> Done:
    """Write `out`, or what is missing of it. Raises PlanError; Ctrl-C leaves what is done to be resumed."""
    started = time.monotonic()
    with writing(job, out, resume=resume) as manifest:
        todo = [block for block in range(job.count) if block not in manifest.done]
        before = len(manifest.done)
        pipeline = Pipeline(job, todo, manifest)
        clock = time.monotonic()
        try:
            for block, x in pipeline.inputs():
                pipeline.compute(block, x, threads)
                del x
                if progress is not None:
                    made = len(manifest.done) - before
                    left = (time.monotonic() - clock) / made * (len(todo) - made) if made else 0.0
                    progress(before + made, job.count, left)
        finally:
            pipeline.close()
    seconds = time.monotonic() - started
    return Done(len(todo), before, seconds, pipeline.reading, pipeline.computing, pipeline.writing)


@contextmanager
def writing(job: Job, out: Path, *, resume: bool) -> Iterator[Manifest]:
    """The manifest of a run, held while its blocks are made; then the file is put in its place. Raises PlanError."""
    manifest = begin(job, out, resume=resume)
    try:
        job.prepare(stores.passes_path(out))
        yield manifest
        stores.finish(out)
        manifest.close()
    except OSError as error:
        raise cannot_write("files", out, error) from error
    finally:
        manifest.release()


def begin(job: Job, out: Path, *, resume: bool) -> Manifest:
    """The manifest of a new run with its empty file, or of the one that is resumed."""
    stores.require_kind(out)
    if resume:
        job.follow(read_run(out))
        manifest = Manifest.read(out, job.run)
    else:
        stores.require_room(out, job.shape, job.dtype)
        try:
            manifest = Manifest.start(out, job.run)
        except OSError as error:
            raise cannot_write("files", out, error) from error
    try:
        if not resume:
            stores.discard(out)
        if not manifest.done:
            stores.create(out, job.shape, job.dtype, job.chunks)
        elif not stores.unfinished_path(out).exists() and not (
            len(manifest.done) == job.count and out.exists()
        ):
            made = len(manifest.done)
            raise PlanError(
                f"files: what was written of {out} is gone\n  {made} block{'s' * (made != 1)} of it, and no "
                f"{stores.unfinished_path(out).name} is there\n  delete {manifest_path(out)} to begin anew"
            )
    except BaseException:
        try:
            if not resume:
                stores.discard(out)
                manifest.close()
        finally:
            manifest.release()
        raise
    return manifest


class Pipeline:
    """A thread that reads the next block and one that writes the last, around who computes."""

    def __init__(self, job: Job, todo: Sequence[int], manifest: Manifest) -> None:
        self.job, self.todo, self.manifest = job, todo, manifest
        self.reading = self.computing = self.writing = 0.0
        self._read: queue.SimpleQueue[tuple[int, Array | BaseException]] = queue.SimpleQueue()
        self._made: queue.SimpleQueue[tuple[int, Array] | None] = queue.SimpleQueue()
        # Two blocks of x in memory, one computed, one being read; and two of y, one computed, one being written.
        self._room, self._room_out = threading.Semaphore(2), threading.Semaphore(2)
        self._stopping = threading.Event()
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._reader, self._writer)]
        for thread in self._threads:
            thread.start()

    def inputs(self) -> Iterator[tuple[int, Array]]:
        """Every block with what it needs, in order."""
        for _ in self.todo:
            while not self._room_out.acquire(timeout=STEP):
                self._raise()
            block, x = self._next()
            if isinstance(x, BaseException):
                raise x
            yield block, x
            del x
            self._room.release()

    def compute(self, block: int, x: Array, threads: int) -> None:
        """Compute a block and hand it over to be written."""
        clock = time.monotonic()
        y = self.job.compute(block, x, threads)
        self.computing += time.monotonic() - clock
        self._made.put((block, y))

    def close(self) -> None:
        """Wait for what is being written, and end the threads. Raises what the writer raised."""
        self._stopping.set()
        self._room.release()
        self._made.put(None)
        for thread in self._threads:
            thread.join()
        self._raise()

    def _next(self) -> tuple[int, Array | BaseException]:
        """The next block read; waits in short steps, so that Ctrl-C and the writer's errors are met."""
        while True:
            self._raise()
            try:
                return self._read.get(timeout=STEP)
            except queue.Empty:
                continue

    def _raise(self) -> None:
        if self._failed:
            raise self._failed[0]

    def _reader(self) -> None:
        for block in self.todo:
            self._room.acquire()
            if self._stopping.is_set():
                return
            clock = time.monotonic()
            try:
                self._read.put((block, self.job.read(block)))
            except BaseException as error:  # handed to whoever computes
                self._read.put((block, error))
                return
            self.reading += time.monotonic() - clock

    def _writer(self) -> None:
        store: stores.ArrayStore | None = None
        while (item := self._made.get()) is not None:
            block, y = item
            clock = time.monotonic()
            try:
                store = store or stores.open_part(self.manifest.path)
                store.write(self.job.place(block), y)
                self.manifest.add(block)
            except OSError as error:
                self._failed.append(cannot_write("files", self.manifest.path, error))
                return
            except BaseException as error:
                self._failed.append(error)
                return
            self.writing += time.monotonic() - clock
            del item, y
            self._room_out.release()


__all__ = ["Done", "Job", "Progress", "begin", "make"]
