"""Loops, branches, masks, memory and atomics: what they compute, compiled and run."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convmat.engine.ir.emitter import Int, Module, prefix_mask
from convmat.engine.ir.instructions import const, equal, f16, f32, f64, fma, i1, i8, i32, i64, ptr, splat

MACHINE = platform.machine()
RANGES = [(0, 10, 1), (3, 20, 4), (0, 16, 16), (5, 5, 1), (9, 2, 3), (-7, 8, 5), (0, 1, 8)]


# ---- loops ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", ["nothing", "start and step", "all"])
@pytest.mark.parametrize("bounds", RANGES, ids=str)
def test_a_loop_is_a_range(
    bounds: tuple[int, int, int], known: str, compiled: Callable[[Module], Any]
) -> None:
    module = Module()
    fn = module.function("f", {"a": i64, "b": i64, "c": i64}, i64)
    given: list[Int] = [*fn.arguments]
    for at in {"nothing": (), "start and step": (0, 2), "all": (0, 1, 2)}[known]:
        given[at] = bounds[at]
    start, stop, step = given
    with fn.loop(start, stop, step, carried=[7, 100]) as loop:
        total, last = loop.carried
        loop.carry(total * 3 + loop.index, last - 1)
    fn.returning(loop.results[0] * 1000 + loop.results[1])
    sum_, count = 7, 100
    for i in range(*bounds):
        sum_, count = sum_ * 3 + i, count - 1
    assert compiled(module).f(*bounds) == sum_ * 1000 + count


def test_a_promised_first_turn_is_not_tested(compiled: Callable[[Module], Any]) -> None:
    module = Module()
    fn = module.function("f", {"n": i64}, i64)
    with fn.loop(0, fn.arguments[0], carried=[0], at_least_once=True) as loop:
        loop.carry(loop.carried[0] + loop.index)
    fn.returning(loop.results[0])
    assert str(module).count("icmp") == 1
    assert compiled(module).f(5) == 10


def test_one_turn_is_no_loop() -> None:
    module = Module()
    fn = module.function("f", {"n": i64}, i64)
    with fn.loop(8, 16, 8, carried=[fn.arguments[0]]) as loop:
        loop.carry(loop.carried[0] + loop.index)
    fn.returning(loop.results[0])
    assert str(module).splitlines()[1:] == ["entry.0:", "  %.1 = add i64 %n, 8", "  ret i64 %.1", "}"]


def test_nested_loops_carry_vectors_and_pointers(compiled: Callable[[Module], Any]) -> None:
    """(m, k) @ (k,) with a matrix whose rows are read by vectors and a pointer that walks."""
    module = Module()
    fn = module.function("f", {"a": ptr, "x": ptr, "y": ptr, "m": i64, "k": i64})
    a, x, y, m, k = fn.arguments
    with fn.loop(0, m, carried=[a]) as rows:
        (row,) = rows.carried
        with fn.loop(0, k, 4, carried=[const(f32.x(4), 0.0), row]) as loop:
            total, at = loop.carried
            loop.carry(fma(fn.load(at, f32.x(4)), fn.load(x + loop.index * 4, f32.x(4)), total), at + 16)
        total, row = loop.results
        fn.store(total, y + rows.index * 16)
        rows.carry(row)
    rng = np.random.default_rng(0)
    matrix, vector = rng.integers(-9, 9, (5, 12)).astype("f"), rng.integers(-9, 9, 12).astype("f")
    out = np.empty((5, 4), "f")
    compiled(module).f(matrix, vector, out, 5, 12)
    np.testing.assert_array_equal(out.sum(1), matrix @ vector)


def test_loops_in_branches_in_loops(compiled: Callable[[Module], Any]) -> None:
    module = Module()
    fn = module.function("f", {"n": i64}, i64)
    (n,) = fn.arguments
    with fn.loop(0, n, carried=[0]) as outer:
        with fn.if_(equal(outer.index & 1, 0), default=outer.carried) as even:
            (total,) = outer.carried
            with fn.loop(0, outer.index, carried=[total]) as inner:
                inner.carry(inner.carried[0] + 1)
            even.carry(*inner.results)
        outer.carry(*even.results)
    fn.returning(outer.results[0])
    assert compiled(module).f(7) == 0 + 2 + 4 + 6


def test_repeat_runs_at_least_once(compiled: Callable[[Module], Any]) -> None:
    module = Module()
    fn = module.function("f", {"n": i64}, i64)
    with fn.repeat(carried=[fn.arguments[0], 0]) as loop:
        n, turns = loop.carried
        left = n - 3
        loop.carry(left, turns + 1)
        loop.again(left > 0)
    fn.returning(loop.results[1])
    assert [compiled(module).f(n) for n in (-1, 1, 3, 4, 30)] == [1, 1, 1, 2, 10]


def test_a_loop_says_what_is_missing() -> None:
    fn = Module().function("f", {"n": i64})
    loop = fn.loop(0, fn.arguments[0], carried=[0])
    with pytest.raises(AssertionError, match="carries 1 values, was given 0"), loop:
        pass


# ---- branches ------------------------------------------------------------------------------------------------------


def test_branches_merge_values(compiled: Callable[[Module], Any]) -> None:
    module = Module()
    fn = module.function("greater", {"a": i64, "b": i64}, i64)
    a, b = fn.arguments
    with fn.if_(a > b) as branch:
        branch.carry(a)
    with branch.otherwise():
        branch.carry(b)
    fn.returning(branch.results[0])
    fn = module.function("clamped", {"a": i64}, i64)
    (a,) = fn.arguments
    with fn.if_(a < 0, default=[a, 1]) as branch:
        branch.carry(0, 10)
    fn.returning(branch.results[0] + branch.results[1])
    functions = compiled(module)
    assert [functions.greater(*each) for each in ((3, 9), (9, 3), (-1, -1))] == [9, 9, -1]
    assert [functions.clamped(each) for each in (-5, 0, 5)] == [10, 1, 6]


def test_branches_may_return(compiled: Callable[[Module], Any]) -> None:
    module = Module()
    fn = module.function("one", {"a": i64}, i64)
    (a,) = fn.arguments
    with fn.if_(a < 0):
        fn.returning(-1)
    fn.returning(a)
    fn = module.function("both", {"a": i64}, i64)
    (a,) = fn.arguments
    with fn.if_(a < 0) as branch:
        fn.returning(-1)
    with branch.otherwise():
        fn.returning(1)
    fn = module.function("left", {"a": i64}, i64)
    (a,) = fn.arguments
    with fn.if_(a < 0) as branch:
        fn.returning(-1)
    with branch.otherwise():
        branch.carry(a * 2)
    fn.returning(branch.results[0] + 1)
    functions = compiled(module)
    assert [functions.one(each) for each in (-9, 9)] == [-1, 9]
    assert [functions.both(each) for each in (-9, 9)] == [-1, 1]
    assert [functions.left(each) for each in (-9, 9)] == [-1, 19]


# ---- masks and memory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("kind", [f32, f64, i32, i8, f16], ids=lambda kind: str(kind.kind))
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_masks_cut_a_tail(lanes: int, kind: Any, known: bool, compiled: Callable[[Module], Any]) -> None:
    counts = [-3, 0, 1, 3, lanes - 1, lanes, lanes + 1, 2**40]
    module = Module()
    for number, count in enumerate(counts):
        fn = module.function(f"f{number}", {"x": ptr, "y": ptr, "n": i64})
        x, y, n = fn.arguments
        mask = prefix_mask(lanes, count if known else n)
        fn.store(fn.load(x, kind.x(lanes), mask=mask), y, mask=mask)
        fn.store(fn.load(x, kind.x(lanes), mask=mask, other=9), y, kind.bytes * lanes)
    functions = compiled(module)
    source = np.arange(1, lanes + 1).astype(kind.dtype)
    for number, count in enumerate(counts):
        kept = np.arange(lanes) < count
        got = np.full((2, lanes), 5, kind.dtype)
        getattr(functions, f"f{number}")(source, got, count)
        np.testing.assert_array_equal(got, [np.where(kept, source, 5), np.where(kept, source, 9)])


def test_a_full_mask_is_a_plain_access() -> None:
    module = Module()
    fn = module.function("f", {"x": ptr})
    (x,) = fn.arguments
    mask = prefix_mask(8, 8)
    fn.store(fn.load(x, f32.x(8), mask=mask), x, mask=mask)
    assert "masked" not in str(module)


def test_addresses_fold_into_instructions(assembly: Callable[[Module], str]) -> None:
    module = Module()
    fn = module.function("f", {"x": ptr, "i": i64})
    x, i = fn.arguments
    fn.store(fn.load(x + i * 8, f32.x(8), 96), x, 32, align=32)
    text = assembly(module)
    assert MACHINE != "x86_64" or "96(%rdi,%rsi,8)" in text
    assert MACHINE != "x86_64" or "vmovaps" in text


def test_prefetch_never_faults(compiled: Callable[[Module], Any]) -> None:
    module = Module()
    fn = module.function("f", {"x": ptr})
    fn.prefetch(fn.arguments[0], 64)
    fn.prefetch(fn.arguments[0], -64, write=True, locality=0)
    compiled(module).f(8)


# ---- other threads and functions ----------------------------------------------------------------------------------


def test_atomics(compiled: Callable[[Module], Any]) -> None:
    module = Module()
    fn = module.function("f", {"x": ptr, "y": ptr})
    x, y = fn.arguments
    fn.store(fn.atomic_add(x, const(i64, 5)), y)
    fn.store(fn.load(x, i64), y, 8)
    fn.atomic_store(const(i64, 40), x)
    place, got = np.array([37]), np.zeros(2, np.int64)
    compiled(module).f(place, got)
    assert place[0] == 40
    assert got.tolist() == [37, 42]


def test_calls_through_a_pointer(compiled: Callable[[Module], Any]) -> None:
    module = Module()
    twice = module.function("twice", {"a": i64}, i64)
    twice.returning(twice.arguments[0] * 2)
    fn = module.function("f", {"a": i64}, i64)
    result = fn.call(twice.address, fn.arguments[0], returns=i64)
    assert result is not None
    fn.returning(result + 1)
    assert compiled(module).f(20) == 41


# ---- the text ------------------------------------------------------------------------------------------------------


def sample() -> Module:
    """Something of everything."""
    module = Module('"frame-pointer"="none"')
    fn = module.function("f", {"x": ptr, "n": i64}, notes={"x": "noalias align 64"})
    x, n = fn.arguments
    with fn.loop(0, n, 16, carried=[const(f32.x(16), 0.0)]) as loop:
        mask = prefix_mask(16, n - loop.index)
        with fn.if_(loop.index > 4, default=[1.0 * splat(fn.load(x, f32), lanes=16)]) as branch:
            branch.carry(fn.load(x + loop.index * 4, f32.x(16), mask=mask))
        loop.carry(fma(branch.results[0], 0.5, loop.carried[0]))
    fn.store(loop.results[0], x)
    return module


def test_the_same_calls_give_the_same_text() -> None:
    assert str(sample()) == str(sample())


def test_head_of_a_function() -> None:
    first = str(sample()).splitlines()[0]
    assert first == 'define void @f(ptr noalias align 64 %x, i64 %n) nounwind "frame-pointer"="none" {'


def test_other_machines_read_it_too(arm: Callable[[Module], str]) -> None:
    module = sample()
    text = arm(module)
    assert "fmla" in text
    assert "\tbl\t" not in text


def test_masks_are_lanes_of_one_bit() -> None:
    assert prefix_mask(4, 2).type is i1.x(4)
