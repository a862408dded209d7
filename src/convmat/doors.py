"""Doors: what a higher room serves on a lower room's object.

    net.trainer(...)        a network is trained in a room that `network` does not know

Who puts the package together says with `serve` where such a room is found; it is looked for when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_rooms: dict[str, Callable[[], Any]] = {}


def serve(name: str, find: Callable[[], Any]) -> None:
    """Say how the room behind a door is found."""
    _rooms[name] = find


def behind(name: str) -> Any:
    """The room behind a door, loaded now."""
    return _rooms[name]()


__all__ = ["behind", "serve"]
