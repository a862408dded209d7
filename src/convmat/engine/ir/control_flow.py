"""Control flow: blocks that hand values on. Loops, repeats and branches, as `Function` writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .instructions import Operand, Type, Value, const, i64

if TYPE_CHECKING:
    from .emitter import Function


class Carrying:
    """A block that hands values on: `carry` says them, `results` has them after the block."""

    def __init__(self) -> None:
        self.results: list[Value] = []
        self._next: list[Operand] | None = None

    def carry(self, *values: Operand) -> None:
        """The values for the next turn, or for after the block."""
        assert self._next is None, "carry once"
        self._next = list(values)

    def following(self, initial: Sequence[Value]) -> list[Value]:
        """What was carried, one value for each of the initial ones and of its type."""
        values, self._next = self._next or [], None
        assert len(values) == len(initial), f"carries {len(initial)} values, was given {len(values)}"
        return [as_value(value, first.type) for value, first in zip(values, initial, strict=True)]


class Loop(Carrying):
    """What `Function.loop` gives: this turn's `index` and `carried` values."""

    def __init__(self, index: Value, carried: list[Value]) -> None:
        super().__init__()
        self.index = index
        self.carried = carried


class Repeat(Carrying):
    """What `Function.repeat` gives: this turn's `carried` values."""

    def __init__(self, carried: list[Value]) -> None:
        super().__init__()
        self.carried = carried
        self.condition: Value | None = None

    def again(self, condition: Value) -> None:
        """There is a next turn if the condition (i1) holds."""
        self.condition = condition


class Branch(Carrying):
    """What `Function.if_` gives."""

    def __init__(self, function: Function, condition: Value, default: list[Value]) -> None:
        super().__init__()
        self._function = function
        self._condition = condition
        self._then, self._merge = function._label("then"), function._label("merge")
        self._ends: list[tuple[str, list[Value]]] = []  # (block, values) of the sides that reach the merge
        self._otherwise = (function._block, default)
        self._line = len(function._lines)
        function.do(self._jump(self._merge))
        function._begin(self._then)

    def _jump(self, otherwise: str) -> str:
        return f"br i1 {self._condition.name}, label %{self._then}, label %{otherwise}"

    def end(self) -> None:
        """Ends the first side; `if_` calls it."""
        self._end_side()
        self._first_end = len(self._function._lines)
        ends = [*self._ends, self._otherwise]
        if not self._otherwise[1]:  # nothing to give before the other side is known
            ends = [(block, []) for block, _ in ends]
        self._join(ends)
        self._second_begin = len(self._function._lines)

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """The other side; it must follow the first at once."""
        function = self._function
        assert len(function._lines) == self._second_begin, "otherwise() follows its if_ at once"
        del function._lines[self._first_end :]
        label = function._label("else")
        function._lines[self._line] = f"  {self._jump(label)}"
        function._begin(label)
        yield
        self._end_side()
        self._join(self._ends)

    def _end_side(self) -> None:
        if self._function._block:
            self._ends.append((self._function._block, [as_value(value) for value in self._next or []]))
            self._function.do(f"br label %{self._merge}")
        self._next = None

    def _join(self, ends: list[tuple[str, list[Value]]]) -> None:
        self._function._begin(self._merge)
        if not ends:  # both sides have returned
            self._function.do("unreachable")
            self._function._block = ""
            return
        assert len({len(values) for _, values in ends}) == 1, f"both ways carry as many values, not {ends}"
        blocks = [block for block, _ in ends]
        self.results = [
            self._function._phi(list(zip(values, blocks, strict=True)))
            for values in zip(*(values for _, values in ends), strict=True)
        ]


def as_value(operand: Operand, type: Type = i64) -> Value:
    """The operand itself, or a Python number as a constant of that type."""
    return operand if isinstance(operand, Value) else const(type, operand)
