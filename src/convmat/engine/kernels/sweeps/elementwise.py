"""Elementwise: one expression of several arrays that broadcast, in one pass.

    y[.., r, c] = f(x0[.., r, c], x1[.., r, c], ...)        an input that lacks an axis has stride 0 along it

The axes of y are merged where all inputs allow it: three are left of any batch of images with a number for each
channel or each pixel. Lanes lie along the last; what does not vary along it is spread over them once a line. An
expression is a list of operations, each on inputs or on results before it, and every value has an element type; only
the last result is stored. A vector has as many lanes as the widest of these types has in a register.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ....lazy_dataclass import dataclass
from ....processes import kept_property
from ...cpu import host
from ...ir.conversions import ELEMENTS, convert, stored_type
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import Value, const, i8, not_equal, splat, udiv, zext
from .base import Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines
from .operations import ALL, CAST, CONST, OPERATIONS

Array = npt.NDArray[Any]

MOST_INPUTS = 8
"""Arrays of an expression: a pointer register for each, and some to spare."""

FEWEST_AXES, MOST_AXES = 2, 6
"""Axes beside the last: each costs a division a line."""


@dataclass(frozen=True)
class ExpressionStep:
    """An operation on values by their numbers: inputs first, then the results of steps before.

    `type` is said by `cast` and `const` alone: NumPy's name of the element type that they give ("bfloat16" is known
    where ml_dtypes is loaded, which whoever has such arrays has).
    """

    operation: str
    operands: tuple[int, ...]
    parameters: tuple[float, ...] = ()
    type: str = ""


@dataclass(frozen=True)
class Expression:
    """Steps over inputs of these element types; the last one's result is what it gives.

    >>> twice = Expression(("float64",), (ExpressionStep("add", (0, 0)),))
    >>> twice(np.array([1.0, 2.0]))
    array([2., 4.])
    >>> positive = Expression(("int8", "int8"), (ExpressionStep("less", (0, 1)),))
    >>> positive.type
    'bool'
    """

    inputs: tuple[str, ...]
    steps: tuple[ExpressionStep, ...]

    @kept_property
    def types(self) -> tuple[str, ...]:
        """The element type of every value, inputs first."""
        found = list(self.inputs)
        for step in self.steps:
            asks = step.operation in OPERATIONS and OPERATIONS[step.operation].asks
            found.append(step.type or ("bool" if asks else found[step.operands[-1]]))
        return tuple(found)

    @property
    def type(self) -> str:
        """Type of the result."""
        return self.types[-1]

    @kept_property
    def refusal(self) -> str | None:
        """The sentence why no kernel computes it, if none does."""
        if len(self.inputs) > MOST_INPUTS:
            return f"takes up to {MOST_INPUTS} inputs, got {len(self.inputs)}"
        if strange := [name for name in self.types if name not in ALL]:
            return f"takes numbers of up to 64 bits and bool, got {strange[0]}"
        for step in self.steps:
            types = [self.types[i] for i in step.operands]
            if step.operation in (CAST, CONST):
                continue
            if types[-1] not in OPERATIONS[step.operation].types:
                return f"has no code for {step.operation} of {types[-1]}"
        return None

    def __call__(self, *inputs: Array) -> Array:
        """What it means, in NumPy."""
        values: list[Any] = list(inputs)
        for step, name in zip(self.steps, self.types[len(self.inputs) :], strict=True):
            operands = [values[i] for i in step.operands]
            if step.operation == CAST:
                values.append(operands[0].astype(np.dtype(name)))
            elif step.operation == CONST:
                values.append(np.dtype(name).type(step.parameters[0]))
            else:
                found = OPERATIONS[step.operation].meaning(*operands, *step.parameters)
                values.append(np.asarray(found, np.dtype(name)))
        return np.asarray(values[-1])

    def emit(self, inputs: Sequence[Value], lanes: int) -> Value:
        """Written for vectors."""
        values = list(inputs)
        for step, name in zip(self.steps, self.types[len(self.inputs) :], strict=True):
            operands = [values[i] for i in step.operands]
            if step.operation == CAST:
                values.append(convert(operands[0], self.types[step.operands[0]], name))
            elif step.operation == CONST:
                values.append(const(ELEMENTS[name].x(lanes), step.parameters[0]))
            else:
                operation = OPERATIONS[step.operation]
                values.append(operation.emit_for(self.types[step.operands[-1]], *operands, *step.parameters))
        return values[-1]

    def after(self, at: int, other: Expression) -> Expression:
        """Function with another's result for the input `at`: its inputs come first, then one's own without that.

        >>> half = Expression(("float32", "float32"), (ExpressionStep("mul", (0, 1)),))
        >>> half.after(0, half).steps[-1].operands
        (3, 2)
        """
        types = (*other.inputs, *(t for i, t in enumerate(self.inputs) if i != at))
        inputs, n, m = len(types), len(other.inputs), len(self.inputs)
        theirs = {i: i if i < n else i + m - 1 for i in range(n + len(other.steps))}
        mine = {at: theirs[n + len(other.steps) - 1]}
        free = iter(range(n, inputs))
        mine |= {i: next(free) for i in range(m) if i != at}
        mine |= {m + i: inputs + len(other.steps) + i for i in range(len(self.steps))}
        return Expression(types, (*_renumber(other.steps, theirs), *_renumber(self.steps, mine)))

    def taking(self, numbers: Sequence[int]) -> Expression:
        """Function whose input i is the input `numbers[i]` of as many as these name: in another order, or one twice."""
        types = dict(zip(numbers, self.inputs, strict=True))
        n, inputs = len(self.inputs), max(numbers) + 1
        moved = dict(enumerate(numbers)) | {n + i: inputs + i for i in range(len(self.steps))}
        return Expression(tuple(types[i] for i in range(inputs)), _renumber(self.steps, moved))


def _renumber(steps: Sequence[ExpressionStep], to: Mapping[int, int]) -> tuple[ExpressionStep, ...]:
    return tuple(replace(s, operands=tuple(to[i] for i in s.operands)) for s in steps)


@dataclass(frozen=True)
class Pass(SweepRecipe):
    """An expression, which inputs vary along the last axis, axes beside that, and lanes of a vector."""

    expression: Expression
    along: tuple[bool, ...]
    axes: int
    lanes: int

    @property
    def arrays(self) -> tuple[str, ...]:
        """One an input, and y."""
        return (*(f"x{i}" for i in range(len(self.along))), "y")

    @property
    def words(self) -> tuple[str, ...]:
        """Extents of the axes but the last, and for each input the bytes from one index along each to the next."""
        steps = (f"step {axis} {i}" for i in range(len(self.along)) for axis in range(self.axes))
        return (*(f"extent {axis}" for axis in range(1, self.axes)), *steps)

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Line by line, two vectors at a time, the last ones masked."""
        lanes, names = self.lanes, self.expression.inputs
        heavy = any(
            s.operation in OPERATIONS and OPERATIONS[s.operation].heavy for s in self.expression.steps
        )
        with fn.loop(share.first, share.stop) as line:
            at = self._begins(line.index, words)
            fixed = {
                i: splat(_read(fn, at[i], names[i]), lanes=lanes)
                for i, along in enumerate(self.along)
                if not along
            }
            size = stored_type(self.expression.type).bytes
            y = words["y"] + line.index * words["columns"] * size

            def vector(column: Value, left: Value | None) -> None:
                mask = None if left is None else prefix_mask(lanes, left)
                given = [
                    fixed[i] if i in fixed else _read(fn, each, names[i], lanes, column, mask)
                    for i, each in enumerate(at)
                ]
                found = self.expression.emit(given, lanes)
                found = zext(found, to=i8) if self.expression.type == "bool" else found
                fn.store(found, y, column * size, mask=mask)

            share.vectors(fn, lanes, vector, 1 if heavy else 2)

    def _begins(self, line: Value, words: Mapping[str, Value]) -> list[Value]:
        """Where each input's part of a line begins."""
        at, rest = [words[f"x{i}"] for i in range(len(self.along))], line
        for axis in range(self.axes - 1, -1, -1):
            above = udiv(rest, words[f"extent {axis}"]) if axis else None
            index = rest if above is None else rest - above * words[f"extent {axis}"]
            at = [each + index * words[f"step {axis} {i}"] for i, each in enumerate(at)]
            rest = rest if above is None else above
        return at


def _read(
    fn: Function, at: Value, name: str, lanes: int = 0, column: Value | None = None, mask: Value | None = None
) -> Value:
    """Elements of that type, lanes of them or one; a bool as a mask."""
    kind = stored_type(name)
    found = fn.load(at, kind.x(lanes), 0 if column is None else column * kind.bytes, mask=mask)
    return not_equal(found, 0) if name == "bool" else found


def elementwise(
    expression: Expression, shapes: Sequence[tuple[int, ...]], out: tuple[int, ...], threads: int
) -> SweepPlan | str:
    """The kernel of an expression for inputs of these shapes, which broadcast to `out`; a sentence where there is none.

    >>> twice = Expression(("complex64",), (ExpressionStep("add", (0, 0)),))
    >>> elementwise(twice, [(2, 3)], (2, 3), 1)
    'takes numbers of up to 64 bits and bool, got complex64'
    """
    if refusal := kernel_refusal() or expression.refusal:
        return refusal
    extents, strides = merge_axes(shapes, out)
    if len(extents) > MOST_AXES + 1:
        return f"takes {MOST_AXES + 1} axes that do not merge, got {len(extents)}"
    *outer, columns = extents
    # one kernel for all of up to three axes: most arrays of a network
    outer = [1] * (FEWEST_AXES - len(outer)) + outer
    lines = math.prod(outer)
    words, tasks = share_lines(lines, columns, threads, whole=False)
    words |= {f"extent {axis}": max(n, 1) for axis, n in enumerate(outer) if axis}
    along = []
    for i, (steps, name) in enumerate(zip(strides, expression.inputs, strict=True)):
        padded = (0,) * (len(outer) + 1 - len(steps)) + steps[:-1]
        words |= {f"step {axis} {i}": n * stored_type(name).bytes for axis, n in enumerate(padded)}
        along.append(steps[-1] != 0)
    if not lines * columns:
        tasks = 0
    widest = max(stored_type(name).bytes for name in expression.types)
    recipe = Pass(expression, tuple(along), len(outer), host().lanes(widest))
    return SweepPlan(recipe, words, tasks, threads, lines * columns)


def merge_axes(
    shapes: Sequence[tuple[int, ...]], out: tuple[int, ...]
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """The extents of y, neighbouring axes that all inputs walk alike made one, and the inputs' strides in elements.

    >>> merge_axes([(2, 3, 4), (3, 1)], (2, 3, 4))
    ((2, 3, 4), [(12, 4, 1), (0, 1, 0)])
    >>> merge_axes([(2, 3, 4), (4,)], (2, 3, 4))
    ((6, 4), [(4, 1), (0, 1)])
    """
    strides = []
    for shape in shapes:
        step, found = 1, []
        for extent in reversed((1,) * (len(out) - len(shape)) + shape):
            found.append(step if extent > 1 else 0)
            step *= extent
        strides.append(found[::-1])
    extents: list[int] = []
    merged: list[list[int]] = [[] for _ in shapes]
    for axis, extent in enumerate(out):
        if extent == 1:
            continue
        if extents and all(
            kept[-1] == steps[axis] * extent for kept, steps in zip(merged, strides, strict=True)
        ):
            extents[-1] *= extent
            for kept, steps in zip(merged, strides, strict=True):
                kept[-1] = steps[axis]
        else:
            extents.append(extent)
            for kept, steps in zip(merged, strides, strict=True):
                kept.append(steps[axis])
    if not extents:
        return (1,), [(0,) for _ in shapes]
    return tuple(extents), [tuple(each) for each in merged]


__all__ = ["Expression", "ExpressionStep", "Pass", "elementwise", "merge_axes"]
