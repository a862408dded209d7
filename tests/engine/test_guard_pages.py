"""Nothing is read or written outside the arrays: over 500 random geometries with unreadable pages beside them.

And kernels that are wrong on purpose end their process there, so that the right ones mean something.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from convmat.engine.cpu import Cpu, host
from tests.engine.guarded import EXTENTS, GEOMETRIES, SEEDS, draws

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="pages are protected by mprotect, which is POSIX"),
    pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU"),
]
ROOT = Path(__file__).parents[2]
ENDED = (-signal.SIGSEGV, -signal.SIGBUS)


def guarded(*arguments: object) -> tuple[int, list[str], str]:
    """Exit code, the lines printed, and the end of what went to standard error."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.engine.guarded", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=1200,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    return ran.returncode, ran.stdout.splitlines(), ran.stderr[-3000:]


def hold(seed: int, geometries: int, extents: int, target: str) -> None:
    code, lines, trouble = guarded(seed, geometries, extents, target)
    last = lines[-1] if lines else "nothing was printed"
    assert code not in ENDED, f"touched memory outside its arrays, at\n{last}"
    assert code == 0, f"{last}\n{trouble}"
    assert re.fullmatch(rf"done: {geometries} geometries, \d+ runs", last)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_outside_the_arrays(seed: int) -> None:
    hold(seed, GEOMETRIES, EXTENTS, "native")


def test_results_shorter_than_the_stride_are_among_them() -> None:
    """Phases without outputs, of input gradients and of transposed convolutions."""
    short = {"input": 0, "forward": 0}
    for seed in SEEDS:
        for drawn, _ in itertools.islice(draws(seed, EXTENTS), GEOMETRIES):
            g, direction = drawn.geometry, drawn.kind.direction
            short["input"] += direction == "input" and any(s > I for I, s in zip(g.I, g.s, strict=True))
            short["forward"] += any(e > P for P, e in zip(g.P, g.e, strict=True))
    assert min(short.values()) > 20, short


@pytest.mark.parametrize("target", ["x86-64-v3", "x86-64-v4"])
def test_nor_on_lesser_cpus(target: str) -> None:
    if not Cpu.named(target).runs_here():
        pytest.skip(f"{target} does not run here")
    hold(50, 40, 8, target)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["native", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("seed", range(100, 104))
def test_nothing_outside_the_arrays_of_many_more(seed: int, target: str) -> None:
    if target != "native" and not Cpu.named(target).runs_here():
        pytest.skip(f"{target} does not run here")
    hold(seed, 500, 3, target)


EVERY = [
    f"{operand}{by} {whose}" for operand in "xwy" for by in ("+1", "-1") for whose in ("panel", "direct")
]
EVERY += ["limit panel", "mask panel"]
QUICK = ("x+1 panel", "w+1 panel", "y-1 panel", "limit panel", "mask panel", "x-1 direct")


@pytest.mark.parametrize(
    "fault", [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in EVERY]
)
def test_a_kernel_that_reaches_one_element_too_far_ends_there(fault: str) -> None:
    code, lines, trouble = guarded("fault", fault)
    assert lines, trouble
    assert lines[-1].startswith(fault), lines[-1]
    assert code in ENDED, trouble
