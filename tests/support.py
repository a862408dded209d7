"""What the tests share: the definition of all three passes on exact data, every way a plan can take, and one check.

The gradients here are scattered by loops of their own, so they lean neither on the geometry of gradients nor on
anything above it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from convmat import Plan, lowering
from convmat.cases import CASES, Case
from convmat.engine import ENGINES
from convmat.engine.measure.machine import machine
from convmat.geometry import Geometry
from convmat.planner import Candidate, Decision
from convmat.planner.candidates import weigh, weigh_way
from convmat.planner.cost import error_estimate
from convmat.problem import WORK_DTYPES, Problem
from convmat.product import Packing

Array = npt.NDArray[Any]
Way = tuple[str, str, Packing]  # engine, lowering, packing

DTYPES = tuple(WORK_DTYPES)
LAYOUTS = ("NCHW", "NHWC")
PASSES = ("forward", "input", "weight")
TAILS = [each for each in CASES if not each.name.endswith(("/plain", "/strided-tail"))]
"""A third of the cases, those whose extents no vector divides, with the oddities that have no variants."""


def dtype_of(name: str) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def quick_part(seeds: range, count: int) -> list[Any]:
    """Seeds as parameters, all but the first ones for --slow."""
    return [
        seed if seed < seeds.start + count else pytest.param(seed, marks=pytest.mark.slow) for seed in seeds
    ]


def in_turn(names: Sequence[str], *ways: tuple[Any, ...]) -> list[Any]:
    """Parameters: every name with every way; in quick runs each name with one of them, in turn."""
    pairs = itertools.product(enumerate(names), enumerate(ways))
    return [
        pytest.param(name, *way, marks=() if i % len(ways) == j else pytest.mark.slow)
        for (i, name), (j, way) in pairs
    ]


# -- the definition ---------------------------------------------------------------------------------------------------


def reads(g: Geometry) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """(p, f, i): output p reads element i through tap f."""
    for p in itertools.product(*map(range, g.P)):
        for f in itertools.product(*map(range, g.F)):
            at = [p[a] * g.s[a] + f[a] * g.d[a] - g.lo[a] for a in range(g.rank)]
            if all(0 <= i < E and i % e == 0 for i, E, e in zip(at, g.E, g.e, strict=True)):
                yield p, f, tuple(i // e for i, e in zip(at, g.e, strict=True))


def grouped(array: Array, axis: int, groups: int) -> Array:
    """The axis split into (groups, the rest)."""
    shape = array.shape
    return array.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])


def gradients(x: Array, w: Array, dy: Array, g: Geometry) -> tuple[Array, Array]:
    """(dx, dw) of sum(conj(dy) * conv(x, w)): each product of the definition, scattered back."""
    xs, ws, dys = grouped(x, 1, g.G), grouped(w, 0, g.G), grouped(dy, 1, g.G)
    dx, dw = np.zeros_like(xs), np.zeros_like(ws)
    for p, f, i in reads(g):
        at_x: tuple[Any, ...] = (..., *i)
        at_w: tuple[Any, ...] = (..., *f)
        at_y: tuple[Any, ...] = (..., *p)
        dx[at_x] += np.einsum("goc,bgo->bgc", ws[at_w].conj(), dys[at_y])
        dw[at_w] += np.einsum("bgc,bgo->goc", xs[at_x].conj(), dys[at_y])
    return dx.reshape(x.shape), dw.reshape(w.shape)


def evenly(indices: Array) -> slice:
    """Indices of one distance as a slice, which NumPy reads far sooner."""
    if not len(indices):
        return slice(0)
    return slice(indices[0], indices[-1] + 1, indices[1] - indices[0] if len(indices) > 1 else 1)


def by_taps(
    x: Array, w: Array, dy: Array | None, g: Geometry, wide: Any = np.float64
) -> tuple[Array, Array, Array]:
    """(y, dx, dw) of the definition in a wide type, every product of one tap at once; without dy, y alone.

    test_reference.py holds it to `convolve` and `gradients`, which go element by element.
    """
    xs, ws = grouped(x.astype(wide), 1, g.G), grouped(w.astype(wide), 0, g.G)
    ys = grouped(np.zeros(g.y_shape, wide), 1, g.G)
    dys = None if dy is None else grouped(dy.astype(wide), 1, g.G)
    dxs, dws = np.zeros_like(xs), np.zeros_like(ws)
    for f in itertools.product(*map(range, g.F)):
        read: tuple[Any, ...] = (...,)
        written: tuple[Any, ...] = (...,)
        for a in range(g.rank):
            at = np.arange(g.P[a]) * g.s[a] + f[a] * g.d[a] - g.lo[a]
            there = (at >= 0) & (at < g.E[a]) & (at % g.e[a] == 0)
            written += (evenly(np.flatnonzero(there)),)
            read += (evenly(at[there] // g.e[a]),)
        at_w: tuple[Any, ...] = (..., *f)
        tap = ws[at_w]
        count = math.prod(xs[read].shape[3:])
        seen = xs[read].reshape(*xs.shape[:3], count)
        ys[written] += (tap @ seen).reshape(ys[written].shape)
        if dys is not None:
            back = dys[written].reshape(*ys.shape[:3], count)
            dxs[read] += (tap.conj().swapaxes(1, 2) @ back).reshape(xs[read].shape)
            dws[at_w] = (back @ seen.conj().swapaxes(2, 3)).sum(axis=0)
    return ys.reshape(g.y_shape), dxs.reshape(x.shape), dws.reshape(w.shape)


def defined(x: Array, w: Array, g: Geometry) -> Array:
    """y by the definition, in float64 or complex128."""
    return by_taps(x, w, None, g, np.result_type(x, np.float64))[0]


def turned(w: Array, groups: int) -> Array:
    """(C, O//G, *F) as (O, C//G, *F) with the filter flipped, or the other way round."""
    split = np.swapaxes(grouped(w, 0, groups), 1, 2)
    flipped = np.flip(split, tuple(range(3, split.ndim)))
    return flipped.reshape(-1 if w.size else groups * w.shape[1], w.shape[0] // groups, *w.shape[2:])


@dataclass(frozen=True)
class Truth:
    """Operands of small integers and the three results by the definition, in float64 or complex128, NCHW."""

    x: Array
    w: Array
    dy: Array
    y: Array
    dx: Array
    dw: Array


def integers(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> Array:
    """Small integers, so that every sum is exact in float32: "real", "complex", or "unsigned" without negatives."""
    if kind == "unsigned":
        return rng.integers(0, 6, shape).astype(np.float64)
    real = rng.integers(-4, 5, shape).astype(np.float64)
    return real if kind == "real" else real + 1j * rng.integers(-4, 5, shape)


@cache
def truth(case: Case, kind: str) -> Truth:
    """The case's data and results; computed once a session."""
    g = case.geometry
    rng = np.random.default_rng(sum(map(ord, case.name)))
    x, w, dy = (integers(rng, shape, kind) for shape in (g.x_shape, case.w_shape, g.y_shape))
    straight = turned(w, g.G) if case.transposed else w
    y, dx, dw = by_taps(x, straight, dy, g, np.complex128 if kind == "complex" else np.float64)
    return Truth(x, w, dy, y, dx, turned(dw, g.G) if case.transposed else dw)


def kind_of(dtype: str) -> str:
    return "complex" if dtype.startswith("complex") else "unsigned" if dtype == "uint8" else "real"


# -- the ways ---------------------------------------------------------------------------------------------------------


def problem_of(
    case: Case, dtype: str, layout: str = "NCHW", direction: str = "forward", **rest: Any
) -> Problem:
    """The problem of one pass of a case."""
    made = Problem.of(case.geometry, dtype, x=layout, y=layout, transposed=case.transposed, **rest)
    return {"forward": lambda: made, "input": made.grad_input, "weight": made.grad_weight}[direction]()


def ways() -> tuple[Way, ...]:
    """Every engine, lowering and packing that the planner weighs, in its order."""
    return tuple(
        (engine, way.name, packing) for way in lowering.ALL for packing in way.packings for engine in ENGINES
    )


REFUSED_BY_JIT = {"mec", "kn2row"}
"""Lowerings that would have the jit store the unrolled input; a test of the matrix holds its sentences."""


def way_name(way: Way) -> str:
    engine, lowering, packing = way
    return f"{engine}-{lowering}-{packing.name.lower()}"


def plan_of(problem: Problem, way: Way) -> Plan | str:
    """The plan that goes this way, or the refusal; the other ways are not weighed."""
    engine, name, packing = way
    chosen, program = weigh_way(
        problem, next(each for each in lowering.ALL if each.name == name), packing, engine, machine()
    )
    return forced(problem, (chosen,), chosen, program)


def plans(problem: Problem) -> Iterator[tuple[Candidate, Plan]]:
    """A plan for every candidate that does not refuse."""
    weighed = weigh(problem, machine())
    for chosen in weighed.candidates:
        made = forced(problem, weighed.candidates, chosen, weighed.programs.get(chosen.way))
        if isinstance(made, Plan):
            yield chosen, made


def forced(
    problem: Problem, found: tuple[Candidate, ...], chosen: Candidate, program: Any = None
) -> Plan | str:
    """The plan of a candidate, whose program is there already if it was weighed just now; or its refusal."""
    if chosen.cost is None:
        return chosen.refusal or ""
    return Plan(Decision(problem, found, chosen, forced=True), program)


# -- the check --------------------------------------------------------------------------------------------------------


def put(array: Array, layout: str) -> Array:
    """An NCHW array in the layout, contiguous."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1) if layout == "NHWC" else array)


MARGIN = 64
"""Elements around a hedged array: of most outrunning kernels they catch what is read or written."""


def hedged(array: Array) -> Array:
    """A copy amid elements that no kernel may touch: NaN, or the largest integer."""
    alien = np.nan if array.dtype.kind not in "iu" else np.iinfo(array.dtype).max
    memory = np.full(array.size + 2 * MARGIN, alien, array.dtype)
    copy = memory[MARGIN : MARGIN + array.size].reshape(array.shape)
    copy[...] = array
    return copy


def blank(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A hedged array to write to, of which every element is as alien as those around it."""
    return hedged(np.full(shape, np.nan if dtype.kind not in "iu" else np.iinfo(dtype).max, dtype))


def written_alone(array: Array) -> None:
    """Assert that what lies around a hedged array is as it was."""
    memory = array
    while isinstance(memory.base, np.ndarray):
        memory = memory.base
    for margin in (memory[:MARGIN], memory[len(memory) - MARGIN :]):
        assert (margin == np.iinfo(array.dtype).max if array.dtype.kind in "iu" else margin != margin).all()


def operands(case: Case, dtype: str, layout: str, direction: str) -> tuple[Array, Array, Array]:
    """First and second operand of a pass and its exact result, each in its element type."""
    t = truth(case, kind_of(dtype))
    first, second, result = {
        "forward": (put(t.x, layout), t.w, put(t.y, layout)),
        "input": (put(t.dy, layout), t.w, put(t.dx, layout)),
        "weight": (put(t.x, layout), put(t.dy, layout), t.dw),
    }[direction]
    given, out = dtype_of(dtype), dtype_of("int32" if dtype.endswith("int8") else dtype)
    return first.astype(given), second.astype(given), result.astype(out)


def check(way: Way, case: Case, dtype: str, layout: str, direction: str) -> str | None:
    """Run one pass one way; its elements must be those of the definition. The refusal, if the way refuses."""
    plan = plan_of(problem_of(case, dtype, layout, direction), way)
    if isinstance(plan, str):
        return plan
    first, second, expected = operands(case, dtype, layout, direction)
    found = plan(first, second)
    assert found.dtype == expected.dtype
    allowed = tolerance(plan.problem, plan.chosen.lowering)
    agree(found, expected, allowed, f"{way_name(way)}, {case}, {dtype}, {layout}, {direction}")
    return None


SLACK = 8.0
"""How far beyond its estimate, which is an expectation, the error of a few elements may be."""


def tolerance(problem: Problem, name: str) -> float:
    """The norm-wise error that a lowering may have on any data: 0 where its products are the definition's."""
    inexact = {each.name: each for each in lowering.ALL if not each.exact}
    if name not in inexact:
        return 0.0
    return SLACK * error_estimate(problem, inexact[name].roundings(problem))


def agree(found: Array, expected: Array, allowed: float, message: str, least: float = 1.0) -> None:
    """Assert that every element is the expected one, or where something is allowed that the whole is that near.

    `least`: what the whole counts as where it is less, a product of two elements for one: in a tile, outputs of nothing
    but zeros share the rounding of others that are not stored.
    """
    if not allowed:
        np.testing.assert_array_equal(found, expected, message)
        return
    apart, scale = (float(np.linalg.norm(abs(a).ravel())) for a in (found - expected, expected))
    assert apart <= allowed * max(scale, least, 1.0), f"{message}: {apart} of {scale}"
