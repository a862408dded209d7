"""Scan: a body run for each slice of its inputs, along an axis, forwards or backwards; its rows along an axis too.

    body(*state, *slices) -> *state, *rows

Before operator set 9 all arrays had a batch axis before the axis of slices, and each image a length of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from ..graph import Array, Graph, Node, Spec, Value
from .base import Around, Bodies, Inside, Specs, axis_of
from .bodies import (
    Closed,
    body_of,
    captured_specs,
    close_body,
    describe_value,
    enter_with_bodies,
    tensor_specs,
)
from .loops import TurnRows, count_turns, row_of, settle_specs


class _ScanParts(NamedTuple):
    """How many of each there are, and which way they go."""

    body: Graph
    states: int
    scans: int
    rows: int
    backwards: tuple[int, ...]
    """For each scanned input, 1 where it goes backwards."""
    axes: tuple[int, ...]
    row_backwards: tuple[int, ...]
    row_axes: tuple[int, ...]
    batched: bool


def _parts(node: Node) -> _ScanParts:
    batched = node.version < 9
    scans = int(node.get("num_scan_inputs", 0))
    states = len(node.inputs) - scans - batched
    rows = len(node.outputs) - states
    if scans < 1 or states < 0 or rows < 0:
        raise node.error(
            f"its num_scan_inputs does not fit it\n  {scans}; it has {len(node.inputs)} inputs and "
            f"{len(node.outputs)} outputs"
        )
    body = body_of(node, "body", states + scans, states + rows)
    ways = node.get("directions" if batched else "scan_input_directions")
    return _ScanParts(
        body,
        states,
        scans,
        rows,
        _each(node, "directions of its inputs", ways, scans),
        _each(node, "scan_input_axes", node.get("scan_input_axes"), scans),
        _each(node, "scan_output_directions", node.get("scan_output_directions"), rows),
        _each(node, "scan_output_axes", node.get("scan_output_axes"), rows),
        batched,
    )


def _each(node: Node, what: str, value: Sequence[int] | None, count: int) -> tuple[int, ...]:
    if value is None:
        return (0,) * count
    if len(value) != count or (what.endswith("directions") and not {0, 1}.issuperset(value)):
        raise node.error(f"its {what} do not fit it\n  {tuple(value)} for {count}")
    return tuple(value)


def _along(node: Node, spec: Spec, axis: int) -> tuple[int, Spec]:
    """How many slices there are, and what each is."""
    if not spec.rank:
        raise node.error(f"it scans an input without axes\n  {spec}")
    at = axis_of(node, axis, spec.rank)
    return spec.shape[at], Spec(spec.shape[:at] + spec.shape[at + 1 :], spec.dtype)


def _shape(node: Node, specs: Specs, inside: Inside) -> tuple[Spec | None, ...]:
    parts = _parts(node)
    own = list(specs[parts.batched : len(node.inputs)])
    more = captured_specs(node, parts.body, specs)
    if any(spec is None for spec in own[parts.states :]):
        return (None,) * len(node.outputs)
    batch: tuple[int, ...] = ()
    if parts.batched:
        cut = [None if spec is None else _along(node, spec, 0) for spec in own]
        own = [None if each is None else each[1] for each in cut]
        batch = tuple(each[0] for each in cut if each is not None)[-1:]
    slices = [
        _along(node, spec, axis)
        for spec, axis in zip(own[parts.states :], parts.axes, strict=True)
        if spec is not None
    ]
    state, rows = settle_specs(parts.body, own[: parts.states], [*(s for _, s in slices), *more], inside)
    made: list[Spec | None] = [None if s is None else Spec((*batch, *s.shape), s.dtype) for s in state]
    for spec, axis in zip(rows, parts.row_axes, strict=True):
        if spec is None:
            made.append(None)
            continue
        at = axis_of(node, axis, spec.rank + 1)
        shape = (*batch, *spec.shape[:at], slices[0][0], *spec.shape[at:])
        made.append(Spec(shape, spec.dtype))
    return tuple(made)


def _open(node: Node, about: Around) -> Callable[..., tuple[Value, ...]]:
    parts = _parts(node)
    body = close_body(node, parts.body, about)

    def run(*values: Value) -> tuple[Value, ...]:
        captured = values[len(node.inputs) :]
        own = list(values[parts.batched : len(node.inputs)])
        for value in own[parts.states :]:
            if not isinstance(value, np.ndarray):
                raise node.error(f"it scans what is no tensor\n  {describe_value(value)}")
        scanned = _Scanned(node, parts, about, body, captured)
        with count_turns():
            if parts.batched:
                return tuple(scanned.batch(values[0], own))
            return tuple(scanned.one(own))

    return run


class _Scanned:
    """One call."""

    def __init__(
        self, node: Node, parts: _ScanParts, about: Around, body: Closed, captured: Sequence[Value]
    ) -> None:
        self.node, self.parts, self.about = node, parts, about
        self.body, self.captured = body, captured

    def one(self, own: list[Value]) -> list[Value]:
        """State and joined rows, of state and scanned inputs."""
        node, parts = self.node, self.parts
        state = own[: parts.states]
        moved = []
        for x, axis in zip(_arrays(own[parts.states :]), parts.axes, strict=True):
            _along(node, Spec.of(x), axis)  # says no to what has no axes
            moved.append(np.moveaxis(x, axis, 0))
        lengths = {len(x) for x in moved}
        if len(lengths) != 1:
            raise node.error(f"its inputs are not of one length\n  {', '.join(map(str, sorted(lengths)))}")
        (n,) = lengths
        rows = [TurnRows(node, self.about.limit) for _ in range(parts.rows)]
        for t in range(n):
            slices = [
                np.asarray(x[n - 1 - t if back else t, ...], order="C")
                for x, back in zip(moved, parts.backwards, strict=True)
            ]
            found = self.body([*state, *slices], self.captured)
            state = found[: parts.states]
            for each, value in zip(rows, found[parts.states :], strict=True):
                each.add(value)
        made: list[Value] = list(state)
        for i, each in enumerate(rows):
            whole = each.stack_rows(partial(self._row, own[: parts.states], moved, i))
            if parts.row_backwards[i]:
                whole = whole[::-1]
            made.append(
                np.ascontiguousarray(np.moveaxis(whole, 0, axis_of(node, parts.row_axes[i], whole.ndim)))
            )
        return made

    def _row(self, state: Sequence[Value], moved: list[Array], at: int) -> Spec:
        """What a row would be."""
        node, parts = self.node, self.parts
        slices = [Spec(x.shape[1:], x.dtype) for x in moved]
        more = captured_specs(node, parts.body, tensor_specs([*(None for _ in node.inputs), *self.captured]))
        known = self.about.specs(parts.body, [*tensor_specs(state), *slices, *more])
        return row_of(node, parts.body, known, parts.states + at)

    def batch(self, lengths: Value, own: list[Value]) -> list[Value]:
        """Image by image, each as far as its length says; rows behind it are 0."""
        node, parts = self.node, self.parts
        arrays = _arrays(own)
        if len(arrays) < len(own) or any(x.ndim < 1 + (i >= parts.states) for i, x in enumerate(arrays)):
            raise node.error(f"its inputs have no batch axis\n  {', '.join(map(describe_value, own))}")
        images, longest = arrays[-1].shape[:2]
        if any(len(x) != images for x in arrays):
            raise node.error(f"its inputs are not of one batch\n  {', '.join(map(describe_value, own))}")
        counts = [longest] * images
        if isinstance(lengths, np.ndarray):
            counts = [int(n) for n in lengths.reshape(-1)]
        if len(counts) != images or any(not 0 <= n <= longest for n in counts):
            raise node.error(f"its sequence_lens do not fit it\n  {counts} for {images} of {longest}")
        done = []
        for b in range(images):
            state: list[Value] = [np.asarray(x[b, ...], order="C") for x in arrays[: parts.states]]
            slices: list[Value] = [x[b, : counts[b]] for x in arrays[parts.states :]]
            done.append(_arrays(self.one([*state, *slices])))
        made: list[Value] = []
        for i, several in enumerate(zip(*done, strict=True)):
            if i >= parts.states:
                several = tuple(_lengthen(y, longest) for y in several)
            made.append(np.stack(several))
        return made if done else self._nothing(arrays, longest)

    def _nothing(self, arrays: list[Array], longest: int) -> list[Value]:
        """The answer for no image at all."""
        parts = self.parts
        states = arrays[: parts.states]
        made: list[Value] = list(states)
        one = [np.empty(x.shape[1:], x.dtype) for x in states]
        moved = [np.empty(x.shape[1:], x.dtype) for x in arrays[parts.states :]]
        for i in range(parts.rows):
            spec = self._row(one, moved, i)
            made.append(np.empty((0, longest, *spec.shape), spec.dtype))
        return made


def _arrays(values: Sequence[Value]) -> list[Array]:
    return [value for value in values if isinstance(value, np.ndarray)]


def _lengthen(y: Array, longest: int) -> Array:
    """Rows, with zeros behind them."""
    made = np.zeros((longest, *y.shape[1:]), y.dtype)
    made[: len(y)] = y
    return made


enter_with_bodies("Scan", Bodies(_shape, _open))
