"""Refusals that belong to no other file: results that do not fit, streams, memory. Whole texts, the call made right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.engine.ir.emitter import Module
from convmat.engine.ir.instructions import i64
from convmat.engine.runtime.team import Team
from convmat.errors import EngineError, GeometryError, PlanError
from convmat.geometry import Geometry
from convmat.planner import arrays
from convmat.whole_files import replace_when_whole

X, W = np.ones((1, 2, 6, 6), np.float32), np.ones((3, 2, 3, 3), np.float32)


def said(kind: type[Exception], call: Any) -> str:
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


def test_out_of_what_is_missing() -> None:
    holes = X.copy()
    holes[0, 0, 2, 2] = np.nan
    assert said(
        GeometryError, lambda: convmat.conv(holes, W, missing="nan", out=np.empty(3, np.float32))
    ) == (
        "conv: out does not fit the result\n  out: (3,), expected (1, 3, 4, 4) of float32\n"
        "  give an array of that shape and type"
    )
    out = np.empty((1, 3, 4, 4), np.float32)
    assert convmat.conv(holes, W, missing="nan", out=out) is out


def test_streams_of_plans_that_look_ahead() -> None:
    plan = convmat.plan((1, 2, 9), (3, 2, 3), padding=1, padding_mode="edge")
    w, g = np.ones((3, 2, 3), np.float32), plan.problem.geometry
    assert said(PlanError, lambda: convmat.Stream(plan, w)) == (
        f"stream: the plan has borders other than zeros, which lie at the end\n  {g}\n  plan without, by convmat.plan"
    )
    assert convmat.Stream(convmat.plan((1, 2, 9), (3, 2, 3), padding=1), w).plan.problem.geometry.P == (9,)


def test_no_memory_for_a_result() -> None:
    assert said(
        EngineError, lambda: arrays.allocate("conv", (1 << 40, 1 << 20), np.dtype(np.float32), "F")
    ) == (
        "conv: no memory for the result\n"
        f"  {1 << 40}x{1 << 20} elements of float32 take {1 << 62:,} bytes\n"
        "  take a smaller batch, or parts of the image"
    )


def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    folder = tmp_path / "y.npy"
    folder.mkdir()
    with pytest.raises(PlanError) as error, replace_when_whole(folder, "draw"):
        pass
    first, second = str(error.value).splitlines()[:2]
    assert (first, second) == (f"draw: cannot write {folder}", "  it is a folder")


def test_fields_of_what_is_frozen() -> None:
    g: Any = Geometry.of((1, 2, 6, 6), (3, 2, 3, 3))

    def assign() -> None:
        g.B = 2

    def delete() -> None:
        del g.B

    assert said(AttributeError, assign) == "cannot assign to field 'B'"
    assert said(AttributeError, delete) == "cannot delete field 'B'"


def test_values_of_kernels_are_no_truths() -> None:
    fn = Module().function("f", {"a": i64})
    (a,) = fn.arguments
    assert said(TypeError, lambda: bool(a)) == (
        f"{a} is known when the code runs, not when it is written: use if_ or select"
    )


def test_a_library_that_is_no_openmp() -> None:
    libc = next(Path("/lib").glob("*-linux-gnu/libc.so.6"), None)
    if libc is None:
        pytest.skip("no libc.so.6 here")
    assert said(OSError, lambda: Team(libc)) == f"{libc} has no GOMP_parallel"
