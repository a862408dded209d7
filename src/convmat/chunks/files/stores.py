"""Arrays in files as places to read from and to write to: `.npy`, Zarr (v2 and v3) and, to read, TIFF.

A `.npy` file is read and written through mappings; Zarr through the `zarr` package; TIFF, OME-TIFF among them, through
tifffile's Zarr view of it. Nothing stays mapped or cached: what is read is an array of its own.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...errors import GeometryError, PlanError, cannot_write, format_value

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Place = tuple[slice, ...]
Empty = Callable[[Shape, np.dtype[Any]], Array]
"""Gives uninitialised arrays, like np.empty."""

KINDS = ".npy, .zarr, .tif or .tiff"

ROUNDED = 4
"""Bytes of a type that integers are rounded to, whatever they are."""


class ArrayStore(Protocol):
    """An array in a file. `chunks`: the extents of the pieces that it is kept in."""

    shape: Shape
    dtype: np.dtype[Any]
    chunks: Shape

    def read(self, place: Place, empty: Empty = np.empty) -> Array:
        """A part of it, in memory of its own, which is from `empty` where the file's format lets us say."""

    def write(self, place: Place, array: Array) -> None:
        """Put an array at its place."""

    @property
    def overhead(self) -> int:
        """Bytes that reading or writing takes beside the arrays."""


@dataclass
class Npy:
    """A .npy file: one run of bytes, row after row or column after column."""

    path: Path
    writing: bool = False

    def __post_init__(self) -> None:
        mapped = np.lib.format.open_memmap(self.path, mode="r")
        self.shape: Shape = mapped.shape
        self.dtype: np.dtype[Any] = mapped.dtype
        rows = mapped.flags.c_contiguous
        self.chunks: Shape = (1, *mapped.shape[1:]) if rows else (*mapped.shape[:-1], 1)

    @property
    def overhead(self) -> int:
        """None: pages of a mapped file belong to the file."""
        return 0

    def read(self, place: Place, empty: Empty = np.empty) -> Array:
        """Copied out of a mapping that ends with the call."""
        part = np.lib.format.open_memmap(self.path, mode="r")[place]
        made = empty(part.shape, part.dtype)
        made[...] = part
        return made

    def write(self, place: Place, array: Array) -> None:
        """Through a mapping that ends with the call."""
        mapped = np.lib.format.open_memmap(self.path, mode="r+")
        mapped[place] = array


CODERS = 2
"""Chunks of a Zarr array that are decoded or encoded at a time."""


@dataclass
class Zarr:
    """An array of the zarr package, from a folder or a view of a TIFF file."""

    path: Path
    array: Any

    def __post_init__(self) -> None:
        self.shape: Shape = tuple(self.array.shape)
        self.dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        self.chunks: Shape = tuple(self.array.chunks)

    @property
    def overhead(self) -> int:
        """A chunk as it is stored and as it is read, for each that is under way."""
        return 2 * CODERS * math.prod(self.chunks) * self.dtype.itemsize

    def read(self, place: Place, empty: Empty = np.empty) -> Array:
        """Read it as zarr does, into memory that zarr made."""
        return np.asarray(self.array[place])

    def write(self, place: Place, array: Array) -> None:
        """Write it as zarr does."""
        self.array[place] = array


def _zarr() -> Any:
    try:
        import zarr
    except ModuleNotFoundError:
        raise PlanError(
            "files: Zarr needs zarr, which is not installed\n  no module zarr\n  pip install 'convmat[zarr]'"
        ) from None
    zarr.config.set({"async.concurrency": CODERS, "threading.max_workers": CODERS})
    return zarr


def open_array(path: str | os.PathLike[str]) -> ArrayStore:
    """The array of a file, to be read. Raises PlanError where it is none, or is still being written."""
    path = Path(path)
    if path.suffix == ".part" or (unfinished_path(path).exists() and not path.exists()):
        raise PlanError(
            f"files: {path} is still being written\n"
            f"  {unfinished_path(path) if path.suffix != '.part' else path} is there\n"
            f"  wait for the run that writes it, or finish it with --resume"
        )
    if not path.exists():
        raise PlanError(f"files: there is no {path}\n  in {Path.cwd()}\n  give the path of a {KINDS}")
    if path.suffix.lower() == ".npy":
        return _check_store(path, _npy(path))
    if path.suffix.lower() in (".tif", ".tiff"):
        return _check_store(path, _tiff(path))
    if path.is_dir():
        return _check_store(path, _folder(path))
    raise PlanError(
        f"files: {path} is no array that can be read in pieces\n  its name ends in {path.suffix!r}\n  give a {KINDS}"
    )


def _npy(path: Path) -> ArrayStore:
    with _readable(path, "a .npy file", "save it with np.save"):
        return Npy(path)


def _folder(path: Path) -> ArrayStore:
    zarr = _zarr()
    with _readable(path, "a Zarr array", f"save it with zarr.save_array('{path}', array)"):
        found = zarr.open(str(path), mode="r")
    return Zarr(path, _array_in(path, found))


def _tiff(path: Path) -> ArrayStore:
    try:
        import tifffile
    except ModuleNotFoundError:
        raise PlanError(
            "files: TIFF needs tifffile, which is not installed\n  no module tifffile\n  pip install 'convmat[zarr]'"
        ) from None
    fix = f"save it with tifffile.imwrite('{path}', array)"
    with _readable(path, "a TIFF image", fix, tifffile.TiffFileError):
        view = tifffile.imread(path, aszarr=True)
    made = Zarr(path, _array_in(path, _zarr().open(view, mode="r")))
    weakref.finalize(made, view.close)
    return made


@contextmanager
def _readable(path: Path, kind: str, fix: str, *own: type[Exception]) -> Iterator[None]:
    """What its library says of a file that is damaged, or another one, as a PlanError; `own`: the library's errors."""
    known: tuple[type[Exception], ...] = (ValueError, OSError, *own)
    try:
        yield
    except known as error:
        raise PlanError(
            f"files: {path} cannot be read as {kind}\n  {' '.join(str(error).split())[:200]}\n  {fix}"
        ) from None


def _array_in(path: Path, found: Any) -> Any:
    """The array itself, or of a group (a pyramid of an image) the first of its arrays, the full resolution."""
    if hasattr(found, "shape"):
        return found
    names = sorted(name for name, _ in found.arrays())
    if not names:
        groups = sorted(name for name, _ in found.groups())
        raise PlanError(
            f"files: {path} is a Zarr group without arrays of its own\n  groups: {', '.join(groups) or 'none'}\n"
            f"  give the path of an array in it, e.g. {path}/{next(iter(groups), '0')}"
        )
    if len(names) > 1 and not all(name.isdigit() for name in names):
        raise PlanError(
            f"files: {path} is a Zarr group of several arrays\n  {', '.join(names)}\n  give one, e.g. {path}/{names[0]}"
        )
    return found[min(names, key=lambda name: (int(name) if name.isdigit() else 0, name))]


def _check_store(path: Path, store: ArrayStore) -> ArrayStore:
    if store.dtype.kind not in "iufc":
        raise GeometryError(
            f"files: {path} does not hold numbers\n  its type is {format_value(str(store.dtype))}\n"
            f"  save it as numbers, e.g. array.astype('float32')"
        )
    return store


def can_read_as(stored: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    """Whether numbers of a file may be read as another type: none is narrowed, but integers are rounded to 24 bits.

    >>> can_read_as(np.dtype(">i4"), np.dtype("float32")), can_read_as(np.dtype("f8"), np.dtype("f4"))
    (True, False)
    """
    if np.can_cast(stored, wanted, "safe"):
        return True
    return stored.kind in "iu" and wanted.kind in "fc" and wanted.itemsize >= ROUNDED


def last_changed(path: Path) -> int:
    """When an input was last written to, as its file system says, in nanoseconds."""
    return (path / "zarr.json" if (path / "zarr.json").exists() else path).stat().st_mtime_ns


# -- writing ----------------------------------------------------------------------------------------------------------


def unfinished_path(path: Path) -> Path:
    """Where a file is written before it is whole."""
    return path.parent / f"{path.name}.part"


def passes_path(path: Path) -> Path:
    """Where passes that go before a file's blocks keep what they make."""
    return path.parent / f"{path.name}.passes"


def require_kind(path: Path) -> None:
    """Raise PlanError for a file of another kind, or one that would take the place of what is none of its kind."""
    if path.suffix not in (".npy", ".zarr"):
        raise PlanError(
            f"files: results are written as .npy or .zarr\n  out = {path}\n  e.g. {path.with_suffix('.zarr')}"
        )
    known = any((path / name).exists() for name in ("zarr.json", ".zarray", ".zgroup"))
    if path.exists() and not (path.is_file() if path.suffix == ".npy" else known):
        kind = "a folder" if path.is_dir() else "a file"
        raise PlanError(
            f"files: {path} is there, and no {path.suffix}\n  it is {kind} of something else\n"
            f"  write elsewhere, or take it away"
        )


def require_room(path: Path, shape: Shape, dtype: np.dtype[Any]) -> None:
    """Raise PlanError where the disk has too little room for a file, or none can be written there."""
    needed = math.prod(shape) * dtype.itemsize
    try:
        free = shutil.disk_usage(path.absolute().parent).free
    except OSError as error:
        raise cannot_write("files", path, error) from error
    if needed > free:
        raise PlanError(
            f"files: there is no room for {path}\n  it takes {needed:,} bytes, {free:,} are free\n"
            f"  write elsewhere, or make room"
        )


def create(path: Path, shape: Shape, dtype: np.dtype[Any], chunks: Shape) -> None:
    """Make the file that `open_part` opens, with these `chunks` if it is Zarr. Raises PlanError where it cannot."""
    part = unfinished_path(path)
    try:
        if path.suffix == ".npy":
            create_npy(part, shape, dtype)
        else:
            _zarr().create_array(
                store=str(part), shape=shape, dtype=dtype, chunks=chunks, compressors=None, overwrite=True
            )
    except OSError as error:
        raise cannot_write("files", path, error) from error


def create_npy(path: Path, shape: Shape, dtype: np.dtype[Any]) -> None:
    """A .npy file with its room taken: a mapping that finds no room later would end the process."""
    needed = math.prod(shape) * dtype.itemsize
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        end = file.tell() + needed
        if hasattr(os, "posix_fallocate") and needed:
            try:
                os.posix_fallocate(file.fileno(), 0, end)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
                # Not every file system can; a lack of room was looked for.
        file.truncate(end)


def open_part(path: Path) -> ArrayStore:
    """What `create` made, to be written to."""
    part = unfinished_path(path)
    return (
        Npy(part, writing=True) if path.suffix == ".npy" else Zarr(part, _zarr().open(str(part), mode="r+"))
    )


def finish(path: Path) -> None:
    """Put a whole file in its place; one that is there already goes, and what passes kept. May be called again."""
    part = unfinished_path(path)
    old = part.parent / f"{part.name}.old"
    if part.is_dir() and path.is_dir():
        _remove(old)
        path.rename(old)
    if part.exists():
        os.replace(part, path)
    _remove(old)
    _remove(passes_path(path))


def discard(path: Path) -> None:
    """Take away what an unfinished run left."""
    _remove(unfinished_path(path))
    _remove(passes_path(path))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def even_chunks(shape: Sequence[int], most: int) -> Shape:
    """Extents of chunks of at most `most` elements that divide a block: halves of halves, the longest axis first.

    >>> even_chunks((64, 2048, 512), 2**24)
    (64, 512, 512)
    """
    found = [max(n, 1) for n in shape]
    while math.prod(found) > most:
        even = [a for a, n in enumerate(found) if n % 2 == 0]
        if not even:
            break
        longest = max(even, key=lambda a: found[a])
        found[longest] //= 2
    return tuple(found)


__all__ = [
    "ArrayStore",
    "Place",
    "can_read_as",
    "create",
    "create_npy",
    "discard",
    "even_chunks",
    "finish",
    "last_changed",
    "open_array",
    "open_part",
    "passes_path",
    "require_kind",
    "require_room",
    "unfinished_path",
]
