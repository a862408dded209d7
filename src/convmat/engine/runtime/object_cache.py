"""Compiled objects on disk: found by what they were made from, believed only after a check.

    file name      sha256 of everything that decides the code (IR, CPU, LLVM, this format)
    file content   magic, that key, length, sha256 of the object, the object

The folder is the user's own (mode 0700, files 0600). A folder or file that is not ours, or that others may
write, is refused: it could make us run a stranger's code. Corrupt, truncated or foreign files are deleted,
and the kernel is compiled again. Writes go to a temporary name first and are moved into place, so processes
may share the folder freely; beyond its limit of bytes the files longest unused go. Each process looks how much there
is before it adds anything, and again whenever it has added a SHARE-th of the limit. A folder that cannot be read (a
network's, gone stale) is done without.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import platform
import stat
import struct
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from ...lazy_dataclass import dataclass
from .digests import digest

MAGIC = b"convmat object 1"
MAPPED = b"convmat mapped 1"
_HEADER = struct.Struct("<16s32sQ32s")
START = 128
"""Bytes before data that are mapped, which then lie at a multiple of a cache line."""
LIMIT_BYTES = 256 << 20
LARGEST = 4
"""Objects of the largest size that fit in the limit."""
SHARE = 64
"""Parts of the limit: n processes that write at once exceed it together by n of them, and no more."""
# Links are not followed: they would lead to where others may write. A pipe in a file's place does not block.
READ = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_UNREADABLE = {errno.EIO, errno.EACCES, errno.EPERM, getattr(errno, "ESTALE", errno.EIO)}
# A hit renews a file's time at most this often: order among minutes decides nothing.
_TOUCH_SECONDS = 60.0
# A temporary file this old belongs to a process that died while writing.
_STALE_SECONDS = 3600.0


@dataclass(frozen=True)
class CacheInfo:
    """What is on disk; `refused` says why the folder is not used, or None."""

    path: Path
    files: int
    bytes: int
    limit: int
    refused: str | None = None


class ObjectCache:
    """One folder of objects.

    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = ObjectCache(Path(folder) / "objects")
    ...     cache.put(bytes(32), b"code")
    ...     cache.get(bytes(32)), cache.info().files
    (b'code', 1)
    """

    def __init__(self, path: Path, limit: int = LIMIT_BYTES) -> None:
        self.path = path
        self.limit = limit
        self._ready = False
        self._refused: str | None = None
        self._added: int | None = None

    def get(self, key: bytes) -> bytes | None:
        """The object stored under `key` (32 bytes), or None."""
        if not self._usable():
            return None
        path = self._place(key)
        try:
            descriptor = os.open(path, READ)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _UNREADABLE:
                self._do_without(error)
                return None
            self._delete(path)
            return None
        try:
            facts = os.fstat(descriptor)
            content = b""
            if is_trusted(facts, stat.S_ISREG):
                with os.fdopen(descriptor, "rb", closefd=False) as file:
                    content = file.read(self.limit + _HEADER.size + 1)
        except OSError as error:
            self._do_without(error)
            return None
        finally:
            with suppress(OSError):
                os.close(descriptor)
        data = _unwrap(key, content)
        if data is None:
            self._delete(path)
            return None
        _renew(path, facts)
        return data

    def map(self, key: bytes) -> memoryview | None:
        """What `put_mapped` stored, at a multiple of 64 bytes in memory, or None; pages nobody writes to are shared."""
        if not self._usable():
            return None
        path = self._place(key)
        try:
            with open(os.open(path, READ), "rb") as file:
                facts = os.fstat(file.fileno())
                if not is_trusted(facts, stat.S_ISREG) or facts.st_size < START:
                    raise ValueError
                content = memoryview(mmap.mmap(file.fileno(), facts.st_size, access=mmap.ACCESS_COPY))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            self._delete(path)
            return None
        magic, owner, length, found = _HEADER.unpack_from(content)
        data = content[START:]
        if magic != MAPPED or owner != key or length != len(data) or digest(data) != found:
            self._delete(path)
            return None
        _renew(path, facts)
        return data

    def put_mapped(self, key: bytes, data: bytes) -> None:
        """Store what `map` finds.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = ObjectCache(Path(folder) / "objects")
        ...     cache.put_mapped(bytes(32), b"much")
        ...     bytes(cache.map(bytes(32)))
        b'much'
        """
        if self._usable() and len(data) <= self.limit // LARGEST:
            header = _HEADER.pack(MAPPED, key, len(data), digest(data))
            self._write(key, header.ljust(START, b"\0"), data)

    def put(self, key: bytes, data: bytes) -> None:
        """Store an object; where that fails (no space, no permission), it is simply not stored."""
        if not self._usable() or len(data) > self.limit // LARGEST:
            return
        self._write(key, _HEADER.pack(MAGIC, key, len(data), hashlib.sha256(data).digest()), data)

    def _write(self, key: bytes, header: bytes, data: bytes) -> None:
        """Put a file in its place, and make room where there is too much."""
        if not replace(self._place(key), header, data):
            return
        if self._added is not None:
            self._added += len(header) + len(data)
        if self._added is None or self._added > self.limit // SHARE:
            self._trim()

    def info(self) -> CacheInfo:
        """Count files and bytes now."""
        self._usable()
        sizes = [facts.st_size for _, facts in self._files()] if self._refused is None else []
        return CacheInfo(self.path, len(sizes), sum(sizes), self.limit, self._refused)

    @property
    def empty(self) -> bool:
        """Whether the cache has no object, because none was kept yet or none may be."""
        if not self._usable():
            return True
        try:
            with os.scandir(self.path) as entries:  # up to the first one: there may be thousands
                return not any(entry.name.endswith(".o") for entry in entries)
        except OSError:
            return True

    def clear(self) -> int:
        """Delete every object; returns how many there were. Kernels in memory stay."""
        if not self._usable():
            return 0
        paths = [path for path, _ in self._files()]
        for path in paths:
            self._delete(path)
        self._added = None
        return len(paths)

    def _do_without(self, error: OSError) -> None:
        """Leave the folder alone from now on, and say so once."""
        self._refused = f"it cannot be read: {error.strerror or error}"
        warnings.warn(
            f"convmat does without the kernels kept in {self.path}: {self._refused}; this process compiles its own",
            RuntimeWarning,
            stacklevel=2,
        )

    def _place(self, key: bytes) -> Path:
        return self.path / f"{key.hex()}.o"

    def _usable(self) -> bool:
        """Create and check the folder once; warn once when it is not to be trusted."""
        if not self._ready:
            self._ready = True
            self._refused = claim_folder(self.path, "compiled kernels", "each process compiles its own")
        return self._refused is None

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Every object and its facts; files that vanish meanwhile are left out."""
        try:
            entries = list(os.scandir(self.path))
        except OSError:
            return
        for entry in entries:
            try:
                facts = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if entry.name.endswith(".o"):
                yield Path(entry.path), facts
            elif entry.name.endswith(".tmp") and time.time() - facts.st_mtime > _STALE_SECONDS:
                self._delete(Path(entry.path))

    def _trim(self) -> None:
        """Delete the longest unused until nine tenths of the limit are left."""
        files = sorted(self._files(), key=lambda item: item[1].st_mtime)
        total = sum(facts.st_size for _, facts in files)
        if total > self.limit:
            for path, facts in files:
                if total <= self.limit * 9 // 10:
                    break
                self._delete(path)
                total -= facts.st_size
        self._added = 0

    @staticmethod
    def _delete(path: Path) -> None:
        with suppress(OSError):
            path.unlink()


def _renew(path: Path, facts: os.stat_result) -> None:
    """Have a file that was used count as new."""
    if time.time() - facts.st_mtime > _TOUCH_SECONDS:
        with suppress(OSError):
            os.utime(path)


def _unwrap(key: bytes, content: bytes) -> bytes | None:
    """The object in a file's content, if every part of it is as it was written."""
    if len(content) < _HEADER.size:
        return None
    magic, owner, length, digest = _HEADER.unpack_from(content)
    data = content[_HEADER.size :]
    if magic != MAGIC or owner != key or length != len(data) or hashlib.sha256(data).digest() != digest:
        return None
    return data


def claim_folder(path: Path, kept: str, otherwise: str) -> str | None:
    """Create a folder of ours, or say why it is not used; warns where others may write to it.

    `kept` is what is kept there, `otherwise` what follows if it is not.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = os.lstat(path)
    except OSError as error:
        # A read-only home is no danger, and no news to its owner: do without, quietly.
        return f"it cannot be created: {error.strerror}"
    if is_trusted(facts, stat.S_ISDIR):
        return None
    if stat.S_ISLNK(facts.st_mode):
        refused, remedy = "it is a symbolic link", "Put a folder in its place, or link the folder above it"
    elif not stat.S_ISDIR(facts.st_mode):
        refused, remedy = "it is no folder", "Put a folder in its place"
    else:
        refused = f"others may write there (owner {facts.st_uid}, mode {stat.S_IMODE(facts.st_mode):o})"
        remedy = "Make the folder yours with mode 700"
    warnings.warn(
        f"convmat does not keep {kept} in {path}: {refused}; {otherwise}. {remedy} to change that.",
        RuntimeWarning,
        stacklevel=2,
    )
    return refused


def read_own(path: Path, most: int) -> bytes:
    """Up to so many bytes of a file of ours; none where it is not there, or where others may write it."""
    try:
        descriptor = os.open(path, READ)
        try:
            return os.read(descriptor, most) if is_trusted(os.fstat(descriptor), stat.S_ISREG) else b""
        finally:
            os.close(descriptor)
    except OSError:
        return b""


def replace(path: Path, *parts: bytes) -> bool:
    """Write a file of ours whole, part by part, or leave it as it was; whether it could be written."""
    temporary = path.with_name(f".{os.getpid()}-{os.urandom(6).hex()}.tmp")
    try:
        with os.fdopen(os.open(temporary, WRITE, 0o600), "wb") as file:
            file.writelines(parts)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        return False
    return True


def is_trusted(facts: os.stat_result, kind: Callable[[int], bool]) -> bool:
    """Whether a file is of the right kind, ours, and writable by nobody else."""
    if not kind(facts.st_mode):
        return False
    # Windows keeps the profile's folders private by its own lists, and has no such modes.
    return not hasattr(os, "geteuid") or (facts.st_uid == os.geteuid() and not facts.st_mode & 0o022)


@lru_cache(maxsize=1)
def default_path() -> Path:
    """Where objects are kept unless said otherwise: the user's cache folder, `convmat/objects`."""
    if platform.system() == "Linux":  # as platformdirs has it, whose import takes 6 ms
        return (
            Path(os.environ.get("XDG_CACHE_HOME", "").strip() or "~/.cache").expanduser()
            / "convmat"
            / "objects"
        )
    try:
        import platformdirs
    except ImportError:  # where saved networks run, NumPy and convmat are enough
        return Path("~/.cache/convmat/objects").expanduser()
    return platformdirs.user_cache_path("convmat", appauthor=False) / "objects"
