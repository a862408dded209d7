"""Processes that answer, die, hang, take turns and go. A small program plays the worker."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.crew import Crew, DiedError

PLAY = """
import json, os, sys, time
from multiprocessing.connection import Connection
pipe = Connection(int(sys.argv[1]))
asked = 0
while True:
    try:
        message = json.loads(pipe.recv_bytes())
    except EOFError:
        break
    asked += 1
    if message["do"] == "die":
        print("nobody told me", flush=True)
        os._exit(3)
    if message["do"] == "crash":
        os.kill(os.getpid(), 11)
    if message["do"] == "hang":
        time.sleep(60)
    facts = {"pid": os.getpid(), "asked": asked, "parent": int(sys.argv[2]), "cpus": sys.argv[3],
             "omp": os.environ["OMP_NUM_THREADS"]}
    pipe.send_bytes(json.dumps(facts).encode())
"""


@pytest.fixture
def crew(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Crew]:
    script = tmp_path / "play.py"
    script.write_text(PLAY)
    with Crew(getattr(request, "param", 1), [1, 0], tmp_path, (sys.executable, str(script))) as crew:
        yield crew


two_threads = pytest.mark.parametrize("crew", [2], indirect=True)


def state(pid: int) -> str:
    """T stopped, S sleeping, R running; Z dead but not yet waited for, "" gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_it_is_told_what_it_needs(crew: Crew) -> None:
    answer = crew.ask("all", {"do": "tell"})
    assert (answer["parent"], answer["cpus"], answer["omp"]) == (os.getpid(), "1,0", "1")


def test_one_thread_one_process(crew: Crew) -> None:
    pids = {crew.ask(crew.group(library), {"do": "tell"})["pid"] for library in ("torch", "convmat", "torch")}
    assert len(pids) == 1


@linux
@two_threads
def test_several_threads_a_process_each_and_the_others_are_stopped(crew: Crew) -> None:
    pids = [crew.ask(crew.group(library), {"do": "tell"})["pid"] for library in ("torch", "convmat")]
    assert pids[0] != pids[1]
    assert [state(pid) for pid in pids] == ["T", "T"]
    assert crew.ask("torch", {"do": "tell"})["asked"] == 2
    assert state(pids[0]) == "T"


def test_who_dies_is_named_with_its_last_words_and_starts_anew(crew: Crew) -> None:
    first = crew.ask("all", {"do": "tell"})["pid"]
    with pytest.raises(DiedError) as died:
        crew.ask("all", {"do": "die"})
    assert str(died.value) == "its process ended with exit code 3: nobody told me"
    with pytest.raises(DiedError) as died:
        crew.ask("all", {"do": "crash"})
    assert str(died.value).startswith("its process was ended by SIGSEGV")
    again = crew.ask("all", {"do": "tell"})
    assert (again["asked"], again["pid"] != first) == (1, True)


@linux
def test_who_hangs_is_ended(crew: Crew) -> None:
    pid = crew.ask("all", {"do": "tell"})["pid"]
    start = time.monotonic()
    with pytest.raises(DiedError) as died:
        crew.ask("all", {"do": "hang"}, patience=0.2)
    assert str(died.value) == "its process gave no answer in 0.2 seconds"
    assert time.monotonic() - start < 20
    assert state(pid) == ""


@linux
@two_threads
def test_at_the_end_all_are_gone_stopped_ones_too(crew: Crew) -> None:
    pids = [crew.ask(group, {"do": "tell"})["pid"] for group in ("a", "b", "c")]
    crew.close()
    assert [state(pid) for pid in pids] == ["", "", ""]


@two_threads
def test_everyone_is_told_and_the_dead_are_no_matter(crew: Crew) -> None:
    crew.ask("a", {"do": "tell"})
    pid = crew.ask("b", {"do": "tell"})["pid"]
    os.kill(pid, signal.SIGKILL)
    crew.tell_all({"do": "tell"})
    assert crew.ask("a", {"do": "tell"})["asked"] == 3
    assert crew.ask("b", {"do": "tell"})["asked"] == 1
