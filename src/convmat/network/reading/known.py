"""Models without their raw data, and what is known of their graphs from earlier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..graph import Graph
from .wire import Place

if TYPE_CHECKING:
    from .read import ModelReader

Parted = tuple[bytes, list[Place | None]]
"""The bytes of a model without raw data, and where those of each initializer are."""


class KnownGraphs(Protocol):
    """What earlier processes made of models."""

    def find(self, parted: Parted, reader: ModelReader) -> Graph | None:
        """The graph of a model, whose raw data the reader takes from their places; None where none is known."""

    def add(self, parted: Parted, graph: Graph, reader: ModelReader) -> None:
        """Keep a graph that the reader made."""


__all__ = ["KnownGraphs", "Parted"]
