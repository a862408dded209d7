"""A process that makes jobs ready and takes samples when it is asked to: `python -m benchmarks.worker ...`

    {"do": "version", "peer"}                         -> {"version"} or {"missing"}
    {"do": "prepare", "peer", "job", "answer"}        -> {"seconds", "workspace", "predicted"}, and saves the answer,
                                                         or {"refused"}
    {"do": "sample", "peer", "job", "warm", "calls"}  -> {"seconds", "switched"}
    {"do": "forget"}                                  -> {}
    {"do": "peaks", "threads", "file"}                -> the fields of `convmat.engine.Peaks`

Whatever a peer raises is answered with {"failed"}. A sample is `warm` calls untimed, then `calls` in a row; its seconds
are those of one call. All peers of this process work in one thread's turn, on the CPUs that it is pinned to.
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.jobs import Array
from benchmarks.netjobs import AnyJob, NetJob, given, made
from convmat.planner.sampling import take_sample

Message = dict[str, Any]

_PR_SET_PDEATHSIG = 1
LONGEST_REASON = 600


class Answering:
    """What answers messages: a method `do_...` for each; what that raises is answered, too."""

    def answer(self, message: Message) -> Message:
        """Do what a message asks."""
        try:
            do: Any = getattr(self, f"do_{message.pop('do')}")
            done: Message = do(**message)
        except Exception as error:
            traceback.print_exc()
            return {"failed": reason(error)}
        return done


class Worker(Answering):
    """The jobs that are ready in this process: those of one job at a time, for any number of peers."""

    def __init__(self) -> None:
        self._job: AnyJob | None = None
        self._operands: tuple[Array, ...] | None = None
        self._ready: dict[str, peers.Prepared] = {}

    def do_version(self, peer: str) -> Message:
        """The version of a peer's library, or why it is missing."""
        try:
            return {"version": peers.peer(peer).version()}
        except ImportError as error:
            return {"missing": reason(error)}

    def do_prepare(self, peer: str, job: Message, answer: str) -> Message:
        """Make a job ready, save the peer's answer, and time a second call, roughly."""
        try:
            ready = self._prepared(peer, made(job))
        except peers.RefusedError as refusal:
            return {"refused": str(refusal)}
        np.save(answer, np.ascontiguousarray(ready.answer()))
        start = time.perf_counter()
        ready.call()
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "workspace": ready.workspace, "predicted": ready.predicted}

    def do_sample(self, peer: str, job: Message, warm: int, calls: int) -> Message:
        """Seconds of one call, in a row of them, and whether the process often lost its CPU meanwhile."""
        call = self._prepared(peer, made(job)).call
        for _ in range(warm):
            call()
        return dataclasses.asdict(take_sample(call, calls))

    def do_forget(self) -> Message:
        """Let go of the operands and of all that was made ready."""
        self._job, self._operands, self._ready = None, None, {}
        gc.collect()
        return {}

    def do_peaks(self, threads: int, file: str) -> Message:
        """What the hardware has, measured now."""
        from convmat import engine

        engine.use_rates_file(Path(file))
        engine.remeasure()
        return engine.peaks(threads).figures()

    def _prepared(self, name: str, job: AnyJob) -> peers.Prepared:
        if job != self._job or self._operands is None:
            self.do_forget()
            self._job, self._operands = job, given(job)
        if name not in self._ready:
            peer, operands = peers.peer(name), self._operands
            self._ready[name] = (
                peer.load(job, *operands) if isinstance(job, NetJob) else peer.prepare(job, *operands)
            )
        return self._ready[name]


def reason(error: BaseException) -> str:
    """An error in a line or a few.

    >>> reason(ValueError("no such layer"))
    'ValueError: no such layer'
    """
    text = f"{type(error).__name__}: {error}".strip()
    return text if len(text) <= LONGEST_REASON else text[:LONGEST_REASON] + " ..."


def serve(connection: Connection, worker: Answering) -> None:
    """Answer messages until the other end is closed."""
    while True:
        try:
            message = json.loads(connection.recv_bytes())
        except EOFError:
            return
        connection.send_bytes(json.dumps(worker.answer(message)).encode())


def main(arguments: list[str], make: Callable[[], Answering] = Worker) -> None:
    """`FD PARENT CPU[,CPU...]`: an inherited pipe, the process that must live, the CPUs to stay on ("" for any)."""
    descriptor, parent, cpus = int(arguments[0]), int(arguments[1]), arguments[2]
    # Ctrl-C is the parent's to handle; should it be killed, or be gone already, so are we, even while stopped.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if cpus:
            os.sched_setaffinity(0, [int(cpu) for cpu in cpus.split(",")])
    if os.getppid() != parent:
        return
    # Collecting garbage amid a sample would be counted as the peer's work.
    gc.disable()
    serve(Connection(descriptor), make())


if __name__ == "__main__":
    main(sys.argv[1:])
