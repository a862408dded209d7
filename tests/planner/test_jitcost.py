"""Predictions of the jit engine, by machines that are made up."""

from __future__ import annotations

import os
from typing import Any

import pytest

import convmat
from convmat.engine import JitProgram, Peaks, host
from convmat.geometry import Geometry
from convmat.lowering import find_lowering
from convmat.planner import nominal
from convmat.planner.candidates import make_program
from convmat.planner.jitcost import WEIGHTS_SHARE, jit_cost
from convmat.problem import Problem
from convmat.product import Packing

pytestmark = pytest.mark.skipif(not host().fma or os.name != "posix", reason="the jit makes no code here")


@pytest.mark.parametrize("share", [0.5, 4.0])
def test_weights_that_stay_in_the_second_cache_come_from_beyond_it_once(share: float) -> None:
    """Larger ones are read anew by each block: a third cache as slow as a disk shows it."""
    channels = int((share * WEIGHTS_SHARE * host().l2 / 4) ** 0.5) // 32 * 32
    shapes = (16, channels, 6, 6), (channels, channels, 1, 1)
    problem = convmat.plan(*shapes, lowering="pointwise").problem
    program = make_program(problem, find_lowering("pointwise"), Packing.PANEL, "jit")
    assert isinstance(program, JitProgram)
    (effort,) = program.efforts
    rate = 1e6
    peaks = Peaks(problem.threads, lambda name: rate if name == "l3_bandwidth" else 1e15)
    seconds = jit_cost(problem, program, 0, peaks).seconds
    anew = effort.reread / rate
    assert seconds < 0.8 * anew if share < 1 else seconds >= anew


@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        # y is written amid other phases', by NumPy an element at a time
        ((1, 24, 120, 160), (24, 24, 2, 2), {"stride": 2, "direction": "input"}),
        # x and y come from beyond the second cache, and BLAS waits for both
        ((1, 24, 128, 128), (24, 24, 1, 1), {}),
        ((1, 24, 120, 160), (10, 24, 1, 1), {}),
    ],
)
def test_a_blas_is_not_thought_quicker_than_its_memory(x: Any, w: Any, options: dict[str, Any]) -> None:
    plan = convmat.plan(x, w, deterministic=True, **options)
    assert plan.chosen.engine == "jit"


def test_no_engine_moves_large_images_quicker_than_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow that seemed, beside what else ran when it was measured."""
    monkeypatch.setattr(nominal, "MEMORY", 2e9)
    plan = convmat.plan((1, 1, 8192, 8192), (16, 1, 3, 3), padding=1, deterministic=True)
    costs = [each.cost for each in plan.decision.candidates if each.cost is not None]
    assert min(each.seconds for each in costs) >= (1.5 * 16 + 1) * 8192 * 8192 * 4 / 2e9
    assert plan.chosen.engine == "jit"


def test_planes_of_their_own_cost_time_beside_their_arithmetic() -> None:
    """960 planes of 7x7 take longer than 15 of 56x56, of which each vector is whole."""
    with convmat.threads(1):
        small, large = (
            convmat.plan(
                (1, C, size, size), (C, 1, 3, 3), padding=1, groups=C, deterministic=True
            ).chosen.cost
            for C, size in ((960, 7), (15, 56))
        )
    assert small is not None
    assert large is not None
    assert small.seconds > large.seconds + 900 * 10e-9


@pytest.mark.parametrize("width", [180, 19])
def test_what_strides_pass_over_is_counted(width: int) -> None:
    """The farther apart, the more a vector of a panel takes; lines that do not follow each other have their own."""
    seconds, packed = [], []
    for stride in (1, 2, 3, 4, 5):
        x = (1, 8, 62, width // 3 * stride + 1)
        plan = convmat.plan(
            x, (6, 8, 3, 1), stride=(1, stride), lowering="im2col", engine="jit", deterministic=True
        )
        assert isinstance(plan.program, JitProgram)
        packing = next(c for c in plan.candidates if c.way == "jit: im2col, a panel at a time")
        assert packing.cost is not None
        seconds.append(packing.cost.seconds)
        panel = make_program(plan.problem, find_lowering("im2col"), Packing.PANEL, "jit")
        assert isinstance(panel, JitProgram)
        packed.append(sum(each.packed + each.fused_packed for each in panel.efforts))
    assert seconds == sorted(set(seconds))
    assert packed[1:] == packed[1:2] * 4
    assert packed[2] > packed[0] * (1 if width == 180 else 1.1)


def panel_cost(*shapes: tuple[int, ...], **options: Any) -> float:
    """Predicted seconds of im2col, a panel at a time, by the jit."""
    plan = convmat.plan(*shapes, lowering="im2col", engine="jit", deterministic=True, **options)
    candidate = next(c for c in plan.candidates if c.way == "jit: im2col, a panel at a time")
    assert candidate.cost is not None
    return candidate.cost.seconds


def test_what_lies_apart_is_counted_along_the_lanes() -> None:
    """Lanes of a weight gradient lie along y: its stride passes elements over, the dilation of its taps none."""
    near, far = (
        panel_cost((2, 64, 35, 30 + 2 * d), (64, 64, 3, 3), dilation=(1, d), direction="weight")
        for d in (1, 5)
    )
    assert far < 1.35 * near  # 79 thousand vectors are copied instead of 51, each as it lies
    strided = [
        panel_cost((1, 64, 9 * s + 1, 19 * s + 1), (64, 64, 1, 1), stride=s, direction="weight")
        for s in (1, 2, 4)
    ]
    assert strided == sorted(set(strided))


def test_transposed_patches_cost_less_than_elements_by_themselves() -> None:
    """A patch as wide as a vector is transposed; of a narrower one each element is read."""
    wide, narrow = (panel_cost((1, 3, 224, 224), (64, 3, 16, f), stride=16) for f in (16, 15))
    assert wide < narrow


def test_phases_wait_for_what_all_of_them_read() -> None:
    """Four products of one pixel's taps each go through all of x; those of groups and images have parts of it."""
    rows = host().l2 // (24 * 160 * 4) + 1
    y = (1, 1, 2 * rows, 320)
    transposed = Problem.of(Geometry.of(y, (24, 1, 2, 2), stride=2), threads=1).grad_input()
    grouped = Problem.of(Geometry.of((4, 24, rows, 160), (24, 6, 1, 1), groups=4), threads=1)
    rate, taken = 1e6, []
    peaks = Peaks(1, lambda name: rate if name in ("l3_bandwidth", "memory_bandwidth") else 1e15)
    for problem in (transposed, grouped):
        program = make_program(problem, find_lowering("pointwise"), Packing.PANEL, "jit")
        assert isinstance(program, JitProgram)
        taken.append(jit_cost(problem, program, 0, peaks).seconds * rate / (24 * rows * 160 * 4))
    assert taken[0] >= 4
    assert 4 <= taken[1] < 12  # x of four images, and y, written and read


def test_elements_that_are_gathered_are_counted() -> None:
    """Lines of two outputs three apart, which windows leave: each is read by itself, and not so those two apart."""
    counted = []
    for stride in (2, 3):
        width = 3 + stride
        g = Geometry.of((1, 4, 8, width), (6, 4, 3, 3), stride=(1, stride), padding=(1, 0))
        program = make_program(Problem.of(g, threads=1), find_lowering("im2col"), Packing.NOTHING, "jit")
        assert isinstance(program, JitProgram)
        counted.append(program.efforts[0].fma)
    assert counted[1] > 1.3 * counted[0]
