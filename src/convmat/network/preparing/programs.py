"""A graph with the Programs it was prepared to for the shapes that it met: a network's, or a body's.

The latest few are kept, as many as their packed weights leave room for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from ...engine import thread_pool
from ...errors import ConvmatError, NetworkError
from ...lazy_dataclass import dataclass
from ...planner import Record, keep_kinds
from ...processes import Lock, OfThisProcess, collecting_nothing
from ..graph import MEMORY_LIMIT, Array, Graph, Node, Spec, Value, specs_of
from ..ops import Options, operator_of
from ..rewriting.rewrite import rewrite, rewrite_before_constants
from ..rewriting.widening import widen
from . import infer
from .keeping import order_readers_first
from .program import Program
from .resizing import Settled
from .sharing import Shared
from .stages import split_stages

if TYPE_CHECKING:
    from ...planner import Choice

PROGRAMS = 32
"""Sets of input shapes that a graph is kept prepared for at a time."""

WEIGHT_BYTES = 2**30
"""Packed weights that are kept for all of them together, beside those of the latest."""

FOLDED_BYTES = 1 << 20
"""Bytes of constants computed of others that are kept for all shapes."""

SETTLED = 3
"""Rewritten graphs that are kept for other shapes: some sizes have extents alike by chance, and serve no other."""

MOST_CHANGES = 16
"""Sets of shapes that a body, or what waits for a shape, is prepared for before it counts as one that ever changes."""


@dataclass(frozen=True)
class Setting:
    """What a network was loaded with: its bodies are prepared in the same way.

    `limit`: bytes that a value may take. `rules` of rewriting, None for all. `choices` that plans follow.
    """

    options: Options
    limit: int = MEMORY_LIMIT
    rules: tuple[str, ...] | None = None
    choices: Mapping[str, Choice] | None = None
    bodies: list[Programs] | None = None
    """Where those that are made of it are noted."""
    held: Mapping[str, Array] = field(default_factory=dict)
    """The arrays of the inputs that a graph keeps from call to call: its steps read and write them in place."""
    shared: Shared | None = None
    """What it has in common with other networks, one of which runs at a time."""

    def runner(self, graph: Graph) -> Callable[[Sequence[Value]], list[Value]]:
        """From the values of a body's inputs to those of its outputs."""
        names = [each.name for each in graph.inputs]
        if (passed := find_passed(graph)) is not None:
            return lambda values: [values[at] for at in passed]
        programs = self.within(graph, body=True)

        def run(values: Sequence[Value]) -> list[Value]:
            found = programs(dict(zip(names, values, strict=True)))
            return [found[name] for name in graph.outputs]

        return run

    def within(self, graph: Graph, *, body: bool = False) -> Programs:
        """A part of the network that is prepared for the shapes it meets."""
        made = Programs(graph, self, part=True, body=body)
        if self.bodies is not None:
            self.bodies.append(made)
        return made

    def specs(self, graph: Graph, given: Sequence[Spec | None]) -> list[Spec | None]:
        """What is known of a body's outputs for such inputs."""
        return infer.outputs_of(graph, given, self.limit)

    def open_bodies(self, node: Node) -> Callable[..., tuple[Value, ...]]:
        """What runs a node with bodies."""
        bodies = operator_of(node).bodies
        assert bodies is not None
        return bodies.open(node, self)


def find_passed(graph: Graph) -> list[int] | None:
    """Which of its inputs a graph gives as they are, one for each output; None where it computes something.

    >>> import numpy as np
    >>> from convmat.network.graph import Input, Node
    >>> inputs = (Input("a", np.dtype("f4"), None), Input("b", np.dtype("f4"), None))
    >>> find_passed(Graph((Node("Identity", ("b",), ("y",)),), inputs, ("y", "a"), {}))
    [1, 0]
    """
    places = {each.name: at for at, each in enumerate(graph.inputs)}
    for node in graph.nodes:
        if node.key != "Identity" or node.inputs[0] not in places:
            return None
        places[node.outputs[0]] = places[node.inputs[0]]
    return [places[name] for name in graph.outputs] if all(n in places for n in graph.outputs) else None


class Programs(OfThisProcess):
    """A graph ready to be called with values. May be called from several threads at once.

    `part`: it is a part of a network, whose shapes may be new at each call. Where most of them are, preparing takes
    longer than it gains: its nodes then run one by one, by NumPy. `body`: of a node, which copies what it gives away;
    what comes in and goes out again is not copied before.
    """

    def __init__(self, graph: Graph, setting: Setting, part: bool = False, body: bool = False) -> None:
        self.graph, self.setting, self.part, self.body = graph, setting, part, body
        self.latest: Program | None = None
        self._any: Program | None = None
        self._source: tuple[Graph, frozenset[str]] | None = None
        self._settled: list[Settled] = []  # replaced, never changed: several threads may prepare
        self._found = self._made = 0
        self._shared = Shared() if setting.shared is None else setting.shared
        self._kept: OrderedDict[Any, tuple[dict[str, Spec], Program]] = OrderedDict()
        self._met: dict[str, Any] = {}
        self._lock = Lock()

    def __call__(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The outputs by name, for the inputs by name."""
        return self.program(specs_of(values))(values)

    def program(self, specs: Mapping[str, Spec]) -> Program:
        """The graph prepared for inputs of these shapes; nothing is known of others before they come."""
        made = self.latest = self._find_or_prepare(specs)
        return made

    def _find_or_prepare(self, specs: Mapping[str, Spec]) -> Program:
        # Plain tuples: a body is looked up at each turn, and comparing Specs takes longer.
        known = (None if spec.value is None else spec.value.tobytes() for spec in specs.values())
        key = (*((name, s.shape, s.dtype) for name, s in specs.items()), *known, thread_pool.count())
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept[key] = self._kept.pop(key, found)
                self._found += 1
                return found[1]
            self._made += 1
            changes = self.part and self._made > max(MOST_CHANGES, self._found)
        if changes:
            self._any = self._any or self._prepare_shapeless()
            return self._any
        with collecting_nothing():
            made = self.prepare(specs)
        keep_kinds()
        with self._lock:
            self._kept[key] = dict(specs), made
            while len(self._kept) > 1 and (len(self._kept) > PROGRAMS or self._weight_bytes() > WEIGHT_BYTES):
                self._kept.popitem(last=False)
                if self.setting.shared is None:
                    self._shared.arenas.shrink(max(each.memory.size for _, each in self._kept.values()))
        return made

    def _weight_bytes(self) -> int:
        sizes: dict[int, int] = {}
        for _, program in list(self._kept.values()):  # a signal's handler may call the network meanwhile
            sizes |= program.packed
        return sum(sizes.values())

    def prepare(self, specs: Mapping[str, Spec], record: Record | None = None) -> Program:
        """The same made anew; plans and kernels are written down in the record, and those of bodies when they run.

        Raises NetworkError, for a saved network whatever is wrong with the file's nodes.
        """
        setting = self.setting
        record = record or setting.options.record
        if record is None and setting.choices is not None:
            record = Record(setting.choices)
        setting = replace(
            setting,
            options=replace(setting.options, record=record, packed=self._shared.packed, met=self._met),
        )
        if setting.choices is None:
            return self._prepare(specs, setting)
        try:
            return self._prepare(specs, setting)
        except (ConvmatError, MemoryError):
            raise
        except Exception as error:  # the onnx package would have refused attributes of a wrong kind
            raise NetworkError(
                f"load: one of the network's nodes does not fit its operator\n  {type(error).__name__}: {error}"
            ) from error

    @property
    def met(self) -> list[Mapping[str, Spec]]:
        """The shapes that it is prepared for, the latest last."""
        with self._lock:
            return [specs for specs, _ in list(self._kept.values())]

    @property
    def kept(self) -> list[Program]:
        """Programs that it is prepared to, the latest last."""
        with self._lock:
            return [program for _, program in list(self._kept.values())] + ([self._any] if self._any else [])

    def _prepare_shapeless(self) -> Program:
        """The graph for any shapes."""
        setting = self.setting
        graph, specs = infer.infer_specs(self.graph, {}, setting.limit, setting.open_bodies)
        return Program(graph, specs, setting, body=self.body, arenas=self._shared.arenas)

    def _prepare(self, specs: Mapping[str, Spec], setting: Setting) -> Program:
        return self.prepare_graph(self.graph, specs, setting)

    def _fold(self, graph: Graph, setting: Setting) -> tuple[Graph, frozenset[str]]:
        """A graph after the rules that come first, and the names of what is constant whatever the shapes of its inputs.

        That is computed already, unless it is large: most of it has other arrays instead in the end.
        """
        first = rewrite_before_constants(graph, setting.rules)
        folded, _ = infer.infer_specs(first, {}, setting.limit, setting.open_bodies)
        made = (name for node in first.nodes if node.op != "Constant" for name in node.outputs)
        size = sum(folded.constants[name].nbytes for name in made if name in folded.constants)
        return folded if size <= FOLDED_BYTES else first, frozenset(folded.constants)

    def prepare_graph(self, graph: Graph, specs: Mapping[str, Spec], setting: Setting) -> Program:
        """A graph, this one or one that computes the same, prepared for inputs of these shapes."""
        specs = {**specs, **specs_of(setting.held)}
        own = graph is self.graph
        if own and self._source is None:
            self._source = self._fold(graph, setting)
        source, constant = self._source if own and self._source else self._fold(graph, setting)

        if own:
            for settled in self._settled:
                if (found := settled.resize(specs, setting.limit)) is not None:
                    self._settled = [settled, *(each for each in self._settled if each is not settled)]
                    return Program(*found, setting, body=self.body, arenas=self._shared.arenas)
        graph, known = infer.infer_specs(source, specs, setting.limit, setting.open_bodies)
        first, rest = split_stages(graph, known)
        if rest is None and not setting.held and setting.options.precision != "float16":
            first, known = widen(first, known)
        first, known = rewrite(first, known, setting.rules)
        first = order_readers_first(first)
        if own and rest is None:
            made = Settled.of(source, constant, graph, first, known)
            # Behind the one that served last: it serves this size alone, maybe.
            added = [] if made is None else [made]
            self._settled = [*self._settled[:1], *added, *self._settled[1:]][:SETTLED]
        return Program(first, known, setting, graph.outputs, rest, self.body, self._shared.arenas)
