"""One benchmark at a time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchmarks import ROOT, lock
from convmat.errors import EngineError

HOLD = """
import sys
from pathlib import Path
from benchmarks import lock
with lock.alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    source = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_one_is_refused_with_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as process:
        with pytest.raises(EngineError) as caught, lock.alone(path):
            pass
        lines = str(caught.value).splitlines()
        assert lines[0] == "bench: another benchmark runs on this machine"
        assert lines[1].startswith(f"  process {process.pid}, since 2")
        assert lines[2] == "  two at once would measure each other: wait for it, e.g. with --wait"
        process.kill()
    with lock.alone(path):  # the lock of a process that was killed is free
        assert path.read_text().startswith(f"process {os.getpid()},")
    assert path.stat().st_mode & 0o777 == 0o666  # any user can hold it next, and say so


def test_one_can_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "POLL_SECONDS", 0.01)
    path, told = tmp_path / "lock", []
    with holder(path) as process:

        def tell(who: str) -> None:
            told.append(who)
            threading.Timer(0.05, process.kill).start()

        with lock.alone(path, wait=True, waiting=tell):
            pass
    assert len(told) == 1
    assert told[0].startswith(f"process {process.pid},")


def test_it_is_given_back_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(ZeroDivisionError), lock.alone(path):
        raise ZeroDivisionError
    with lock.alone(path):
        pass


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("keep me")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(EngineError) as caught, lock.alone(tmp_path / "lock"):
        pass
    assert str(caught.value).splitlines() == [
        "bench: the lock file cannot be opened",
        f"  {tmp_path / 'lock'}: {os.strerror(errno.ELOOP)}",
        "  TMPDIR names a folder that can be written to",
    ]
    assert (tmp_path / "precious").read_text() == "keep me"
