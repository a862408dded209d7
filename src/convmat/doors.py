"""Doors: what a higher room serves on a lower room's object.

    net.trainer(...)        a network is trained in a room that `network` does not know
    conv(dask_array, w)     lazy arrays are computed with in a room that `api` does not know
    conv(jax_array, w)      so are arrays of any library that hands them over by DLPack

Who puts the package together says with `serve` where such a room is found; it is looked for when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BY_DLPACK = "arrays by DLPack"
"""The door of arrays whose package has none of its own."""

_rooms: dict[str, Callable[[], Any]] = {}
_without: set[type] = set()
# Types of arrays that no room serves: each call of a network asks.


def serve(name: str, find: Callable[[], Any]) -> None:
    """Say how the room behind a door is found."""
    _rooms[name] = find
    _without.clear()


def open_room(name: str) -> Any:
    """The room behind a door, loaded now."""
    return _rooms[name]()


def open_room_of_arrays(*arrays: Any) -> Any | None:
    """The room that serves the first of these arrays whose type comes from a package with a door; None: there is none.

    A type that is derived from another comes from that one's package, too. Other libraries' arrays that are handed over
    by DLPack share a door; NumPy's have none.

    >>> open_room_of_arrays([1.0], None) is None
    True
    """
    for array in arrays:
        if type(array) in _without:
            continue
        packages = [kind.__module__.partition(".")[0] for kind in type(array).__mro__]
        for package in packages:
            name = f"arrays of {package}"
            if name in _rooms:
                return _rooms[name]()
        if hasattr(type(array), "__dlpack__") and "numpy" not in packages:
            return _rooms[BY_DLPACK]()
        if type(array).__module__ == "numpy":  # others may come and go
            _without.add(type(array))
    return None


__all__ = ["BY_DLPACK", "open_room", "open_room_of_arrays", "serve"]
