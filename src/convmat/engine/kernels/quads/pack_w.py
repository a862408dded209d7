"""Packing w for products of quads: [run][quad][row][byte] in blocks of rows.

Behind a block of integers the sum of each of its rows; float32 is rounded to the bfloat16 numbers that are multiplied.
"""

from __future__ import annotations

from ...ir.emitter import Function, Module
from ...ir.instructions import (
    Value,
    bitcast,
    const,
    equal,
    i16,
    i32,
    i64,
    ptr,
    select,
    sext,
    udiv,
)
from ...ir.shuffles import narrow
from ...job import WORD
from .recipe import NOWHERE, QUAD, QuadsRecipe


def write_weights(module: Module, recipe: QuadsRecipe) -> None:
    """`weights(args, index, thread)`: block `index % blocks` of the matrix of batch `index // blocks`."""
    r, arguments = recipe, recipe.arguments()
    fn = module.function("weights", {"args": ptr, "index": i64, "thread": i64})
    args, index, _ = fn.arguments
    w, out = arguments.load(fn, args, "w", ptr), arguments.load(fn, args, "a", ptr)
    batch = udiv(index, r.blocks)
    number = index - batch * r.blocks
    for name in reversed(r.batch):
        extent = arguments.load(fn, args, f"count {name}")
        above = udiv(batch, extent)
        value, batch = batch - above * extent, above
        w = w + value * arguments.load(fn, args, f"w {name}")
        out = out + value * arguments.load(fn, args, f"a {name}")
    block, count = (arguments.load(fn, args, name) for name in ("block", "run count"))
    out = out + number * block
    vector = i32.x(r.lanes)
    with fn.loop(0, block, vector.bytes) as each:
        fn.store(const(vector, 0), out + each.index)
    rows = select(equal(number, r.blocks - 1), const(i64, r.tail), const(i64, r.rows))
    table = arguments.load(fn, args, "w rows", ptr) + number * (r.rows * WORD)
    places = arguments.load(fn, args, "w k", ptr)
    with fn.loop(0, rows) as row:
        source = w + fn.load(table + row.index * WORD, i64)
        target = out + row.index * QUAD
        size = r.element.bytes
        with fn.loop(0, count, carried=[places, target, const(i32, 0)]) as runs:
            at, to, total = runs.carried
            with fn.loop(0, r.run // size, carried=[total]) as element:
                (sum_,) = element.carried
                made = _read(fn, r, source, fn.load(at + element.index * WORD, i64))
                fn.store(made, to + _place(element.index * size, r))
                element.carry(sum_ if r.work.is_float else sum_ + sext(made, to=i32))
            runs.carry(at + r.run // size * WORD, to + r.run_bytes, element.results[0])
        if not r.work.is_float:
            fn.store(runs.results[2], out + row.index * QUAD + count * r.run_bytes)


def _read(fn: Function, r: QuadsRecipe, w: Value, place: Value) -> Value:
    """An element of w as it is multiplied; 0 behind an odd channel of floats, which lies nowhere."""
    if r.work.is_float:
        there = place > NOWHERE
        made = narrow(fn.load(w + select(there, place, const(i64, 0)), r.weights), r.element)
        return bitcast(select(there, bitcast(made, to=i16), const(i16, 0)), to=r.element)
    made = fn.load(w + place, r.weights)
    return made if r.signed else made ^ -128


def _place(byte: Value, r: QuadsRecipe) -> Value:
    """Where a byte of a run goes, from where its row begins."""
    quad = udiv(byte, QUAD)
    return quad * (r.rows * QUAD - QUAD) + byte


__all__ = ["write_weights"]
