"""Products read in place: equal to the definition, in its order, inside their arrays, whoever does which task."""

from __future__ import annotations

import ctypes
import errno
import itertools
import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from convmat.engine import jit
from convmat.engine.cpu import Cpu, host
from convmat.engine.ir.instructions import fma
from convmat.engine.kernels.direct import channels, pixels, sharing
from convmat.engine.kernels.direct import plan as direct_plan
from convmat.engine.kernels.text import kernel_text
from convmat.engine.runtime.compiler import generate
from convmat.errors import GeometryError
from convmat.geometry import Geometry
from convmat.lowering.im2col import Im2col
from convmat.planner.candidates import dtype_of, dtypes_of, operand_extents
from convmat.problem import EpilogueForm, Problem
from convmat.product import Activation, Packing
from tests.covering import traits
from tests.support import Array, by_taps, defined, put

Sizes = tuple[int, tuple[int, ...], tuple[tuple[int, int], ...]]  # batch, input extents, padding


@dataclass(frozen=True)
class Kind:
    """What is constant in a kernel: groups, channels and outputs of one, filter, stride, dilation, layout, types."""

    name: str
    F: tuple[int, ...]
    G: int = 3
    c: int = 1
    m: int = 1
    s: tuple[int, ...] = ()
    d: tuple[int, ...] = ()
    layout: str = "NCHW"
    dtype: str = "float32"
    epilogue: EpilogueForm = field(default_factory=EpilogueForm)

    def problem(self, sizes: Sizes, threads: int = 1) -> Problem:
        batch, extents_, padding = sizes
        geometry = Geometry.of(
            (batch, self.G * self.c, *extents_), (self.G * self.m, self.c, *self.F),
            stride=self.s or 1, dilation=self.d or 1, padding=padding, groups=self.G,
        )  # fmt: skip
        return Problem.of(
            geometry, self.dtype, x=self.layout, y=self.layout, epilogue=self.epilogue, threads=threads
        )

    def sizes(self, count: int) -> Iterator[Sizes]:
        """Extents at which vectors and blocks just fit or just do not; padding of both signs, wider than the filter."""
        rng = np.random.default_rng(sum(map(ord, self.name)))
        widest = {1: 400, 2: 70, 3: 40}[len(self.F)]
        found = 0
        while found < count:
            *high, wide = (int(n) for n in rng.integers(1, 14, len(self.F)))
            wide = int(rng.choice([wide, *rng.integers(1, widest, 2), 7, 8, 15, 16, 17, 33, 64]))
            reach = [d * (f - 1) for f, d in zip(self.F, self.d or (1,) * len(self.F), strict=True)]
            padding = tuple((int(rng.integers(-2, r + 3)), int(rng.integers(-2, r + 3))) for r in reach)
            sizes = int(rng.integers(1, 3)), (*high, wide), padding
            try:
                terms = self.problem(sizes).geometry.flops
            except GeometryError:
                continue
            if 0 < terms <= 60_000:
                found += 1
                yield sizes


EVERYTHING = EpilogueForm(bias=True, residual=True, activation=Activation.of("relu"))

PLANES = (
    Kind("depthwise", (3, 3)),
    Kind("every second", (3, 3), s=(2, 2)),
    Kind("every second, filter of two", (2, 2), s=(2, 2)),
    Kind("every second, five", (5, 5), s=(2, 2), G=2),
    Kind("every third", (3, 3), s=(3, 3)),
    Kind("every third, five", (2, 5), G=1, c=2, m=8, s=(1, 3)),
    Kind("every fourth", (2, 7), s=(1, 4)),
    Kind("every fourth, dilated", (2, 3), s=(2, 4), d=(1, 3), dtype="float64"),
    Kind("every fifth", (2, 3), s=(1, 5)),
    Kind("dilated", (3, 3), d=(2, 2)),
    Kind("dilated, every second", (3, 4), s=(2, 2), d=(3, 1)),
    Kind("widely dilated, every second", (2, 3), s=(1, 2), d=(1, 5)),
    Kind("5x5", (5, 5), G=2),
    Kind("7x7", (7, 7), G=1),
    Kind("9x9", (9, 9), G=1),
    Kind("1x7", (1, 7)),
    Kind("7x1", (7, 1)),
    Kind("3x20", (3, 20), G=1),
    Kind("20x3", (20, 3), G=1),
    Kind("two of 3x20", (3, 20), G=1, m=2, s=(2, 1)),
    Kind("9x9, every second", (9, 9), G=1, s=(2, 2)),
    Kind("multiplier", (3, 3), m=3),
    Kind("narrow groups", (3, 3), c=2, m=4),
    Kind("summed channels", (3, 3), G=1, c=5),
    Kind("first layer", (3, 3), G=1, c=3, m=16, s=(2, 2)),
    Kind("a prime of outputs", (2, 2), G=1, c=3, m=11),
    Kind("1x1", (1, 1), G=1, c=4, m=6),
    Kind("1-D", (5,)),
    Kind("1-D, every second", (4,), c=2, m=2, s=(2,)),
    Kind("1-D, forty", (40,), G=2),
    Kind("3-D", (3, 3, 3), G=2),
    Kind("3-D, strides", (2, 3, 2), G=2, c=2, s=(2, 1, 2), d=(1, 2, 1)),
    Kind("one channel last", (3, 3), G=1, layout="NHWC"),
    Kind("double", (3, 3), dtype="float64"),
    Kind("half", (3, 3), s=(1, 2), dtype="float16"),
    Kind("brain", (3, 3), dtype="bfloat16", epilogue=EVERYTHING),
    Kind("bytes", (3, 3), m=2, dtype="int8"),
    Kind("unsigned bytes", (3, 3), s=(1, 3), dtype="uint8", epilogue=EVERYTHING),
    Kind("bias", (3, 3), m=2, epilogue=EpilogueForm(bias=True)),
    Kind("all of the epilogue", (3, 3), m=3, epilogue=EVERYTHING),
    Kind("blocks and epilogue", (2, 2), G=2, m=16, c=2, epilogue=EVERYTHING),
)

CHANNELS = tuple(
    replace(kind, layout="NHWC")
    for kind in (
        Kind("channels: few", (3, 3), G=5),
        Kind("channels: a vector", (3, 3), G=16),
        Kind("channels: and a half", (3, 3), G=24),
        Kind("channels: and some", (3, 3), G=37),
        Kind("channels: every second", (3, 3), G=18, s=(2, 2)),
        Kind("channels: strides and dilation", (3, 2), G=9, s=(1, 3), d=(2, 3)),
        Kind("channels: 5x5", (5, 5), G=17),
        Kind("channels: 7x7", (7, 7), G=4),
        Kind("channels: 1-D", (5,), G=19),
        Kind("channels: 3-D", (3, 3, 3), G=9),
        Kind("channels: in twos", (3, 3), G=9, m=2),
        Kind("channels: in fours", (2, 3), G=5, m=4),
        Kind("channels: narrow groups", (3, 3), G=9, c=4, m=4),
        Kind("channels: narrow groups, every second", (3, 3), G=4, c=2, m=4, s=(2, 2)),
        Kind("channels: wide groups", (2, 3), G=3, c=8, m=8, epilogue=EVERYTHING),
        Kind("channels: two to one", (3, 3), G=21, c=2, m=1),
        Kind("channels: eight to four", (1, 2), G=5, c=8, m=4, d=(1, 2)),
        Kind("channels: narrow groups, 5x5", (5, 5), G=5, c=4, m=2, dtype="bfloat16"),
        Kind("channels: narrow groups, 3-D", (2, 3, 3), G=3, c=2, m=2, dtype="int8"),
        Kind("channels: double", (3, 3), G=11, m=2, dtype="float64"),
        Kind("channels: half", (3, 3), G=19, dtype="float16", epilogue=EVERYTHING),
        Kind("channels: bytes", (3, 3), G=21, dtype="int8"),
        Kind("channels: all of the epilogue", (3, 3), G=21, epilogue=EVERYTHING),
    )
)

KINDS = PLANES + CHANNELS
TARGETS = ("native", "x86-64-v3")

COVERING = (
    "every third, five", "every fourth, dilated", "dilated", "dilated, every second", "widely dilated, every second",
    "two of 3x20", "first layer",
    "blocks and epilogue", "1x1", "1x7", "7x1", "1-D", "1-D, every second", "3-D", "3-D, strides", "bytes",
    "unsigned bytes", "bias", "all of the epilogue",
    "channels: every second", "channels: strides and dilation", "channels: 1-D", "channels: 3-D", "channels: in twos",
    "channels: narrow groups, every second", "channels: narrow groups, 3-D", "channels: wide groups",
    "channels: two to one", "channels: eight to four", "channels: half",
)  # fmt: skip
"""Kinds that a quick run compiles for the lesser CPU too: they have every two traits of kernels that meet in some."""


@pytest.fixture(params=TARGETS)
def cpu(request: pytest.FixtureRequest) -> Cpu:
    """This machine as it is, and as if it had no more than AVX2."""
    return runs_here(request.param)


def runs_here(target: str) -> Cpu:
    """The CPU of that name."""
    made = Cpu.named(target)
    if not made.runs_here() or not made.fma:
        pytest.skip(f"{target} does not run here")
    return made


def program(problem: Problem, cpu: Cpu, threads: int = 1) -> jit.JitProgram:
    made = jit.prepare(
        Im2col().products(problem), Packing.NOTHING, dtypes_of(problem), operand_extents(problem), 0,
        bound=False, threads=threads, cpu=cpu,
    )  # fmt: skip
    assert isinstance(made, jit.JitProgram), made
    return made


@cache
def example(kind: Kind, sizes: Sizes) -> dict[str, Array]:
    """Operands of small integers and the result by the definition, "y", in the kind's layout and types."""
    problem = kind.problem(sizes)
    g, rng = problem.geometry, np.random.default_rng(len(kind.name))
    least = 0 if kind.dtype == "uint8" else -3
    x, w = (rng.integers(least, 4, shape).astype(float) for shape in (g.x_shape, g.w_shape))
    y = by_taps(x, w, None, g)[0]
    given, out = dtype_of(kind.dtype), dtype_of(problem.out_dtype)
    found = {"x": put(x, kind.layout).astype(given), "w": w.astype(given)}
    if kind.epilogue.bias:
        bias = rng.integers(-3, 4, g.O)
        found["bias"] = bias.astype(dtype_of(problem.work_dtype))
        y = y + bias.reshape(-1, *(1,) * g.rank)
    if kind.epilogue.residual:
        residual = rng.integers(-3, 4, y.shape)
        found["residual"] = put(residual, kind.layout).astype(out)
        y = y + residual
    y = np.maximum(y, 0) if kind.epilogue.activation else y
    return {**found, "y": put(y, kind.layout).astype(out)}


# ---- memory that ends where an array does -------------------------------------------------------------------


class Fence:
    """Pages between two unreadable ones; arrays in them begin at the first byte, or end at the last."""

    def __init__(self, count: int) -> None:
        page = mmap.PAGESIZE
        self.size = max(-(-count // page), 1) * page
        self.memory = mmap.mmap(-1, self.size + 2 * page)
        self.bytes = np.frombuffer(self.memory, np.uint8)[page : page + self.size]
        start = self.bytes.ctypes.data
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        for at in (start - page, start + self.size):
            assert protect(at, page, 0) == 0

    def holding(self, array: Array, *, at_end: bool) -> Array:
        self.bytes[...] = 0xFF
        start = self.size - array.nbytes if at_end else 0
        made: Array = self.bytes[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        made[...] = array
        return made


def fenced(made: jit.JitProgram, given: dict[str, Array], *, at_end: bool) -> Array:
    """The result of a program whose arrays all have an unreadable page before or behind them."""
    fences = {name: Fence(array.nbytes) for name, array in given.items()}
    operands = {name: fences[name].holding(array, at_end=at_end) for name, array in given.items()}
    operands["y"][...] = 77
    made.run(operands, None, 1)
    for name, array in given.items():
        if name != "y":
            assert operands[name].tobytes() == array.tobytes(), f"{name} was written"
    around = fences["y"].bytes
    assert np.count_nonzero(around == 0xFF) >= fences["y"].size - operands["y"].nbytes
    return operands["y"].copy()


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        pytest.param(
            *(target, kind),
            id=f"{target}-{kind.name}",
            marks=() if target == "native" or kind.name in COVERING else pytest.mark.slow,
        )
        for target in TARGETS
        for kind in KINDS
    ],
)
def test_equals_the_definition_and_stays_inside(target: str, kind: Kind) -> None:
    cpu = runs_here(target)
    recipes = set()
    for number, sizes in enumerate(kind.sizes(8)):
        made = program(kind.problem(sizes), cpu)
        (step,) = made.steps
        recipes.add(step.recipe)
        given = example(kind, sizes)
        for at_end in (True, False) if number < 3 else (True,):
            found = fenced(made, given, at_end=at_end)
            np.testing.assert_array_equal(found, given["y"], f"{kind}, {sizes}, {at_end=}")
    recipes = {each for each in recipes if isinstance(each, channels.ChannelsRecipe) or not each.beside}
    assert len(recipes) == 1, "a new batch, image size or padding compiles nothing, but for narrow maps"
    (recipe,) = recipes
    of = channels.ChannelsRecipe if kind in CHANNELS else pixels.PixelsRecipe
    assert isinstance(recipe, of)


NARROW = (
    Kind("narrow: depthwise", (3, 3)),
    Kind("narrow: 5x5", (5, 5), G=2),
    Kind("narrow: 7x7", (7, 7), G=1),
    Kind("narrow: dilated", (3, 2), d=(2, 3)),
    Kind("narrow: 1x3", (1, 3)),
    Kind("narrow: 4x1", (4, 1)),
    Kind("narrow: summed channels", (3, 3), G=2, c=3),
    Kind("narrow: multiplier", (1, 2), m=2, epilogue=EVERYTHING),
    Kind("narrow: 3-D", (2, 3, 3), G=2),
    Kind("narrow: double", (3, 3), dtype="float64", epilogue=EVERYTHING),
    Kind("narrow: brain", (3, 3), dtype="bfloat16"),
    Kind("narrow: bytes", (3, 3), dtype="int8"),  # in fours where a CPU multiplies those
)


@pytest.mark.parametrize("kind", NARROW, ids=lambda kind: kind.name)
def test_rows_beside_each_other_in_vectors(cpu: Cpu, kind: Kind) -> None:
    """Maps from one column to a vector's width, as high as they come, rows of x and of y equally wide."""
    *_, taps = reach = [d * (f - 1) for f, d in zip(kind.F, kind.d or (1,) * len(kind.F), strict=True)]
    rng, beside = np.random.default_rng(len(kind.name)), set()
    for width in (1, 2, 3, 4, 5, 7, 8, 12, 16):
        low = int(rng.integers(0, taps + 1))
        padding = tuple((int(rng.integers(0, r + 1)), int(rng.integers(0, r + 1))) for r in reach[:-1])
        high = tuple(r + int(rng.integers(1, 20 if len(reach) == 2 else 4)) for r in reach[:-1])
        sizes = (2, (*high, width), (*padding, (low, taps - low)))
        made = program(kind.problem(sizes), cpu)
        (step,) = made.steps
        beside.add(step.recipe.beside)
        assert step.recipe.beside in (0, step.recipe.lanes // width)
        given = example(kind, sizes)
        for at_end in (True, False):
            found = fenced(made, given, at_end=at_end)
            np.testing.assert_array_equal(found, given["y"], f"{kind}, {sizes}, {at_end=}")
    multiplied_in_fours = kind.dtype == "int8" and cpu.vnni
    few_registers = 4 * taps >= cpu.vector_registers and cpu.vector_bytes < 64
    assert len(beside - {0}) >= 3 or multiplied_in_fours or few_registers


@pytest.mark.parametrize("target", TARGETS)
def test_the_covering_kinds_have_all_traits(target: str) -> None:
    """And every two of them that meet in a kernel of any kind."""
    together: dict[str, set[tuple[str, ...]]] = {}
    for kind in KINDS:
        (step,) = program(kind.problem(next(kind.sizes(1))), Cpu.named(target)).steps
        together[kind.name] = set(itertools.combinations(sorted(traits(step.recipe)), 2))
    missing = {name: pairs for name, pairs in together.items() if name not in COVERING}
    for name in COVERING:
        missing = {other: pairs - together[name] for other, pairs in missing.items()}
    assert not any(missing.values()), {name: pairs for name, pairs in missing.items() if pairs}


def test_the_fence_would_tell() -> None:
    fence = Fence(100)
    array = fence.holding(np.zeros(25, np.float32), at_end=True)
    reader, writer = os.pipe()
    try:
        # The system reads for us, and refuses where a kernel would be stopped.
        write = ctypes.CDLL(None, use_errno=True).write
        one = ctypes.c_size_t(1)
        first, last = array.ctypes.data, array.ctypes.data + array.nbytes - 1
        assert write(writer, ctypes.c_void_p(last), one) == 1
        assert write(writer, ctypes.c_void_p(last + 1), one) == -1
        assert ctypes.get_errno() == errno.EFAULT
        begin = last + 1 - fence.size
        assert write(writer, ctypes.c_void_p(begin), one) == 1
        assert write(writer, ctypes.c_void_p(begin - 1), one) == -1
        assert np.isnan((ctypes.c_float * 1).from_address(first - 4)[0])
    finally:
        os.close(reader)
        os.close(writer)


# ---- order, tasks -------------------------------------------------------------------------------------------


def by_the_book(x: Array, w: Array, g: Geometry, last: bool) -> Array:
    """The sums in float32, one fused multiply-add a term, in the order of k = (c, f), or (f, c) where channels come
    last; terms outside are left out."""
    y = np.zeros(g.y_shape, np.float32)
    channels = g.C // g.G
    terms = list(itertools.product(range(channels), *map(range, g.F)))
    for c, *f in sorted(terms, key=lambda term: (*term[1:], term[0])) if last else terms:
        # Of this term all elements at once: where it lies inside x, and what it reads there.
        along = [np.arange(P) * s + t * d - lo for P, s, t, d, lo in zip(g.P, g.s, f, g.d, g.lo, strict=True)]
        inside = [(at >= 0) & (at < extent) for at, extent in zip(along, g.I, strict=True)]
        outputs = np.ix_(*map(np.flatnonzero, inside))
        inputs = np.ix_(*(at[here] for at, here in zip(along, inside, strict=True)))
        for b, o in np.ndindex(g.B, g.O):
            read = x[(b, o // (g.O // g.G) * channels + c, *inputs)]
            factor = np.full_like(read, w[(o, c, *f)])
            y[(b, o, *outputs)] = fma.meaning(factor, read, y[(b, o, *outputs)])
    return y


ORDERED = (
    "depthwise",
    "every second",
    "20x3",
    "narrow groups",
    "summed channels",
    "channels: few",
    "channels: 7x7",
    "channels: narrow groups",
)


@pytest.mark.parametrize("name", ORDERED)
def test_sums_run_over_k_in_order(name: str) -> None:
    kind = next(kind for kind in KINDS if kind.name == name)
    problem = kind.problem((1, (5, 21), tuple((f // 2 + 7 * (f > 9), f // 2) for f in kind.F)))
    g, rng = problem.geometry, np.random.default_rng(7)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (g.x_shape, g.w_shape))
    expected = put(by_the_book(x, w, g, kind.layout == "NHWC"), kind.layout)
    for cpu in map(Cpu.named, TARGETS):
        if cpu.runs_here() and cpu.fma:
            y = np.empty_like(expected)
            program(problem, cpu).run({"x": put(x, kind.layout), "w": w, "y": y}, None, 1)
            assert y.tobytes() == expected.tobytes(), cpu.model


TASKED = (
    ("depthwise", (2, (13, 40), ((1, 1), (1, 1)))),
    ("1-D", (1, (390,), ((2, 2),))),
    ("1-D", (2, (19,), ((2, 2),))),
    ("first layer", (1, (23, 50), ((1, 1), (1, 1)))),
    ("3-D", (1, (5, 6, 20), ((1, 1), (1, 1), (1, 1)))),
    ("channels: and some", (1, (13, 9), ((1, 1), (1, 1)))),
    ("channels: 1-D", (3, (50,), ((2, 2),))),
)


@pytest.mark.parametrize(("name", "sizes"), TASKED)
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_bits_do_not_depend_on_threads(
    name: str, sizes: Sizes, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "TASK_FLOPS", 1)
    kind = next(kind for kind in KINDS if kind.name == name)
    given = example(kind, sizes)
    made = program(kind.problem(sizes), host(), threads)
    (step,) = made.steps
    assert step.tasks > 1
    y = np.full_like(given["y"], np.nan)
    made.run({**given, "y": y}, None, threads)
    np.testing.assert_array_equal(y, given["y"])


def test_a_task_reads_no_more_of_x_than_a_cache_keeps() -> None:
    problem = Problem.of(Geometry.of((1, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3))
    (step,) = program(problem, host()).steps
    assert isinstance(step, direct_plan.DirectPlan)
    assert step.words["parts"] * direct_plan.CACHED >= 4 * 3 * 224 * 224
    assert step.words["per"] == 64 // step.recipe.m  # all blocks of A's rows, one after the other


def test_few_tasks_for_little_work() -> None:
    problem = Problem.of(Geometry.of((1, 8, 8, 8), (8, 1, 3, 3), padding=1, groups=8))
    (step,) = program(problem, host(), threads=2).steps
    assert step.tasks == 1


@pytest.mark.skipif(host().vector_bytes < 64, reason="vectors of 32 bytes have no halves of their own")
@pytest.mark.parametrize(
    ("columns", "whole", "split"), [(7, 1, 1), (8, 1, 1), (9, 0, 0), (22, 0, 1), (40, 0, 1), (44, 0, 0)]
)
def test_half_vectors_where_they_take_no_longer(columns: int, whole: int, split: int) -> None:
    """22 columns are two vectors or three halves, which take as long as one and a half where a CPU splits them."""
    kind = next(kind for kind in KINDS if kind.name == "a prime of outputs")
    sizes = (1, (9, columns - 1), ((1, 1), (1, 1)))
    given = example(kind, sizes)
    y = given["y"]
    assert y.shape[-1] == columns
    for splits, narrow in ((False, whole), (True, split)):
        made = program(kind.problem(sizes), replace(host(), splits=splits))
        (step,) = made.steps
        assert isinstance(step, direct_plan.DirectPlan)
        assert step.words["narrow"] == narrow
        given["y"] = np.full_like(y, np.nan)
        made.run(given, None, 1)
        np.testing.assert_array_equal(given["y"], y)


def test_no_half_vectors_where_lanes_lie_far_apart() -> None:
    """All their loads are under masks, of which there are as many for a tap as elements from lane to lane."""
    for name, narrow in (("every second", host().vector_bytes == 64), ("every third", False)):
        kind = next(kind for kind in KINDS if kind.name == name)
        sizes = 1, (9, 7 * kind.s[1]), ((0, 0), (1, 1))
        (step,) = program(kind.problem(sizes), host()).steps
        assert isinstance(step, direct_plan.DirectPlan)
        assert bool(step.words["narrow"]) == narrow


def test_the_residual_may_be_the_output(cpu: Cpu) -> None:
    for kind in KINDS:
        if kind.epilogue.residual and kind.dtype == "float32":
            sizes = (2, (9, 23), ((1, 1), (1, 1)))
            given = example(kind, sizes)
            y = given["residual"].copy()
            program(kind.problem(sizes), cpu).run({**given, "residual": y, "y": y}, None, 1)
            np.testing.assert_array_equal(y, given["y"], kind.name)


def test_gradients_read_in_place_too(cpu: Cpu) -> None:
    g = Geometry.of((2, 6, 9, 20), (6, 1, 3, 3), padding=(1, 2), groups=6)
    rng = np.random.default_rng(3)
    dy, w = (rng.integers(-3, 4, shape).astype(np.float32) for shape in (g.y_shape, g.w_shape))
    for layout in ("NCHW", "NHWC"):
        problem = Problem.of(g, x=layout, y=layout).grad_input()
        dx = np.full(put(np.empty(g.x_shape), layout).shape, np.nan, np.float32)
        program(problem, cpu).run({"x": put(dy, layout), "w": w, "y": dx}, None, 1)
        expected = defined(dy, np.flip(w, (2, 3)), g.grad_input())
        np.testing.assert_array_equal(dx, put(expected, layout))


# ---- refusals, other machines -------------------------------------------------------------------------------

REFUSED: tuple[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any], str], ...] = (
    ((1, 2000, 8, 8), (1, 2000, 1, 1), {}, "sums up to 1024 terms in place, got 2000"),
    ((1, 8, 8, 8), (256, 8, 1, 1), {}, "reads x in place for up to 128 rows of A, got 256"),
    ((1, 200, 8, 8), (100, 200, 1, 1), {}, "reads x in place for up to 49,152 bytes of weights a group, got 80,000"),
    ((1, 1, 8, 8), (127, 1, 1, 1), {}, "takes rows of A in blocks of equal height, got 127"),
    ((1, 12, 8, 8), (8, 3, 3, 3), {"groups": 4, "layout": "NHWC"},
     "reads 1, 2, 4 or 8 channels of x a group, up to twice those of y, which are 2; got 3"),
    ((1, 3, 8, 8), (9, 1, 3, 3), {"groups": 3, "layout": "NHWC"},
     "reads x along its channels for 1, 2, 4 or 8 rows of A, which are contiguous in y; got 3"),
)  # fmt: skip


@pytest.mark.parametrize(("x", "w", "options", "sentence"), REFUSED)
def test_refusals_are_sentences(
    x: tuple[int, ...], w: tuple[int, ...], options: dict[str, Any], sentence: str
) -> None:
    layout = options.pop("layout", "NCHW")
    problem = Problem.of(Geometry.of(x, w, **options), x=layout, y=layout)
    found = jit.prepare(
        Im2col().products(problem),
        Packing.NOTHING,
        dtypes_of(problem),
        operand_extents(problem),
        0,
        cpu=host(),
    )
    assert found == sentence


@pytest.mark.parametrize("kind", [PLANES[0], PLANES[1], PLANES[5], CHANNELS[0]], ids=lambda kind: kind.name)
def test_arm_code_calls_nothing(kind: Kind) -> None:
    sizes = (1, (9, 23), ((1, 1), (1, 1)))
    arm = Cpu.named("neoverse-n1")
    problem = kind.problem(sizes)
    (product,) = Im2col().products(problem)
    step = direct_plan.plan_direct(product, dtypes_of(problem), operand_extents(problem), 1, arm)
    assert isinstance(step, direct_plan.DirectPlan)
    text = generate(kernel_text(step.recipe, arm), arm.triple, arm.name, "", 2, "assembly").decode()
    assert set(re.findall(r"\bbl\s+(\S+)", text)) <= {"whole", "half", "planes"}
