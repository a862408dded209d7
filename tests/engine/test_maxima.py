"""Maxima of windows by the direct kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convmat.engine.cpu import host
from convmat.geometry import Geometry
from convmat.planner.maxima import maxima
from tests.engine.test_direct import runs_here

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not host().fma or os.name != "posix", reason="the jit makes no code here")


@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
def test_random_geometries_between_unreadable_pages(target: str) -> None:
    runs_here(target)
    ran = subprocess.run(
        [sys.executable, "-m", "tests.engine.maxima", "0", "10", "8", target],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=False,
    )  # fmt: skip
    last = ran.stdout.splitlines()[-1] if ran.stdout else "nothing was printed"
    assert ran.returncode == 0, f"{last}\n{ran.stderr[-2000:]}"
    assert last == "done: 80 geometries"


def test_other_types_are_refused() -> None:
    g = Geometry.of((1, 2, 8), (2, 1, 2), groups=2)
    assert maxima(g, "float16", 1) == "compares float32, float64 and 8-bit integers, got float16"


def test_an_output_over_the_input_and_an_input_of_any_strides() -> None:
    g = Geometry.of((1, 1, 4, 4), (1, 1, 1, 1))
    fill = maxima(g, "float32", 1)
    assert callable(fill)
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    y = np.empty_like(x)
    fill(x.transpose(0, 1, 3, 2), y)
    assert np.array_equal(y[0, 0], x[0, 0].T)
    fill(y, y)
    assert np.array_equal(y[0, 0], x[0, 0].T)
