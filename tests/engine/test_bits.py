"""The bits of a result, for given operands, pass, layout and lowering, depend on nothing else.

Not on threads, batch size or position in the batch, register tile, panel sizes, what is packed and when, limits, or
the width of this CPU's vectors: every element is one sum over k in order, by fused multiply-adds, in parts that the
product fixes. Another layout may be another sum: with channels last k runs over the taps first.

A weight gradient sums over the batch, so for it nothing is said about batches. Data are normal, so that any other
order would show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from convmat.engine import jit
from convmat.engine.cpu import Cpu, host
from convmat.engine.kernels.direct import channels, pixels, sharing
from convmat.engine.kernels.panel import k_parts, run_shares, tiling
from convmat.engine.kernels.panel import plan as panel_plan
from convmat.engine.runtime import preloaded, thread_pool
from convmat.geometry import Geometry
from convmat.problem import EpilogueForm, Problem
from convmat.product import Activation
from tests.engine.drawn import programs, views
from tests.support import Array, put

pytestmark = pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")
BATCH = 3


@dataclass(frozen=True)
class Pass:
    """A convolution, one of its passes, and a layout."""

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    options: dict[str, Any]
    layout: str = "NCHW"
    direction: str = "forward"
    dtype: str = "float32"

    def problem(self, batch: int = BATCH, **rest: Any) -> Problem:
        """The pass with so many images."""
        g = Geometry.of((batch, *self.x), self.w, **self.options)
        epilogue = (
            EpilogueForm(bias=True, activation=Activation("tanh"))
            if "epilogue" in self.name
            else EpilogueForm()
        )
        made = Problem.of(g, self.dtype, x=self.layout, y=self.layout, epilogue=epilogue, **rest)
        return {"forward": lambda: made, "input": made.grad_input, "weight": made.grad_weight}[
            self.direction
        ]()

    @property
    def operands(self) -> tuple[Array, Array, Array]:
        """First and second operand, and a bias."""
        g = Geometry.of((BATCH, *self.x), self.w, **self.options)
        rng = np.random.default_rng(len(self.name))
        x, w, dy, bias = (
            rng.standard_normal(s).astype(self.dtype) for s in (g.x_shape, g.w_shape, g.y_shape, (g.O,))
        )
        first, second = {"forward": (x, w), "input": (dy, w), "weight": (x, dy)}[self.direction]
        second = put(second, self.layout) if self.direction == "weight" else second
        return put(first, self.layout), second, bias

    def __str__(self) -> str:
        return f"{self.name}-{self.layout}-{self.direction}"


def _passes() -> Iterator[Pass]:
    for layout in ("NCHW", "NHWC"):
        yield Pass("3x3 epilogue", (20, 9, 19), (23, 20, 3, 3), {"padding": 1}, layout)
        yield Pass("several parts", (130, 3, 18), (5, 130, 3, 3), {"padding": (1, 0)}, layout)
        yield Pass("left out", (128, 5, 17), (80, 128, 1, 5), {"padding": (0, 2)}, layout)
        yield Pass("depthwise", (18, 11, 21), (18, 1, 3, 3), {"padding": 1, "groups": 18}, layout)
        yield Pass(
            "stride 2", (6, 9, 20), (14, 3, 3, 4), {"stride": 2, "padding": 1, "groups": 2}, layout, "input"
        )
        yield Pass("long sum", (5, 17, 19), (18, 5, 3, 3), {"padding": 1}, layout, "weight")
    yield Pass("float64", (7, 40), (80, 7, 5), {"dilation": 2}, "NCHW", "forward", "float64")
    yield Pass("many filters", (8, 6, 7), (80, 8, 3, 3), {"padding": 1})
    yield Pass("1x1", (70, 8, 40), (20, 70, 1, 1), {})
    yield Pass("1x1 cropped", (70, 6, 72), (20, 35, 1, 1), {"padding": -1, "groups": 2})


PASSES = list(_passes())
every = pytest.mark.parametrize("each", PASSES, ids=str)
every_image_alone = pytest.mark.parametrize("each", [p for p in PASSES if p.direction != "weight"], ids=str)


def results(
    each: Pass, batch: slice = slice(None), *, bound: bool = False, **rest: Any
) -> dict[tuple[str, str], Array]:
    """What every program gives for (a slice of) the batch, by its lowering and kind of kernel plan."""
    first, second, bias = each.operands
    first = first[batch]
    found: dict[tuple[str, str], Array] = {}
    problem = each.problem(len(first) if each.direction != "weight" else BATCH, reuse_weights=bound, **rest)
    for name, program in programs(problem):
        y = np.full(problem.y.shape, np.nan, each.dtype)
        operands = views(problem, {"x": first, "w": second, "y": y})
        if problem.epilogue.bias:
            operands["bias"] = bias
        program.run(operands, program.bind(operands["w"]) if bound else None, problem.threads)
        found[name, type(program.steps[0]).__name__] = y
    assert found
    return found


def same(found: dict[tuple[str, str], Array], expected: dict[tuple[str, str], Array]) -> None:
    """Bit by bit, way by way."""
    assert found.keys() == expected.keys()
    for way, y in found.items():
        np.testing.assert_array_equal(y, expected[way], str(way), strict=True)


@every
def test_in_place_or_packed(each: Pass) -> None:
    """All ways of one lowering are one sum; so are those of the lowerings that sum in the same order."""
    first, *others = [
        y
        for (way, step), y in results(each).items()
        if way != "bfloat16" and step not in ("WinogradPlan", "PiecesPlan", "DotsPlan")
    ]
    for other in others:
        np.testing.assert_array_equal(other, first)


@every
def test_threads(each: Pass) -> None:
    one = results(each, threads=1)
    for number in (2, 3):
        with thread_pool.threads(number):
            same(results(each, threads=number), one)


@every_image_alone
def test_weights_packed_before_or_by_the_call(each: Pass) -> None:
    same(results(each, bound=True), results(each, bound=False))


@pytest.mark.parametrize("each", [p for p in PASSES if p.name.startswith("1x1")], ids=str)
def test_packing_a_line_of_x_is_fused(each: Pass) -> None:
    """By one lowering and not by the other: `test_in_place_or_packed` compares their sums."""
    steps = {
        name: step for name, program in programs(each.problem()) for step in program.steps if step.workspace
    }
    fused = {
        name: isinstance(s, panel_plan.PanelPlan) and s.recipe.fuses_packing for name, s in steps.items()
    }
    assert fused == {"pointwise": True, "im2col": False, **dict.fromkeys(fused.keys() & {"bfloat16"}, False)}


@every_image_alone
def test_limits(each: Pass) -> None:
    same(results(each, workspace_limit=1 << 40), results(each, workspace_limit=1))


@every_image_alone
def test_batch_size_and_position(each: Pass) -> None:
    whole = results(each)
    for batch in (slice(0, 1), slice(2, 3), slice(1, 3)):
        same(results(each, batch), {way: y[batch] for way, y in whole.items()})


def thin(patch: pytest.MonkeyPatch) -> None:
    """Lanes along n, 3 rows, one vector."""
    patch.setattr(tiling, "along_n", lambda m, lanes, registers: tiling.Tiling(False, min(m, 3), lanes))
    patch.setattr(tiling, "along_m", lambda m, lanes, registers: tiling.Tiling(True, lanes, 3))
    patch.setattr(
        tiling, "choose_tiling", lambda m, k, lanes, registers, fused: tiling.Tiling(False, min(m, 3), lanes)
    )


def turned(patch: pytest.MonkeyPatch) -> None:
    """Lanes along m wherever that is possible, two vectors of 5 columns."""
    patch.setattr(tiling, "along_m", lambda m, lanes, registers: tiling.Tiling(True, 2 * lanes, 5))
    patch.setattr(
        tiling, "choose_tiling", lambda m, k, lanes, registers, fused: tiling.Tiling(True, 2 * lanes, 5)
    )


def little_memory(patch: pytest.MonkeyPatch) -> None:
    """A panel at a time, a block of A at a time, and many more tasks."""
    patch.setattr(panel_plan, "PANEL_BYTES", 1)
    patch.setattr(run_shares, "PANEL_BYTES", 1)
    patch.setattr(run_shares, "A_BYTES", 1)
    patch.setattr(panel_plan, "TASKS", 50)
    patch.setattr(sharing, "TASK_FLOPS", 1)


def low_blocks(patch: pytest.MonkeyPatch) -> None:
    """What the direct kernels hold in registers: kernels of the same recipes, written by another engine."""
    low = f"low blocks, {preloaded.version()}"
    patch.setattr(preloaded, "version", lambda: low)
    patch.setattr(pixels, "TALLEST", 2)
    patch.setattr(pixels, "MOST_UNROLLED", 1)
    patch.setattr(channels, "MOST_TAPS", 1)


def narrow_vectors(patch: pytest.MonkeyPatch) -> None:
    """Half as many lanes, half as many registers."""
    if not (Cpu.named("x86-64-v3").runs_here() and host().vector_bytes > 32):
        pytest.skip("this CPU's vectors have no half that is another CPU's whole")
    patch.setattr(jit, "host", lambda: Cpu.named("x86-64-v3"))


CHANGES = [thin, turned, little_memory, low_blocks, narrow_vectors]
CHANGED = [
    pytest.param(
        each,
        change,
        id=f"{each}-{change.__name__}",
        marks=() if (a - b) % len(CHANGES) == 0 else pytest.mark.slow,
    )
    for a, each in enumerate(PASSES)
    for b, change in enumerate(CHANGES)
]
"""In quick runs one to each pass, in turn: each change is made to a fifth of the passes."""


@pytest.mark.parametrize(("each", "change"), CHANGED)
def test_tiles_and_tuning(
    each: Pass, change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = results(each, threads=2)
    with monkeypatch.context() as patch:
        change(patch)
        after = results(each, threads=2)
    # With other constants a way may be open or shut, but never all of them.
    both = before.keys() & after.keys()
    assert both
    same({way: after[way] for way in both}, {way: before[way] for way in both})


def test_another_order_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the sum cut elsewhere the bits are others: these tests could fail."""
    each = next(p for p in PASSES if p.name == "several parts")
    before = results(each)
    monkeypatch.setattr(k_parts, "PART", 100)
    after = results(each)
    way = next(way for way in before if way in after and way[1] == "PanelPlan")
    assert not np.array_equal(before[way], after[way])
    np.testing.assert_allclose(before[way], after[way], rtol=1e-3, atol=1e-4)
