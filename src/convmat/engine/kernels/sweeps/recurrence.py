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
from .byte_states import MOST_STATES, NUMBERS, QUAD, StateBytes, pack_bytes_of_states
from .cell_steps import GATES, Applied, CellRecipe, Recurrence

Array = npt.NDArray[Any]

PIECE_WORK = 1 << 17
"""Multiplications of a step in one direction from which on several threads share it: some microseconds.

Of bytes it takes four times as many.
"""

GROUP_WORK = 1 << 17
"""Multiplications of all steps from which on threads share the sequences of a direction."""

FEW = 4
"""Sequences of a tile whose sums are in registers."""


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

    `strides`: bytes, by the names of `Recurrence.words`. With several `pieces` a job takes one step, whatever `steps`
    says. `zeros`: R is in 8 bits, and whether it has zero points but 0; None: R is of `dtype`.

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
    work, wanted = GATES[cell.name] * H * H * B, max(threads // D, 1)
    groups = min(wanted, -(-B // FEW)) if work * steps >= GROUP_WORK else 1
    # Pieces read less of R each, but wait for each other at each step, and count the same state in bytes.
    small = strides.get("h row") != strides.get("y row") or cell.before
    small |= work < PIECE_WORK * (1 if zeros is None else QUAD)
    cut = not small and wanted > 1 and (2 * groups <= wanted or _is_large(type.bytes, H, cell, zeros))
    group = B if cut else -(-B // groups)
    # 4 gates x 2 vectors, or 4 sequences x 4 gates: sums enough to hide the time of an FMA
    vectors, many = (2 if lanes < H else 1, 1) if group < FEW or cpu.vector_registers < 32 else (1, FEW)
    states = None if zeros is None else StateBytes(lanes, unit_of(cpu), zeros)
    blocks = -(-H // (lanes * vectors))
    piece = -(-blocks // min(wanted, blocks)) if cut else blocks
    pieces = -(-blocks // piece)
    words = {"columns": blocks, "per": 1, "pieces": pieces, "piece": piece}
    words |= {"H": H, "B": B, "group": group, "groups": -(-B // group)}
    words |= {"lines": D * words["groups"], "steps": steps if pieces == 1 else 1, **strides}
    if states is not None:
        line = states.line_bytes(H)
        words |= {
            "quads": -(-H // QUAD),
            "q row": line,
            "q numbers": line - NUMBERS * 4,
            "q size": group * line,
        }
    recipe = Recurrence(cell, type, lanes, vectors, many, states)
    words = {name: words.get(name, 0) for name in recipe.arguments.names if name not in recipe.arrays}
    tasks = words["lines"] * pieces
    return SweepPlan(recipe, words, tasks, threads, steps * B * D * GATES[cell.name] * H)


def _is_large(item: int, H: int, cell: CellRecipe, zeros: bool | None) -> bool:
    """Whether R is read from beyond L2 at each step."""
    return GATES[cell.name] * H * H * (item if zeros is None else 1) > host().l2


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
    assert recipe.states is not None
    return pack_bytes_of_states(recipe.states, r, scale, zero, gates, recipe.lanes * recipe.vectors)


def bytes_of_states(plan: SweepPlan) -> int:
    """Bytes of `q` of one direction: 0 where states stay as they are."""
    recipe, words = plan.recipe, plan.words
    assert isinstance(recipe, Recurrence)
    return 0 if recipe.states is None else words["groups"] * words["pieces"] * words["q size"]


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
