"""What passes over tiles keep between them, in files: values for later passes, and what pools have of every tile.

    1.npy        the value of pass 1, if a later pass reads it
    1.pool0.npy  what its first global node has of each tile, (tiles, B, C)
    1.done       a line for every tile that is done, written once the tile is

A folder beside a result is gone on with when the run is resumed. One for arrays in memory goes with its process; what
a killed process leaves, the next one takes away: a lock of the system's, on the file `owner`, tells who lives.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import PlanError
from ...network.graph import Spec
from ...planner.units import format_bytes
from ...processes import lock_file
from ..files.manifest import read_whole_lines
from ..files.stores import Place, create_npy

Array = npt.NDArray[Any]

PREFIX, OWNER = "convmat-passes-", "owner"


class KeptValue:
    """A value in a file, sliced like an array. A pickle is its path; the file goes with the folder of its stages."""

    def __init__(self, path: Path, owner: object) -> None:
        self.path, self._owner = path, owner
        self._array: Array | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_owner": None, "_array": None}

    @property
    def array(self) -> Array:
        """The file, mapped."""
        if self._array is None:
            self._array = np.load(self.path, mmap_mode="r+" if self._owner else "r")
        return self._array

    def __getitem__(self, place: Any) -> Array:
        return np.array(self.array[place])

    def __setitem__(self, place: Any, part: Array) -> None:
        self.array[place] = part


class PassRecord:
    """What a pass has made so far: its `value`, if that is kept, and which tiles are `done`.

    `pools`: for each of its global nodes an array of what that has of every tile.
    """

    def __init__(self, value: Any, pools: Sequence[Any], done: set[int], lines: Path | None = None) -> None:
        self.value, self.pools, self.done, self._lines = value, tuple(pools), done, lines

    def add(self, tile: int, place: Place, made: Array, pooled: Sequence[Array]) -> None:
        """Keep what a tile gave."""
        if self.value is not None:
            self.value[place] = made
        for pool, each in zip(self.pools, pooled, strict=True):
            pool[tile] = each
        self.done.add(tile)
        if self._lines is not None:
            with self._lines.open("ab") as file:
                file.write(f"{tile}\n".encode())


class PassFiles:
    """The files of a run's passes, in a folder that is gone on with (None: a temporary one, where anything is large).

    `needed`: bytes that they take. Raises PlanError where the disk has no room for them.
    """

    def __init__(self, folder: Path | None, needed: int) -> None:
        self._folder, self._owner = folder, object()
        if folder is not None:
            folder.mkdir(exist_ok=True)
        parent = Path(tempfile.gettempdir()) if folder is None else folder
        there = sum(each.stat().st_size for each in parent.iterdir()) if folder is not None else 0
        free = shutil.disk_usage(parent).free
        if needed - there > free:
            raise PlanError(
                f"tiled: there is no room for what passes keep between them\n"
                f"  they take {needed:,} bytes in {parent}, {free:,} are free\n"
                f"  make room there, or set TMPDIR to a folder that has it"
            )
        if needed and folder is None:
            remove_abandoned(parent)
            temporary = TemporaryFolder(parent)
            self._folder, self._owner = temporary.path, temporary
        self._resumes = folder is not None
        self._count = 0

    def record(self, value: Spec | None, in_memory: bool, pools: Sequence[Spec]) -> PassRecord:
        """The record of the next pass: of its value, if it is kept, and of arrays for its pools."""
        self._count += 1
        if not self._resumes:
            made: Any = None
            if value is not None and in_memory:
                made = np.empty(value.shape, value.dtype)
            elif value is not None:
                made = self._place(f"{self._count}.npy", value, fresh=True)
            return PassRecord(made, [np.empty(each.shape, each.dtype) for each in pools], set())
        assert self._folder is not None
        lines = self._folder / f"{self._count}.done"
        done = {int(line) for line in read_whole_lines(lines)}
        made = None if value is None else self._place(f"{self._count}.npy", value, fresh=not done)
        pooled = [
            self._place(f"{self._count}.pool{at}.npy", each, fresh=not done) for at, each in enumerate(pools)
        ]
        return PassRecord(made, pooled, done, lines)

    def _place(self, name: str, spec: Spec, *, fresh: bool) -> KeptValue:
        assert self._folder is not None
        path = self._folder / name
        if fresh:
            create_npy(path, spec.shape, spec.dtype)
        return KeptValue(path, self._owner)


class TemporaryFolder:
    """A folder that goes with the last who holds it, and is known as abandoned where its process was killed."""

    def __init__(self, parent: Path) -> None:
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            descriptor = os.open(self.path / OWNER, os.O_RDWR | os.O_CREAT, 0o600)
            # Another process may have seen the file before it was locked, and taken the folder away.
            if lock_file(descriptor) and (self.path / OWNER).exists():
                break
            os.close(descriptor)
        weakref.finalize(self, _remove, self.path, descriptor)


def _remove(path: Path, descriptor: int) -> None:
    os.close(descriptor)
    shutil.rmtree(path, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Take away the folders that killed processes left, and warn of it."""
    for path in sorted(parent.glob(f"{PREFIX}*")):
        try:
            descriptor = os.open(path / OWNER, os.O_RDWR)
        except OSError:  # somebody else's, or just being made
            continue
        try:
            if not lock_file(descriptor):
                continue
            size = sum(each.stat().st_size for each in path.iterdir())
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)
        warnings.warn(f"tiled: took away what a killed run left: {path}, {format_bytes(size)}", stacklevel=6)


__all__ = ["KeptValue", "PassFiles", "PassRecord", "TemporaryFolder", "remove_abandoned"]
