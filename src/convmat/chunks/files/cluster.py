"""The blocks of a file on a Dask cluster: workers read, compute and write them; who started it keeps the manifest.

Every worker must see input and output under the same paths, and run the same version of convmat.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from ...engine import host, preloaded
from ...errors import PlanError
from ..work import threads_here
from . import stores
from .stream import Done, Job, Progress, writing

WAITING = 2
"""Blocks that are handed to a thread of a worker ahead of time."""

TRIES = 4
"""Times that a block may be lost, with whoever was to make it."""

PATIENCE = 60
"""Seconds in which a worker must come where all are lost."""


def make_on(
    scheduler: str, job: Job, out: Path, *, resume: bool = False, progress: Progress | None = None
) -> Done:
    """Write `out` by the workers of a scheduler, e.g. tcp://10.0.0.1:8786, in whatever folders. Raises PlanError."""
    out = out.absolute()
    with client_of(scheduler) as client:
        require_alike(client.run(worker_facts))
        started = time.monotonic()
        with writing(job, out, resume=resume) as manifest:
            before, todo = len(manifest.done), [n for n in range(job.count) if n not in manifest.done]
            clock = time.monotonic()
            for block in _blocks(client, job, out, todo):
                manifest.add(block)
                if progress is not None:
                    made = len(manifest.done) - before
                    left = (time.monotonic() - clock) / made * (len(todo) - made)
                    progress(before + made, job.count, left)
    seconds = time.monotonic() - started
    return Done(len(todo), before, seconds, 0.0, seconds, 0.0)


def _blocks(client: Any, job: Job, out: Path, todo: Sequence[int]) -> Iterator[int]:
    """The numbers of blocks as workers finish them; what is lost with a worker is made again. Raises PlanError."""
    from distributed import as_completed

    waiting, tries, blocks = deque(todo), Counter[int](), dict[str, int]()
    shared = client.scatter(job, broadcast=True)
    most = WAITING * max(sum(client.nthreads().values()), 1)
    running = as_completed()

    def hand_out() -> None:
        block = waiting.popleft()
        future = client.submit(one_block, shared, str(out), block, pure=False)
        blocks[future.key] = block
        running.add(future)

    for _ in range(min(most, len(waiting))):
        hand_out()
    for finished in running:
        block = blocks.pop(finished.key)
        lost = _loss(finished)
        if lost is None:
            yield block
        else:
            tries[block] += 1
            shared = _share_again(client, job, block, tries[block], lost)
            waiting.appendleft(block)
        if waiting:
            hand_out()


def _loss(finished: Any) -> Exception | None:
    """Why a block is lost, where it is, with its worker or the scheduler. Raises what the block itself raised."""
    from distributed import KilledWorker

    try:
        finished.result()
    except (CancelledError, KilledWorker) as error:
        return error
    return None


def _share_again(client: Any, job: Job, block: int, tries: int, lost: Exception) -> Any:
    """Share the job, which may be lost with a block, among the workers that are left, or come.

    Raises PlanError where none, or no scheduler, is left.
    """
    said = " ".join(str(lost).split())[:200]
    try:
        if tries < TRIES and getattr(lost, "reason", None) != "scheduler-connection-lost":
            client.wait_for_workers(1, timeout=PATIENCE)
            return client.scatter(job, broadcast=True)
    except (OSError, TimeoutError) as error:
        said = " ".join(str(error).split())[:200]
    raise PlanError(
        f"files: the scheduler or its workers were lost\n  at block {block}, {tries} time{'s' * (tries != 1)}: {said}\n"
        f"  go on with what is done, here or on other workers: --resume"
    )


def client_of(scheduler: str) -> Any:
    """A client of the scheduler at an address. Raises PlanError."""
    from distributed import Client

    try:
        return Client(scheduler, timeout="10s")
    except (OSError, ValueError) as error:
        raise PlanError(
            f"files: there is no scheduler at {scheduler}\n  {' '.join(str(error).split())[:200]}\n"
            f"  start one, `dask scheduler`, and workers, `dask worker {scheduler}`"
        ) from None


def worker_facts() -> tuple[str, str, bool]:
    """What a worker is: its version of convmat, its CPU, and whether that runs compiled kernels."""
    cpu = host()
    return preloaded.version(), cpu.model, bool(cpu.fma)


def require_alike(workers: dict[str, tuple[str, str, bool]]) -> None:
    """Raise PlanError for workers of another version, or whose CPU runs no compiled kernels where ours does."""
    if not workers:
        raise PlanError(
            "files: the scheduler has no workers\n  0 workers\n  start some: dask worker tcp://.."
        )
    ours = worker_facts()
    for name, (version, cpu, compiled) in sorted(workers.items()):
        if version != ours[0]:
            raise PlanError(
                f"files: a worker has another version of convmat\n  {name} has {version}, here is {ours[0]}\n"
                f"  install the same on all workers"
            )
        if compiled != ours[2]:
            raise PlanError(
                f"files: a worker's CPU does not give the bits of this one\n"
                f"  {name}: {cpu}, compiled kernels: {compiled};  here: {ours[1]}, {ours[2]}\n"
                f"  leave that worker out"
            )


def one_block(job: Job, out: str, block: int) -> int:
    """Read, compute and write a block; its number."""
    y = job.compute(block, job.read(block), threads_here())
    stores.open_part(Path(out)).write(job.place(block), y)
    return block


__all__ = ["client_of", "make_on"]
