"""Networks fed block by block: every node computes what its inputs allow and carries over what it reads again."""

from __future__ import annotations

from .stream import NetworkStream

__all__ = ["NetworkStream"]
