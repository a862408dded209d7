"""The processes of a run, seen from the one that leads it: started when first needed, one at work at a time.

    one thread         one process for all libraries, pinned to a core
    several threads    a process for each library, each pinned to the same cores

With several threads a process that is not asked is stopped (SIGSTOP), threads that spin for work included: thread
pools that live side by side spoil each other's times. A process that dies is started again at the next question.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks import ROOT

Message = dict[str, Any]

PATIENCE = 300.0
"""Seconds after which a process that gives no answer is ended."""

TOGETHER = "all"


class DiedError(Exception):
    """A process ended, or was ended, instead of answering; the text says how."""


@dataclass
class _Process:
    process: subprocess.Popen[bytes]
    pipe: Connection
    log: Path


class Crew:
    """Processes by group: a library's name, or one for all of them.

    `folder` takes their output; `command` is what they run, given the pipe's number, our own process's and the CPUs.
    """

    def __init__(
        self,
        threads: int,
        cpus: Sequence[int],
        folder: Path,
        command: Sequence[str] = (sys.executable, "-m", "benchmarks.worker"),
    ) -> None:
        self.threads = threads
        self._cpus = ",".join(map(str, cpus))
        self._folder = folder
        self._command = command
        self._processes: dict[str, _Process] = {}
        self._taking_turns = threads > 1

    def group(self, library: str) -> str:
        """The process that a library's peers work in."""
        return library if self._taking_turns else TOGETHER

    @property
    def warm_calls(self) -> int:
        """Calls before the clock starts: after another process's turn, threads must wake and caches fill again."""
        return 2 if self._taking_turns else 1

    def ask(self, group: str, message: Message, patience: float = PATIENCE) -> Message:
        """One message, one answer. Raises DiedError if none comes."""
        worker = self._processes.get(group) or self._start(group)
        if self._taking_turns:
            worker.process.send_signal(signal.SIGCONT)
        try:
            worker.pipe.send_bytes(json.dumps(message).encode())
            if not worker.pipe.poll(patience):
                raise DiedError(self._end(group, f"gave no answer in {patience:g} seconds"))
            answer: Message = json.loads(worker.pipe.recv_bytes())
        except (EOFError, OSError):
            raise DiedError(self._end(group, None)) from None
        if self._taking_turns:
            worker.process.send_signal(signal.SIGSTOP)
            # Until every thread stands still, or the process is gone, which the next question will show.
            os.waitid(os.P_PID, worker.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return answer

    def tell_all(self, message: Message) -> None:
        """Ask every process there is; those that die are started again when they are needed."""
        for group in list(self._processes):
            try:
                self.ask(group, dict(message))
            except DiedError:
                continue

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        for group in list(self._processes):
            self._end(group, "was ended")

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start(self, group: str) -> _Process:
        ours, theirs = Pipe()
        log = self._folder / f"{group}-{self.threads}-{time.monotonic_ns()}.log"
        # As many threads as the run has, for libraries that are told by their environment alone.
        counts = dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(self.threads)
        )
        paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, **counts, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*self._command, str(theirs.fileno()), str(os.getpid()), self._cpus],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=[theirs.fileno()],
                env=environment, start_new_session=True,
            )  # fmt: skip
        theirs.close()
        self._processes[group] = _Process(process, ours, log)
        return self._processes[group]

    def _end(self, group: str, how: str | None) -> str:
        """Make sure that a process is gone; a line about how it went."""
        worker = self._processes.pop(group)
        if how is not None:
            worker.process.kill()
        worker.pipe.close()
        try:
            code = worker.process.wait(10)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            code = worker.process.wait()
        if how is None:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        said = worker.log.read_text(errors="replace").strip().splitlines()[-1:]
        return f"its process {how}" + (f": {said[0][:200]}" if said and code != -signal.SIGKILL else "")
