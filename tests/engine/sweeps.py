"""Sweeps over arrays of random shapes, with unreadable pages beside the arrays.

    python -m tests.engine.sweeps SEED COUNT

In a process of its own, which a read outside the arrays ends.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from convmat.engine.cpu import Cpu
from convmat.engine.ir.dots import Unit
from convmat.engine.jit import Sweep
from convmat.engine.kernels.sweeps import recurrence
from convmat.engine.kernels.sweeps.base import SweepPlan
from convmat.engine.kernels.sweeps.byte_means import ByteMeans, byte_means, mean_bytes
from convmat.engine.kernels.sweeps.cell_steps import Recurrence
from convmat.engine.kernels.sweeps.copies import Strides, strided_copy
from convmat.engine.kernels.sweeps.elementwise import Expression, ExpressionStep, elementwise
from convmat.engine.kernels.sweeps.indexed import Indexed, IndexedCopy, indexed_copy
from convmat.engine.kernels.sweeps.lookup import Lookup, lookup
from convmat.engine.kernels.sweeps.normalise import normalise
from convmat.engine.kernels.sweeps.pixel_shuffle import pixel_shuffle
from convmat.engine.kernels.sweeps.read_places import read_places
from convmat.engine.kernels.sweeps.reductions import reduction
from convmat.engine.kernels.sweeps.running import running_sums
from convmat.engine.kernels.sweeps.scatter import REDUCTIONS as SCATTERS
from convmat.engine.kernels.sweeps.scatter import Scatter, Updates, scatter
from convmat.engine.kernels.sweeps.softmax import softmax
from convmat.engine.kernels.sweeps.suppress import suppress
from convmat.engine.kernels.sweeps.top import TYPES, Top, above, top
from convmat.engine.kernels.sweeps.upsample import upsample
from convmat.engine.kernels.sweeps.weigh import Weigh, weigh_bytes
from convmat.engine.runtime import thread_pool
from convmat.engine.weighing import weigh
from tests.engine.guarded import Fenced
from tests.support import Array

PARAMETERS = {"clip": (-0.5, 1.5), "leaky_relu": (0.2,), "hardsigmoid": (0.2, 0.5)}
TWO = ("add", "sub", "mul", "div", "max", "min", "prelu")
SMOOTH = [
    *TWO, "neg", "abs", "sqrt", "clip", "relu", "relu6", "leaky_relu", "hardsigmoid", "hardswish", "sigmoid", "silu",
    "tanh", "erf", "gelu", "gelu_tanh", "asinh", "softplus", "atan",
]  # fmt: skip
"""Operations that leave small errors small."""
Pick = np.random.Generator


def expression(pick: Pick, inputs: int, dtype: str) -> Expression:
    """Every input is read, then some operations follow, one of them on the last two results."""
    steps = [
        ExpressionStep(str(pick.choice(TWO)), (inputs + i - 1 if i else 0, i + 1)) for i in range(inputs - 1)
    ]
    for _ in range(int(pick.integers(1, 4))):
        last = inputs + len(steps) - 1
        name = str(pick.choice(SMOOTH))
        steps.append(ExpressionStep(name, (last, 0) if name in TWO else (last,), PARAMETERS.get(name, ())))
    return Expression((dtype,) * inputs, tuple(steps))


def pointwise(pick: Pick, dtype: str) -> tuple[Callable[[int], SweepPlan | str], list[Array], Array]:
    rank = int(pick.integers(0, 4))
    out = tuple(int(n) for n in pick.integers(1, (2, 20_000, 150, 25)[rank], rank))
    shapes = [
        out,
        *(tuple(int(n) if pick.integers(2) else 1 for n in out) for _ in range(int(pick.integers(3)))),
    ]
    shapes = [shape[int(pick.integers(len(shape) + 1)) :] if shape != out else shape for shape in shapes]
    inputs = [pick.standard_normal(shape).astype(dtype) for shape in shapes]
    found = expression(pick, len(inputs), dtype)
    wide = Expression(("float64",) * len(inputs), found.steps)
    return (
        lambda threads: elementwise(found, shapes, out, threads),
        inputs,
        np.broadcast_to(wide(*(x.astype(np.float64) for x in inputs)), out),
    )


def lines(pick: Pick, dtype: str) -> tuple[Callable[[int], SweepPlan | str], list[Array], Array]:
    x = pick.standard_normal(
        [int(pick.integers(1, 500)), int(pick.integers(1, (9, 40, 300)[pick.integers(3)]))]
    )
    x = x.astype(dtype)
    name = str(pick.choice(["repeat", "interleave"]))
    wide = x.astype(np.float64)
    if name == "interleave":
        r, k = (int(n) for n in pick.integers(1, 4, 2))
        h, w = (int(n) for n in pick.integers(1, (9, 70), 2))
        x = pick.standard_normal((3, r, k, h, w)).astype(dtype)
        y = x.astype(np.float64).transpose(0, 3, 1, 4, 2).reshape(3, h * r, w * k)
        return lambda threads: pixel_shuffle(3, (r, k), (h, w), dtype, threads), [x], y
    r, k = (int(n) for n in pick.integers(1, 6, 2))
    return (
        lambda threads: upsample(len(x), x.shape[1], r, k, dtype, threads),
        [x],
        wide[:, None].repeat(r, 1).repeat(k, 2),
    )


MEANINGS: dict[str, Callable[[Array, tuple[int, ...]], Array]] = {
    "sum": lambda x, axes: x.sum(axes),
    "mean": lambda x, axes: x.mean(axes),
    "max": lambda x, axes: x.max(axes),
    "min": lambda x, axes: x.min(axes),
    "low": lambda x, axes: x.min(axes, initial=0),
    "high": lambda x, axes: x.max(axes, initial=0),
    "prod": lambda x, axes: x.prod(axes),
    "l1": lambda x, axes: np.abs(x).sum(axes),
    "l2": lambda x, axes: np.sqrt((x * x).sum(axes)),
    "square": lambda x, axes: (x * x).sum(axes),
    "log_sum": lambda x, axes: np.log(x.sum(axes)),
    "log_sum_exp": lambda x, axes: np.log(np.exp(x).sum(axes)),
}


def reductions(pick: Pick, dtype: str) -> tuple[Callable[[int], SweepPlan | str], list[Array], Array]:
    """Along any axes of up to four: few or many elements in each."""
    rank = int(pick.integers(1, 5))
    most = (20_000, 200, 30, 12)[rank - 1]
    shape = tuple(int(n) for n in pick.integers(1, pick.choice([9, most]) + 1, rank))
    axes = tuple(a for a in range(rank) if pick.integers(2)) or (int(pick.integers(rank)),)
    x = pick.standard_normal(shape).astype(dtype)
    name = str(pick.choice([*MEANINGS]))
    x = np.abs(x) if name == "log_sum" else x / 2 if name == "prod" else x
    y = np.asarray(MEANINGS[name](x.astype(np.float64), axes))
    return lambda threads: reduction(name, shape, axes, dtype, threads), [x], y


def running(pick: Pick, dtype: str) -> tuple[Callable[[int], SweepPlan | str], list[Array], Array]:
    """Sums of all elements up to each along any axis, from either end, with or without itself."""
    rank = int(pick.integers(1, 5))
    shape = tuple(int(n) for n in pick.integers(1, (20_000, 200, 30, 12)[rank - 1], rank))
    axis, exclusive, reverse = int(pick.integers(rank)), bool(pick.integers(2)), bool(pick.integers(2))
    x = pick.standard_normal(shape).astype(dtype)
    along = np.flip(x, axis) if reverse else x
    y = np.cumsum(along, axis, dtype=np.float64) - (along if exclusive else 0)
    y = np.flip(y, axis) if reverse else y
    return (
        lambda threads: running_sums(shape, axis, dtype, threads, exclusive=exclusive, reverse=reverse),
        [x],
        y,
    )


def copies(pick: Pick, dtype: str) -> tuple[Callable[[int], SweepPlan | str], list[Array], Array]:
    """A part of x, its axes in another order, some backwards or in steps, at the end of y; one of them may be short."""
    rank = int(pick.integers(1, 5))
    extents = [int(n) for n in pick.integers(1, (3000, 90, 24, 12)[rank - 1], rank)]
    if pick.integers(2):
        extents[int(pick.integers(rank))] = int(pick.integers(2, 10))
    shape = tuple(extents)
    kind = str(pick.choice(["int8", "float16", dtype]))
    x = pick.integers(-99, 99, shape).astype(kind)
    by = [int(pick.choice([1, 1, 1, 2, -1])) for _ in shape]
    part = x[tuple(slice(None, None, step) for step in by)].transpose(pick.permutation(rank))
    if pick.integers(3) == 0:
        part = np.broadcast_to(part[..., :1], (*part.shape[:-1], 37))
    start = int(part.__array_interface__["data"][0] - x.__array_interface__["data"][0])
    y = np.ascontiguousarray(part)
    found = Strides(start, part.strides)
    return lambda threads: strided_copy(y.shape, found, Strides(0, y.strides), y.itemsize, threads), [x], y


def lookups(pick: Pick, dtype: str) -> tuple[Callable[[int], SweepPlan | str], list[Array], Array]:
    """Bytes by tables, a register at a time where the CPU can, or one by one."""
    x = pick.integers(0, 256, [int(pick.integers(1, 300)), int(pick.integers(1, 200))]).astype(np.uint8)
    cycle = int(pick.integers(1, len(x) + 1))
    table = pick.integers(0, 256, (cycle, 256)).astype(np.uint8)
    y = table[np.arange(len(x))[:, None] % cycle, x]

    def make(threads: int) -> SweepPlan | str:
        plan = lookup(len(x), x.shape[1], cycle, threads)
        return plan if isinstance(plan, str) or pick.integers(2) else replace(plan, recipe=Lookup(False))

    return make, [x, table], y


def weighed(pick: Pick, dtype: str) -> tuple[Callable[[int], SweepPlan | str], list[Array], Array]:
    """Weighted sums of bytes in vectors of all sizes, packed by x86's own instructions and as others do."""
    count, (kind, other) = int(pick.integers(1, 30_000)), pick.choice(["uint8", "int8"], 2)
    a, b = (pick.integers(0, 256, count).astype(np.uint8).view(each) for each in (kind, other))
    by, with_, add = (*pick.uniform(0.2, 1.5, 2), pick.uniform(-150, 150))
    halves = bool(pick.integers(2))
    numbers = [np.asarray(np.round(n * 4) / 4 if halves else n, np.float32) for n in (by, with_, add)]

    def make(threads: int) -> SweepPlan | str:
        plan = weigh_bytes(count, (kind, other, kind), threads)
        if isinstance(plan, str) or not isinstance(plan.recipe, Weigh):
            return plan
        lanes = int(pick.choice([n for n in (4, 8, 16) if n <= plan.recipe.lanes]))
        x86 = plan.recipe.x86 and bool(pick.integers(2))
        return replace(plan, recipe=replace(plan.recipe, lanes=lanes, x86=x86))

    return make, [a, b, *numbers], weigh(a, b, numbers[0], numbers[1], numbers[2], a.dtype).astype(np.float64)


def means(pick: Pick, dtype: str) -> tuple[Callable[[int], SweepPlan | str], list[Array], Array]:
    """Means of lines of bytes, by vectors of all sizes, and by each unit that this CPU has."""
    kind, columns = str(pick.choice(["uint8", "int8"])), int(pick.integers(1, pick.choice([9, 70, 3000])))
    x = pick.integers(0, 256, (int(pick.integers(1, 200)), columns)).astype(np.uint8).view(kind)
    scale, add = (
        np.asarray(each, np.float32) for each in (pick.uniform(0.5, 2) / columns, pick.uniform(-99, 99))
    )

    def make(threads: int) -> SweepPlan | str:
        plan = byte_means(len(x), columns, (kind, kind), threads)
        if isinstance(plan, str) or not isinstance(plan.recipe, ByteMeans):
            return plan
        lanes = int(pick.choice([n for n in (4, 8, 16) if n <= plan.recipe.lanes]))
        unit = plan.recipe.unit if pick.integers(2) else Unit.PLAIN
        if plan.cpu.arch == "x86_64" and pick.integers(2):
            unit = Unit.PMADDWD
        return replace(plan, recipe=replace(plan.recipe, lanes=lanes, unit=unit))

    return make, [x, scale, add], mean_bytes(x, scale, add, x.dtype).astype(np.float64)


def shares(pick: Pick, dtype: str) -> tuple[Callable[[int], SweepPlan | str], list[Array], Array]:
    """Softmax along any axis, and normalisation in its kinds."""
    a, b, c = (int(n) for n in pick.integers(1, (9, 70, 60)))
    x = (pick.standard_normal((a, b, c)) * 3 + 1).astype(dtype)
    wide, axis, logarithm = x.astype(np.float64), int(pick.integers(3)), bool(pick.integers(2))
    if dtype == "float64" or pick.integers(2):
        power = np.exp(wide - wide.max(axis, keepdims=True))
        y = power / power.sum(axis, keepdims=True)
        y = np.log(y) if logarithm else y
        return lambda threads: softmax(x.shape, (axis, axis + 1), logarithm, dtype, threads), [x], y
    biased, centred, parts = bool(pick.integers(2)), bool(pick.integers(2)), int(pick.integers(2)) * b
    rows = wide.reshape(a, -1)
    about = rows - rows.mean(1, keepdims=True) if centred else rows
    y = (about / np.sqrt((about * about).mean(1, keepdims=True) + 1e-3)).reshape(a, b, c)
    shape = (b, 1) if parts else (b, c)
    scale, bias = (pick.standard_normal(shape).astype(dtype) for _ in range(2))
    y = y * scale + (bias if biased else 0)
    return (
        lambda threads: normalise(a, b * c, 1e-3, threads, parts=parts, biased=biased, centred=centred),
        [x, scale, bias][: 2 + biased],
        y,
    )


def check(make: Callable[[int], SweepPlan | str], inputs: Sequence[Array], y: Array) -> bool:
    """The answer between pages, the same bits by one thread and by three; False where there is no kernel."""
    found = []
    for threads in (1, 3):
        plan = make(threads)
        if isinstance(plan, str):
            assert plan.startswith(("takes 7 axes that do not merge", "takes up to 2 groups")), plan
            return False
        sweep = Sweep(plan)
        sweep.load()
        for Fenced.behind in (True, False):
            fenced, out = (
                [Fenced.holding(x) for x in inputs],
                Fenced.holding(np.zeros(y.shape, inputs[0].dtype)),
            )
            for each in fenced:
                each.freeze()
            made = out.array(np.empty(y.shape, inputs[0].dtype))
            sweep(*(f.array(x) for f, x in zip(fenced, inputs, strict=True)), made)
            assert out.untouched()
            found.append(made.copy())
    single = inputs[0].dtype == np.float32
    finite = np.where(np.abs(y) < (1e30 if single else 1e300), y, 0)
    size = 1 + np.abs(finite)
    close = np.abs(np.where(finite == y, found[0], 0) - finite) <= (2e-4 if single else 1e-11) * size
    assert np.where(np.isnan(y), np.isnan(found[0]), close).all(), np.argwhere(~close)[:3]
    assert all(np.array_equal(found[0], each, equal_nan=True) for each in found)
    return True


def with_any_unit(pick: Pick, plan: SweepPlan) -> SweepPlan:
    """The same where bytes are multiplied by any unit that this CPU has."""
    recipe = plan.recipe
    assert isinstance(recipe, Recurrence)
    if recipe.states is None:
        return plan
    units = [recipe.states.unit, Unit.PLAIN, *[Unit.PMADDWD] * (plan.cpu.arch == "x86_64")]
    unit = units[pick.integers(len(units))]
    return replace(plan, recipe=replace(recipe, states=replace(recipe.states, unit=unit)))


def by_range(h: Array) -> Array:
    """What is left of numbers that were counted in bytes."""
    low, high = min(h.min(), 0), max(h.max(), 0)
    scale = (high - low) / 255 or 1.0
    zero = np.rint(-low / scale)
    return np.asarray((np.clip(np.rint(h / scale) + zero, 0, 255) - zero) * scale)


def steps(pick: Pick) -> None:
    """An LSTM of all steps in one task, every array of it between pages; R in 8 bits, or as it is."""
    H, B, T = (int(pick.integers(1, most)) for most in (70, 7, 4))
    cell = recurrence.CellRecipe("LSTM", (("sigmoid", ()), ("tanh", ()), ("tanh", ())), peepholes=True)
    row = 4 * H
    strides = {"x row": 4 * row, "x step 0": B * 4 * row, "y step 0": B * row}
    strides |= {f"{name} row": row for name in ("h", "y", "last", "c", "cc")}
    zeros = (None, False, True)[pick.integers(3)]
    plan = recurrence.recurrence(cell, H, B, T, strides, "float32", 1, zeros=zeros)
    assert isinstance(plan, SweepPlan), plan
    plan = with_any_unit(pick, plan)
    sweep = Sweep(plan)
    sweep.load()
    x, h, c, r, p = (
        pick.standard_normal(shape).astype(np.float32) for shape in ((T, B, 4 * H), (B, H), (B, H), (4 * H, H), (3, H))
    )  # fmt: skip
    given = {"x": x, "h": h, "c": c, "R": recurrence.pack_recurrent(plan, r), "P": p}
    if zeros is not None:
        q, scale = pick.integers(-128, 128, r.shape).astype(np.int8), np.full(4 * H, 0.02, np.float32)
        less = pick.integers(-9, 10, 4 * H).astype(np.int8) * np.int8(zeros)
        given["R"] = recurrence.pack_recurrent_bytes(plan, q, scale, less)
        r = (q - less[:, None].astype(np.float32)) * 0.02
    made = {"y": np.zeros((T, B, H), np.float32), "last": np.zeros_like(h), "cc": np.zeros_like(c)}
    made |= {"q": np.zeros(recurrence.bytes_of_states(plan), np.uint8)} if zeros is not None else {}
    state, cells = h.astype(np.float64), c.astype(np.float64)
    for t in range(T):
        state = state if zeros is None else np.stack([by_range(each) for each in state])
        i, o, k, n = np.split(x[t] + state @ r.T.astype(np.float64), 4, axis=1)
        i, k = (1 / (1 + np.exp(-each - peep * cells)) for each, peep in ((i, p[0]), (k, p[2])))
        cells = k * cells + i * np.tanh(n)
        state = np.tanh(cells) / (1 + np.exp(-o - p[1] * cells))
    for Fenced.behind in (True, False):
        fenced = {name: Fenced.holding(array) for name, array in (given | made).items()}
        for name in given:
            fenced[name].freeze()
        arrays = {name: fenced[name].array(array) for name, array in (given | made).items()}
        block = sweep.block([arrays[name.split()[0]] for name in plan.recipe.arrays])
        thread_pool.launch(ctypes.addressof(block))
        assert all(each.untouched() for each in fenced.values())
        # A state that falls to the next byte moves sums by a step, of weights up to 2.56 and states up to 3.
        near = 1e-5 if zeros is None else 0.1
        np.testing.assert_allclose(arrays["last"], state, rtol=1e-3, atol=near)
        np.testing.assert_allclose(arrays["cc"], cells, rtol=1e-3, atol=near)
        assert np.median(np.abs(arrays["last"] - state)) < 1e-5
        np.testing.assert_array_equal(arrays["y"][-1], arrays["last"])


def tops(pick: Pick) -> None:
    """The k best of lines between pages, among many that are equal, NaN and infinities, in vectors of either length."""
    dtype = np.dtype(str(pick.choice(TYPES)))
    lines_, n = int(pick.integers(1, 5)), int(pick.choice([pick.integers(1, 200), pick.integers(200, 12000)]))
    k = int(pick.choice([1, min(n, 16), min(n, 17), int(pick.integers(1, n + 1)), n, 1 + n // 9]))
    if dtype.kind == "f":
        special: Array = np.array([-np.inf, np.inf, np.nan, -0.0, 0.0, 1.0])
        x = pick.choice(special, (lines_, n)).astype(dtype)
        x = np.where(pick.random(x.shape) < pick.random(), x, pick.standard_normal(x.shape)).astype(dtype)
    else:
        ends = np.iinfo(dtype)
        x = pick.integers(ends.min, ends.max, (lines_, n), dtype, endpoint=True)
        x = np.where(pick.random(x.shape) < pick.random(), x, x % dtype.type(7)).astype(dtype)
    if pick.random() < 0.2:
        x.sort(axis=1)
    largest, threads = bool(pick.integers(2)), int(pick.integers(1, 4))
    order = np.argsort(x, axis=1, kind="stable")
    if largest:
        order = n - 1 - np.argsort(x[:, ::-1], axis=1, kind="stable")[:, ::-1]
    found = top(lines_, n, k, dtype.name, threads, largest=largest)
    assert isinstance(found, tuple), found
    plan, scratch = found
    avx2 = Cpu.named("x86-64-v3")
    assert isinstance(plan.recipe, Top)
    if avx2.runs_here() and pick.integers(2):
        plan = replace(plan, cpu=avx2, recipe=replace(plan.recipe, lanes=32 // max(4, dtype.itemsize)))
    sweep = Sweep(plan)
    sweep.load()
    made = [np.zeros(scratch, np.uint8), np.zeros((lines_, k), dtype), np.zeros((lines_, k), np.int64)]
    for Fenced.behind in (True, False):
        fenced = [Fenced.holding(each) for each in (x, *made)]
        fenced[0].freeze()
        arrays = [each.array(array) for each, array in zip(fenced, (x, *made), strict=True)]
        sweep(*arrays)
        assert all(each.untouched() for each in fenced)
        np.testing.assert_array_equal(arrays[3], order[:, :k])
        assert arrays[2].tobytes() == np.take_along_axis(x, order[:, :k], 1).tobytes()


def boxes(pick: Pick) -> None:
    """What is above a limit in its order, and boxes chosen of it, every array of both kernels between pages."""
    B, C, n = (int(pick.integers(1, most)) for most in (3, 4, 300))
    most, centred, threads = int(pick.integers(1, n + 1)), bool(pick.integers(2)), int(pick.integers(1, 4))
    scores = (pick.integers(0, 30, (B * C, n)) / 30).astype(np.float32)
    x, bound, limit = (np.asarray(each, np.float32) for each in (pick.random((B, n, 4)), [0.4], [0.5]))
    sorting, choosing = above(B * C, n, "float32", threads), suppress(B, C, n, most, centred, threads)
    assert isinstance(sorting, tuple)
    assert isinstance(choosing, tuple)
    held, places = np.zeros(B * C, np.int64), np.zeros((B * C, n), np.int64)
    found, chosen = np.zeros(B * C, np.int64), np.zeros((B * C, most), np.int64)
    first: list[Array] = [scores, limit, np.zeros(sorting[1], np.uint8), held, places]
    second: list[Array] = [x, places, held, bound, np.zeros(choosing[1], np.uint8), found, chosen]
    for Fenced.behind in (True, False):
        for (plan, _), arrays in ((sorting, first), (choosing, second)):
            sweep = Sweep(plan)
            sweep.load()
            fenced = [Fenced.holding(each) for each in arrays]
            given = [each.array(array) for each, array in zip(fenced, arrays, strict=True)]
            sweep(*given)
            assert all(each.untouched() for each in fenced)
            for array, made in zip(arrays, given, strict=True):
                array[...] = made
    for line in range(B * C):
        order = np.argsort(-scores[line], kind="stable")
        order = order[scores[line][order] > limit]
        assert places[line, : held[line]].tolist() == order.tolist()
        assert held[line] == len(order)
        assert chosen[line, 0] == order[0]
        assert set(chosen[line, : found[line]]) <= set(order)


def places(pick: Pick) -> None:
    """Weighted sums of elements anywhere in planes, some of them nowhere, every array between pages."""
    N, C, I, B, T, K = (int(pick.integers(1, most)) for most in (4, 4, 300, 4, 6, 1200))
    x, weight = (pick.standard_normal(each).astype(np.float32) for each in ((N, C, I), (B, T, K)))
    image, at = pick.integers(0, N, B), pick.integers(-1, I, (B, T, K)).astype(np.int32)
    right = (
        np.where(at[:, None] < 0, 0, np.take_along_axis(x[image][:, :, None], at[:, None], 3))
        * weight[:, None]
    )
    for threads in (1, 3):
        plan = read_places(B, C, I, T, K, threads)
        assert isinstance(plan, SweepPlan), plan
        sweep = Sweep(plan)
        sweep.load()
        arrays: list[Array] = [x, image, np.where(at < 0, -1, at * 4).astype(np.int32), weight]
        for Fenced.behind in (True, False):
            fenced = [Fenced.holding(each) for each in (*arrays, np.zeros((B, C, K), np.float32))]
            for each in fenced[:-1]:
                each.freeze()
            given = [
                each.array(a)
                for each, a in zip(fenced, (*arrays, np.zeros((B, C, K), np.float32)), strict=True)
            ]
            sweep(*given)
            assert fenced[-1].untouched()
            np.testing.assert_allclose(given[-1], right.sum(2), rtol=1e-4, atol=1e-4)


def indexed(pick: Pick) -> None:
    """Rows and elements of any size by indices of either type between pages, in vectors of either length."""
    outer, n, m, inner, item = (int(pick.integers(1, most)) for most in (5, 90, 90, 9, 70))
    item = int(pick.choice([item, 1, 2, 4, 8, 16, 600]))
    how, integer = str(pick.choice(["rows", "elements", "slices"])), str(pick.choice(["int32", "int64"]))
    if how == "rows":
        x = pick.integers(0, 256, (outer, n, item)).astype(np.uint8)
        where = Indexed(outer, m, item, (n,), n * item, item)
        index = pick.integers(-n, n, m)
        right = x[:, index]
    elif how == "elements":
        x = pick.integers(0, 256, (outer, n, inner, item)).astype(np.uint8)
        where = Indexed(outer * m, inner, item, (n,), n * inner * item, inner * item, m, item, inner)
        index = pick.integers(-n, n, (outer, m, inner))
        right = np.take_along_axis(x, index[..., None] % n, 1)
    else:
        x = pick.integers(0, 256, (outer, n, inner, item)).astype(np.uint8)
        where = Indexed(outer, m, item, (n, inner), n * inner * item, item, apart=m)
        index = np.stack([pick.integers(-each, each, (outer, m)) for each in (n, inner)], -1)
        right = x[np.arange(outer)[:, None], index[..., 0], index[..., 1]]
    plan = indexed_copy(where, integer, int(pick.integers(1, 4)))
    assert isinstance(plan, SweepPlan), plan
    assert isinstance(plan.recipe, IndexedCopy)
    sweep = loaded_for_some_vectors(pick, plan, plan.recipe)
    arrays: list[Array] = [x, index.astype(integer), np.array(where.extents, np.int64), np.zeros_like(right)]
    for Fenced.behind in (True, False):
        fenced = [Fenced.holding(each) for each in arrays]
        for each in fenced[:-1]:
            each.freeze()
        given = [each.array(array) for each, array in zip(fenced, arrays, strict=True)]
        sweep(*given)
        assert fenced[-1].untouched()
        np.testing.assert_array_equal(given[-1], right)


def loaded_for_some_vectors(pick: Pick, plan: SweepPlan, recipe: IndexedCopy | Scatter) -> Sweep:
    """The kernel for the vectors of this CPU, or half of the time for AVX2's where they run."""
    avx2 = Cpu.named("x86-64-v3")
    if avx2.runs_here() and pick.integers(2):
        plan = replace(plan, cpu=avx2, recipe=replace(recipe, lanes=recipe.lanes and 32 // recipe.type.bytes))
    sweep = Sweep(plan)
    sweep.load()
    return sweep


def scattered(pick: Pick) -> None:
    """Updates of rows, slices and elements in their order, every array between pages, in vectors of either length."""
    groups, n, m, columns = (int(pick.integers(1, most)) for most in (5, 40, 90, 150))
    dtype, integer = str(pick.choice(["float32", "int64", "uint8"])), str(pick.choice(["int32", "int64"]))
    how, form = str(pick.choice([*SCATTERS])), str(pick.choice(["rows", "singles", "elements", "slices"]))
    columns, groups = 1 if form == "singles" else columns, 1 if form == "slices" else groups
    extents = (n, int(pick.integers(1, 9))) if form == "slices" else (n,)
    places, item = int(np.prod(extents)), np.dtype(dtype).itemsize
    x, u = (pick.integers(0, 9, (groups, each, columns)).astype(dtype) for each in (places, m))
    each = form == "elements"
    shape = (groups, m, columns) if each else (groups, m)
    index = np.stack([pick.integers(-n, n, shape) for n in extents], -1)
    flat = np.ravel_multi_index(tuple(np.moveaxis(index % extents, -1, 0)), extents)
    right = x.copy()
    for g, i in np.ndindex(groups, m):
        at = (g, flat[g, i], np.arange(columns)) if each else (g, flat[g, i])
        old, new = right[at], u[g, i]
        right[at] = {
            "none": new, "add": old + new, "mul": old * new, "min": np.minimum(old, new), "max": np.maximum(old, new)
        }[how]  # fmt: skip
    outer = places * columns * item
    where = Updates(groups, m, columns, extents, outer, columns * item, each)
    plan = scatter(where, how, dtype, integer, int(pick.integers(1, 4)))
    assert isinstance(plan, SweepPlan), plan
    assert isinstance(plan.recipe, Scatter)
    sweep = loaded_for_some_vectors(pick, plan, plan.recipe)
    given = [index.astype(integer), np.array(extents, np.int64), u, x]
    for outside in (False, True):
        if outside:  # nothing is put there
            given[0] = np.full_like(given[0], max(extents))
            right = x
        for Fenced.behind in (True, False):
            fenced = [Fenced.holding(array) for array in given]
            for one in fenced[:-1]:
                one.freeze()
            arrays = [one.array(array) for one, array in zip(fenced, given, strict=True)]
            arrays[-1][...] = x
            sweep(*arrays)
            assert fenced[-1].untouched()
            np.testing.assert_array_equal(arrays[-1], right)


KINDS = (pointwise, lines, reductions, shares, copies, weighed, running, reductions, means, lookups)
"""Kinds of sweeps with one result, in the order in which they take turns."""


def main(seed: int, count: int) -> None:
    pick, done, shown = np.random.default_rng(seed), 0, 0
    with np.errstate(all="ignore"):
        while done < count:
            kind = KINDS[shown % len(KINDS)]
            dtype = ("float32", "float64")[shown // len(KINDS) % 2]
            make, inputs, y = kind(pick, dtype)
            print(kind.__name__, dtype, [x.shape for x in inputs], flush=True)
            done += check(make, inputs, y)
            shown += 1
        for _ in range(count // 8):
            steps(pick)
        for _ in range(count // 2):
            tops(pick)
            boxes(pick)
            places(pick)
            indexed(pick)
            scattered(pick)
    print(f"done: {done} sweeps", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
