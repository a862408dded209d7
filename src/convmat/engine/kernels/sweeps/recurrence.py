"""Recurrence: which kernel takes the steps of an RNN, a GRU or an LSTM (`cell_steps`), and how R is packed for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cpu import host
from ...ir.dots import unit_of
from ...ir.instructions import TYPES
from .base import SweepPlan, type_refusal
from .byte_states import MOST_STATES, NUMBERS, QUAD, StateBytes, pack_bytes_of_states, state_line_bytes
from .cell_steps import GATES, Applied, CellRecipe, Recurrence

Array = npt.NDArray[Any]

PIECE_WORK = 1 << 17
"""Multiplications of a step in one direction from which on several threads share it: some microseconds.

Of bytes it takes four times as many.
"""


def recurrence(
    cell: CellRecipe,
    H: int,
    B: int,
    steps: int,
    strides: Mapping[str, int],
    dtype: str,
    threads: int,
    *,
    zeros: bool | None = None,
) -> SweepPlan | str:
    """The kernel of a cell with H numbers of state for B sequences; a sentence where there is none.

    `strides`: bytes, by the names of `Recurrence.words`. With tasks more than directions a job takes one step, whatever
    `steps` says. `zeros`: R is in 8 bits, and whether it has zero points but 0; None: R is of `dtype`.

    >>> recurrence(CellRecipe("RNN", (("tanh", ()),)), 8, 1, 5, {}, "int8", 1)
    'takes float32 and float64, got int8'
    >>> recurrence(CellRecipe("RNN", (("tanh", ()),)), 8, 1, 5, {}, "float32", 1, zeros=False)
    'takes weights in 8 bits for an LSTM of up to 33025 numbers in float32, got a RNN of 8 in float32'
    """
    if refusal := type_refusal(dtype):
        return refusal
    if not H or not B or not steps:
        return f"takes steps of sequences with states, got {steps} of {B} with {H} numbers"
    if zeros is not None and (cell.name != "LSTM" or dtype != "float32" or H > MOST_STATES):
        return (
            f"takes weights in 8 bits for an LSTM of up to {MOST_STATES} numbers in float32, got a {cell.name} of {H} "
            f"in {dtype}"
        )
    type, cpu, D = TYPES[dtype], host(), cell.directions
    lanes = cpu.lanes(type.bytes)
    # 4 gates x 2 vectors, or 4 sequences x 4 gates: sums enough to hide the time of an FMA
    vectors, many = (2 if lanes < H else 1, 1) if B < 4 or cpu.vector_registers < 32 else (1, 4)
    blocks = -(-H // (lanes * vectors))
    pieces = min(max(threads // D, 1), blocks)
    if (
        GATES[cell.name] * H * H * B < PIECE_WORK * (1 if zeros is None else QUAD)
        or cell.before
        or strides.get("h row") != strides.get("y row")
    ):
        pieces = 1
    piece = -(-blocks // pieces)
    pieces = -(-blocks // piece)
    words = {"lines": D, "columns": blocks, "per": 1, "pieces": pieces, "piece": piece}
    words |= {"H": H, "B": B, "steps": steps if pieces == 1 else 1, **strides}
    line = state_line_bytes(H, lanes)
    words |= {"q row": line, "q numbers": line - NUMBERS * 4}
    states = None if zeros is None else StateBytes(lanes, unit_of(cpu), zeros)
    recipe = Recurrence(cell, type, lanes, vectors, many, states)
    words = {name: words.get(name, 0) for name in recipe.arguments.names if name not in recipe.arrays}
    return SweepPlan(recipe, words, D * pieces, threads, steps * B * D * GATES[cell.name] * H)


def pack_recurrent(plan: SweepPlan, r: Array) -> Array:
    """R of one direction, (G*H, H), as the kernel reads it: flat.

    >>> plan = recurrence(CellRecipe("RNN", (("tanh", ()),)), 3, 1, 5, {}, "float32", 1)
    >>> pack_recurrent(plan, np.ones((3, 3), np.float32)).sum()
    np.float32(9.0)
    """
    recipe, (_, H) = plan.recipe, r.shape
    assert isinstance(recipe, Recurrence)
    G, size = GATES[recipe.cell.name], recipe.lanes * recipe.vectors
    blocks = -(-H // size)
    whole = np.zeros((G, blocks * size, H), r.dtype)
    whole[:, :H] = r.reshape(G, H, H)
    parts = np.split(whole, [2]) if recipe.cell.before else [whole]
    turned = [each.reshape(len(each), blocks, size, H).transpose(1, 3, 0, 2).ravel() for each in parts]
    return np.concatenate(turned)


def pack_recurrent_bytes(plan: SweepPlan, r: Array, scale: Array, zero: Array) -> Array:
    """The same of R in int8, with a scale and a zero point for each of its rows."""
    recipe = plan.recipe
    assert isinstance(recipe, Recurrence)
    gates = GATES[recipe.cell.name]
    return pack_bytes_of_states(r, scale, zero, gates, recipe.lanes * recipe.vectors, recipe.lanes)


def bytes_of_states(plan: SweepPlan) -> int:
    """Bytes of `q` of one direction: 0 where states stay as they are."""
    recipe, words = plan.recipe, plan.words
    assert isinstance(recipe, Recurrence)
    return 0 if recipe.states is None else words["pieces"] * words["B"] * words["q row"]


__all__ = [
    "GATES",
    "Applied",
    "CellRecipe",
    "Recurrence",
    "bytes_of_states",
    "pack_recurrent",
    "pack_recurrent_bytes",
    "recurrence",
]
