"""Recurrent networks by kernels: one product for what all inputs add to the gates, one kernel for all steps.

    sums = X W^T + b                  (T*B, I) @ (I, D*G*H), weights packed once
    Y[t] = cell(sums[t], Y[t - 1])    `engine.recurrence`, R packed once; both directions at the same time

Weights in 8 bits stay so: X is in 8 bits then, too, and the kernel counts each state in bytes (`byte_recurrent`).
Nodes whose weights are computed or whose activations have no kernel take NumPy's way, and so do calls with sequences
that end early.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...engine import Sweep, buffers, contiguous_strides, recurrence, strided_views, thread_pool
from ...errors import EngineError
from ...lazy_dataclass import dataclass
from ...planner import Prepared
from ..graph import Array, Node, Shape, Spec
from .base import Step
from .cells import Named
from .linear import DENSE, dense
from .options import Options
from .planned import Planned

LINE = 64
"""Bytes to whose multiple scratch is aligned."""

APPLIED = {
    "tanh": "tanh", "sigmoid": "sigmoid", "relu": "relu", "hardsigmoid": "hardsigmoid", "leakyrelu": "leaky_relu",
}  # fmt: skip
"""The activations of cells that kernels have, by their names in small letters."""


@dataclass(frozen=True)
class Extents:
    """T steps of B sequences with I numbers each, D directions, H numbers of state, G gates.

    With `batch_first`, the node has the batch before steps and directions. All arrays are looked at as steps,
    directions, batch, numbers.
    """

    T: int
    B: int
    I: int
    D: int
    H: int
    G: int
    batch_first: bool

    @property
    def state(self) -> Shape:
        """The shape of a state as the node has it."""
        return (self.B, self.D, self.H) if self.batch_first else (self.D, self.B, self.H)

    @property
    def output(self) -> Shape:
        """The shape of Y."""
        return (self.B, self.T, self.D, self.H) if self.batch_first else (self.T, self.D, self.B, self.H)

    @property
    def sums(self) -> Shape:
        """The shape of what the inputs add to the gates."""
        return (*((self.B, self.T) if self.batch_first else (self.T, self.B)), self.D, self.G * self.H)

    def axes_of_value(self, name: str) -> tuple[int, ...]:
        """Which axes of "sums", "y" or a state are steps, directions, batch, numbers."""
        if name == "sums":
            return (1, 2, 0, 3) if self.batch_first else (0, 2, 1, 3)
        if name == "y":
            return (1, 2, 0, 3) if self.batch_first else (0, 1, 2, 3)
        return (1, 0, 2) if self.batch_first else (0, 1, 2)


@dataclass(frozen=True)
class Wiring:
    """What a node reads and writes: its extents, inputs by name, outputs that are wanted, which directions run back."""

    e: Extents
    names: tuple[str, ...]
    wanted: tuple[int, ...]
    backwards: tuple[bool, ...]
    dtype: np.dtype[Any]

    def strides(self) -> dict[str, int]:
        """The words of the kernel that are strides: see `engine.recurrence`."""
        e, item = self.e, self.dtype.itemsize

        def of(name: str, shape: Shape) -> list[int]:
            steps = contiguous_strides(shape, item)
            return [steps[axis] for axis in e.axes_of_value(name)]

        sums, y, state = of("sums", e.sums), of("y", e.output), of("state", e.state)[-2]
        own = e.H * item
        line_steps = {"x row": sums[2], "y row": y[2]}
        line_steps["h row"] = state if "initial_h" in self.names else own
        line_steps["c row"] = state if "initial_c" in self.names else own
        line_steps["last row"] = state if 1 in self.wanted else own
        line_steps["cc row"] = state if 2 in self.wanted else own
        for d, back in enumerate(self.backwards):
            line_steps[f"x step {d}"], line_steps[f"y step {d}"] = (
                -s[0] if back else s[0] for s in (sums, y)
            )
        return line_steps


@dataclass(frozen=True)
class Rolled:
    """A recurrent node with its weights packed; `own`: what the kernel reads that never changes, by direction.

    `reads`: what the product does, by the names of inputs.
    """

    wiring: Wiring
    product: Planned
    sweep: Sweep
    own: Mapping[str, Sequence[Array]]
    reads: tuple[str, ...] = ("X",)
    way = "all steps"

    @property
    def plan(self) -> Prepared:
        """Plan of the product."""
        return self.product.plan

    @property
    def packed(self) -> dict[int, int]:
        """See `planned.HoldsWeights`."""
        own = sum(each.nbytes for several in self.own.values() for each in several)
        return {**self.product.packed, id(self.own): own}

    @property
    def scratch(self) -> int:
        """Bytes that its jobs need beside the arrays."""
        return sum(map(self._bytes, self._rooms.values())) + self.product.scratch

    @property
    def _rooms(self) -> dict[str, Shape]:
        """The shapes of what lies in scratch."""
        e, wanted = self.wiring.e, self.wiring.wanted
        states = (e.D, e.B, e.H)
        rooms = {"sums": e.sums, "last": states, "cc": states, "z": states, "rh": states}
        if counted := recurrence.bytes_of_states(self.sweep.plan):
            rooms["q"] = (e.D, counted // self.wiring.dtype.itemsize)
        return rooms if 0 in wanted else rooms | {"y": e.output}

    def _bytes(self, shape: Shape) -> int:
        return -(-math.prod(shape) * self.wiring.dtype.itemsize // LINE) * LINE

    def __call__(self, *arrays: Array) -> None:
        """Inputs first, then the outputs that are written."""
        memory = buffers.empty((self.scratch + LINE,), np.dtype(np.uint8))
        at = -(-memory.ctypes.data // LINE) * LINE
        blocks = self.jobs(arrays, at)
        if blocks is None:  # the product takes another way
            values = self._values(arrays, at)
            self.product(*self._take_operands(values))
            blocks = self._steps(values)
        thread_pool.launch_all((ctypes.c_int64 * len(blocks))(*map(ctypes.addressof, blocks)))

    def jobs(self, arrays: Sequence[Array], scratch: int) -> list[Any] | None:
        """See `planned`."""
        values = self._values(arrays, scratch)
        rest = scratch + self.scratch - self.product.scratch
        found = self.product.jobs(self._take_operands(values), rest)
        return None if found is None else [*found, *self._steps(values)]

    def _take_operands(self, values: Mapping[str, Array]) -> list[Array]:
        """The arrays of the product."""
        return [*(values[name] for name in self.reads), values["sums"]]

    def _values(self, arrays: Sequence[Array], scratch: int) -> dict[str, Array]:
        """Inputs by their names, outputs and scratch by the kernel's."""
        names, dtype = self.wiring.names, self.wiring.dtype
        values = dict(zip(names, arrays, strict=False))
        for name, shape in self._rooms.items():
            strides = contiguous_strides(shape, dtype.itemsize)
            values[name] = strided_views.array_at(scratch, shape, strides, dtype)
            scratch += self._bytes(shape)
        outputs = ("y", "last", "cc")
        return values | {
            outputs[at]: each for at, each in zip(self.wiring.wanted, arrays[len(names) :], strict=True)
        }

    def _steps(self, values: Mapping[str, Array]) -> list[Any]:
        """The jobs of all steps: one, or where threads share a direction one for each."""
        e, wanted, names = self.wiring.e, self.wiring.wanted, self.wiring.names
        sums, y = (values[name].transpose(e.axes_of_value(name)) for name in ("sums", "y"))

        def state(name: str, node_has: bool) -> Array:
            return values[name].transpose(e.axes_of_value(name)) if node_has else values[name]

        last, cc = state("last", 1 in wanted), state("cc", 2 in wanted)
        zeros = self.own["zeros"]
        h = state("initial_h", True) if "initial_h" in names else zeros
        c = state("initial_c", True) if "initial_c" in names else zeros
        jobs = e.T if self.sweep.plan.words["pieces"] > 1 else 1
        found = []
        for turn in range(jobs):
            given: list[dict[str, Array]] = []
            for d, back in enumerate(self.wiring.backwards):
                t, before = (e.T - 1 - turn, e.T - turn) if back else (turn, turn - 1)
                given.append({
                    "x": sums[t, d], "h": y[before, d] if turn else h[d], "y": y[t, d], "last": last[d],
                    "c": cc[d] if turn else c[d], "cc": cc[d], "z": values["z"][d], "rh": values["rh"][d],
                    **{name: each[d] for name, each in self.own.items()},
                    **({"q": values["q"][d]} if "q" in values else {}),
                })  # fmt: skip
            reads = (name.split() for name in self.sweep.plan.recipe.arrays)
            found.append(self.sweep.block([given[int(d)][name] for name, d in reads]))
        return found


@dataclass(frozen=True)
class RolledToTheEnd:
    """A recurrent node that is told where sequences end: by kernels in calls in which none ends early.

    `lengths`: which of the inputs says so. `rest`: what takes all other calls, and says what is wrong with lengths.
    """

    rolled: Rolled
    lengths: int
    steps: int
    rest: Step
    way = "all steps"

    @property
    def plan(self) -> Prepared:
        """Plan of the product."""
        return self.rolled.plan

    @property
    def packed(self) -> dict[int, int]:
        """See `planned.HoldsWeights`."""
        return self.rolled.packed

    @property
    def scratch(self) -> int:
        """Bytes of scratch of a call in which none ends early."""
        return self.rolled.scratch

    def __call__(self, *arrays: Array) -> None:
        """Inputs first, then the outputs that are written."""
        if (arrays[self.lengths] == self.steps).all():
            self.rolled(*arrays[: self.lengths], *arrays[self.lengths + 1 :])
        else:
            self.rest(*arrays)


@dataclass(frozen=True)
class ByteWeights:
    """Weights in 8 bits: of R, (D, G*H, H) in int8, with scales and zero points, (D, G*H).

    `product`: from the bias of all directions to the product of x, which reads the inputs of these names.
    """

    r: Array
    scale: Array
    zero: Array
    product: Callable[[Array | None], Planned | None]
    reads: tuple[str, ...]


def roll_cell(
    node: Node,
    inputs: Mapping[str, Spec],
    wiring: Wiring,
    functions: Sequence[Sequence[Named]],
    options: Options,
    in_bytes: ByteWeights | None = None,
) -> Rolled | None:
    """The step of a node by kernels; None where it has none."""
    e, constant = wiring.e, {name: spec.value for name, spec in inputs.items() if spec.value is not None}
    applied = _read_activations(functions)
    if (
        applied is None or not {"W", "R", "B", "P"}.intersection(inputs) <= constant.keys()
        or wiring.dtype.name not in DENSE or not e.I
    ):  # fmt: skip
        return None
    before = node.op == "GRU" and not node.get("linear_before_reset", 0)
    cell = recurrence.CellRecipe(
        node.op, applied, e.D, node.get("clip"), bool(node.get("input_forget", 0)), "P" in constant, before,
        node.op == "GRU" and not before and "B" in constant,
    )  # fmt: skip
    plan = recurrence.recurrence(
        cell, e.H, e.B, e.T, wiring.strides(), wiring.dtype.name, thread_pool.count(),
        zeros=None if in_bytes is None else bool(in_bytes.zero.any()),
    )  # fmt: skip
    if isinstance(plan, str):
        return None
    sweep = Sweep(plan)
    try:
        sweep.load()
    except EngineError:  # where nothing is compiled
        return None
    bias, within = _biases(constant.get("B"), e, cell)
    if in_bytes is None:
        packed = [recurrence.pack_recurrent(plan, np.asarray(r)) for r in constant["R"]]
        x = Spec((e.T * e.B, e.I), wiring.dtype)
        product: Step | None = dense(node, x, constant["W"].reshape(-1, e.I), bias, options)
    else:
        each = zip(in_bytes.r, in_bytes.scale, in_bytes.zero, strict=True)
        packed = [recurrence.pack_recurrent_bytes(plan, *of) for of in each]
        product = in_bytes.product(bias)
    if product is None:
        return None
    if options.record is not None:
        options.record.add_program(sweep)
    zeros = np.zeros((e.B, e.H), wiring.dtype)
    own: dict[str, Sequence[Array]] = {
        "R": [_in_lines(r) for r in packed],
        "P": [np.array(p) for p in constant.get("P", ())],
        "within": within,
        "zeros": [zeros] * e.D,
    }
    assert isinstance(product, Planned)
    kept = {name: each for name, each in own.items() if len(each)}
    return Rolled(wiring, product, sweep, kept, ("X",) if in_bytes is None else in_bytes.reads)


def _in_lines(array: Array) -> Array:
    """A copy that begins with a line of the cache: vectors that lie in two of them take twice the time to read."""
    memory = np.empty(array.nbytes + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    made = memory[start : start + array.nbytes].view(array.dtype)
    made[:] = array
    return made


def _read_activations(functions: Sequence[Sequence[Named]]) -> tuple[recurrence.Applied, ...] | None:
    """The activations as kernels have them, if they do, and all directions are alike."""
    first = functions[0]
    alike = all(
        (a.name, a.parameters) == (b.name, b.parameters)
        for other in functions[1:]
        for a, b in zip(first, other, strict=True)
    )
    if not alike or any(each.name not in APPLIED for each in first):
        return None
    return tuple((APPLIED[each.name], each.parameters) for each in first)


def _biases(b: Array | None, e: Extents, cell: recurrence.CellRecipe) -> tuple[Array | None, list[Array]]:
    """What is added to the product for all directions, and to the part of a GRU that the reset gate multiplies."""
    if b is None:
        return None, []
    halves = b.reshape(e.D, 2, e.G * e.H)
    added = halves.sum(1)
    if cell.within:
        added[:, 2 * e.H :] = halves[:, 0, 2 * e.H :]
    return added.ravel(), [np.array(each) for each in halves[:, 1, 2 * e.H :]] if cell.within else []


__all__ = ["ByteWeights", "Extents", "Rolled", "Wiring", "roll_cell"]
