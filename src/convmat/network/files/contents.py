"""What the file of a saved network holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from ...lazy_dataclass import dataclass
from ...planner import Choice
from ..graph import Graph
from ..ops import Options

ALIGNMENT = 64
"""Bytes: tensors and objects begin at multiples of it."""

FLOATS = ("float16", "float32", "float64", "complex64", "complex128")
WHOLE = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
"""Element types by name; beside them there are those of NARROW."""


@dataclass(frozen=True)
class Code:
    """Object files by the names of their kernels, for this CPU and version of the engine alone."""

    cpu: str
    version: str
    objects: Mapping[str, bytes]


@dataclass(frozen=True)
class Contents:
    """What a file holds: a graph, what it was loaded with, the choices of its plans, and machine code."""

    graph: Graph
    options: Options = field(default_factory=Options)
    rules: tuple[str, ...] | None = None
    choices: Mapping[str, Choice] = field(default_factory=dict)
    code: Code | None = None
