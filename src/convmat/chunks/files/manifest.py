"""What of a file is written: a line for the run, then a line for every block that is done.

    {"run": digest of all that decides the result, "blocks": how many, ...}
    17
    18

A block's line is written once the block itself is. A process that is killed leaves at most a block without its line and
the beginning of a line: the block is made again, the beginning is cut off.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import PlanError
from .stores import unfinished_path


def manifest_path(path: Path) -> Path:
    """Where the manifest of a file lies while it is written."""
    return path.with_name(path.name + ".manifest")


@dataclass
class Manifest:
    """The blocks of `path` that are done, of those that the run has."""

    path: Path
    done: set[int]

    @classmethod
    def start(cls, path: Path, run: dict[str, Any]) -> Manifest:
        """Begin the manifest of a run."""
        manifest_path(path).write_text(json.dumps(run) + "\n")
        return cls(path, set())

    @classmethod
    def read(cls, path: Path, run: dict[str, Any]) -> Manifest:
        """Go on with a run. Raises PlanError where there is none, or it was another one."""
        file = manifest_path(path)
        if not file.exists() or not unfinished_path(path).exists():
            raise PlanError(
                f"files: there is nothing to resume at {path}\n"
                f"  no {file.name} and {unfinished_path(path).name} beside it\n"
                f"  omit --resume"
            )
        content = file.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(file, len(whole))
        first, *lines = whole.decode().splitlines() or ["{}"]
        before = json.loads(first)
        other = sorted(name for name in run if before.get(name) != run[name])
        if other:
            raise PlanError(
                f"files: {path} was begun by another run\n"
                + "".join(f"  {name}: {before.get(name)!r} then, {run[name]!r} now\n" for name in other)
                + f"  say the same again; or delete {file} to begin anew"
            )
        return cls(path, {int(line) for line in lines})

    def add(self, block: int) -> None:
        """Write down that a block is done."""
        with manifest_path(self.path).open("ab") as file:
            file.write(f"{block}\n".encode())
        self.done.add(block)

    def close(self) -> None:
        """Take the manifest away: the file is whole."""
        manifest_path(self.path).unlink()


__all__ = ["Manifest", "manifest_path"]
