"""Files that cannot be written: what is said for each reason, and that what is suggested can be done."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from pathlib import Path

import pytest

from convmat.errors import cannot_write

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
