"""What the two direct kernels share: windows, the walk over the planes of y, and what becomes of finished sums.

A **plane** is what all indices but the last two of the columns fix: an image and a group, say. A task owns some
planes whole, or one part of a plane: a run of its rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

from ....lazy_dataclass import dataclass
from ....product import Activation
from ...ir.arguments import Arguments
from ...ir.emitter import Function, Module
from ...ir.instructions import (
    Type,
    Value,
    below,
    const,
    equal,
    f32,
    fma,
    fptosi,
    i32,
    i64,
    less,
    maximum,
    minimum,
    ptr,
    select,
    sitofp,
    splat,
    trunc,
    udiv,
    zext,
)
from ...ir.shuffles import narrow, widen
from ..epilogue import activate, round_between
from ..weighing import Addition, round_within


@dataclass(frozen=True)
class WindowSteps:
    """How windows lie along an axis of x: output p and tap f meet at p * step + f * dilation + an offset.

    >>> WindowSteps(step=2, taps=3, dilation=2).reach
    4
    """

    step: int
    taps: int
    dilation: int

    @property
    def reach(self) -> int:
        """Distance from a window's first element to its last."""
        return (self.taps - 1) * self.dilation

    @property
    def distances(self) -> range:
        """Distance of each tap from the window's first element."""
        return range(0, self.reach + 1, self.dilation)

    def meets(self, outputs: range, position: int) -> list[tuple[int, int]]:
        """The outputs whose windows hold a position, counted from the first output's first, each with its tap.

        >>> WindowSteps(step=1, taps=3, dilation=1).meets(range(2), 2)
        [(0, 2), (1, 1)]
        """
        found = []
        for output in outputs:
            tap, rest = divmod(position - (output - outputs.start) * self.step, self.dilation)
            if not rest and 0 <= tap < self.taps:
                found.append((output, tap))
        return found


@dataclass(frozen=True)
class OuterIndex:
    """An index of k outside the window: channels, or taps of an outer axis.

    `w_step`: bytes in w. `check`: the number of the outer axis that it moves along, `by` how much; -1 if none.
    """

    name: str
    extent: int
    w_step: int
    check: int = -1
    by: int = 0


@dataclass(frozen=True)
class RoundingAgain:
    """How bytes of y are rounded again: by numbers of each row; with a residual.

    `signed`: whether those to which a residual is added are; `packs`: whether x86's instructions make them of floats.
    """

    requantise: bool = False
    signed: bool = False
    packs: bool = False


class PlaneRecipe(Protocol):
    """What a recipe of either kernel has."""

    @property
    def outer(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """The indices that a plane fixes, with the step of each along every checked outer axis."""

    @property
    def terms(self) -> tuple[OuterIndex, ...]:
        """The indices of k outside the window."""

    @property
    def checks(self) -> int:
        """How many outer axes are checked."""

    @property
    def out(self) -> Type:
        """The type of y."""

    @property
    def work(self) -> Type:
        """The type of the sums."""

    @property
    def bias(self) -> bool:
        """Whether a bias is added."""

    @property
    def residual(self) -> bool:
        """Whether a residual is added."""

    @property
    def scale(self) -> bool:
        """Whether sums of integers have one."""

    @property
    def again(self) -> RoundingAgain:
        """How bytes are rounded again."""

    @property
    def activation(self) -> Activation | None:
        """What is applied at the end."""

    @property
    def weights(self) -> str:
        """The word that says where the weights are."""

    def arguments(self) -> Arguments:
        """The words of the kernel's block."""


def argument_names(recipe: PlaneRecipe) -> list[str]:
    """The words that both kernels read."""
    found = ["x", "y", "w", "a", "bias", "residual", "planes", "per", "parts", "height"]
    found += ["columns", "lane offset", "lane limit", "rows", "row offset", "row limit", "x row", "y row"]
    found += ["first row", "last row"]
    found += [f"{what} {name}" for name, _ in recipe.outer for what in ("count", "x", "y", "w", "bias")]
    found += [f"x {term.name}" for term in recipe.terms]
    return found + [f"{what} {number}" for number in range(recipe.checks) for what in ("offset", "limit")]


@dataclass(frozen=True)
class Plane:
    """Where a plane begins in x, y and the residual, its weights and bias, and positions on the checked outer axes."""

    x: Value
    y: Value
    residual: Value
    w: Value
    bias: Value
    positions: list[Value]


class Walker(ABC):
    """Writes one function `name(args, first, count, part)`: `count` planes from number `first` on, one part of each."""

    def __init__(self, recipe: PlaneRecipe) -> None:
        self.recipe = recipe
        self.arguments = recipe.arguments()

    @abstractmethod
    def plane(self, plane: Plane, first: Value, stop: Value) -> None:
        """Emits one plane's rows [first, stop)."""

    @abstractmethod
    def rows(self) -> Value:
        """Emits how many rows a plane has."""

    def begin_planes(self) -> None:
        """Emits what all planes share: nothing, for most kernels."""
        return

    def word(self, name: str) -> Value:
        """Emits the load of a word."""
        return self.arguments.load(self.fn, self._args, name)

    def beside_bias(self, bias: Value, name: str) -> Value:
        """Emits where another array of the rows' numbers is, as far into it as an address is into the bias."""
        return bias + (self.word(name) - self.word("bias"))

    def float_places(self, bias: Value) -> list[Value]:
        """Emits where floats are that each row has: its scale, and what bytes are rounded again by."""
        again = ("factor", "offset") if self.recipe.again.requantise else ()
        return [self.beside_bias(bias, name) for name in (("scale", *again) if self.recipe.scale else ())]

    def function(self, module: Module, name: str) -> Function:
        """Emits it."""
        recipe = self.recipe
        self.fn = fn = module.function(name, {"args": ptr, "first": i64, "count": i64, "part": i64})
        self._args, first, count, part = fn.arguments
        outer = [each for each, _ in recipe.outer]
        counts = [self.word(f"count {each}") for each in outer]
        start: list[Value] = []
        rest = first
        for extent in reversed(counts[1:]):
            above = udiv(rest, extent)
            start.insert(0, rest - above * extent)
            rest = above
        words = ("x", "y", "residual", recipe.weights, "bias")
        base = [self.arguments.load(fn, self._args, each, ptr) for each in words]
        self.begin_planes()
        height = self.word("height")
        from_row = part * height
        to_row = minimum(from_row + height, self.rows())
        with fn.repeat(carried=[0, rest, *start]) as runs:
            done, *at = runs.carried
            run = minimum(count - done, counts[-1] - at[-1])
            self._run(base, at, run, from_row, to_row)
            following = _next(at[:-1], counts[:-1])
            runs.carry(done + run, *following, 0)
            runs.again(less(done + run, count))
        return fn

    def _run(
        self, base: Sequence[Value], indices: Sequence[Value], run: Value, first: Value, stop: Value
    ) -> None:
        """`run` planes one after the other along the last index, from these indices on."""
        recipe, moved = self.recipe, list(base)
        positions = [self.word(f"offset {number}") for number in range(recipe.checks)]
        kinds = ("x", "y", "y", "w", "bias")
        for (each, moves), at in zip(recipe.outer, indices, strict=True):
            moved = [a + at * self.word(f"{kind} {each}") for a, kind in zip(moved, kinds, strict=True)]
            positions = [p + at * by if by else p for p, by in zip(positions, moves, strict=True)]
        last, moves = recipe.outer[-1]
        steps = [self.word(f"{kind} {last}") for kind in kinds]
        with self.fn.loop(0, run, carried=[*moved, *positions], at_least_once=True) as loop:
            x, y, residual, w, bias, *here = loop.carried
            self.plane(Plane(x, y, residual, w, bias, here), first, stop)
            ahead = [a + by for a, by in zip(loop.carried[: len(kinds)], steps, strict=True)]
            loop.carry(*ahead, *(p + by if by else p for p, by in zip(here, moves, strict=True)))

    def over_terms(
        self,
        x: Value,
        w: Value,
        positions: list[Value],
        sums: list[Value],
        window: Callable[..., list[Value]],
        depth: int = 0,
    ) -> list[Value]:
        """The sums after all terms of k, in order; `window(x, w, sums)` adds one window. Outside x nothing is added."""
        fn, terms = self.fn, self.recipe.terms
        if depth == len(terms):
            return window(x, w, sums)
        term = terms[depth]
        with fn.loop(0, term.extent, carried=[x, w, *positions, *sums]) as loop:
            x_at, w_at, *rest = loop.carried
            here, now = rest[: len(positions)], rest[len(positions) :]
            moved = list(here)
            if term.check >= 0:
                moved[term.check] = here[term.check] + term.by
                with fn.if_(below(here[term.check], self.word(f"limit {term.check}")), default=now) as inside:
                    inside.carry(*self.over_terms(x_at, w_at, here, now, window, depth + 1))
                now = inside.results
            else:
                now = self.over_terms(x_at, w_at, here, now, window, depth + 1)
            loop.carry(x_at + self.word(f"x {term.name}"), w_at + term.w_step, *moved, *now)
        return loop.results[2 + len(positions) :]

    def finish(
        self, value: Value, bias: Value | None, residual: Value, offset: Value | int, mask: Value | None
    ) -> Value:
        """A sum after bias, residual and activation, as it is stored."""
        r = self.recipe
        if bias is not None:
            value = value + bias
        if r.residual:
            value = value + widen(
                self.fn.load(residual + offset, r.out.x(value.type.lanes), mask=mask), r.work
            )
        value = activate(value, r.activation)
        return narrow(value, r.out)

    def finish_integers(
        self,
        value: Value,
        bias: Value | None,
        floats: Sequence[Value],
        residual: tuple[Value, Value | int, Value | None],
    ) -> Value:
        """A whole sum, perhaps in float32, after bias, scale and activation, as it is stored: see `pixels.COUNTED`.

        floats: of its row, as `float_places` has them. residual: its address, offset and mask.
        """
        r, lanes = self.recipe, value.type.lanes
        whole = fptosi(value, to=i32) if value.type.is_float else value
        whole = whole if bias is None else whole + bias
        if not floats:
            return narrow(activate(whole, r.activation), r.out)
        scale, *again = floats
        made = activate(sitofp(whole, to=f32) * scale, r.activation)
        if r.out.is_float:
            return made
        load = self.arguments.load
        low, high = (splat(load(self.fn, self._args, name, f32), lanes=lanes) for name in ("low", "high"))
        zero = splat(trunc(self.word("y zero"), to=i32), lanes=lanes)
        if again:
            whole, (factor, offset) = sitofp(zero, to=f32), again
            made = fma(round_within(made, low, high), factor, offset)
            low, high, zero = low + whole, high + whole, const(zero.type, 0)
        found = narrow(round_between(made, low, high) + zero, r.out)
        if not r.residual:
            return found
        place = load(self.fn, self._args, "addition", ptr)
        addition = Addition.load(self.fn, place, lanes, signed=r.again.signed, x86=r.again.packs)
        place, at, mask = residual
        return addition.line(self.fn, found, self.fn.load(place, found.type, at, mask=mask))


def _next(indices: Sequence[Value], counts: Sequence[Value]) -> list[Value]:
    """The indices of the next plane, the last one fastest."""
    following: list[Value] = []
    carry: Value | int = 1
    for at, extent in zip(reversed(indices), reversed(counts), strict=True):
        ahead = at + carry
        over = equal(ahead, extent)
        following.insert(0, select(over, 0, ahead))
        carry = zext(over, to=i64)
    return following


def split_range(
    first: Value, stop: Value, low: Value, high: Value
) -> tuple[Value, Value, Value, Callable[[Value], Value]]:
    """Split [first, stop): begin and end of what lies in [low, high); how many do not, and the i-th of those."""
    before = maximum(minimum(stop, low) - first, 0)
    after = maximum(first, high)
    edges = before + maximum(stop - after, 0)
    behind = after - before
    return (
        maximum(first, low),
        minimum(stop, high),
        edges,
        lambda i: i + select(less(i, before), first, behind),
    )


def task(
    module: Module, arguments: Arguments, call: Callable[[Function, Value, list[Value]], object]
) -> None:
    """Writes `task(args, index, thread)`: `call(fn, args, [args, first, count, part])` does a task's planes.

    A part of all planes comes before the next part: of two threads one has the upper rows, the other the lower ones.
    """
    fn = module.function("task", {"args": ptr, "index": i64, "thread": i64})
    args, index, _ = fn.arguments
    per = arguments.load(fn, args, "per")
    planes = arguments.load(fn, args, "planes")
    blocks = udiv(planes + (per - 1), per)
    part = udiv(index, blocks)
    first = (index - part * blocks) * per
    call(fn, args, [args, first, minimum(per, planes - first), part])


__all__ = [
    "OuterIndex",
    "Plane",
    "PlaneRecipe",
    "RoundingAgain",
    "Walker",
    "WindowSteps",
    "argument_names",
    "split_range",
    "task",
]
