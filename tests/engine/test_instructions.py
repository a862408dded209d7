"""Every instruction's text, compiled and run, against its meaning in NumPy, for every type it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convmat.engine.ir.emitter import Module
from convmat.engine.ir.instructions import (
    INSTRUCTIONS,
    Instruction,
    Type,
    add,
    const,
    equal,
    f16,
    f32,
    f64,
    fma,
    i1,
    i8,
    i16,
    i32,
    i64,
    maximum,
    minimum,
    not_equal,
    ptr,
    select,
    zext,
)

FLOATS, INTS = (f32, f64), (i8, i16, i32, i64)
LANES = (0, 4, 16)
Case = tuple[tuple[Type, ...], dict[str, Any]]  # the operands' types, and what is no operand


def alike(count: int, kinds: tuple[Type, ...]) -> list[Case]:
    """`count` operands of one type."""
    return [((kind.x(lanes),) * count, {}) for kind in kinds for lanes in LANES]


def casts(*pairs: tuple[Type, Type]) -> list[Case]:
    return [((kind.x(lanes),), {"to": to}) for kind, to in pairs for lanes in LANES]


PAIRS = [(small, large) for at, small in enumerate(INTS) for large in INTS[at + 1 :]]
MIXED = (3, 3, -1, 0, 7, 5)  # six lanes out of two times four
CASES: dict[str, list[Case]] = {
    **dict.fromkeys(("add", "sub", "mul", "maximum", "minimum"), alike(2, FLOATS + INTS)),
    **dict.fromkeys(("equal", "not_equal", "less", "less_equal"), alike(2, FLOATS + INTS)),
    **dict.fromkeys(("greater", "greater_equal"), alike(2, FLOATS + INTS)),
    "regroup": [
        ((i32.x(4),), {"to": i8.x(16)}),
        ((i16.x(16),), {"to": i32.x(8)}),
        ((f32.x(4),), {"to": i16.x(8)}),
    ],
    **dict.fromkeys(("div", "copysign"), alike(2, FLOATS)),
    **dict.fromkeys(("fabs", "sqrt", "rint", "floor", "ceil"), alike(1, FLOATS)),
    **dict.fromkeys(("shl", "lshr", "ashr", "sdiv", "udiv", "srem", "urem", "below"), alike(2, INTS)),
    **dict.fromkeys(("and", "or", "xor"), alike(2, (*INTS, i1))),
    "neg": alike(1, FLOATS + INTS),
    "fma": alike(3, FLOATS),
    "select": [
        ((i1.x(lanes if each else 0), kind.x(lanes), kind.x(lanes)), {})
        for kind in FLOATS + INTS
        for lanes in LANES
        for each in (True, False)
    ],
    "all_lanes": [((i1.x(lanes),), {}) for lanes in LANES if lanes],
    "lanes_of_bits": [((kind,), {}) for kind in INTS],
    "bits_of_lanes": [((i1.x(lanes),), {}) for lanes in (4, 8, 16)],
    "trailing_zeros": [((i64,), {})],
    "sext": casts(*PAIRS),
    "zext": casts(*PAIRS, *((i1, kind) for kind in INTS)),
    "trunc": casts(*((large, small) for small, large in PAIRS)),
    "sitofp": casts(*((a, b) for a in INTS for b in FLOATS)),
    "uitofp": casts(*((a, b) for a in INTS for b in FLOATS)),
    "fptosi": casts((f32, i32), (f64, i32), (f64, i64)),
    "fpext": casts((f16, f32), (f32, f64)),
    "fptrunc": casts((f32, f16), (f64, f32)),
    "bitcast": casts((f32, i32), (i32, f32), (f64, i64), (i64, f64), (f16, i16)),
    "splat": [((kind,), {"lanes": 8}) for kind in FLOATS + INTS],
    "shuffle": [((kind.x(4), kind.x(4)), {"indices": MIXED}) for kind in FLOATS + INTS],
    "extract": [((kind.x(4),), {"lane": lane}) for kind in FLOATS + INTS for lane in (0, 3)],
    "insert": [((kind.x(4), kind), {"lane": lane}) for kind in FLOATS + INTS for lane in (0, 3)],
}


def test_every_instruction_has_cases() -> None:
    assert set(CASES) == set(INSTRUCTIONS)


def samples(type: Type, count: int, rng: np.random.Generator) -> NDArray[Any]:
    """`count` values, (count, lanes): of every magnitude, with the special ones among them."""
    lanes, dtype = max(type.lanes, 1), type.dtype
    if type.scalar is i1:
        return rng.integers(0, 2, (count, lanes)).astype(bool)
    bits = rng.integers(0, 256, (count, lanes * dtype.itemsize), dtype=np.uint8).view(dtype)
    small = rng.integers(-3, 4, (count, lanes)).astype(dtype)
    if type.is_float:
        special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 0.5, 1.5, np.finfo(dtype).smallest_subnormal])
        small = small * dtype.type(0.5)
    else:
        special = np.array([0, 1, -1, np.iinfo(dtype).max, np.iinfo(dtype).min])
    pick = rng.integers(0, 4, (count, lanes))
    chosen = special[rng.integers(0, len(special), (count, lanes))].astype(dtype)
    with np.errstate(invalid="ignore"):
        near = (bits % dtype.type(100) if type.is_float else bits) + 0
    return np.choose(pick, [bits, small, chosen, near]).astype(dtype)


def operands(name: str, types: tuple[Type, ...], immediate: dict[str, Any]) -> Iterator[NDArray[Any]]:
    """Random operands in the instruction's domain, each (count, lanes)."""
    rng = np.random.default_rng(sum(map(ord, name)))
    arrays = [samples(type, 64, rng) for type in types]
    if name in ("shl", "lshr", "ashr"):
        arrays[1] = (arrays[1].astype("i8") % (8 * types[1].scalar.bytes)).astype(types[1].dtype)
    if name in ("sdiv", "udiv", "srem", "urem"):
        arrays[1][arrays[1] == 0] = 7
        arrays[1][(arrays[1] == -1) & (arrays[0] == np.iinfo(types[0].dtype).min)] = 3
    if name == "fptosi":
        limit = 2.0 ** (8 * immediate["to"].bytes - 2)
        arrays[0] = np.clip(np.nan_to_num(arrays[0]), -limit, limit)
    yield from arrays


def written(cases: list[tuple[Instruction, Case]]) -> Module:
    """Functions f0, f1, ... of the operands' addresses, the result's and a count: one instruction each."""
    module = Module()
    for number, (instruction, (types, immediate)) in enumerate(cases):
        names = [f"x{at}" for at in range(len(types))]
        fn = module.function(f"f{number}", {**dict.fromkeys(names, ptr), "out": ptr, "count": i64})
        *sources, out, count = fn.arguments
        with fn.loop(0, count) as loop:
            values = []
            for source, type in zip(sources, types, strict=True):
                memory = i8.x(type.lanes) if type.scalar is i1 else type  # NumPy's bool is a byte
                value = fn.load(source + loop.index * memory.bytes, memory)
                values.append(value if memory is type else not_equal(value, 0))
            result = instruction(*values, **immediate)
            if result.type.scalar is i1:
                result = zext(result, to=i8)
            fn.store(result, out + loop.index * result.type.bytes)
    return module


def meant(instruction: Instruction, arrays: list[NDArray[Any]], case: Case) -> NDArray[Any]:
    """The meaning of each of the values, as the text's result lies in memory."""
    types, immediate = case
    rows = []
    with np.errstate(all="ignore"):
        for row in zip(*arrays, strict=True):
            given = [part if type.lanes else part[0] for part, type in zip(row, types, strict=True)]
            rows.append(np.asarray(instruction.meaning(*map(np.asarray, given), **immediate)))
    return np.stack(rows)


def assert_same(got: NDArray[Any], want: NDArray[Any]) -> None:
    """The same bits, but for the payload of NaNs."""
    assert got.dtype == want.dtype
    if got.dtype.kind == "f":
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        got, want = np.nan_to_num(got, nan=0), np.nan_to_num(want, nan=0)
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))
    np.testing.assert_array_equal(got, want)


def check(name: str, instruction: Instruction, compiled: Callable[[Module], Any]) -> None:
    functions = compiled(written([(instruction, case) for case in CASES[name]]))
    for number, case in enumerate(CASES[name]):
        arrays = list(operands(name, *case))
        want = meant(instruction, arrays, case)
        lanes = [lane for lane, index in enumerate(case[1].get("indices", ())) if index >= 0]
        got = np.empty_like(want)
        getattr(functions, f"f{number}")(*arrays, got, len(want))
        if lanes:  # the others hold anything
            got, want = got[:, lanes], want[:, lanes]
        assert_same(got, want)


@pytest.mark.parametrize("name", CASES)
def test_text_means_what_it_says(name: str, compiled: Callable[[Module], Any]) -> None:
    check(name, INSTRUCTIONS[name], compiled)


def test_a_wrong_meaning_is_found(compiled: Callable[[Module], Any]) -> None:
    wrong = Instruction(add.text, np.subtract, None)
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        check("add", wrong, compiled)


@pytest.mark.parametrize("name", CASES)
def test_no_instruction_is_a_call(name: str, assembly: Callable[[Module], str]) -> None:
    text = assembly(written([(INSTRUCTIONS[name], case) for case in CASES[name]]))
    assert "call" not in text
    assert "@PLT" not in text


def test_unfused_fma_rounds_twice(compiled: Callable[[Module], Any]) -> None:
    module = Module(fused=False)
    fn = module.function("f", {"x": ptr})
    x = fn.load(fn.arguments[0], f64)
    fn.store(fma(x, x, const(f64, -1.0)), fn.arguments[0])
    array = np.array([1 + 2.0**-30])
    compiled(module).f(array)
    assert array[0] == 2.0**-29


# ---- constants ---------------------------------------------------------------------------------------------


def test_constants_hold_their_bits(compiled: Callable[[Module], Any]) -> None:
    numbers = {
        f32: (0.1, -0.0, 0.0, float("inf"), 2.0**-149, 3e38),
        f64: (0.1, -0.0, 0.0, float("-inf"), 5e-324, 1e308),
        f16: (0.1, -0.0, 65504.0, 2.0**-24),
        i8: (-128, 127, 0),
        i64: (-(2**63), 2**63 - 1),
    }
    for kind, values in numbers.items():
        for lanes in (0, 4):
            module = Module()
            fn = module.function("f", {"out": ptr})
            for at, value in enumerate(values):
                fn.store(const(kind.x(lanes), value), fn.arguments[0], at * kind.x(lanes).bytes)
            got = np.empty((len(values), max(lanes, 1)), kind.dtype)
            compiled(module).f(got)
            assert_same(got, np.broadcast_to(np.array(values, kind.dtype)[:, None], got.shape))


def test_unequal_lanes(compiled: Callable[[Module], Any]) -> None:
    module = Module()
    fn = module.function("f", {"out": ptr})
    rows = [[1.5, -0.0, 0.0, 2.0], [1.5, 0.0, -0.0, 2.0], [1.5, 0.0, 0.0, 2.0]]
    for at, row in enumerate(rows):
        fn.store(const(f32.x(4), row), fn.arguments[0], 16 * at)
    got = np.empty((3, 4), "f")
    compiled(module).f(got)
    assert_same(got, np.array(rows, "f"))


def test_numbers_are_folded_and_nothing_is_emitted() -> None:
    fn = Module().function("f", {"n": i64, "x": ptr})
    n, x = fn.arguments
    lines = len(str(fn).splitlines())
    assert minimum(3, 5).number == 3
    assert (const(i64, 6) * 7 - 2).number == 40
    assert (const(i64, 6) < 7).number
    assert n + 0 is n
    assert n * 1 is n
    assert n << 0 is n
    assert x + 0 is x
    assert x + const(i64, 0) is x
    assert len(str(fn).splitlines()) == lines


def test_a_value_is_no_condition_of_python() -> None:
    fn = Module().function("f", {"n": i64})
    with pytest.raises(TypeError, match="known when the code runs"):
        bool(fn.arguments[0] < 3)


def test_numbers_take_the_type_of_their_neighbour() -> None:
    fn = Module().function("f", {"n": i32, "x": f32.x(8), "m": i1.x(8)})
    n, x, m = fn.arguments
    assert (3 - n).type is i32
    assert (2.0 * x).type is f32.x(8)
    assert (x > 0).type is i1.x(8)
    assert select(m, 0.0, x).type is f32.x(8)
    assert select(m, x, 0.0).type is f32.x(8)
    assert maximum(0, x).type is f32.x(8)
    assert equal(x, x).type is m.type
