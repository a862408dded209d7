"""Doors: what a higher room serves on a lower room's object.

    net.trainer(...)        a network is trained in a room that `network` does not know
    conv(dask_array, w)     lazy arrays are computed with in a room that `api` does not know

Who puts the package together says with `serve` where such a room is found; it is looked for when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

    A type that is derived from another comes from that one's package, too.

    >>> open_room_of_arrays([1.0], None) is None
    True
    """
    for array in arrays:
        if type(array) in _without:
            continue
        for kind in type(array).__mro__:
            name = f"arrays of {kind.__module__.partition('.')[0]}"
            if name in _rooms:
                return _rooms[name]()
        if type(array).__module__ == "numpy":  # others may come and go
            _without.add(type(array))
    return None


__all__ = ["open_room", "open_room_of_arrays", "serve"]
