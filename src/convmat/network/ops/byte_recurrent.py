"""An LSTM whose weights and inputs are in 8 bits, as DynamicQuantizeLSTM means it; rewriting makes its nodes.

    sums = (X - x_zero) (W - w_zero)^T (x_scale * w_scale) + b         integers, for all steps at once
    Y[t] = cell(sums[t], Y[t - 1])                                     where h R^T is a product of integers, too

The state before a step is counted in bytes by its range, as DynamicQuantizeLinear does, each sequence by itself.

Inputs are those of LSTM, X in uint8, W and R in int8, then x_scale, x_zero, w_scale, w_zero, r_scale, r_zero: those of
X one number, the others one for each of (D*4*H,) rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ...engine import Expression, elementwise, thread_pool
from ..graph import Array, Node, Spec
from .base import OPERATORS, Specs, Step, input_at, own_operator
from .expressions import Spelling
from .integer_products import bind_rows
from .options import Options, load_sweep
from .planned import Followed, Planned
from .quantise import quantise_by_range
from .recurrent import INPUTS, roll_whole_sequences, step_by_step, wire
from .rolled import ByteWeights, Rolled, Wiring, roll_cell

INTEGER_LSTM = "IntegerLstm"
"""The operator's name."""

NUMBERS = ("x_scale", "x_zero", "w_scale", "w_zero", "r_scale", "r_zero")
"""Inputs behind those of LSTM."""


def _as_floats(node: Node, specs: Specs) -> tuple[Node, list[Spec | None]]:
    """The LSTM that it would be in float32, and its inputs."""
    floats = [
        Spec(spec.shape, np.dtype(np.float32)) if spec is not None and at < 3 else spec
        for at, spec in enumerate(specs[: len(INPUTS)])
    ]
    return replace(node, op="LSTM", domain=""), floats


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    return OPERATORS["LSTM"].shape(*_as_floats(node, specs))


@own_operator(INTEGER_LSTM, shape=_shape)
def byte_recurrent(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """Y, the outputs of all steps; Y_h and Y_c, the state after the last."""
    lstm, floats = _as_floats(node, specs)
    plain, functions = wire(lstm, floats)
    wiring = replace(plain, names=(*plain.names, *NUMBERS))
    e, at = wiring.e, len(INPUTS)
    values = [input_at(node, specs, i).value for i in (1, 2, *range(at + 2, at + 6))]
    w, r, w_scale, w_zero, r_scale, r_zero = map(np.asarray, values)
    known = {name: spec for name, spec in zip(INPUTS, specs, strict=False) if spec is not None}
    rows = (e.D, e.G * e.H)

    def product(bias: Array | None) -> Planned | None:
        x = Spec((e.T * e.B, e.I), np.dtype(np.uint8))
        return _scaled_rows(node, x, w.reshape(-1, e.I), w_scale, w_zero, bias, options)

    weights = ByteWeights(r, r_scale.reshape(rows), r_zero.reshape(rows), product, ("X", *NUMBERS[:2]))

    def roll(told: Wiring) -> Rolled | None:
        return roll_cell(lstm, known, told, functions, options, weights)

    def alone() -> Step:
        products = [_by_range(*each) for each in zip(weights.r, weights.scale, weights.zero, strict=True)]
        steps = step_by_step(lstm, plain, functions, products)
        whole = _numbers(w.reshape(-1, e.I), w_scale, w_zero).reshape(w.shape)

        def step(*arrays: Array) -> None:
            inputs = dict(zip(wiring.names, arrays, strict=False))
            scale, zero = inputs["x_scale"].reshape(()), inputs["x_zero"].reshape(())
            inputs |= {"X": (inputs["X"].astype(np.float32) - np.float32(zero)) * scale, "W": whole}
            steps(*(inputs[name] for name in plain.names), *arrays[len(wiring.names) :])

        return step

    return roll_whole_sequences(known.get("sequence_lens"), wiring, roll, alone)


def _numbers(q: Array, scale: Array, zero: Array) -> Array:
    """Rows in float32."""
    found: Array = (q.astype(np.float32) - zero[:, None].astype(np.float32)) * scale[:, None]
    return found


def _by_range(r: Array, scale: Array, zero: Array) -> Callable[[Array], Array]:
    """h R^T by integers: from (B, H) to (B, G*H)."""
    wide = (r.astype(np.int64) - zero[:, None].astype(np.int64)).T
    node = Node("DynamicQuantizeLinear", ("h",), ("q", "scale", "zero"), {}, "", 11)

    def one(h: Array) -> Array:
        q, own, less = quantise_by_range(node, h)
        sums = (q.astype(np.int64) - int(less)) @ wide
        found: Array = sums.astype(np.float32) * (own * scale)
        return found

    return lambda h: np.stack([one(each) for each in h]) if len(h) else np.empty((0, len(r)), np.float32)


def _scaled_rows(
    node: Node, x: Spec, w: Array, scale: Array, zero: Array, bias: Array | None, options: Options
) -> Planned | None:
    """Rows x times the transpose of w: (n, k), in float32; it reads x, its scale and its zero point."""
    keywords: dict[str, Any] = {"w_zero_point": zero} if zero.any() else {}
    if (found := bind_rows(node, x, w, None, keywords, options)) is None:
        return None
    sums = (w.astype(np.int64).sum(1) - w.shape[1] * zero.astype(np.int64)).astype(np.int32)
    types = ["int32", "float32", "uint8", "int32", "float32"]
    constants = [sums, scale.astype(np.float32)]
    if bias is not None:
        types.append("float32")
        constants.append(bias)
    spelt = Spelling(tuple(types))
    whole = spelt.cast(spelt("sub", 0, spelt("mul", 3, spelt.cast(2, "int32"))), "float32")
    scaled = spelt("mul", whole, spelt("mul", 1, 4))
    if bias is not None:
        spelt("add", scaled, 5)
    made = (x.shape[0], len(w))
    shapes = [made, (), (), *(each.shape for each in constants)]
    plan = elementwise(Expression(tuple(types), spelt.steps), shapes, made, thread_pool.count())
    sweep = load_sweep(plan, options)
    return None if sweep is None else Followed(found.bound, _order_of(found), sweep, (-1, 1, 2, *constants))


def _order_of(found: Planned) -> Callable[[Any], tuple[Array, Array | None, Array]]:
    """x, and y as the whole numbers that lie where floats will."""
    return lambda arrays: found.order((arrays[0], arrays[-1].view(np.int32)))


__all__ = ["INTEGER_LSTM", "byte_recurrent"]
