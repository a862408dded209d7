"""The innermost product's loop: every accumulator stays in the register it began in."""

from __future__ import annotations

import re
from typing import Literal

import pytest

from convmat.engine.cpu import Cpu
from convmat.engine.ir.emitter import Module
from convmat.engine.ir.instructions import Type, Value, f32, f64, i64, ptr
from convmat.engine.kernels.tile import Tile
from convmat.engine.runtime import compiler_pool

Packed = Literal["vectors"] | None

ZMM = [(f32, 14, 2, 16), (f32, 9, 3, 16), (f32, 28, 1, 16), (f64, 14, 2, 8)]
"""Type, rows, vectors and lanes of tiles that leave no more than four of 32 registers free."""

YMM = [(f32, 6, 2, 8), (f32, 4, 3, 8), (f64, 6, 2, 4)]
"""The same with 16 registers."""


def longest_block(module: Module, cpu: Cpu) -> str:
    """The assembly of the block with the most multiplications."""
    (text,) = compiler_pool.compile_many([str(module)], cpu, form="assembly")
    return max(re.split(r"\n(?=\.LBB)", text.decode()), key=lambda block: block.count("vfmadd"))


def moved_accumulators(loop: str) -> list[str]:
    """Instructions that move whole vectors between registers, or over the stack."""
    return re.findall(r"v?movap[sd]\s+%[yz]mm\d+, %[yz]mm\d+|.*[yz]mm.*rsp\)|.*rsp\).*[yz]mm.*", loop)


def multiply_loop(tile: Tile, cpu: Cpu, known: bool) -> str:
    """The assembly of the unrolled loop of a tile, whose scalars lie so far apart (perhaps not known)."""
    module = Module()
    fn = module.function("product", {"scalars": ptr, "vectors": ptr, "depth": i64, "step": i64, "out": ptr})
    scalars, vectors, depth, step, out = fn.arguments
    apart: int | Value = 4096 if known else step
    made = Tile(
        tile.work, tile.rows, tile.vectors, tile.lanes, apart, tile.scalar_row, tile.vector_k, tile.packed
    )
    made.store_parts(fn, made.multiply(fn, scalars, vectors, depth), out)
    return longest_block(module, cpu)


@pytest.mark.parametrize("known", [True, False], ids=["known", "at run time"])
@pytest.mark.parametrize("packed", [None, "vectors"])
@pytest.mark.parametrize(
    ("cpu", "size"),
    [("x86-64-v4", size) for size in ZMM] + [("x86-64-v3", size) for size in YMM] + [("znver5", ZMM[0])],
    ids=str,
)
def test_no_accumulator_leaves_its_register(
    cpu: str, size: tuple[Type, int, int, int], packed: Packed, known: bool
) -> None:
    work, rows, vectors, lanes = size
    item = work.bytes
    tile = Tile(work, rows, vectors, lanes, 0, item, vectors * lanes * item, packed)
    loop = multiply_loop(tile, Cpu.named(cpu), known)
    assert loop.count("vfmadd") == 4 * rows * vectors
    assert moved_accumulators(loop) == []


@pytest.mark.parametrize(
    ("cpu", "rows", "group"),
    [
        ("x86-64-v4", 12, 3),
        ("x86-64-v4", 14, 7),
        ("x86-64-v4", 14, 2),
        ("znver5", 12, 3),
        ("x86-64-v3", 6, 3),
    ],
)
def test_none_leaves_it_where_groups_of_rows_have_addresses(cpu: str, rows: int, group: int) -> None:
    target, module = Cpu.named(cpu), Module()
    lanes = target.lanes(f32.bytes)
    groups = -(-rows // group)
    parameters = {f"group{g}": ptr for g in range(groups)} | {"vectors": ptr, "depth": i64}
    fn = module.function("product", parameters | {"lines": ptr, "count": i64, "out": ptr})
    *scalars, vectors, depth, lines, count, out = fn.arguments
    tile = Tile(f32, rows, 2, lanes, f32.bytes, f32.bytes, 2 * lanes * f32.bytes, "vectors", group)
    tile.store_parts(fn, tile.multiply_lines(fn, scalars, vectors, depth, (lines, count)), out)
    loop = longest_block(module, target)
    assert loop.count("vfmadd") == 4 * rows * 2
    assert moved_accumulators(loop) == []
