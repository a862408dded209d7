"""A graph with the Programs it was prepared to for the shapes that it met: a network's, or a body's.

The latest few are kept, as many as their packed weights leave room for.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConvmatError, NetworkError
from ..planner import follow
from . import infer
from .graph import Graph, Node, Spec, Value
from .ops import Options, operator_of
from .program import Program
from .rewrite import rewritten

if TYPE_CHECKING:
    from ..planner.follow import Choice

PROGRAMS = 8
"""Sets of input shapes that a graph is kept prepared for at a time."""

WEIGHT_BYTES = 2**30
"""Packed weights that are kept for all of them together, beside those of the latest."""


@dataclass(frozen=True)
class Setting:
    """What a network was loaded with: its bodies are prepared in the same way.

    `limit`: bytes that a value may take. `rules` of rewriting, None for all. `choices` that plans follow.
    """

    options: Options
    limit: int = infer.MEMORY_LIMIT
    rules: tuple[str, ...] | None = None
    choices: Mapping[str, Choice] | None = None

    def runner(self, graph: Graph) -> Callable[[Sequence[Value]], list[Value]]:
        """From the values of a body's inputs to those of its outputs."""
        programs, names = Programs(graph, self), [each.name for each in graph.inputs]

        def run(values: Sequence[Value]) -> list[Value]:
            found = programs(dict(zip(names, values, strict=True)))
            return [found[name] for name in graph.outputs]

        return run

    def specs(self, graph: Graph, given: Sequence[Spec | None]) -> list[Spec | None]:
        """What is known of a body's outputs for such inputs."""
        return infer.outputs_of(graph, given, self.limit)

    def opened(self, node: Node) -> Callable[..., tuple[Value, ...]]:
        """What runs a node with bodies."""
        bodies = operator_of(node).bodies
        assert bodies is not None
        return bodies.open(node, self)


class Programs:
    """A graph ready to be called with values. May be called from several threads at once."""

    def __init__(self, graph: Graph, setting: Setting) -> None:
        self.graph, self.setting = graph, setting
        self._kept: OrderedDict[Any, Program] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The outputs by name, for the inputs by name."""
        return self.program(specs_of(values))(values)

    def program(self, specs: Mapping[str, Spec]) -> Program:
        """The graph prepared for inputs of these shapes; nothing is known of others before they come."""
        from ..engine import thread_pool

        key = (tuple(specs.items()), thread_pool.count())
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = self.made(specs)
        with self._lock:
            self._kept[key] = made
            kept = [program.weight_bytes for program in self._kept.values()]
            while len(kept) > 1 and (len(kept) > PROGRAMS or sum(kept) > WEIGHT_BYTES):
                self._kept.popitem(last=False)
                kept.pop(0)
        return made

    def made(self, specs: Mapping[str, Spec]) -> Program:
        """The same made anew. Raises NetworkError, for a saved network whatever is wrong with the file's nodes."""
        if self.setting.choices is None:
            return self._planned(specs)
        try:
            with follow.following(self.setting.choices):
                return self._planned(specs)
        except (ConvmatError, MemoryError):
            raise
        except Exception as error:  # the onnx package would have refused attributes of a wrong kind
            raise NetworkError(
                f"load: one of the network's nodes does not fit its operator\n  {type(error).__name__}: {error}"
            ) from error

    def met(self) -> list[Mapping[str, Spec]]:
        """The shapes that it is prepared for, the latest last."""
        with self._lock:
            return [dict(specs) for specs, _ in self._kept]

    def _planned(self, specs: Mapping[str, Spec]) -> Program:
        setting = self.setting
        graph, known = infer.inferred(self.graph, specs, setting.limit, setting.opened)
        graph, known = rewritten(graph, known, setting.rules)
        return Program(graph, known, setting)


def specs_of(values: Mapping[str, Value]) -> dict[str, Spec]:
    """Of those that are tensors."""
    return {
        name: Spec(value.shape, value.dtype)
        for name, value in values.items()
        if isinstance(value, np.ndarray)
    }
