"""A file that was read before it is known what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class HeldFile(NamedTuple):
    """A file's path, and what it held when it was read."""

    path: Path
    content: bytes


__all__ = ["HeldFile"]
