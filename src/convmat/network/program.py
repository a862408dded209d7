"""A graph prepared for the shapes of its inputs: steps, one after the other, over one arena of memory.

    values    one array for each value: constants, views of the arena, and what each call brings or makes anew
    steps     step(*inputs, *outputs) over those; a node whose shapes are known only when it runs makes its arrays then

Nothing is allocated in a steady state but the outputs. Each call that runs at the same time has an arena of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import recycle
from ..errors import ConvmatError, NetworkError
from .allot import Allotment, Life, allot
from .graph import Array, Graph, Node, Shape, Spec
from .ops import Operator, Options, operator_of

Step = Callable[..., Any]


@dataclass(frozen=True)
class Task:
    """One step: the node it runs, where its operands stand among the values, and which are not needed after it."""

    node: Node
    run: Step
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    drops: tuple[int, ...] = ()
    makes: bool = False
    """Whether `run` gives new arrays instead of writing into those there are."""


class Program:
    """Runs a graph for inputs of the given Specs. May be called from several threads at once."""

    def __init__(self, graph: Graph, specs: Mapping[str, Spec], options: Options) -> None:
        self.graph, self.specs = graph, dict(specs)
        names = [*(each.name for each in graph.inputs), *graph.constants]
        names += [name for node in graph.nodes for name in node.outputs if name]
        self._slot = {name: i for i, name in enumerate(names)}
        self._fresh: list[tuple[int, Shape, np.dtype[Any]]] = []
        self._copied: list[int] = []
        self.tasks: list[Task] = []
        self.memory: Allotment
        self._prepare(options)
        self._idle: list[list[Array | None]] = []
        self._lock = threading.Lock()

    def __call__(
        self, inputs: Mapping[str, Array], watch: Callable[[Task], None] | None = None
    ) -> dict[str, Array]:
        """The outputs by name. `watch` is told of each task that is done."""
        values = self._values()
        for name, array in inputs.items():
            values[self._slot[name]] = array
        for slot, shape, dtype in self._fresh:
            values[slot] = recycle.empty(shape, dtype)
        task = None
        try:
            with np.errstate(all="ignore"):  # infinities and NaN are answers, as the standard has it
                for task in self.tasks:
                    operands = [values[i] for i in task.reads]
                    if task.makes:
                        for i, array in zip(task.writes, task.run(*operands), strict=False):
                            if i >= 0:
                                values[i] = array
                    else:
                        task.run(*operands, *[values[i] for i in task.writes])
                    for i in task.drops:
                        values[i] = None
                    if watch is not None:
                        watch(task)
        except ConvmatError:
            raise
        except Exception as error:  # NumPy's own words for shapes that turn out not to fit, or no memory
            assert task is not None
            raise task.node.error(f"{type(error).__name__}: {error}") from error
        found = {}
        for name in self.graph.outputs:
            made = values[self._slot[name]]
            assert made is not None
            found[name] = np.array(made) if self._slot[name] in self._copied else made
        self._give_back(values)
        return found

    # -- memory --------------------------------------------------------------------------------------------------------

    def _values(self) -> list[Array | None]:
        """The values of one call: those of a call that ended, or new ones."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        values: list[Array | None] = [None] * len(self._slot)
        for name, array in self.graph.constants.items():
            values[self._slot[name]] = array
        arena = recycle.empty((self.memory.size,), np.dtype(np.uint8))
        for name, place in self.memory.places.items():
            spec = self.specs[name]
            values[self._slot[name]] = arena[place : place + spec.bytes].view(spec.dtype).reshape(spec.shape)
        return values

    def _give_back(self, values: list[Array | None]) -> None:
        for each in self.graph.inputs:
            values[self._slot[each.name]] = None
        for slot in (*self._called, *(slot for slot, *_ in self._fresh)):
            values[slot] = None
        with self._lock:
            self._idle.append(values)

    # -- preparing -----------------------------------------------------------------------------------------------------

    def _prepare(self, options: Options) -> None:
        """Steps for all nodes, and a place in the arena for all that steps write."""
        graph, outputs = self.graph, set(self.graph.outputs)
        lives: dict[str, Life] = {}
        root: dict[str, str] = {}  # the value in whose place another lies
        self._called: list[int] = []
        last = self._last_reads()
        for at, node in enumerate(graph.nodes):
            operator = operator_of(node)
            made = tuple(self.specs[name] for name in node.outputs if name and name in self.specs)
            static = len(made) == sum(map(bool, node.outputs)) and not node.captured
            first = node.inputs[0] if node.inputs else ""
            if (
                static
                and operator.view
                and first in root
                and len(node.outputs) == 1
                and node.outputs[0] not in outputs
            ):
                root[node.outputs[0]] = root[first]
                lives[root[first]] = lives[root[first]].until(last.get(node.outputs[0], at))
                continue
            step = self._step(node, operator, made, options) if static else None
            if step is None:
                self._dynamic(node, operator)
                continue
            writes = tuple(self._slot[name] for name in node.outputs if name)
            self.tasks.append(Task(node, step, tuple(self._slot[n] for n in node.reads), writes))
            for name, spec in zip(filter(None, node.outputs), made, strict=True):
                if name in outputs:
                    self._fresh.append((self._slot[name], spec.shape, spec.dtype))
                elif operator.in_place and self._dies(first, at, root, last, spec):
                    root[name] = root[first]
                    lives[root[name]] = lives[root[name]].until(last.get(name, at))
                else:
                    root[name] = name
                    lives[name] = Life(spec.bytes, at, last.get(name, at))
        produced = {slot for slot, *_ in self._fresh} | set(self._called)
        self._copied = [self._slot[name] for name in outputs if self._slot[name] not in produced]
        self._copied += [self._slot[n] for n in outputs if self._slot[n] in self._called]
        self.memory = allot(lives, root)

    def _step(self, node: Node, operator: Operator, made: Sequence[Spec], options: Options) -> Step | None:
        if operator.prepare is None:
            return None
        try:
            return operator.prepare(
                node, [self.specs[n] if n else None for n in node.inputs], tuple(made), options
            )
        except NetworkError:
            raise
        except ConvmatError as error:
            raise node.error(str(error)) from error

    def _dynamic(self, node: Node, operator: Operator) -> None:
        """The node makes its arrays when its turn comes."""
        names = (*node.inputs, *node.captured)

        def run(*arrays: Array) -> tuple[Array, ...]:
            given = iter(arrays)
            return operator(node, [next(given) if name else None for name in names])

        writes = tuple(self._slot[name] if name else -1 for name in node.outputs)
        self._called += [slot for slot in writes if slot >= 0]
        self.tasks.append(Task(node, run, tuple(self._slot[n] for n in node.reads), writes, makes=True))

    def _last_reads(self) -> dict[str, int]:
        """The last node that reads each value."""
        return {name: at for at, node in enumerate(self.graph.nodes) for name in node.reads}

    def _dies(self, name: str, at: int, root: dict[str, str], last: dict[str, int], spec: Spec) -> bool:
        """Whether a node may write over its first input."""
        if name not in root or self.specs[name] != spec:
            return False
        together = [each for each, other in root.items() if other == root[name]]
        return (
            all(last.get(each, -1) <= at for each in together) and self.graph.nodes[at].reads.count(name) == 1
        )
