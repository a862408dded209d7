"""Elementwise: one expression of several arrays that broadcast, in one pass.

    y[o, r, c] = f(x0[o, r, c], x1[o, r, c], ...)        an input that lacks an axis has stride 0 along it

The axes of y are merged where all inputs allow it: three are left of any batch of images with a number for each
channel or each pixel. Lanes lie along the last; what does not vary along it is spread over them once a line. An
expression is a list of operations, each on inputs or on results before it; only the last result is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cpu import host
from ...ir.activations import FORMULAS
from ...ir.emitter import Function, prefix_mask
from ...ir.formulas import greatest, least
from ...ir.instructions import TYPES, Type, Value, const, fabs, rint, select, splat, sqrt, udiv
from .base import Share, SweepPlan, SweepRecipe, refuses, shared

Array = npt.NDArray[Any]

MOST_INPUTS = 8
"""Arrays of an expression: a pointer register for each, and some to spare."""


@dataclass(frozen=True)
class Operation:
    """What an operation means to NumPy, and what is written for vectors; parameters follow the operands."""

    meaning: Callable[..., Any]
    emit: Callable[..., Value]


OPERATIONS: dict[str, Operation] = {
    "add": Operation(np.add, lambda a, b: a + b),
    "sub": Operation(np.subtract, lambda a, b: a - b),
    "mul": Operation(np.multiply, lambda a, b: a * b),
    "div": Operation(np.true_divide, lambda a, b: a / b),
    "max": Operation(np.maximum, greatest),
    "min": Operation(np.minimum, least),
    "prelu": Operation(
        lambda x, slope: np.where(x < 0, x * slope, x), lambda x, s: select(x < 0.0, x * s, x)
    ),
    "neg": Operation(np.negative, lambda a: -a),
    "abs": Operation(np.absolute, fabs),
    "sqrt": Operation(np.sqrt, sqrt),
    "round": Operation(np.rint, rint),
    "reciprocal": Operation(np.reciprocal, lambda a: const(a.type, 1.0) / a),
    "scale": Operation(lambda a, by: a * by, lambda a, by: a * by),
    "shift": Operation(lambda a, by: a + by, lambda a, by: a + by),
    "relu_grad": Operation(
        lambda dy, y: np.where(y > 0, dy, 0), lambda dy, y: select(y > 0.0, dy, const(dy.type, 0.0))
    ),
    **{name: Operation(each.meaning, each) for name, each in FORMULAS.items()},
    "hardsigmoid": Operation(lambda x, alpha, beta: np.clip(x * alpha + beta, 0, 1), FORMULAS["hardsigmoid"]),
}
"""By name; those of `ir.activations` among them."""


@dataclass(frozen=True)
class ExpressionStep:
    """An operation on values by their numbers: inputs first, then the results of steps before."""

    operation: str
    operands: tuple[int, ...]
    parameters: tuple[float, ...] = ()


@dataclass(frozen=True)
class Expression:
    """Steps over a number of inputs; the last one's result is what it gives.

    >>> twice = Expression(1, (ExpressionStep("add", (0, 0)),))
    >>> twice(np.array([1.0, 2.0]))
    array([2., 4.])
    """

    inputs: int
    steps: tuple[ExpressionStep, ...]

    def __call__(self, *inputs: Array) -> Array:
        """What it means, in NumPy."""
        values: list[Any] = list(inputs)
        for step in self.steps:
            meaning = OPERATIONS[step.operation].meaning
            values.append(meaning(*(values[i] for i in step.operands), *step.parameters))
        return np.asarray(values[-1], inputs[0].dtype)

    def emit(self, inputs: Sequence[Value]) -> Value:
        """Written for vectors."""
        values = list(inputs)
        for step in self.steps:
            emit = OPERATIONS[step.operation].emit
            values.append(emit(*(values[i] for i in step.operands), *step.parameters))
        return values[-1]

    def after(self, at: int, other: Expression) -> Expression:
        """With another's result for the input `at`: its inputs come first, then one's own without that.

        >>> half = Expression(2, (ExpressionStep("mul", (0, 1)),))
        >>> half.after(0, half).steps[-1]
        ExpressionStep(operation='mul', operands=(3, 2), parameters=())
        """
        inputs = other.inputs + self.inputs - 1
        theirs = {
            i: i if i < other.inputs else i + self.inputs - 1 for i in range(other.inputs + len(other.steps))
        }
        mine = {at: theirs[other.inputs + len(other.steps) - 1]}
        free = iter(range(other.inputs, inputs))
        mine |= {i: next(free) for i in range(self.inputs) if i != at}
        mine |= {self.inputs + i: inputs + len(other.steps) + i for i in range(len(self.steps))}
        return Expression(inputs, (*_moved(other.steps, theirs), *_moved(self.steps, mine)))

    def taking(self, numbers: Sequence[int]) -> Expression:
        """With its input i being the input `numbers[i]` of as many as these name: in another order, or one twice."""
        inputs = max(numbers) + 1
        moved = dict(enumerate(numbers)) | {self.inputs + i: inputs + i for i in range(len(self.steps))}
        return Expression(inputs, _moved(self.steps, moved))


def _moved(steps: Sequence[ExpressionStep], to: Mapping[int, int]) -> tuple[ExpressionStep, ...]:
    return tuple(ExpressionStep(s.operation, tuple(to[i] for i in s.operands), s.parameters) for s in steps)


@dataclass(frozen=True)
class Pass(SweepRecipe):
    """An expression, which inputs vary along the last axis, the type of all, and lanes of a vector."""

    expression: Expression
    along: tuple[bool, ...]
    type: Type
    lanes: int

    @property
    def arrays(self) -> tuple[str, ...]:
        """One an input, and y."""
        return (*(f"x{i}" for i in range(self.expression.inputs)), "y")

    @property
    def words(self) -> tuple[str, ...]:
        """Rows of a matrix, and for each input the bytes from one matrix, and from one row, to the next."""
        return ("rows", *(f"{axis} {i}" for i in range(self.expression.inputs) for axis in ("outer", "row")))

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Line by line, two vectors at a time, the last ones masked."""
        item, lanes = self.type.bytes, self.lanes
        with fn.loop(share.first, share.stop) as line:
            outer = udiv(line.index, words["rows"])
            row = line.index - outer * words["rows"]
            at = [
                words[f"x{i}"] + (outer * words[f"outer {i}"] + row * words[f"row {i}"])
                for i in range(self.expression.inputs)
            ]
            fixed = {
                i: splat(fn.load(at[i], self.type), lanes=lanes)
                for i, along in enumerate(self.along)
                if not along
            }
            y = words["y"] + line.index * words["columns"] * item

            def vector(column: Value, left: Value | None) -> None:
                kind, mask = self.type.x(lanes), None if left is None else prefix_mask(lanes, left)
                given = [
                    fixed[i] if i in fixed else fn.load(each, kind, column * item, mask=mask)
                    for i, each in enumerate(at)
                ]
                fn.store(self.expression.emit(given), y, column * item, mask=mask)

            share.vectors(fn, lanes, vector, 2)


def elementwise(
    expression: Expression, shapes: Sequence[tuple[int, ...]], out: tuple[int, ...], dtype: str, threads: int
) -> SweepPlan | str:
    """The kernel of an expression for inputs of these shapes, which broadcast to `out`; a sentence where there is none.

    >>> twice = Expression(1, (ExpressionStep("add", (0, 0)),))
    >>> elementwise(twice, [(2, 3)], (2, 3), "int8", 1)
    'takes float32 and float64, got int8'
    """
    if refusal := refuses(dtype):
        return refusal
    if expression.inputs > MOST_INPUTS:
        return f"takes up to {MOST_INPUTS} inputs, got {expression.inputs}"
    type = TYPES[dtype]
    extents, strides = _merged(shapes, out, type.bytes)
    if len(extents) > 3:
        return f"takes 3 axes that do not merge, got {len(extents)}"
    outer, rows, columns = (1,) * (3 - len(extents)) + extents
    words, tasks = shared(outer * rows, columns, threads, whole=False)
    words["rows"] = max(rows, 1)
    along = []
    for i, steps in enumerate(strides):
        words[f"outer {i}"], words[f"row {i}"], last = (0,) * (3 - len(steps)) + steps
        along.append(last != 0)
    if not outer * rows * columns:
        tasks = 0
    recipe = Pass(expression, tuple(along), type, host().lanes(type.bytes))
    return SweepPlan(recipe, words, tasks, threads, outer * rows * columns)


def _merged(
    shapes: Sequence[tuple[int, ...]], out: tuple[int, ...], item: int
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """The extents of y, neighbouring axes that all inputs walk alike made one, and the inputs' strides in bytes."""
    strides = []
    for shape in shapes:
        step, found = item, []
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


__all__ = ["OPERATIONS", "Expression", "ExpressionStep", "Operation", "Pass", "elementwise"]
