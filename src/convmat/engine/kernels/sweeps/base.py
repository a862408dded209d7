"""Sweeps: kernels that pass over whole arrays once, without a product in between.

    task(args, index, thread)    one share of the lines of the arrays

What a kernel has constant is its recipe, whose class writes it; a SweepPlan adds the words of arrays of certain shapes:
extents, strides, how the lines are shared out. A line belongs to one task whatever the number of threads, and nothing
is summed across lines, so bits do not depend on threads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

import numpy as np
import numpy.typing as npt

from ....lazy_dataclass import dataclass
from ...cpu import Cpu, host
from ...ir.arguments import Arguments
from ...ir.emitter import Function, Module
from ...ir.instructions import Value, i64, minimum, ptr, udiv, urem

Array = npt.NDArray[Any]

TASKS = 4
"""Tasks that a thread should have: enough to even out who is late."""

TASK_ELEMENTS = 8192
"""Elements that a task passes over at least, a microsecond or more: handing it to another thread must pay."""


OUTSIDE = "outside"
"""The word of a job that kernels set which met an index of no place."""


class SweepRecipe(ABC):
    """What is constant in a kernel: a frozen value whose `repr` says all that its text is made from."""

    @property
    @abstractmethod
    def words(self) -> tuple[str, ...]:
        """The names of its words beside those of arrays and shares."""

    @property
    @abstractmethod
    def arrays(self) -> tuple[str, ...]:
        """The names of the words that hold the addresses of its arrays, inputs first."""

    @abstractmethod
    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """The body of `task`."""

    @property
    def arguments(self) -> Arguments:
        """All words of its block."""
        return Arguments((*self.arrays, *SHARED, *self.words))

    def module(self, attributes: str, fused: bool) -> Module:
        """The module with `task(args, index, thread)`."""
        module = Module(attributes, fused=fused)
        fn = module.function("task", {"args": ptr, "index": i64, "thread": i64})
        args, index, _ = fn.arguments
        words = {
            n: self.arguments.load(fn, args, n, ptr if n in self.arrays else i64)
            for n in self.arguments.names
        }
        self.write(fn, words, Share.of(index, words))
        return module


SHARED = ("lines", "columns", "per", "pieces", "piece")
"""A task has `per` lines, or where a line is cut into several `pieces`, one piece of one line."""


@dataclass(frozen=True)
class Share:
    """What a task does: lines first .. stop - 1, of each the columns begin .. end - 1."""

    first: Value
    stop: Value
    begin: Value
    end: Value

    @classmethod
    def of(cls, index: Value, words: Mapping[str, Value]) -> Share:
        """Written from the task's index."""
        first = udiv(index, words["pieces"]) * words["per"]
        begin = urem(index, words["pieces"]) * words["piece"]
        stop = minimum(first + words["per"], words["lines"])
        return cls(first, stop, begin, minimum(begin + words["piece"], words["columns"]))

    def vectors(
        self, fn: Function, lanes: int, vector: Callable[[Value, Value | None], None], many: int = 1
    ) -> None:
        """Emits `vector(column, left)` for its columns, `many` at a time; `left` is None while vectors are whole."""
        step = many * lanes
        with fn.loop(self.begin, self.end - (step - 1), step, carried=[self.begin]) as main:
            for i in range(many):
                vector(main.index + i * lanes, None)
            main.carry(main.index + step)
        with fn.loop(main.results[0], self.end, lanes) as rest:
            vector(rest.index, self.end - rest.index)


def type_refusal(dtype: str) -> str | None:
    """The sentence why no sweep takes elements of this type on this CPU, if none does.

    >>> type_refusal("int8")
    'takes float32 and float64, got int8'
    """
    if dtype not in ("float32", "float64"):
        return f"takes float32 and float64, got {dtype}"
    return kernel_refusal()


def kernel_refusal() -> str | None:
    """The sentence why there are no kernels on this CPU, if there are none."""
    return None if host().fma else f"makes code for CPUs with fused multiply-add, this one is {host().model}"


def share_lines(lines: int, columns: int, threads: int, *, whole: bool) -> tuple[dict[str, int], int]:
    """The words of SHARED, and the number of tasks; `whole`: no line is cut.

    >>> share_lines(3, 100_000, 2, whole=False)
    ({'lines': 3, 'columns': 100000, 'per': 1, 'pieces': 3, 'piece': 33344}, 9)
    >>> [share_lines(lines, 64, 2, whole=False)[1] for lines in (0, 64)]
    [0, 1]
    """
    wanted = max(1, min(threads * TASKS, lines * columns // TASK_ELEMENTS)) if threads > 1 else 1
    if lines >= wanted or whole or not lines:
        per = max(-(-lines // wanted), 1)
        words = {"lines": lines, "columns": columns, "per": per, "pieces": 1, "piece": columns}
        return words, -(-lines // per)
    piece = -(-columns // -(-wanted // lines) // 64) * 64
    pieces = -(-columns // piece)
    return {"lines": lines, "columns": columns, "per": 1, "pieces": pieces, "piece": piece}, lines * pieces


@dataclass(frozen=True)
class SweepPlan:
    """A kernel over arrays of certain shapes: what is constant in it, its words, and how many tasks share it out.

    `size`: elements of the largest of its arrays.
    """

    recipe: SweepRecipe
    words: Mapping[str, int]
    tasks: int
    threads: int
    size: int
    cpu: Cpu = field(default_factory=host)

    @property
    def template(self) -> bytes:
        """Its block, but for the kernel's address and those of the arrays, which are the first of its words."""
        given = {**dict.fromkeys(self.recipe.arrays, 0), **self.words}
        words = [0, self.tasks, self.threads, 0, *(given[n] for n in self.recipe.arguments.names)]
        return np.array(words, np.int64).tobytes()


__all__ = ["OUTSIDE", "Share", "SweepPlan", "SweepRecipe", "kernel_refusal", "share_lines", "type_refusal"]
