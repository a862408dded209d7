"""NetworkStream: a network fed with a signal that comes block by block.

kept      of every value, what outputs to come still read: each node's own history, nothing is computed twice
push      kept, block  ->  every node makes the outputs whose inputs are there  ->  kept is what lies before the next
flush     the end has come: every node makes what is left, with the padding at the end
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arguments import format_shape
from ...errors import NetworkError, PlanError
from ...network.graph import Input, Spec
from ...network.net import Network
from ...network.preparing.sharing import Shared
from ...network.rewriting.rewrite import rewrite_before_constants
from ...planner.arrays import require_type
from ...planner.units import format_bytes
from ...processes import kept_property
from ...stream import Stream
from .block import BlockGraph, StreamPlace, kept_name, move
from .timeline import Timeline, stateless

Array = npt.NDArray[Any]

KINDS = 32
"""Kinds of blocks that are kept prepared: of the beginning, and one for each size and phase of blocks inside."""


@dataclass(frozen=True)
class PreparedBlock:
    """A Move with its network ready; where values stand after it is counted from the period it begins in."""

    move: BlockGraph
    network: Network | None
    after: tuple[StreamPlace, ...]


class NetworkStream(Stream):
    """A network fed with blocks along one axis of its input; all outputs together are those of the whole signal.

    `axis`: that of the input along which blocks come, 2 for (B, C, T). Extents of other axes are the declared ones, an
    open batch counts as 1 (`net.with_shapes`). `push` and `flush` give an array, or a dict by name where the network
    has several outputs. One thread at a time may use a stream. Raises NetworkError, naming the node, where something
    looks at all of the axis.

    >>> import onnx
    >>> text = '<ir_version: 8, opset_import: ["": 17]> g (float[1,1,n] x, float[1,1,3] w) => (y)'
    >>> text += ' <float[1,1,3] w = {1, 10, 100}> { a = Conv <pads = [2, 0]> (x, w)  b = Relu(a)  y = Add(b, x) }'
    >>> import convmat
    >>> net = convmat.load(onnx.parser.parse_model(text.replace(", float[1,1,3] w)", ")")))
    >>> stream = net.stream()
    >>> stream.latency, stream.push(np.ones((1, 1, 2), np.float32)), stream.push(np.ones((1, 1, 1), np.float32))
    (0, array([[[101., 111.]]], dtype=float32), array([[[112.]]], dtype=float32))
    """

    def __init__(self, network: Network, axis: int = 2) -> None:
        graph = stateless(rewrite_before_constants(network.graph, network.rules))
        if len(graph.inputs) != 1:
            raise NetworkError(
                f"stream: the network has {len(graph.inputs)} inputs, one is streamed\n"
                f"  inputs: {', '.join(map(str, graph.inputs))}\n"
                f"  make the others constants of the model, or run it by windows of the signal"
            )
        self.network, self.axis = network, axis
        self._input = graph.inputs[0]
        given = Spec(_shape(self._input, axis), self._input.dtype)
        self.line = Timeline(graph, {self._input.name: given}, axis)
        self._shared = Shared()
        self._prepared: OrderedDict[Any, PreparedBlock] = OrderedDict()
        self.reset()

    # -- what it says --------------------------------------------------------------------------------------------------

    @kept_property
    def latencies(self) -> dict[str, int]:
        """How many elements of the input beyond its own place each output waits for."""
        line, found = self.line, {}
        for name in line.graph.outputs:
            rate, inside = line.rates[name], line.period * (2**30 // line.period)
            first, count = int(rate * inside), max(int(rate * line.period), 1)
            several = (*range(first, first + count), *range(int(rate * line.margin) + 1))
            found[name] = max(0, *(line.waits(name, at) - 1 - int(at / rate) for at in several))
        return found

    @property
    def latency(self) -> int:
        """The longest of them."""
        return max(self.latencies.values())

    @property
    def state(self) -> dict[str, Array]:
        """Copies of the arrays that the next block will read of past ones, by the name of their value."""
        return {name: array.copy() for name, array in self._carried.items()}

    def __str__(self) -> str:
        line = self.line
        extents = enumerate(_shape(self._input, self.axis))
        shape = "x".join("n" if a == self.axis else str(n) for a, n in extents)
        rows = [f"{self._input.name}: {self._input.dtype} {shape}, in periods of {line.period}"]
        for name, latency in self.latencies.items():
            rows.append(f"{name}: {line.rates[name]} for each element, {latency} behind")
        total = sum(array.nbytes for array in self._carried.values())
        count = self._places[self._input.name].made
        rows.append(f"after {count} elements {format_bytes(total)} are carried over:")
        for name, array in self._carried.items():
            nodes = [line.states[name]] if name in line.states else line.graph.readers.get(name, [])
            readers = ", ".join(node.label for node in nodes)
            rows.append(f"  {name}  {format_shape(array.shape)}  {format_bytes(array.nbytes)}, for {readers}")
        return "\n".join(
            rows if self._carried else [*rows[:-1], f"after {count} elements nothing is carried over"]
        )

    # -- running -------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Begin anew: nothing has come."""
        self._places = {name: StreamPlace() for name in self.line.axes}
        self._carried: dict[str, Array] = {}

    def push(self, block: Any) -> Any:
        """The input's next elements, any number of them -> what can be computed of the outputs now.

        Raises GeometryError for another element type and PlanError for another shape, and has taken nothing then.
        """
        given = require_type("block", block, self._input.dtype, "stream")
        given = np.ascontiguousarray(given).reshape(given.shape)
        shape, axis = _shape(self._input, self.axis), self.axis
        n = given.shape[axis] if given.ndim == len(shape) else 0
        wanted = (*shape[:axis], n, *shape[axis + 1 :])
        if given.shape != wanted:
            raise PlanError(
                f"stream: the block does not fit the network's input\n  block.shape = {given.shape}\n"
                f"  give {wanted}, with any extent along axis {axis}; other extents by net.with_shapes(...)"
            )
        return self._answer(self._run(self._next(n), given) if n else {})

    def flush(self) -> Any:
        """What is left of the outputs now that the signal has ended; then `reset`.

        Raises NetworkError where the network does not run on a signal so short.
        """
        count = self._places[self._input.name].made
        if not count:
            return self._answer({})
        last = move(self.line, self._places, 0, self.line.of(count))
        made = self._run(self._prepare_block(last), None)
        self.reset()
        return self._answer(made)

    def _next(self, n: int) -> PreparedBlock:
        """What to do with a block of n elements, from what was prepared before where it is the same."""
        line = self.line
        periods = self._places[self._input.name].made // line.period
        shifts = [int(periods * line.period * line.rates[name]) for name in self._places]
        relative = tuple(
            (p.made - s, p.first - s) for p, s in zip(self._places.values(), shifts, strict=True)
        )
        for key in ((n, relative), (n, relative, periods)):
            if key in self._prepared:
                self._prepared.move_to_end(key)
                return self._prepared[key]
        made = self._prepare_block(move(line, self._places, n), shifts)
        self._prepared[(n, relative) if made.move.inside else (n, relative, periods)] = made
        while len(self._prepared) > KINDS:
            self._prepared.popitem(last=False)
        return made

    def _prepare_block(self, found: BlockGraph, shifts: list[int] | None = None) -> PreparedBlock:
        places = found.after.values()
        after = [
            StreamPlace(p.made - s, p.first - s)
            for p, s in zip(places, shifts or itertools.repeat(0), strict=False)
        ]
        return PreparedBlock(
            found,
            None if found.graph is None else self.network._around(found.graph, self._shared),
            tuple(after),
        )

    def _run(self, prepared: PreparedBlock, block: Array | None) -> dict[str, Array]:
        """Run a block's graph; what is kept, and where values stand, is what it says. The outputs by name."""
        done, line = prepared.move, self.line
        made: dict[str, Any] = {}
        if prepared.network is not None:
            given = {kept_name(name): self._carried[name] for name in done.reads}
            inputs = {each.name for each in prepared.network.inputs}
            if block is not None and line.name in inputs:
                given[line.name] = block
            made = prepared.network._run(given)
        periods = self._places[line.name].made // line.period if block is not None else 0
        kept = {name: self._carried[name] for name in done.stay}
        kept |= {name: made[source] for name, source in done.kept.items()}
        self._carried = {name: kept[name] for name in (*self._places, *line.states) if name in kept}
        self._places = {
            name: StreamPlace(p.made + s, p.first + s)
            for (name, p), s in (
                ((name, p), int(periods * line.period * line.rates[name]))
                for name, p in zip(self._places, prepared.after, strict=True)
            )
        }
        return {name: made[source] for name, source in done.made.items()}

    def _answer(self, made: dict[str, Array]) -> Any:
        """An array, or several by name; without elements where nothing was made."""
        line = self.line
        for name in line.graph.outputs:
            if name not in made:
                part = line.part(name, line.specs, 0, 0)
                made[name] = np.empty([b - a for a, b in part], line.specs[name].dtype)
        found = {name: made[name] for name in line.graph.outputs}
        return found[line.graph.outputs[0]] if len(found) == 1 else found


def _shape(given: Input, axis: int) -> tuple[int, ...]:
    """The declared extents, an open batch as 1 and the axis that grows as 0. Raises NetworkError."""
    if given.shape is None or not 0 <= axis < len(given.shape):
        raise NetworkError(
            f"stream: the input has no axis {axis}\n  {given}\n"
            f"  say which one grows, net.stream(axis=1), or the shape: net.with_shapes({given.name}=(1, 80, 100))"
        )
    shape = []
    for a, n in enumerate(given.shape):
        if not isinstance(n, int) and a not in (0, axis):
            example = {given.name: tuple(m if isinstance(m, int) else 64 for m in given.shape)}
            raise NetworkError(
                f"stream: the extent of axis {a} is open\n  {given}\n"
                f"  fill it in, e.g. net.with_shapes({example!r}).stream()"
            )
        shape.append(0 if a == axis else n if isinstance(n, int) else 1)
    return tuple(shape)


__all__ = ["NetworkStream"]
