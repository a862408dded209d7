"""A graph prepared for the shapes of its inputs: steps, one after the other, over one arena of memory.

    values    one array for each value: constants, views of the arena, and what each call brings or makes anew
    steps     step(*inputs, *outputs) over those; a node whose shapes are known only when it runs makes its arrays then

Nothing is allocated in a steady state but the outputs. Each call that runs at the same time has an arena of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import buffers, load_together
from ..errors import ConvmatError, EngineError, NetworkError
from ..planner import Plan, ready_together
from . import infer
from .chains import Call, Chain, chained
from .graph import Array, Graph, Node, Shape, Spec, Value
from .ops import Options, operator_of
from .ops.bodies import shown
from .ops.convolution import plan_of
from .ops.half import plan_behind
from .ops.kernels import LEAST, swept
from .ops.planned import Swept
from .places import Places, is_view, places

if TYPE_CHECKING:
    from .programs import Setting

Step = Callable[..., Any]

NOTHING = -1
"""The place of an operand that is left away: the last of the values, which stays None."""


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


@dataclass
class State:
    """What one call works on: an array for each value, and the work over those that stay."""

    values: list[Value]
    work: list[Chain | Task]


class Program:
    """Runs a graph for inputs of the given Specs. May be called from several threads at once."""

    def __init__(self, graph: Graph, specs: Mapping[str, Spec], setting: Setting) -> None:
        self.graph, self.specs, self.setting = graph, dict(specs), setting
        names = [*(each.name for each in graph.inputs), *graph.constants]
        names += [name for node in graph.nodes for name in node.outputs if name]
        self._slot = {name: i for i, name in enumerate(names)}
        self._fresh: list[tuple[int, Shape, np.dtype[Any]]] = []
        self._called: list[int] = []
        self.tasks: list[Task] = []
        self._prepare(setting.options)
        self._idle: list[State] = []
        self._lock = threading.Lock()

    def __call__(
        self, inputs: Mapping[str, Value], watch: Callable[[Task], None] | None = None
    ) -> dict[str, Any]:
        """The outputs by name. `watch` is told of each task that is done: they then run one by one."""
        state = self.state()
        values = state.values
        for name, array in inputs.items():
            values[self._slot[name]] = array
        for slot, shape, dtype in self._fresh:
            values[slot] = buffers.empty(shape, dtype)
        task = None
        try:
            with np.errstate(all="ignore"):  # infinities and NaN are answers, as the standard has it
                for each in state.work if watch is None else self.tasks:
                    if isinstance(each, Chain):
                        each()
                        continue
                    task = each
                    operands = [values[i] for i in task.reads]
                    if task.makes:
                        for i, array in zip(task.writes, task.run(*operands), strict=False):
                            if i != NOTHING:
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
        found: dict[str, Any] = {}
        for name in self.graph.outputs:
            made = values[self._slot[name]]
            copied = isinstance(made, np.ndarray) and self._slot[name] in self._copied
            found[name] = np.array(made) if copied else made
        self._give_back(state)
        return found

    # -- memory --------------------------------------------------------------------------------------------------------

    def state(self) -> State:
        """What one call works on: left by a call that ended, or new."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        values: list[Value] = [None] * (len(self._slot) + 1)
        for name, array in self.graph.constants.items():
            values[self._slot[name]] = array
        arena = buffers.empty((self.memory.size,), np.dtype(np.uint8))
        for name, place in self.memory.places.items():
            spec = self.specs[name]
            values[self._slot[name]] = arena[place : place + spec.bytes].view(spec.dtype).reshape(spec.shape)
        calls = []
        for task in self.tasks:
            arrays = [values[i] for i in (*task.reads, *task.writes)]
            stay = not task.makes and all(array is not None for array in arrays)
            there = [array for array in arrays if isinstance(array, np.ndarray)]
            calls.append(Call(task, task.run, there if stay else None))
        return State(values, chained(calls))

    def _give_back(self, state: State) -> None:
        for each in self.graph.inputs:
            state.values[self._slot[each.name]] = None
        for slot in (*self._called, *(slot for slot, *_ in self._fresh)):
            state.values[slot] = None
        with self._lock:
            self._idle.append(state)

    # -- preparing -----------------------------------------------------------------------------------------------------

    def _prepare(self, options: Options) -> None:
        """Steps for all nodes, and a place in the arena for all that steps write."""
        graph, outputs = self.graph, self.graph.outputs
        ready_together(self._plans(options))
        self._sweeps = self._swept()
        steps = [self._step(node, options) for node in graph.nodes]
        placed = places(graph, self.specs, [step is not None for step in steps])
        self.memory = placed.allotment()
        for node, step in zip(graph.nodes, steps, strict=True):
            if node.outputs[0] in placed.joined or (is_view(node) and node.outputs[0] in placed.root):
                continue
            if step is None:
                self._dynamic(node, placed)
                continue
            reads, writes = (self._slots([n for n in names if n]) for names in (node.inputs, node.outputs))
            self.tasks.append(Task(node, step, reads, writes))
            for name in node.outputs:
                if name in outputs:
                    self._fresh.append((self._slot[name], self.specs[name].shape, self.specs[name].dtype))
        given = {self._slot[name] for name in outputs}
        self._copied = given - {slot for slot, *_ in self._fresh}
        last = {slot: at for at, task in enumerate(self.tasks) for slot in (*task.reads, *task.writes)}
        for slot in set(self._called) - given:
            task = self.tasks[last[slot]]
            self.tasks[last[slot]] = replace(task, drops=(*task.drops, slot))

    @property
    def weight_bytes(self) -> int:
        """Of the packed weights of all its steps."""
        plans = [plan_behind(task.run) for task in self.tasks]
        return sum(plan.weight_bytes for plan in plans if plan is not None)

    def _plans(self, options: Options) -> list[Plan]:
        """The plans of the convolutions that can be planned: their kernels are compiled side by side."""
        found = []
        for node in self.graph.nodes:
            specs = [self.specs.get(name) for name in node.inputs]
            if node.op in ("Conv", "ConvTranspose") and not node.domain and all(specs[:2]):
                with suppress(ConvmatError):  # its own step says what is wrong
                    found.append(plan_of(node, specs, options))
        return found

    def _swept(self) -> dict[int, Swept]:
        """By the identity of their nodes, those that a kernel passes over, if it can be had: compiled side by side."""
        found: dict[int, Swept] = {}
        if max((spec.size for spec in self.specs.values()), default=0) < LEAST:
            return found
        for node in self.graph.nodes:
            inputs = [self.specs.get(name) for name in node.inputs]
            made = [self.specs.get(name) for name in node.outputs if name]
            if None not in made and all(s or not name for s, name in zip(inputs, node.inputs, strict=True)):
                step = swept(node, inputs, [spec for spec in made if spec])
                found |= {} if step is None else {id(node): step}
        load_together([step.sweep for step in found.values()])
        for key, step in list(found.items()):
            try:
                step.sweep.load()
            except EngineError:  # where nothing is compiled, NumPy runs the node
                del found[key]
        return found

    def _step(self, node: Node, options: Options) -> Step | None:
        """How the node writes into arrays that are there; None where it makes its own."""
        operator = operator_of(node)
        made = [self.specs.get(name) for name in node.outputs if name]
        if is_view(node) and node.outputs[0] in self.graph.outputs and None not in made:
            return _copy  # what the network gives away does not lie in its arena
        if operator.prepare is None or None in made or any(n and n not in self.specs for n in node.inputs):
            return None
        inputs = [self.specs[name] if name else None for name in node.inputs]
        if id(node) in self._sweeps:
            return self._sweeps[id(node)]
        try:
            return operator.prepare(node, inputs, tuple(spec for spec in made if spec), options)
        except NetworkError:
            raise
        except ConvmatError as error:
            raise node.error(str(error)) from error

    def _dynamic(self, node: Node, placed: Places) -> None:
        """The node makes its values when its turn comes; views of the arena are copied, since that is used again."""
        names, operator, limit = (*node.inputs, *node.captured), operator_of(node), self.setting.limit
        lent = [i for i, name in enumerate(names) if name in placed.root]
        known = [self.specs.get(name) if name else None for name in node.outputs]
        inner = None if operator.bodies is None else self.setting.opened(node)

        def run(*values: Value) -> tuple[Value, ...]:
            if inner is not None:  # whose own values keep to the limit
                made = inner(*values)
            else:
                given = zip(names, values, strict=True)
                specs = {name: Spec.of(x) for name, x in given if isinstance(x, np.ndarray)}
                infer.shapes(node, operator, specs, limit)  # says no before anything large is made
                made = operator(node, values)
            seen = [x for i in lent if (x := values[i]) is not None]
            _require(node, made, known, limit)
            return tuple(_apart(value, seen) for value in made)

        writes = self._slots(node.outputs)
        self._called += [slot for slot in writes if slot != NOTHING]
        self.tasks.append(Task(node, run, self._slots(names), writes, makes=True))

    def _slots(self, names: Sequence[str]) -> tuple[int, ...]:
        return tuple(self._slot[name] if name else NOTHING for name in names)


def _require(node: Node, made: Sequence[Value], known: Sequence[Spec | None], limit: int) -> None:
    """That values are what those who read them were prepared for, and sequences no larger than a value may be."""
    for value, spec in zip(made, known, strict=False):
        if isinstance(value, list) and (size := sum(each.nbytes for each in value)) > limit:
            raise node.error(
                f"its sequence takes too much memory\n"
                f"  {len(value):,} tensors are {size:,} bytes; memory_limit = {limit:,}"
            )
        if spec is not None and not (
            isinstance(value, np.ndarray) and (value.shape, value.dtype) == (spec.shape, spec.dtype)
        ):
            raise node.error(f"its result is not what its inputs promise\n  {shown(value)}, expected {spec}")


def _apart(value: Value, seen: Sequence[Value]) -> Value:
    """A value, its arrays copied where they share memory with one of those seen."""
    if isinstance(value, list):
        return [_apart(each, seen) for each in value]  # type: ignore[misc]  # arrays stay arrays
    shares = any(isinstance(x, np.ndarray) and np.may_share_memory(value, x) for x in seen)
    return np.array(value) if value is not None and shares else value


def _copy(x: Array, *rest: Array) -> None:
    """The step of a view whose elements must lie elsewhere."""
    np.copyto(rest[-1], x.reshape(rest[-1].shape))
