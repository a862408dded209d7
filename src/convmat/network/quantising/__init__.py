"""Networks in 8 bits: which values and layers, their scales, the file in the standard's QDQ form, what it cost.

regions.py says which values, ranges.py and qdq.py how, whole.py is what users call; report.py what they read.
"""

from __future__ import annotations

from .report import Quantised, QuantisedLayer
from .whole import quantize

__all__ = ["Quantised", "QuantisedLayer", "quantize"]
