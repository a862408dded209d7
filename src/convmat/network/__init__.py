"""Convolutional networks from ONNX files, run as matrix products.

    net = convmat.load("model.onnx")
    y = net(x)

read.py makes a Graph of a file; ops/ knows each operator; program.py prepares a graph for the shapes of its inputs
(plans, packed weights, one arena of memory); net.py is what users hold, loading.py makes it of a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .loading import load
from .net import Network

if TYPE_CHECKING:
    from .quantising import quantize


def __getattr__(name: str) -> Any:
    """`quantize` loads when it is asked for: who runs a network does not wait for what makes another one of it."""
    if name == "quantize":
        from .quantising import quantize

        return quantize
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Network", "load", "quantize"]
