"""Predictions of the jit engine, by machines that are made up."""

from __future__ import annotations

import os

import pytest

import convmat
from convmat.engine import JitProgram, Peaks, host
from convmat.lowering import find_lowering
from convmat.planner.candidates import make_program
from convmat.planner.jitcost import WEIGHTS_SHARE, jit_cost
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
