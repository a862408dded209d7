"""Measured figures, kept on disk: by CPU and NumPy version, believed only as far as they are plausible.

    get(name, measure)   from memory, else from the file, else measured and written down, if nothing disturbed it

The file is JSON, {"CPU/NumPy/name": number}, in the user's cache folder. One that is not ours, or that others may
write, is not read; what is no plausible rate in it is passed over. Written to a temporary name and moved.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from convmat.engine.cpu import host
from convmat.engine.measure.calm import Disturbed
from convmat.engine.runtime import object_cache

# No machine of this century is slower, none of the next years faster; anything else in the file is damage.
PLAUSIBLE = (1e6, 1e18)
_MOST_BYTES = 1 << 20

_known: dict[str, float] | None = None
_file: Path | None = None


def path() -> Path:
    """Where figures are kept."""
    return _file or object_cache.default_path().parent / "machine.json"


def use_file(file: Path | None) -> None:
    """Keep figures in `file` from now on (None: the user's cache folder), and forget those in memory."""
    global _file, _known
    _file, _known = file, None


def forget() -> None:
    """Forget all figures, in memory and on disk."""
    global _known
    _known = {}
    with suppress(OSError):
        path().unlink()


def get(name: str, measure: Callable[[], float]) -> float:
    """The figure called `name`, in units a second."""
    global _known
    if _known is None:
        _known = _read(path())
    key = f"{host().key}/numpy-{np.__version__}/{name}"
    if key not in _known:
        found = _known[key] = measure()
        if not isinstance(found, Disturbed):
            _write(path(), {key: float(found)})
    return _known[key]


def _read(file: Path) -> dict[str, float]:
    """The figures in a file, without what is no figure; none from a file that others may write."""
    try:
        found = json.loads(object_cache.read_own(file, _MOST_BYTES))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    low, high = PLAUSIBLE
    return {name: rate for name, rate in found.items() if isinstance(rate, float) and low <= rate <= high}


def _write(file: Path, figures: dict[str, float]) -> None:
    """Keep them beside those another process has measured meanwhile; not being able to is no error."""
    merged = _read(file) | figures
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        object_cache.replace(file, json.dumps(merged, indent=1).encode())
