"""What of a file is written: a line for the run, then a line for every block that is done.

    {"run": digest of all that decides the result, "blocks": how many, ...}
    17
    18

A block's line is written once the block itself is. A process that is killed leaves at most a block without its line and
the beginning of a line: the block is made again, the beginning is cut off. Whoever writes holds the file's lock.
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from ...errors import PlanError, format_value
from ...processes import lock_file
from .stores import unfinished_path

FOLLOWED = ("cuts", "way", "tile", "ways")
"""What a run takes over from the one that it goes on with, where all else is the same."""


def manifest_path(path: Path) -> Path:
    """Where the manifest of a file lies while it is written."""
    return path.parent / f"{path.name}.manifest"


def read_whole_lines(file: Path) -> list[str]:
    """The lines of a file, none where there is no file; the beginning of one that was not written whole is cut off."""
    if not file.exists():
        return []
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(file, len(whole))
    return whole.decode().splitlines()


@dataclass
class Manifest:
    """The blocks of `path` that are done, of those that the run has; held by one process until it is released."""

    path: Path
    done: set[int]
    _file: FileIO

    @classmethod
    def start(cls, path: Path, run: dict[str, Any]) -> Manifest:
        """Begin the manifest of a run. Raises PlanError where another run is there."""
        file = manifest_path(path)
        try:
            made = cls(path, set(), FileIO(file, "xb"))
        except FileExistsError:
            hold(path).close()
            raise PlanError(
                f"files: a run that writes {path} did not finish\n  {file} is there\n"
                f"  go on with it, --resume; or delete that file to begin anew"
            ) from None
        if not lock_file(made._file.fileno()):  # somebody resumes what has just begun
            made.release()
            raise refuse_second(path)
        made._write(json.dumps(run))
        return made

    @classmethod
    def read(cls, path: Path, run: dict[str, Any]) -> Manifest:
        """Go on with a run. Raises PlanError where there is none, or it was another one."""
        file = manifest_path(path)
        if not file.exists():
            raise PlanError(
                f"files: there is nothing to resume at {path}\n"
                f"  no {file.name} and {unfinished_path(path).name} beside it\n"
                f"  omit --resume"
            )
        made = cls(path, set(), hold(path))
        try:
            lines = read_whole_lines(file)
            if not lines:  # killed before it was said what runs
                made._write(json.dumps(run))
            before = json.loads(lines[0]) if lines else run
            other = sorted(name for name in run if before.get(name) != run[name])
            other = [name for name in other if name not in FOLLOWED] or other
            if other:
                raise PlanError(
                    f"files: {path} was begun by another run\n"
                    + "".join(f"  {describe_change(name, before.get(name), run[name])}\n" for name in other)
                    + f"  say the same again; or delete {file} to begin anew"
                )
            made.done |= {int(line) for line in lines[1:]}
        except BaseException:
            made.release()
            raise
        return made

    def add(self, block: int) -> None:
        """Write down that a block is done."""
        self._write(str(block))
        self.done.add(block)

    def _write(self, line: str) -> None:
        data = line.encode() + b"\n"
        self._file.seek(0, os.SEEK_END)
        if self._file.write(data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def release(self) -> None:
        """Let another run have it."""
        self._file.close()

    def close(self) -> None:
        """Take the manifest away: the file is whole."""
        self.release()
        manifest_path(self.path).unlink(missing_ok=True)


def describe_change(name: str, then: Any, now: Any) -> str:
    """What a run says under a name, then and now: of several things by names, the first that is another.

    >>> describe_change("ways", [{"a": 1, "b": 2, "c": 3}], [{"a": 1, "b": 4, "c": 5}])
    'ways: b, 2 then, 4 now; and 1 more'
    """
    said = [[{"": then}], [{"": now}]]
    if all(isinstance(each, list) and all(isinstance(one, dict) for one in each) for each in (then, now)):
        said = [then, now]
    before, after = ({key: value for one in each for key, value in one.items()} for each in said)
    other = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if not other:  # as many things by as many names, otherwise arranged
        other, before, after = [""], {"": then}, {"": now}
    first, more = other[0], len(other) - 1
    return (
        f"{name}: {f'{first}, ' if first else ''}{format_value(before.get(first))} then, "
        f"{format_value(after.get(first))} now{f'; and {more} more' if more else ''}"
    )


def hold(path: Path) -> FileIO:
    """A run's manifest, to be added to, with its lock. Raises PlanError while another process has that."""
    file = FileIO(manifest_path(path), "rb+")
    if not lock_file(file.fileno()):
        file.close()
        raise refuse_second(path)
    return file


def refuse_second(path: Path) -> PlanError:
    """The sentence for a file that another process writes now."""
    return PlanError(
        f"files: another run writes {path} now\n  it holds {manifest_path(path)}\n  wait for it, or write elsewhere"
    )


def read_run(path: Path) -> dict[str, Any]:
    """What decides the result of the run that began to write a file; nothing where none did."""
    file = manifest_path(path)
    content = file.read_bytes() if file.exists() else b""
    found: dict[str, Any] = json.loads(content[: content.find(b"\n") + 1] or "{}")
    return found


__all__ = ["Manifest", "manifest_path", "read_run", "read_whole_lines"]
