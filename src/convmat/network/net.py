"""Network: a graph ready to be called with arrays."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import NetworkError
from . import infer
from .graph import Array, Graph, Input, Spec
from .ops import Options
from .program import Program
from .read import read

PROGRAMS = 8
"""Sets of input shapes that a network keeps prepared at a time."""


def load(
    source: str | os.PathLike[str] | bytes,
    *,
    exact: bool = False,
    rtol: float | None = None,
    workspace_limit: int | None = None,
    memory_limit: int = infer.MEMORY_LIMIT,
) -> Network:
    """The network of an ONNX file (its path, or the bytes of it).

    `exact`, `rtol` and `workspace_limit` are those of `conv`, for each of its convolutions. `memory_limit`: bytes
    that any one of its values may take. Raises NetworkError.

    >>> import onnx
    >>> text = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { y = Relu(x) }'
    >>> net = load(onnx.parser.parse_model(text).SerializeToString())
    >>> net(np.array([-1.0, 2.0], np.float32))
    array([0., 2.], dtype=float32)
    """
    return Network(read(source), Options(exact, rtol, workspace_limit), memory_limit)


class Network:
    """A convolutional network. Call it with its input, or with a dict of its inputs by name.

    It prepares itself for the shapes that it is called with (plans, packed weights, memory) and keeps what it
    prepared. May be called from several threads at once.

    >>> import onnx
    >>> text = '<ir_version: 8, opset_import: ["": 17]> g (float[n,2] a, float[2] b) => (y) { y = Mul(a, b) }'
    >>> net = load(onnx.parser.parse_model(text).SerializeToString())
    >>> print(*net.inputs, sep="; ")
    a: float32 nx2; b: float32 2
    >>> net({"a": np.ones((1, 2), np.float32), "b": np.array([3, 4], np.float32)})
    array([[3., 4.]], dtype=float32)
    """

    def __init__(self, graph: Graph, options: Options, memory_limit: int) -> None:
        self.graph, self.options, self.memory_limit = graph, options, memory_limit
        self._programs: OrderedDict[Any, Program] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What it takes: names, element types and declared extents."""
        return self.graph.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what it gives."""
        return self.graph.outputs

    def __call__(self, x: Any) -> Any:
        """An array if the network has one output, else a dict by name. Raises NetworkError."""
        given = self._read(x)
        program = self.program({name: Spec(array.shape, array.dtype) for name, array in given.items()})
        found = program(given)
        return found[self.outputs[0]] if len(self.outputs) == 1 else found

    def program(self, specs: Mapping[str, Spec]) -> Program:
        """The graph prepared for inputs of these shapes."""
        from ..engine import pool

        key = (tuple(specs.items()), pool.count())
        with self._lock:
            if key in self._programs:
                self._programs.move_to_end(key)
                return self._programs[key]
        made = self._made(specs)
        with self._lock:
            self._programs[key] = made
            while len(self._programs) > PROGRAMS:
                self._programs.popitem(last=False)
        return made

    def _made(self, specs: Mapping[str, Spec]) -> Program:
        graph, known = infer.inferred(self.graph, specs, self.memory_limit)
        return Program(graph, known, self.options)

    def _read(self, x: Any) -> dict[str, Array]:
        """The inputs by name, as C-contiguous arrays of the declared types."""
        if not isinstance(x, Mapping):
            if len(self.inputs) != 1:
                raise NetworkError(
                    f"call: the network has {len(self.inputs)} inputs, one array was given\n"
                    f"  inputs: {', '.join(map(str, self.inputs))}\n  give a dict of arrays by name"
                )
            x = {self.inputs[0].name: x}
        names = [each.name for each in self.inputs]
        if set(x) != set(names):
            raise NetworkError(
                f"call: the inputs are not those of the network\n  given: {', '.join(map(repr, x)) or 'none'}\n"
                f"  inputs: {', '.join(map(str, self.inputs))}"
            )
        return {each.name: _fitting(each, x[each.name]) for each in self.inputs}


def _fitting(wanted: Input, value: Any) -> Array:
    array = np.asarray(value)
    if array.dtype != wanted.dtype:
        if isinstance(value, list | tuple) and np.can_cast(array.dtype, wanted.dtype, "same_kind"):
            array = array.astype(wanted.dtype)
        else:
            raise NetworkError(
                f"call: the input {wanted.name!r} has another element type than the network's\n"
                f"  {array.dtype}, expected {wanted.dtype}\n  convert it, e.g. x.astype('{wanted.dtype}')"
            )
    if wanted.shape is not None and array.ndim != len(wanted.shape):
        raise NetworkError(
            f"call: the input {wanted.name!r} has {array.ndim} axes, {array.shape}\n"
            f"  the network takes {wanted}\n  give an array with {len(wanted.shape)} axes"
        )
    return np.ascontiguousarray(array).reshape(array.shape)
