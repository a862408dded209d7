"""Copying what windows reach of x, and the addresses in the copy of lines of k and of groups of columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ....lazy_dataclass import dataclass
from ...ir.arguments import Arguments
from ...ir.emitter import Function, Module
from ...ir.instructions import Value, below, const, i1, i32, i64, select, splat, trunc
from ...ir.shuffles import widen
from ...job import WORD
from .pack_b import Elements, pack_parameters
from .task import Task
from .walk import Walk
from .windows import SharedWindows

Box = Mapping[str, tuple[Value, Value]]
"""First value of each index in a block, and how many there are."""


class CopyPacker:
    """Writes `pack(x, out, start, count, box, args, at..)`, whose parameters are those of `BPacker`'s.

    start, count: of the walk's lane index; box: (first, count) of each of its taps. Lines are copied as they lie.
    """

    def __init__(self, walk: Walk, arguments: Arguments, elements: Elements) -> None:
        self.walk, self.arguments, self.elements = walk, arguments, elements
        self._checks = {f"axis{check.axis}": check for check in walk.checks}

    def function(self, module: Module, name: str = "pack") -> Function:
        """Emits it."""
        fn = module.function(name, pack_parameters(self.walk))
        x, out, start, count, box, args, *at = fn.arguments
        fixed = dict(zip(self.walk.moved, at, strict=True))
        self.fn = fn
        self._argument: Callable[[str], Value] = lambda name: self.arguments.load(fn, args, name)
        self._box = read_box(fn, box, self.walk.taps)
        self._start, self._count = start, count
        self._from = {
            name: fixed.get(check.axis, const(i64, 0)) + check.offset for name, check in self._checks.items()
        }
        self._nest(0, x + start * self._argument(f"step {self.walk.lane}"), out, const(i1, 1))
        return fn

    def _nest(self, depth: int, source: Value, out: Value, alive: Value) -> None:
        """Loops over the axes, and in the innermost a line."""
        if depth == len(self.walk.taps):
            self._line(source, out, alive)
            return
        name, fn = self.walk.taps[depth], self.fn
        first, count = self._box[name]
        step, move = self._argument(f"step {name}"), self._argument(f"copy {name}")
        check = self._checks.get(name)
        positions = [self._from[name] + first] if check else []
        limits = [self._argument(f"limit {check.axis}")] if check else []
        with fn.loop(0, count, carried=[source + first * step, out, *positions], at_least_once=True) as loop:
            here, there, *position = loop.carried
            inside = alive
            for each, limit in zip(position, limits, strict=True):
                inside = inside & below(each, limit)
            self._nest(depth + 1, here, there, inside)
            loop.carry(here + step, there + move, *(each + 1 for each in position))

    def _line(self, source: Value, out: Value, alive: Value) -> None:
        """One line: what lies outside the array is 0."""
        fn, e, check = self.fn, self.elements, self._checks.get(self.walk.lane)
        stop = self._argument(f"limit {check.axis}") if check else self._count
        ahead = self._argument("ahead")
        end = splat(trunc(select(alive, stop, const(i64, 0)), to=i32), lanes=e.lanes)
        with fn.loop(0, self._count, e.lanes, at_least_once=True) as chunk:
            at = chunk.index
            first = at + self._start + self._from[self.walk.lane] if check else at
            place = splat(trunc(first, to=i32), lanes=e.lanes) + const(i32.x(e.lanes), range(e.lanes))
            loaded = fn.load(source + at * e.source.bytes, e.source.x(e.lanes), mask=below(place, end))
            fn.prefetch(source + (at * e.source.bytes + ahead), 0)
            fn.store(widen(loaded, e.work, signed=e.signed), out + at * e.work.bytes)


def read_box(fn: Function, box: Value, names: Sequence[str]) -> Box:
    """A block's entry of a table."""
    return {
        name: (fn.load(box, i64, 2 * WORD * at), fn.load(box, i64, 2 * WORD * at + WORD))
        for at, name in enumerate(names)
    }


@dataclass(frozen=True)
class WindowTables:
    """A task's copy and tables, for its `columns`."""

    task: Task
    windows: SharedWindows
    columns: Box

    def write_groups(self) -> None:
        """Write where each group of columns begins in the copy."""
        self._write("groups", self.windows.groups, self.columns)

    def write_lines(self, part: Box) -> Value:
        """Write how far each line of a part of k lies from the first, and give their number."""
        return self._write("lines", self.windows.lines, part)

    def table(self, name: str) -> Value:
        """Address of a table."""
        return self.task.scratch + self.task.argument(name)

    def _write(self, table: str, names: Sequence[str], box: Box) -> Value:
        t, fn = self.task, self.task.fn
        steps, total = [t.argument(f"window {name}") for name in names], const(i64, 1)

        def nest(depth: int, at: Value, moved: Value) -> Value:
            if depth == len(names):
                fn.store(moved, at)
                return at + WORD
            with fn.loop(0, box[names[depth]][1], carried=[at, moved], at_least_once=True) as loop:
                here, there = loop.carried
                loop.carry(nest(depth + 1, here, there), there + steps[depth])
            return loop.results[0]

        nest(0, self.table(table), const(i64, 0))
        for name in names:
            total = total * box[name][1]
        return total

    def copy(self, part: Box) -> None:
        """Copy what a part of k and the columns reach."""
        t, box = self.task, {**self.columns, **part}
        reach = self.table("reach")
        *axes, line = (_find_reach(terms, box) for terms in self.windows.axes)
        for at, (first, count) in enumerate(axes):
            t.fn.store(first, reach, 2 * WORD * at)
            t.fn.store(count, reach, 2 * WORD * at + WORD)
        t.pack_b(t.scratch, *line, reach)


def _find_reach(terms: Sequence[tuple[str, int]], box: Box) -> tuple[Value, Value]:
    """The first position along an axis, and how many there are."""
    first, count = const(i64, 0), const(i64, 1)
    for name, by in terms:
        start, values = box[name]
        first, count = first + start * by, count + (values - 1) * by
    return first, count


__all__ = ["CopyPacker", "WindowTables", "read_box"]
