"""Measured figures, kept on disk: by CPU and NumPy version, believed only as far as they are plausible.

    get(name, measure)   from memory, else from the file, else measured and written down

The file is JSON, {"CPU/NumPy/name": number}, in the user's cache folder. One that is not ours, or that others may
write, is not read; what is no plausible rate in it is passed over. Written to a temporary name and moved.

What others disturbed while it was measured stands there as [number, seconds since 1970], and is BELIEVED for ten
minutes: on a busy machine each process would else measure it anew before it does anything. Then it is measured again,
and the better of both kept, for others make a machine slower and never quicker.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from convmat.engine.cpu import host
from convmat.engine.measure.calm import Disturbed
from convmat.engine.runtime import object_cache

# No machine of this century is slower, none of the next years faster; anything else in the file is damage.
PLAUSIBLE = (1e6, 1e18)
_MOST_BYTES = 1 << 20
BELIEVED = 600.0
"""Seconds after which a disturbed figure is measured again."""

Entry = float | list[float]
"""A figure, or one that was disturbed and when it was measured."""

_known: dict[str, float] | None = None
_outlived: dict[str, float] = {}
"""What was disturbed long ago."""
_file: Path | None = None


def path() -> Path:
    """Where figures are kept."""
    return _file or object_cache.default_path().parent / "machine.json"


def use_file(file: Path | None) -> None:
    """Keep figures in `file` from now on (None: the user's cache folder), and forget those in memory."""
    global _file, _known
    _file, _known = file, None
    _outlived.clear()


def forget() -> None:
    """Forget all figures, in memory and on disk."""
    global _known
    _known = {}
    _outlived.clear()
    with suppress(OSError):
        path().unlink()


def get(name: str, measure: Callable[[], float]) -> float:
    """The figure called `name`, in units a second."""
    global _known
    if _known is None:
        _known = _figures(path())
    key = f"{host().key}/numpy-{np.__version__}/{name}"
    if key not in _known:
        found = measure()
        if isinstance(found, Disturbed):
            found = Disturbed(max(found, _outlived.get(key, 0.0)))
            _write(path(), {key: [float(found), time.time()]})
        else:
            _write(path(), {key: float(found)})
        _known[key] = found
    return _known[key]


def _figures(file: Path) -> dict[str, float]:
    """The figures in a file that are believed; those that were disturbed too long ago are noted."""
    found: dict[str, float] = {}
    for name, entry in _read(file).items():
        if isinstance(entry, float):
            found[name] = entry
        elif 0 <= time.time() - entry[1] < BELIEVED:
            found[name] = Disturbed(entry[0])
        else:
            _outlived[name] = entry[0]
    return found


def _read(file: Path) -> dict[str, Entry]:
    """What stands in a file, without what is no figure; nothing from a file that others may write."""
    try:
        found = json.loads(object_cache.read_own(file, _MOST_BYTES))
    except (ValueError, RecursionError):
        return {}
    return {name: each for name, each in found.items() if _is_entry(each)} if isinstance(found, dict) else {}


def _is_entry(entry: object) -> bool:
    """Whether it is a plausible rate, or one with a time."""
    if isinstance(entry, list):
        return (
            len(entry) == 2
            and isinstance(entry[1], float)
            and _is_entry(entry[0])
            and isinstance(entry[0], float)
        )
    low, high = PLAUSIBLE
    return isinstance(entry, float) and low <= entry <= high


def _write(file: Path, figures: Mapping[str, Entry]) -> None:
    """Keep them beside those another process has measured meanwhile; not being able to is no error."""
    merged = {**_read(file), **figures}
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        object_cache.replace(file, json.dumps(merged, indent=1).encode())
