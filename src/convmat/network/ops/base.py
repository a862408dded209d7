"""What an operator is: the shapes it makes, its meaning on arrays, and how it runs in a prepared network.

    shape(node, specs)            Specs of the inputs (None where omitted) -> Specs of the outputs, nothing computed
    run(node, *arrays)            arrays in, new arrays (or views) out: the meaning, in NumPy
    prepare(node, specs, made, options)
                                  -> step(*inputs, *outputs), which writes into the outputs; None: `run` makes new ones

A step gets the inputs and outputs that are there, in their order: what is omitted has no place in it.

`shape` raises `Unknown` where a shape depends on a value that is no constant: the node then runs by `run`, when its
turn comes. One entry an operator in OPERATORS; what is not there is left to the standard's own reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from ...lazy_dataclass import dataclass
from ..graph import Array, Graph, Node, Shape, Spec, Value
from .half import AS_THEY_ARE, wide_prepare, wide_run
from .options import Options

Specs = Sequence[Spec | None]
ShapeRule = Callable[[Node, Specs], tuple[Spec, ...]]
Step = Callable[..., Any]


class Unknown(Exception):
    """The shape depends on a value that is known only when the network runs."""


Prepare = Callable[[Node, Specs, tuple[Spec, ...], Options], Step | None]


Inside = Callable[[Graph, Specs], list[Spec | None]]
"""From a body and the Specs of its inputs to those of its outputs, None where they are known only once it ran."""


class Around(Protocol):
    """What an operator with bodies needs of the network around it."""

    @property
    def limit(self) -> int:
        """Bytes that a value may take."""

    def runner(self, graph: Graph) -> Callable[[Sequence[Value]], list[Value]]:
        """From the values of a body's inputs to those of its outputs: prepared for their shapes, and remembered."""

    def specs(self, graph: Graph, given: Specs) -> list[Spec | None]:
        """See Inside."""


@dataclass(frozen=True)
class Bodies:
    """How an operator with graphs in its attributes runs: inputs and captured values in, as new values out.

    `shape` gives None for the outputs that are known only once it ran.
    """

    shape: Callable[[Node, Specs, Inside], tuple[Spec | None, ...]]
    open: Callable[[Node, Around], Callable[..., tuple[Value, ...]]]


@dataclass(frozen=True)
class Operator:
    """One operator of the standard. `view`: the output is the first input with another shape, and no element moves.

    `in_place`: the output may lie where the first input lay, if nobody needs that any more. `late`: no more is known of
    its outputs when the shapes of its inputs are.
    """

    name: str
    shape: ShapeRule
    run: Callable[..., Any]
    prepare: Prepare | None = None
    view: bool = False
    in_place: bool = False
    late: bool = False
    bodies: Bodies | None = None

    def __call__(self, node: Node, inputs: Sequence[Value]) -> tuple[Any, ...]:
        """`run`, its result as a tuple of values."""
        if (nothing := self._nothing(node, inputs)) is not None:
            return nothing
        with np.errstate(all="ignore"):  # infinities and NaN are answers, as the standard has it
            found = self.run(node, *inputs)
        several = found if isinstance(found, tuple) else (found,)
        return tuple(each if each is None or isinstance(each, list) else np.asarray(each) for each in several)

    def _nothing(self, node: Node, inputs: Sequence[Value]) -> tuple[Any, ...] | None:
        """The outputs of empty inputs, if they are empty too: there is nothing to compute, whatever the operator."""
        there = [each for each in inputs if isinstance(each, np.ndarray)]
        lists = any(isinstance(each, list) for each in inputs)
        if self.late or self.view or self.bodies is not None or lists or all(each.size for each in there):
            return None
        arrays = [each if isinstance(each, np.ndarray) else None for each in inputs]
        try:
            made = self.shape(node, specs_of(arrays))[: len(node.outputs)]
        except Unknown:
            return None
        return None if any(spec.size for spec in made) else tuple(np.empty(s.shape, s.dtype) for s in made)


OPERATORS: dict[str, Operator] = {}
"""By ONNX's name."""

OWN = "convmat"
"""The domain of operators that no file has: rewriting makes their nodes."""

OWNED: dict[str, Operator] = {}
"""Operators of that domain by name."""


def operator(
    *names: str,
    shape: ShapeRule,
    prepare: Prepare | None = None,
    view: bool = False,
    in_place: bool = False,
    late: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function, the operator's meaning, under its names; half precision is widened around it (`half`)."""

    prepare = None if prepare is None else _unless_empty(prepare)

    def enter(run: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            assert name not in OPERATORS, name
            if view or late or name in AS_THEY_ARE:
                OPERATORS[name] = Operator(name, shape, run, prepare, view, in_place, late)
                continue
            wide = None if prepare is None else wide_prepare(prepare)
            OPERATORS[name] = Operator(name, shape, wide_run(shape, run, Unknown), wide, view, in_place)
        return run

    return enter


def _unless_empty(prepare: Prepare) -> Prepare:
    """The same, but for outputs without elements: then there is nothing to write."""

    def prepare_unless_empty(
        node: Node, specs: Specs, made: tuple[Spec, ...], options: Options
    ) -> Step | None:
        if not any(spec.size for spec in made):
            return lambda *arrays: None
        return prepare(node, specs, made, options)

    return prepare_unless_empty


def step_operator(*names: str, shape: ShapeRule, in_place: bool = False) -> Callable[[Prepare], Prepare]:
    """Enter a function that gives an operator's step: what it writes is the operator's meaning too."""

    def enter(prepare: Prepare) -> Prepare:
        run = _run_by(shape, prepare)
        operator(*names, shape=shape, prepare=prepare, in_place=in_place)(run)
        return prepare

    return enter


def own_operator(*names: str, shape: ShapeRule, in_place: bool = False) -> Callable[[Prepare], Prepare]:
    """The same for operators of our own, which no file has."""

    def enter(prepare: Prepare) -> Prepare:
        for name in names:
            assert name not in OWNED, name
            careful = _unless_empty(prepare)
            OWNED[name] = Operator(name, shape, _run_by(shape, prepare), careful, in_place=in_place)
        return prepare

    return enter


def _run_by(shape: ShapeRule, prepare: Prepare) -> Callable[..., Any]:
    """An operator's meaning on arrays, by its step."""

    def run(node: Node, *arrays: Array | None) -> tuple[Array, ...]:
        specs = specs_of(arrays)
        made = shape(node, specs)[: len(node.outputs)]
        outputs = [np.empty(spec.shape, spec.dtype) for spec in made]
        named = [i for i, name in enumerate(node.outputs) if name]
        step = prepare(node, specs, tuple(made[i] for i in named), Options())
        assert step is not None
        step(*(array for array in arrays if array is not None), *(outputs[i] for i in named))
        return tuple(outputs)

    return run


def specs_of(arrays: Sequence[Array | None]) -> list[Spec | None]:
    """The Specs of arrays that are there, their values known."""
    return [None if array is None else Spec.of(array) for array in arrays]


def unknown_outputs(node: Node, specs: Specs) -> tuple[Spec, ...]:
    """The rule of operators whose outputs are known only once they ran."""
    raise Unknown


# -- what shape rules share --------------------------------------------------------------------------------------------


def input_at(node: Node, specs: Specs, at: int) -> Spec:
    """The input at a position; NetworkError where it is omitted."""
    spec = specs[at] if at < len(specs) else None
    if spec is None:
        raise node.error(f"its input {at} is missing\n  it has {len(node.inputs)}")
    return spec


def has_input(specs: Specs, at: int) -> bool:
    """Whether an optional input is there."""
    return at < len(specs) and specs[at] is not None


def constant_at(node: Node, specs: Specs, at: int) -> Array:
    """The value of an input that decides on shapes; Unknown where it is no constant."""
    value = input_at(node, specs, at).value
    if value is None:
        raise Unknown
    return value


def optional_constant_at(node: Node, specs: Specs, at: int) -> Array | None:
    """The same where the input may be omitted."""
    return constant_at(node, specs, at) if has_input(specs, at) else None


def whole_numbers_at(node: Node, specs: Specs, at: int, what: str) -> tuple[int, ...]:
    """A constant input of whole numbers; NetworkError where it holds others."""
    return read_whole_numbers(node, constant_at(node, specs, at), what)


def read_whole_numbers(node: Node, value: Any, what: str) -> tuple[int, ...]:
    """Whole numbers of a constant or an attribute, as a flat tuple."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu" and array.size:
        raise node.error(f"its {what} are {array.dtype}\n  whole numbers are needed")
    return tuple(int(n) for n in array.ravel().tolist())


def attribute_or_input(node: Node, specs: Specs, name: str, at: int, since: int) -> tuple[int, ...] | None:
    """Whole numbers that were an attribute before operator set `since`, and are an input from then on."""
    if node.version < since:
        value = node.get(name)
        return None if value is None else read_whole_numbers(node, value, name)
    return whole_numbers_at(node, specs, at, name) if has_input(specs, at) else None


def same_spec(node: Node, specs: Specs) -> tuple[Spec, ...]:
    """One output like the first input."""
    first = input_at(node, specs, 0)
    return (Spec(first.shape, first.dtype),)


def broadcast_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    """The shape that all broadcast to; NetworkError where they do not."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        words = " and ".join("x".join(map(str, s)) or "a scalar" for s in shapes)
        raise node.error(f"its inputs of shapes {words} do not broadcast") from None


def axis_of(node: Node, axis: int, rank: int) -> int:
    """An axis counted from the front; NetworkError where there is none such."""
    if not -rank <= axis < max(rank, 1):
        raise node.error(f"axis {axis} of an array with {rank} axes")
    return int(axis) % max(rank, 1)


def axes_of(node: Node, axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """The same for several, none of them twice."""
    found = tuple(axis_of(node, axis, rank) for axis in axes)
    if len(set(found)) != len(found):
        raise node.error(f"its axes {tuple(axes)} name one twice\n  of an array with {rank} axes")
    return found
