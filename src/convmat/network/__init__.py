"""Convolutional networks from ONNX files, run as matrix products.

    net = convmat.load("model.onnx")
    y = net(x)

read.py makes a Graph of a file; ops/ knows each operator; program.py prepares a graph for the shapes of its inputs
(plans, packed weights, one arena of memory); net.py is what users hold.
"""

from __future__ import annotations

from .net import Network, load
from .quantising import quantize

__all__ = ["Network", "load", "quantize"]
