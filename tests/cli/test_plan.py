"""`convmat plan`: what is typed becomes the plan that the function makes, and fits a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.geometry import Geometry

Run = Callable[..., Any]


def arrays(plan: convmat.Plan) -> dict[str, list[int]]:
    return {name: list(plan.problem.shape(name)) for name in ("x", "w", "y")}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("1x64x56x56 128x64x3x3 --stride 2 --padding 1", {"stride": 2, "padding": 1}),
        ("1,64,56,56 128,64,3,3 -s 2,1 -p 1,0", {"stride": (2, 1), "padding": (1, 0)}),
        ("1x64x56x56 128x64x3x3 -p 0:1,2:2 -d 2", {"padding": ((0, 1), (2, 2)), "dilation": 2}),
        ("1x64x56x56 128x64x3x3 -p same -s 2", {"padding": "same", "stride": 2}),
        ("1x64x56x56 128x64x3x3 -p -1", {"padding": -1}),
        ("1x64x56x56 64x1x3x3 -g 64 -p 1", {"groups": 64, "padding": 1}),
        ("1x56x56x64 128x64x3x3 --layout NHWC", {"layout": "NHWC"}),
        (
            "1x64x56x56 128x64x3x3 --dtype float64 --direction weight",
            {"dtype": "float64", "direction": "weight"},
        ),
        ("1x64x56x56 128x64x3x3 -p 1 --direction input", {"direction": "input", "padding": 1}),
        ("1x64x56x56 128x64x3x3 --lowering kn2row --once", {"lowering": "kn2row", "reuse_weights": False}),
        ("1x64x56x56 128x64x3x3 --engine blas", {"engine": "blas"}),
        ("1x64x56x56 128x64x3x3 --workspace-limit 2MiB --exact", {"workspace_limit": 2**21, "exact": True}),
        (
            "1x64x56x56 128x64x3x3 --rtol 1e-4 --bias --residual",
            {"rtol": 1e-4, "bias": True, "residual": True},
        ),
        ("1x64x56x56 128x64x3x3 --activation clip:0,6", {"activation": ("clip", 0.0, 6.0)}),
        ("1x64x56x56 128x64x3x3 -p 1 --padding-mode reflect", {"padding": 1, "padding_mode": "reflect"}),
        ("8x1x16000 64x1x400 -s 160", {"stride": 160}),
        ("1x2x5x6x7 4x2x3x3x3", {}),
    ],
)
def test_options_mean_the_keywords(run: Run, typed: str, meant: dict[str, Any]) -> None:
    shapes = [tuple(map(int, word.replace(",", "x").split("x"))) for word in typed.split()[:2]]
    plan = convmat.plan(*shapes, **meant)
    done = run("plan", *typed.split(), "--json")
    assert done.code == 0
    found = done.json
    assert found["arrays"] == arrays(plan)
    assert (found["dtype"], found["workspace"], found["weight_bytes"]) == (
        plan.problem.dtype,
        plan.workspace,
        plan.weight_bytes,
    )
    assert found["flops"] == plan.problem.geometry.flops
    assert [(c["engine"], c["lowering"], c["packing"], c["refusal"]) for c in found["candidates"]] == [
        (c.engine, c.lowering, c.packing.value, c.refusal) for c in plan.candidates
    ]
    chosen = [(c["engine"], c["lowering"]) for c in found["candidates"] if c["chosen"]]
    assert chosen == [(plan.chosen.engine, plan.chosen.lowering)]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_transposed(run: Run, layout: str) -> None:
    g = Geometry.transposed((2, 8, 5, 7), (8, 3, 4, 4), stride=2, padding=1, output_padding=1, groups=2)
    x = "2x8x5x7" if layout == "NCHW" else "2x5x7x8"
    done = run(
        "plan", x, "8x3x4x4", "-s", "2", "-p", "1", "--output-padding", "1", "-g", "2", "--transposed", "--bias",
        "--activation", "relu", "--rtol", "1e-5", "--layout", layout, "--json",
    )  # fmt: skip
    assert done.code == 0
    assert tuple(done.json["geometry"]["y"]) == g.y_shape
    assert done.json["phases"] == 4


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_table_fits(run: Run, width: int) -> None:
    done = run("plan", "1x64x56x56", "128x64x3x3", "--stride", "2", "--padding", "1", width=width)
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= width
    rows = [line for line in done.out.splitlines() if line.startswith("> ")]
    assert len(rows) == 1
    assert "predicted" in done.out
    assert "pointwise: needs a 1x1 filter, got 3x3" in " ".join(done.out.split())


def test_more_room_more_columns(run: Run) -> None:
    wide, narrow = (run("plan", "1x64x56x56", "128x64x3x3", width=width).out for width in (160, 80))
    for head in ("m x n x k", "GFLOP", "moved", "weights", "error"):
        assert head in wide
    assert "m x n x k" not in narrow
    for head in ("workspace", "predicted"):
        assert head in narrow


def test_measured_beside_predicted(run: Run) -> None:
    found = run("plan", "1x4x12x12", "6x4x3x3", "--compare", "--json").json
    for candidate in found["candidates"]:
        measured = candidate["measured"]
        assert (measured is None) == (candidate["refusal"] is not None)
        if measured is not None:
            assert measured["seconds"] > 0
            assert measured["apart"] < 1e-5
    table = run("plan", "1x4x12x12", "6x4x3x3", "--compare", width=160).out
    assert "measured" in table
    assert "allocated" in table


@pytest.mark.parametrize("dtype", ["float16", "complex64", "int8", "float64"])
def test_compare_takes_any_dtype(run: Run, dtype: str) -> None:
    arguments = ("--compare", "--dtype", dtype, "--json")
    done = run(
        "plan", "1x2x6x6", "2x2x3x3", *arguments, *([] if dtype == "complex64" else ["--bias", "--residual"])
    )
    assert done.code == 0
    tolerance = 1e-2 if dtype == "float16" else 1e-5
    assert all(c["measured"]["apart"] < tolerance for c in done.json["candidates"] if c["measured"])


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (
            "1x3xx8 4x3x3x3",
            "convmat: the shape of x is not understood\n  x = '1x3xx8'\n"
            "  whole numbers with an x between them, e.g. 1x64x56x56\n",
        ),
        (
            "1x3x8x8 4x3x3xa",
            "convmat: the shape of w is not understood\n  w = '4x3x3xa'\n"
            "  whole numbers with an x between them, e.g. 128x64x3x3\n",
        ),
        (
            "1x3x8x8 4x3x3x3 -s two",
            "convmat: stride is not understood\n  stride = 'two'\n"
            "  one number, or one per axis with commas between them, e.g. --stride 2,1\n",
        ),
        (
            "1x3x8x8 4x3x3x3 --workspace-limit 3furlongs",
            "convmat: workspace_limit is not understood\n  workspace_limit = '3furlongs'\n"
            "  bytes, with B, KiB, MiB, GiB, kB, MB or GB, e.g. 16MiB\n",
        ),
        (
            "1x3x8x8 4x3x3x3 -p 1:2:3,0",
            "convmat: padding is not understood\n  padding = '1:2:3,0'\n"
            "  a number, one per axis (1,0), before:after per axis (0:1,0:1), valid, same or same_lower\n",
        ),
        (
            "1x3x8x8 4x3x3x3 --activation clip:0,six",
            "convmat: the activation is not understood\n  activation = 'clip:0,six'\n"
            "  a name, and its numbers after a colon, e.g. relu, leaky_relu:0.2 or clip:0,6\n",
        ),
        (
            "1x3x8x8 3x4x3x3 --transposed --padding-mode edge",
            "plan: a transposed convolution pads with zeros alone\n  padding_mode = 'edge'\n"
            "  omit padding_mode\n",
        ),
    ],
)
def test_what_is_not_understood(run: Run, typed: str, sentence: str) -> None:
    done = run("plan", *typed.split())
    assert (done.code, done.results, done.out) == (2, "", sentence)


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("1x3x8x8 4x3x9x3", "plan: the filter is wider than the padded input on axis H"),
        ("1x3x8x8 4x3x3x3 -s 0", "plan: stride is too small"),
        ("1x3x8x8 4x3x3x3 --dtype float8", "plan: dtype is not taken"),
        ("1x3x8x8 4x3x3x3 --layout CHWN", "plan: unknown layout"),
        ("1x3x8x8 3x4x3x3 --transposed --layout CHWN", "plan: unknown layout"),
        ("1x3x8x8 3x4x3x3 --transposed --activation swoosh", "plan: the activation is not understood"),
        ("1x3x8x8 4x3x3x3 --lowering frob", "plan: there is no lowering of that name"),
        ("1x3x8x8 4x3x3x3 --engine steam", "plan: there is no engine of that name"),
        ("1x3x8x8 4x3x3x3 --direction up", "plan: unknown direction"),
        ("1x3x8x8 4x3x3x3 --rtol -1", "plan: rtol must be a positive number"),
        ("1x3x8 4x3x3x3", "plan: x and w must have a batch or filter axis"),
        (f"1x{2**40}x{2**40} 1x{2**40}x3", "geometry: x has too many elements to address"),
    ],
)
def test_what_cannot_be_is_refused(run: Run, typed: str, first: str) -> None:
    done = run("plan", *typed.split(), width=200)
    assert done.code == 2
    assert done.out.startswith(first)
    assert len(done.out.splitlines()) >= 3


def test_threads(run: Run) -> None:
    assert run("plan", "1x3x8x8", "4x3x3x3", "--threads", "1", "--json").json["threads"] == 1
    for wrong in ("0", "-1", "5000", "many"):
        assert run("plan", "1x3x8x8", "4x3x3x3", "--threads", wrong).code == 2


def test_json_has_no_surprises(run: Run) -> None:
    """Nothing that JSON cannot say, for a problem without elements too."""
    for shapes in (("0x3x8x8", "4x3x3x3"), ("1x0x8x8", "4x0x3x3")):
        done = run("plan", *shapes, "--json")
        assert done.code == 0
        json.loads(done.out, parse_constant=pytest.fail)


def test_files_of_numbers_stand_for_shapes(run: Run, tmp_path: Path) -> None:
    x, w = np.arange(16.0).reshape(1, 1, 4, 4), np.array([[[[1.0, -0.5], [2.0, 0.0]]]])
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "w.npy", w)
    names = [str(tmp_path / "x.npy"), str(tmp_path / "w.npy")]
    assert run("draw", *names, str(tmp_path / "layer.svg")).code == 0
    plan = convmat.plan(x.shape, w.shape)
    assert (tmp_path / "layer.svg").read_text() == plan.draw(x=x, w=w)
    assert run("explain", *names, "-o", str(tmp_path / "layer.html")).code == 0
    assert '"given": {"x": [0, 1, 2,' in (tmp_path / "layer.html").read_text()


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", b"no array"])
def test_files_that_are_no_array_are_refused(run: Run, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.npy"
    if content is not None:
        path.write_bytes(content)
    reason = "No such file or directory" if content is None else "no NumPy file of one array of numbers"
    said = run("draw", str(path), "1x1x2x2", str(tmp_path / "layer.svg"))
    assert said.code == 2
    assert said.out == (
        f"convmat: the array x cannot be read\n  {path}: {reason}\n"
        f"  write it with numpy.save({str(path)!r}, x), or give a shape, e.g. 1x3x8x8\n"
    )
    np.save(path, np.ones((1, 1, 3, 3)))
    assert run("draw", str(path), "1x1x2x2", str(tmp_path / "layer.svg")).code == 0
