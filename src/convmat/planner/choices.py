"""What tuning has measured: seconds by problem and way, in memory and on disk.

    the user's cache folder/convmat/choices/CPU.json, one file a CPU, one entry a line, for people to read:

    {"convmat choices": 2, "cpu": ".../...", "choices": {
     "1x64x56x56 * 64x64x3x3 -> .., float32, 2 threads #5c1e..": {"when": "2026-..", "seconds": {"jit: ..": 9e-4}},
     ...}}

The figures behind # are a digest of the problem's fields by their names, limits included; what stands before is for
readers. Classes and fields at their defaults are not in it: no entry is lost when a class gets another name or a new
field. A way whose answer was wrong has null for its seconds. Of two entries of a problem the later one stays, of all
the MOST latest.

A file that is not ours, or that others may write to, is not used; what is no entry in it is passed over. Writers take
turns (a lock on a file beside it), read what others wrote, add their own, and move a whole new file into place.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..engine import object_cache
from ..errors import PlanError
from ..lazy_dataclass import dataclass
from ..problem import Problem
from ..processes import lock_file
from ..whole_files import replace_when_whole

FORMAT = 2
"""Counts up where what was measured says nothing of newer kernels, or where files or keys look otherwise."""

MOST = 4096
"""Entries of a file; the oldest go first."""

MOST_BYTES = 16 << 20
LOCK_SECONDS = 10.0
"""How long a writer waits for another one before it keeps its entry in memory alone."""

PLAUSIBLE = (1e-8, 1e5)
"""Seconds of a call; anything else in a file is damage."""

_KEY = re.compile(r"[^\x00-\x1f]{1,2000} #[0-9a-f]{16}")
_WHEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

Seconds = Mapping[str, float | None]


@dataclass(frozen=True)
class Entry:
    """When a problem was measured (UTC), and the seconds of a call by way; None for one that answered wrongly."""

    when: str
    seconds: Seconds


_entries: dict[str, Entry] | None = None
_folder: Path | None = None
_refused: str | None = None
_unwritten: str | None = None
_version = 0


def version() -> int:
    """Changes with whatever is remembered in this process: plans made before are then made anew."""
    return _version


def entry_key(problem: Problem, lowering: str | None = None, engine: str | None = None) -> str:
    """What a problem's entry is called; a forced lowering or engine has entries of its own.

    >>> from ..geometry import Geometry
    >>> entry_key(Problem.of(Geometry.of((1, 3, 8, 8), (4, 3, 3, 3)))).partition(" #")[0]
    '1x3x8x8 * 4x3x3x3 -> 1x4x6x6, float32, 1 thread'
    """
    said = [str(problem.geometry), problem.dtype]
    said += [f"{problem.threads} thread{'s' * (problem.threads != 1)}"]
    said += ["weights used once"] * (not problem.reuse_weights) + [
        name for name in (lowering, engine) if name
    ]
    digest = hashlib.sha256(_describe((FORMAT, problem, lowering, engine)).encode()).hexdigest()[:16]
    return f"{', '.join(said)} #{digest}"


def _describe(value: Any) -> str:
    """A problem, or a part of one, as text: a dataclass is its fields by name, but for those at their defaults.

    >>> from ..layout import Dim
    >>> _describe((Dim("c", 3), Dim("f0", 5, flip=True)))
    "({'extent': 3, 'role': 'c'}, {'extent': 5, 'flip': True, 'role': 'f0'})"
    """
    cls: Any = type(value)
    if cls is tuple:
        return f"({', '.join(map(_describe, value))})"
    named = _fields(cls)
    if named is None:
        return repr(value)
    found = ((name, getattr(value, name), default) for name, default in named)
    parts = (f"{name!r}: {_describe(each)}" for name, each, default in found if each != default)
    return f"{{{', '.join(parts)}}}"


@cache
def _fields(cls: type) -> tuple[tuple[str, Any], ...] | None:
    """The fields of a dataclass by name, each with its default: MISSING where it has none; None of another class."""
    if not is_dataclass(cls):
        return None
    factories = ((each, each.default_factory) for each in fields(cls))
    named = {each.name: each.default if make is MISSING else make() for each, make in factories}
    return tuple((name, named[name]) for name in sorted(named))


def lookup(name: str) -> Seconds:
    """What is remembered under a key, nothing where nothing is."""
    found = _load_entries().get(name)
    return found.seconds if found else {}


def look_up_problem(problem: Problem, lowering: str | None, engine: str | None) -> Seconds:
    """What is remembered of a problem: without a key to look for where nothing was ever measured."""
    return lookup(entry_key(problem, lowering, engine)) if _load_entries() else {}


def remember(name: str, seconds: Seconds) -> None:
    """Keep what was measured just now, in memory and, where that is possible, on disk."""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    # Four digits: more is noise.
    kept = {way: taken and float(f"{taken:.4g}") for way, taken in seconds.items()}
    _add({name: Entry(when, kept)})


# -- what users call -----------------------------------------------------------------------------------


def export_choices(path: str | os.PathLike[str]) -> int:
    """Write what tuning has found on this CPU to a file, for `import_choices` on another machine like this one.

    Returns how many choices there are. Raises PlanError where it cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_choices(f"{folder}/choices.json") >= 0
    True
    """
    known = _load_entries()
    with replace_when_whole(path, "export_choices") as part:
        part.write_bytes(_encode(known))
    return len(known)


def import_choices(path: str | os.PathLike[str]) -> int:
    """Take over what `export_choices` wrote; returns how many choices the file has.

    Of two choices for the same problem the later measured one stays. Raises PlanError for a file that holds no choices
    or those of another CPU, or that cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_choices(f"{folder}/choices.json") == import_choices(f"{folder}/choices.json")
    True
    """
    try:
        found = _parse(Path(path).read_bytes())
    except OSError as error:
        found = f"the file cannot be read: {error.strerror}"
    if isinstance(found, str):
        raise PlanError(
            f"import_choices: {found}\n  {path}\n  give a file that export_choices wrote on a CPU like this"
        )
    _add(found)
    return len(found)


def forget_choices() -> int:
    """Forget what tuning has found on this CPU, in memory and on disk; returns how many choices there were.

    >>> count = forget_choices()
    >>> forget_choices()
    0
    """
    global _entries, _version
    count = len(_load_entries())
    if _usable():
        with suppress(OSError):
            choices_file().unlink()
    _entries, _version = {}, _version + 1
    return count


def describe_store() -> dict[str, Any]:
    """Where choices are kept, how many, and why not, if the folder is refused."""
    return {
        "path": str(choices_file()),
        "cpu": _cpu(),
        "choices": len(_load_entries()),
        "refused": _refused or _unwritten,
    }


def why_unwritten() -> str | None:
    """Why what was remembered last is in this process's memory alone; None where it is on disk too.

    Where the folder is one that others may write to, a warning has said so already.
    """
    return _unwritten


def all_entries() -> dict[str, Entry]:
    """All entries by their keys."""
    return dict(_load_entries())


# -- memory and disk ------------------------------------------------------------------------------------


def use_folder(folder: Path | None) -> None:
    """Keep choices in `folder` from now on (None: the user's cache folder), and forget those in memory."""
    global _folder, _entries, _refused, _unwritten, _version
    _folder, _entries, _refused, _unwritten, _version = folder, None, None, None, _version + 1


def choices_file() -> Path:
    """Where this CPU's choices are kept."""
    folder = _folder or object_cache.default_path().parent / "choices"
    return folder / (re.sub(r"[^A-Za-z0-9._-]+", "-", _cpu()) + ".json")


def _cpu() -> str:
    from ..engine import host

    return host().key


def _load_entries() -> dict[str, Entry]:
    """What is in memory, read from disk at the first question."""
    global _entries
    if _entries is None:
        _entries = _on_disk() if _usable(create=False) else {}
    return _entries


def _add(found: Mapping[str, Entry]) -> None:
    """Merge with what is known, and with what other processes have written meanwhile."""
    global _entries, _unwritten, _version
    merged = _merge(_load_entries(), found)
    if _usable():
        _unwritten = "another process keeps its lock, or it cannot be written"
        with _lock_file(choices_file().with_suffix(".lock")) as alone:
            if alone:
                merged = _merge(_on_disk(), merged)
                kept = object_cache.replace(choices_file(), _encode(merged))
                _unwritten = None if kept else "it cannot be written"
    else:
        _unwritten = _refused
    _entries, _version = merged, _version + 1


def _merge(ours: Mapping[str, Entry], theirs: Mapping[str, Entry]) -> dict[str, Entry]:
    """The later entry of each problem (theirs, if equally late), and of all the MOST latest, oldest first."""
    made = dict(ours)
    for name, entry in theirs.items():
        if name not in made or entry.when >= made[name].when:
            made[name] = entry
    return dict(sorted(made.items(), key=lambda item: (item[1].when, item[0]))[-MOST:])


def _usable(*, create: bool = True) -> bool:
    """Whether the folder is there, or can be made, and is ours; what was refused stays so in this process."""
    global _refused
    folder = choices_file().parent
    if not create and not folder.exists():
        return False
    if _refused is None:
        _refused = object_cache.claim_folder(folder, "choices", "they hold for this process alone")
    return _refused is None


def _on_disk() -> dict[str, Entry]:
    found = _parse(object_cache.read_own(choices_file(), MOST_BYTES))
    return {} if isinstance(found, str) else found


def _encode(entries: Mapping[str, Entry]) -> bytes:
    head = f'{{"convmat choices": {FORMAT}, "cpu": {json.dumps(_cpu())}, "choices": {{'
    lines = (
        f" {json.dumps(name)}: {json.dumps({'when': entry.when, 'seconds': dict(entry.seconds)})}"
        for name, entry in entries.items()
    )
    return (head + "\n" + ",\n".join(lines) + "\n}}\n").encode()


def _parse(content: bytes) -> dict[str, Entry] | str:
    """The entries of a file, without those that are none; or what is wrong with the file as a whole."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return "the file is not JSON"
    if not isinstance(found, dict) or found.get("convmat choices") != FORMAT:
        return f"the file does not hold choices of format {FORMAT}"
    if found.get("cpu") != _cpu():
        return f"the choices are those of another CPU, this one is {_cpu()}"
    choices = found.get("choices")
    if not isinstance(choices, dict):
        return f"the file does not hold choices of format {FORMAT}"
    entries = {name: _entry(value) for name, value in choices.items() if _KEY.fullmatch(name)}
    return {name: entry for name, entry in entries.items() if entry is not None}


def _entry(value: Any) -> Entry | None:
    """One entry, None where any part of it is damaged."""
    if not isinstance(value, dict) or set(value) != {"when", "seconds"}:
        return None
    when, seconds = value["when"], value["seconds"]
    if not isinstance(when, str) or not _WHEN.fullmatch(when) or not isinstance(seconds, dict) or not seconds:
        return None
    low, high = PLAUSIBLE
    for taken in seconds.values():
        if taken is not None and not (type(taken) is float and low <= taken <= high):
            return None
    return Entry(when, seconds)


@contextmanager
def _lock_file(path: Path) -> Iterator[bool]:
    """Hold the lock inside the block; gives False where another process keeps it for LOCK_SECONDS.

    The lock is the system's and ends with its process. Where a file system has none, nobody is kept waiting: moving
    whole files into place keeps the file sound, though an entry may be lost.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError:
        yield False
        return
    try:
        end = time.monotonic() + LOCK_SECONDS
        while not (held := lock_file(descriptor)) and time.monotonic() < end:
            time.sleep(0.01)
        yield held
    finally:
        os.close(descriptor)


__all__ = [
    "Entry",
    "all_entries",
    "describe_store",
    "entry_key",
    "export_choices",
    "forget_choices",
    "import_choices",
    "look_up_problem",
    "lookup",
    "remember",
    "use_folder",
    "version",
]  # fmt: skip
