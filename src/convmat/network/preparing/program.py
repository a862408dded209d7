"""A graph prepared for the shapes of its inputs: steps, one after the other, over one arena of memory.

    values    one array for each value: constants, views of the arena, and what each call brings or makes anew
    steps     step(*inputs, *outputs) over those; a node whose shapes are known only when it runs makes its arrays then

Nothing is allocated in a steady state but the outputs. Calls that run at the same time have arenas of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...engine import buffers, thread_pool
from ...errors import ConvmatError, NetworkError
from ...planner import load_plans
from ...processes import OfThisProcess, kept_property
from ..graph import Graph, Node, Shape, Spec, Value, specs_of
from ..ops import Options, operator_of
from ..ops.convolution import make_room_for_scaled
from ..ops.depth_first import FusedGroup, find_groups
from ..ops.fallback import REFERENCE
from ..ops.half import packed_sizes
from ..ops.planned import Moved
from . import infer
from .arena import Allotment
from .binding import prepare_steps
from .chains import Call, Chain, chain_calls, join_turns
from .layouts import ProgramLayout, Turn, stand_in, take_out, take_turn
from .places import choose_places, find_aliases, is_view, take_in
from .product_plans import find_plans
from .results import cast_result, copy_shared, require_results
from .sharing import Arena, Arenas, IdleStates
from .sweeps import find_attention, find_layers, find_sweeps, repay_sweeps
from .tasks import NOTHING, NodeTask, State, Step, copy_first, do_nothing

if TYPE_CHECKING:
    from .programs import Programs, Setting


class Program(OfThisProcess):
    """Runs a graph for inputs of the given Specs. May be called from several threads at once.

    `rest` is what waits for shapes that this part finds, and is prepared for them; `outputs` are those of both. `body`:
    an input that is an output too is given back as it is.
    """

    def __init__(
        self,
        graph: Graph,
        specs: Mapping[str, Spec],
        setting: Setting,
        outputs: tuple[str, ...] | None = None,
        rest: Graph | None = None,
        body: bool = False,
        arenas: Arenas | None = None,
    ) -> None:
        self.graph = graph
        wanted = graph.outputs if outputs is None else outputs
        self.outputs = tuple(name for name in wanted if name not in graph.kept.values())
        self.bodies: list[Programs] = []
        self.setting = replace(setting, bodies=self.bodies, shared=None)  # bodies run while this does
        self.rest = None if rest is None else self.setting.within(rest)
        made = (name for node in graph.nodes for name in node.outputs if name)
        names = [*(each.name for each in graph.inputs), *graph.constants, *made]
        self._slot = {name: i for i, name in enumerate(names)}
        self.specs = infer.keep_values(specs, self._slot)
        self._kept = {next: name for name, next in graph.kept.items() if next}
        self._fresh: list[tuple[int, Shape, np.dtype[Any]]] = []
        self._called: list[int] = []
        self.tasks: list[NodeTask] = []
        self._prepare(setting.options, body)
        self.idle = IdleStates(arenas or Arenas())
        # Trainers read what layers hand on; tiles share an arena whose size was counted.
        turns = not setting.held and setting.shared is None
        self._turns = [Turn()] if turns else []  # nobody's while a thread looks whether it has come

    def __call__(
        self, inputs: Mapping[str, Value], watch: Callable[[NodeTask], None] | None = None
    ) -> dict[str, Any]:
        """The outputs by name. `watch` is told of each task that is done: they then run one by one.

        Denormals count as zero: on CPUs that leave them to their microcode, what sigmoids leave near it takes long.
        """
        mode = thread_pool.flush_denormals()
        try:
            return self._run_stages(inputs, watch)
        finally:
            thread_pool.restore_mode(mode)

    def _run_stages(
        self, inputs: Mapping[str, Value], watch: Callable[[NodeTask], None] | None
    ) -> dict[str, Any]:
        stage, answer = self, self._run(inputs, watch)
        if self.rest is None:
            return answer
        values = {**inputs, **answer}
        while stage.rest is not None:
            values = {each.name: values[each.name] for each in stage.rest.graph.inputs}
            stage = stage.rest.program(specs_of(values))
            found = stage._run(values, watch)
            values |= found
            answer |= found
        return {name: answer[name] for name in self.outputs}

    def stages(self) -> list[Program]:
        """This part, and what was prepared last of those that wait for shapes."""
        found = [self]
        while (rest := found[-1].rest) is not None and rest.latest is not None:
            found.append(rest.latest)
        return found

    def _run(self, inputs: Mapping[str, Value], watch: Callable[[NodeTask], None] | None) -> dict[str, Any]:
        state = self.state(self._by_layers if watch is not None else None)
        try:
            whole = self._do_tasks(state, inputs, watch)
            found = self._collect_outputs(state.values) if whole else {}
        except BaseException:
            self.idle.arenas.give(state.arena)
            raise
        self._give_back(state)
        # Steps by themselves look at indices first, and say which are wrong.
        return found if whole else self._run(inputs, lambda task: None)

    def _do_tasks(
        self, state: State, inputs: Mapping[str, Value], watch: Callable[[NodeTask], None] | None
    ) -> bool:
        """All of them; False, and the answer is none, where a chain of steps met an index that names no place."""
        values = state.values
        for name, array in inputs.items():
            values[self._slot[name]] = array
        take_in(values, self._given, self._aliases)
        for slot, shape, dtype in self._fresh:
            values[slot] = buffers.empty(shape, dtype)
        if watch is None and len(state.work) == 1 and isinstance(state.work[0], Chain):
            return state.work[0](values)
        task = None
        try:
            with np.errstate(all="ignore"):  # infinities and NaN are answers, as the standard has it
                for each in state.work if watch is None else self.tasks:
                    if isinstance(each, Chain):
                        if not each(values):
                            return False
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
        return True

    def _collect_outputs(self, values: Sequence[Value]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, slot, copied in self._answers:
            made = values[slot]
            again = copied or (found and any(made is other for other in found.values()))
            found[name] = np.array(made) if again and isinstance(made, np.ndarray) else made
        return found

    # -- memory --------------------------------------------------------------------------------------------------------

    @property
    def memory(self) -> Allotment:
        """Where values lie in the arena."""
        return self.layout.memory

    def state(self, layout: ProgramLayout | None = None) -> State:
        """What one call works on: left by a call that ended, or new; of a layout, the latest where none is given."""
        layout = layout or self.layout
        if layout is self.layout and (left := self.idle.claim()) is not None:
            return left
        return self.new_state(layout, self.idle.arenas.take(layout.memory.size, self.idle))

    def new_state(self, layout: ProgramLayout, arena: Arena) -> State:
        """One that no call has worked on, in an arena that is as large as the layout."""
        values: list[Value] = [None] * (len(self._slot) + 1)
        for name, array in self.graph.constants.items():
            values[self._slot[name]] = array
        held = self.setting.held
        for name in self.graph.kept:
            values[self._slot[name]] = held[name]
        for name, first in self._kept.items():  # written where what it takes the place of lies
            values[self._slot[name]] = held[first]
        for name, place in layout.memory.places.items():
            spec = self.specs[name]
            lying = arena.values[place : place + spec.bytes]
            values[self._slot[name]] = lying.view(spec.dtype).reshape(spec.shape)
        for name in layout.absent:
            values[self._slot[name]] = stand_in(self.specs[name])
        calls = []
        for task in self.tasks:
            places = (*task.reads, *task.writes)
            looks = isinstance(task.run, Moved) and task.run.check is not None
            # What is kept must not be written anew before it is known that indices are right.
            if task.makes or (looks and held):
                calls.append(Call(task, task.run, None))
            elif all(values[i] is not None for i in places):
                calls.append(Call(task, task.run, [values[i] for i in places]))
            else:
                changing = {i: self._changing[i] for i in places if values[i] is None and i in self._changing}
                known = all(values[i] is not None or i in changing for i in places)
                calls.append(Call(task, task.run, None, places, changing if known else None, values))
        return State(values, chain_calls(join_turns(calls, layout.groups), arena.scratch), layout, arena)

    def _give_back(self, state: State) -> None:
        for slot in self._released:
            state.values[slot] = None
        self.idle.keep(state, self.layout)
        if not self._turns or (turn := take_turn(self._turns)) is None:
            return
        with suppress(ConvmatError, MemoryError):  # the answer is there, and so are its layers
            if turn.has_come(self._find_groups):
                self._go_deep(turn)
            elif not turn.over:
                self._turns.append(turn)

    def go_deep(self) -> None:
        """Compute layers depth first from now on where that is quicker: to the same bits, in less memory."""
        for stage in self.stages():
            if (turn := take_turn(stage._turns)) is not None:
                stage._go_deep(turn)

    def _go_deep(self, turn: Turn) -> None:
        options = replace(self.setting.options, scaled=make_room_for_scaled(self.graph))
        woven = find_layers(
            turn.groups(self._find_groups),
            lambda node, plan: self._step(node, replace(options, plan=plan)),
            options.record,
        )
        while woven:
            placed = self._place((*self._woven, *woven))
            absent = take_out(placed, self.graph, [*woven])
            layout = ProgramLayout(placed.allotment(), self._groups_of(self._woven | woven), absent)
            state, nodes = self.state(layout), self.graph.nodes
            single = {id(task.node) for task in state.work if isinstance(task, NodeTask)}
            apart = {group for group in woven if any(id(nodes[at]) in single for at in group)}
            if not apart:
                self.layout = layout
                self.idle.keep(state, layout)
                return
            self.idle.arenas.give(state.arena)
            # They read what lies elsewhere in each call, made by a step before them.
            woven = {group: each for group, each in woven.items() if group not in apart}

    def _find_groups(self) -> list[FusedGroup]:
        """The layers that gain by being computed depth first."""
        return find_groups(self.graph, self.specs, {id(task.node): task.run for task in self.tasks})

    def _groups_of(self, woven: Mapping[tuple[int, ...], Any]) -> dict[int, tuple[int, Any]]:
        """The steps that run in turns, by the first of their tasks."""
        numbers = {id(task.node): at for at, task in enumerate(self.tasks)}
        nodes = self.graph.nodes
        return {numbers[id(nodes[group[0]])]: (len(group), each) for group, each in woven.items()}

    # -- preparing -----------------------------------------------------------------------------------------------------

    def _prepare(self, options: Options, body: bool) -> None:
        """Steps for all nodes, and a place in the arena for all that steps write."""
        graph, outputs = self.graph, self.graph.outputs
        options = replace(options, scaled=make_room_for_scaled(graph))
        plans = find_plans(graph, self.specs, options)
        load_plans([*plans.values()])
        record = self.setting.options.record
        self.swept = options.swept or repay_sweeps(graph, self.specs, plans)
        self._sweeps = find_sweeps(graph, self.specs, record) if self.swept else {}
        own = {key: replace(options, plan=plan) for key, plan in plans.items()}
        steps = prepare_steps(
            graph.nodes, lambda node: self._step(node, own.get(id(node), options)), options, plans
        )
        self._woven = find_attention(graph, self.specs, self._sweeps, record)
        parted = [isinstance(step, Moved) for step in steps]
        stepped = [step is not None for step in steps]
        self._place = partial(choose_places, graph, self.specs, stepped, parted)
        placed, aliases = self._place(self._woven), find_aliases(graph, self.specs)
        elsewhere = placed.root.keys() | aliases
        self._aliases = [(self._slot[n], self._slot[of], self.specs[n].shape) for n, of in aliases.items()]
        for node, step in zip(graph.nodes, steps, strict=True):
            lying = placed.joined.get(node.outputs[0])
            whole = lying is not None and node.op == "Concat" and lying.issuperset(node.inputs)
            if whole or (is_view(node) and node.outputs[0] in elsewhere):
                continue
            if step is None:
                self._make_at_turn(node)
                continue
            reads, writes = (self._slots([n for n in names if n]) for names in (node.inputs, node.outputs))
            if lying and isinstance(step, Moved):
                step = step.without({i for i, name in enumerate(node.inputs) if name in lying})
            self.tasks.append(NodeTask(node, step, reads, writes))
            for name in node.outputs:
                if name in outputs and name not in self._kept:
                    self._fresh.append((self._slot[name], self.specs[name].shape, self.specs[name].dtype))
        inputs = {each.name: self._slot[each.name] for each in graph.inputs if each.name not in graph.kept}
        self._given = tuple(slot for name, slot in inputs.items() if name in self.specs)
        self._changing = {self._slot[n]: self.specs[n] for n in (*inputs, *aliases) if n in self.specs}
        self._changing |= {slot: Spec(shape, dtype) for slot, shape, dtype in self._fresh}
        self.layout = self._by_layers = ProgramLayout(placed.allotment(), self._groups_of(self._woven))
        answers = {name: self._slot[name] for name in outputs if name not in self._kept}
        given = set(answers.values())
        copied = given.difference(self._called, inputs.values() if body else (), (s for s, *_ in self._fresh))
        self._answers = [(name, slot, slot in copied) for name, slot in answers.items()]
        passing = (*self._fresh, *self._aliases)
        self._released = [*inputs.values(), *self._called, *(slot for slot, *_ in passing)]
        last = {slot: at for at, task in enumerate(self.tasks) for slot in (*task.reads, *task.writes)}
        for slot in set(self._called) - given:
            task = self.tasks[last[slot]]
            self.tasks[last[slot]] = replace(task, drops=(*task.drops, slot))

    @property
    def weight_bytes(self) -> int:
        """Bytes of all that is packed for it."""
        return sum(self.packed.values())

    @property
    def packed(self) -> dict[int, int]:
        """Bytes of the packed weights of all its steps, those of its bodies and of what waits for shapes too.

        By their identity: programs of other shapes share them.
        """
        sizes: dict[int, int] = {}
        waiting = [self]
        while waiting:  # as many stages behind each other as there are shapes to wait for
            program = waiting.pop()
            sizes |= program._packed_tasks
            sizes |= packed_sizes(run for _, run in program.layout.groups.values())
            waiting += [kept for each in program.bodies for kept in each.kept]
        return sizes

    @kept_property
    def _packed_tasks(self) -> dict[int, int]:
        """`packed` of what runs node by node, which stays as it was prepared."""
        return packed_sizes(task.run for task in self.tasks)

    def _step(self, node: Node, options: Options) -> Step | None:
        """How the node writes into arrays that are there; None where it makes its own."""
        operator = operator_of(node)
        made = [self.specs.get(name) for name in node.outputs if name]
        if id(node) in self._sweeps:
            return self._sweeps[id(node)]
        if is_view(node) and node.outputs[0] in self.graph.outputs and None not in made:
            return copy_first  # what the network gives away does not lie in its arena
        if operator.prepare is None or None in made or any(n and n not in self.specs for n in node.inputs):
            return None
        if not any(spec.size for spec in made if spec):
            return do_nothing
        inputs = [self.specs[name] if name else None for name in node.inputs]
        try:
            return operator.prepare(
                node, inputs, tuple(spec for spec in made if spec), options.for_node(node)
            )
        except NetworkError:
            raise
        except ConvmatError as error:
            raise node.error(str(error)) from error

    def _make_at_turn(self, node: Node) -> None:
        """The node makes its values when its turn comes, none of which lies where one that it reads does.

        The arena is used again, and what comes in is the caller's.
        """
        names, operator, limit = (*node.inputs, *node.captured), operator_of(node), self.setting.limit
        known = [self.specs.get(name) if name else None for name in node.outputs]
        inner = None if operator.bodies is None else self.setting.open_bodies(node)

        def run(*values: Value) -> tuple[Value, ...]:
            if inner is not None:  # whose own values keep to the limit
                made = inner(*values)
            else:
                if None in known:  # says no before anything large is made
                    given = {n: x for n, x in zip(names, values, strict=True) if isinstance(x, np.ndarray)}
                    infer.node_specs(node, operator, {n: Spec.of(x) for n, x in given.items()}, limit)
                made = operator(node, values)
                if operator is REFERENCE:
                    made = tuple(map(cast_result, made, known))
            require_results(node, made, known, limit)
            return tuple(copy_shared(value, values) for value in made)

        writes = self._slots(node.outputs)
        self._called += [slot for slot in writes if slot != NOTHING]
        self.tasks.append(NodeTask(node, run, self._slots(names), writes, makes=True))

    def _slots(self, names: Sequence[str]) -> tuple[int, ...]:
        return tuple(self._slot[name] if name else NOTHING for name in names)
