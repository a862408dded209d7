"""Files that cannot be written: what is said for each reason, and that what is suggested can be done."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
import threading
from pathlib import Path

import pytest

import convmat
from convmat.errors import PlanError, cannot_write
from convmat.whole_files import replace_when_whole

TEMPORARY = tempfile.gettempdir()


@pytest.mark.parametrize(
    ("reason", "fix"),
    [
        (errno.ENOSPC, "make room on the disk, or give a path on another"),
        (errno.EDQUOT, "make room on the disk, or give a path on another"),
        (errno.EACCES, f"give a path that can be written, e.g. {TEMPORARY}/y.npz"),
        (errno.EROFS, f"give a path that can be written, e.g. {TEMPORARY}/y.npz"),
        (errno.ENAMETOOLONG, f"give a shorter name, e.g. {TEMPORARY}/out.npz"),
    ],
)
def test_each_reason_has_its_remedy(tmp_path: Path, reason: int, fix: str) -> None:
    path = tmp_path / "y.npz"
    error = cannot_write("run", path, OSError(reason, os.strerror(reason)))
    assert str(error) == f"run: cannot write {path}\n  {os.strerror(reason)}\n  {fix}"


def test_what_is_suggested_can_be_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.npz").mkdir()
    tried = [tmp_path / "none/of/these/y.npz", tmp_path / "file/y.npz", tmp_path / "folder.npz"]
    for path in tried:
        with pytest.raises(OSError) as caught:
            path.write_bytes(b"")
        said = str(cannot_write("run", path, caught.value)).splitlines()[-1]
        made = re.search(r"mkdir -p (.+)$", said)
        if made:
            Path(made[1]).mkdir(parents=True)
            path.write_bytes(b"")
        else:
            Path(said.rpartition("e.g. ")[2]).write_bytes(b"")


def _interrupted(path: Path) -> None:
    with replace_when_whole(path, "run") as part:
        part.write_text("half")
        raise KeyboardInterrupt


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "y.npz"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        _interrupted(path)
    assert (path.read_text(), os.listdir(tmp_path)) == ("before", ["y.npz"])
    with replace_when_whole(path, "run") as part:
        part.write_text("whole")
    assert (path.read_text(), os.listdir(tmp_path)) == ("whole", ["y.npz"])
    with pytest.raises(PlanError) as error, replace_when_whole(tmp_path / "no/y", "run"):
        pass
    assert str(error.value) == (
        f"run: cannot write {tmp_path}/no/y\n  No such file or directory\n"
        f"  make the folder first, or give another: mkdir -p {tmp_path}/no"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX's")
def test_a_pipe_is_fed_and_stays_one(tmp_path: Path) -> None:
    pipe, heard = tmp_path / "choices.json", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()))
    reader.start()
    with replace_when_whole(pipe, "run") as part:
        part.write_text("all of it")
    reader.join()
    assert heard == ["all of it"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert os.listdir(tmp_path) == ["choices.json"]


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="the system has no device that is full")
def test_a_full_device_is_said_and_stays_one() -> None:
    with pytest.raises(PlanError) as error:
        convmat.export_choices("/dev/full")
    assert str(error.value) == (
        "export_choices: cannot write /dev/full\n  No space left on device\n"
        "  make room on the disk, or give a path on another"
    )
    assert Path("/dev/full").is_char_device()
