"""`convmat run`, `summary` and `profile` on models made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convmat.errors import NetworkError
from convmat.explain.terminal.feed import Preparation, fit_picture
from convmat.network.graph import Input
from tests.network.made import model, node, normal

Run = Callable[..., Any]

W = normal(4, 3, 3, 3, seed=1)


@pytest.fixture
def conv(tmp_path: Path) -> str:
    """A convolution of an image of any size."""
    path = tmp_path / "conv.onnx"
    path.write_bytes(model([node("Conv", "x w", "y")], {"x": ("n", 3, None, None)}, "y", {"w": W}))
    return str(path)


@pytest.fixture
def sums(tmp_path: Path) -> str:
    """The mean of each colour of an image of 4x6 pixels, as three scores."""
    path = tmp_path / "sums.onnx"
    nodes = [node("Conv", "x w", "s")]
    w = np.zeros((3, 3, 4, 6), np.float32)
    w[range(3), range(3)] = 1 / 24
    path.write_bytes(model(nodes, {"x": (1, 3, 4, 6)}, "s", {"w": w}))
    return str(path)


@pytest.fixture
def two(tmp_path: Path) -> str:
    path = tmp_path / "two.onnx"
    nodes = [node("Relu", "a", "p"), node("Add", "a b", "q")]
    path.write_bytes(model(nodes, {"a": (2, 3), "b": (2, 3)}, "p q"))
    return str(path)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "photo.png"
    Image.new("RGB", (12, 8), (255, 51, 102)).save(path)
    return str(path)


def test_a_picture_and_labels(run: Run, sums: str, photo: str, tmp_path: Path) -> None:
    labels = tmp_path / "names.txt"
    labels.write_text("red\ngreen\nblue\n")
    done = run("run", sums, "--input", photo, "--labels", str(labels), "--top", "2")
    assert done.code == 0
    assert done.out == (
        f"{photo} is scaled from 12x8 to the 6x4 pixels of the input 'x'\n"
        "output  shape    type     least  mean  most\n"
        "s       1x3x1x1  float32     51   136   255\n"
        "\n"
        "the best of s\n"
        "index  score  label\n"
        "0        255    red\n"
        "2        102   blue\n"
    )
    found = run("run", sums, "-i", photo, "--labels", str(labels), "--unit", "--bgr", "--mean", "0,1,0",
                "--std", "1,1,2", "--json").json  # fmt: skip
    top = found["outputs"]["s"]["top"]
    assert [each["label"] for each in top] == ["blue", "red", "green"]
    assert [each["score"] for each in top] == pytest.approx([0.5, 0.4, -0.8])


def test_arrays_in_and_out(run: Run, conv: str, tmp_path: Path) -> None:
    x = normal(2, 3, 5, 6)
    np.save(tmp_path / "x.npy", x.astype(np.float64))
    done = run(
        "run", conv, "--input", str(tmp_path / "x.npy"), "--output", str(tmp_path / "y.npy"), width=200
    )
    assert done.code == 0
    assert done.out.splitlines()[-1] == f"written to {tmp_path / 'y.npy'}"
    assert np.load(tmp_path / "y.npy").shape == (2, 4, 3, 4)


def test_several_inputs_and_outputs(run: Run, two: str, tmp_path: Path) -> None:
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", normal(2, 3, seed=ord(name)))
    files = [f"--input={name}={tmp_path / name}.npy" for name in "ab"]
    assert run("run", two, *files, "--output", str(tmp_path / "y.npz")).code == 0
    assert sorted(np.load(tmp_path / "y.npz").files) == ["p", "q"]
    assert run("run", two, *files, "-o", "y.npy").out == (
        "run: the network has 2 outputs, y.npy is no .npz\n  outputs: p, q\n  write to y.npz\n"
    )
    assert run("run", two, "-i", "a.npy").out == (
        "run: which input a.npy is for is not said\n  inputs: a: float32 2x3, b: float32 2x3\n"
        "  say it, e.g. --input a=a.npy\n"
    )


def test_names_in_capitals(run: Run, two: str, tmp_path: Path) -> None:
    files = []
    for name in "ab":
        path = tmp_path / f"{name}.NPY"
        with path.open("wb") as file:
            np.save(file, normal(2, 3, seed=ord(name)))
        files.append(f"--input={name}={path}")
    assert run("run", two, *files, "--output", str(tmp_path / "Y.NPZ")).code == 0
    with np.load(tmp_path / "Y.NPZ") as found:
        assert sorted(found.files) == ["p", "q"]


def test_random_input_is_said(run: Run, conv: str) -> None:
    done = run("run", conv, "--shape", "x=1x3x6x6")
    assert done.out.startswith("no --input is given: run on random numbers\n")
    assert run("run", conv, "-s", "1,3,6,6", "--json").json["random_input"] is True
    assert run("run", conv).out == (
        "run: the shape of the input 'x' is not known\n  it is declared as x: float32 nx3x?x?\n"
        "  say which, e.g. --shape x=1x3x224x224\n"
    )


def test_summary(run: Run, conv: str) -> None:
    done = run("summary", conv, "--shape", "1x3x10x10")
    assert done.code == 0
    assert "4 x 64 x 27" in done.out
    assert "arena of values between nodes" in done.out
    found = run("summary", conv, "-s", "x=1x3x10x10", "--json").json
    assert found["layers"][0]["product"] == {"m": 4, "n": 64, "k": 27}
    assert found["memory"]["unrolled"] == 27 * 64 * 4
    assert "--shape x=1x3x224x224" in run("summary", conv, "--shape", "n=1").out


def test_profile(run: Run, conv: str) -> None:
    done = run("profile", conv, "--shape", "1x3x10x10", "--seconds", "0.01")
    assert done.out.startswith("no --input is given: measured on random numbers\n")
    assert "GFLOP/s" in done.out
    found = run("profile", conv, "-s", "1x3x10x10", "--seconds", "0", "--json").json
    assert found["layers"][0]["seconds"] > 0


def test_what_is_no_input(run: Run, sums: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}]), allow_pickle=True)
    done = run("run", sums, "-i", str(tmp_path / "x.npy"))
    assert done.code == 1
    assert done.out == (
        f"run: {tmp_path / 'x.npy'} is no array\n  Object arrays cannot be loaded when allow_pickle=False\n"
        "  write it with numpy.save, numbers alone\n"
    )
    assert run("run", sums, "-i", "none.png").out == (
        "run: the picture cannot be read\n  none.png: there is no such file\n"
        "  give the path of a picture, e.g. --input photo.jpg\n"
    )


def test_labels_that_are_not_there(run: Run, sums: str, photo: str, tmp_path: Path) -> None:
    labels = tmp_path / "none.txt"
    assert run("run", sums, "-i", photo, "--labels", str(labels), width=300).out == (
        f"{photo} is scaled from 12x8 to the 6x4 pixels of the input 'x'\n"
        f"run: the labels cannot be read\n  {labels}: No such file or directory\n"
        "  give a text file, one label a line\n"
    )


def test_labels_that_do_not_fit(run: Run, sums: str, photo: str, tmp_path: Path) -> None:
    labels = tmp_path / "names.txt"
    labels.write_text("one\n")
    assert run("run", sums, "-i", photo, "--labels", str(labels)).out == (
        f"{photo} is scaled from 12x8 to the 6x4 pixels of the input 'x'\n"
        f"run: the labels do not fit the outputs\n  {labels}: 1 lines; s has 3 scores\n  give one line for each score\n"
    )


def test_a_model_that_is_none(run: Run, tmp_path: Path) -> None:
    done = run("summary", str(tmp_path / "none.onnx"))
    assert (done.code, done.out.splitlines()[0]) == (1, f"load: {tmp_path / 'none.onnx'} cannot be read")


@pytest.mark.parametrize(
    ("shape", "layout", "made"),
    [
        ((1, 3, 4, 6), "", (1, 3, 4, 6)),
        ((1, 4, 6, 3), "", (1, 4, 6, 3)),
        ((None, None, None, 3), "", (1, 8, 12, 3)),
        ((None, None, 4, 6), "NCHW", (1, 3, 4, 6)),
        ((1, 1, 4, 6), "", (1, 1, 4, 6)),
        ((4, 6, 3), "", (4, 6, 3)),
        (None, "", (1, 3, 8, 12)),
    ],
)
def test_pictures_as_inputs(shape: Any, layout: str, made: tuple[int, ...]) -> None:
    pixels = np.zeros((8, 12, 3), np.uint8)
    x = fit_picture(pixels, Input("x", np.dtype("float32"), shape), Preparation(layout=layout))
    assert (x.shape, x.dtype) == (made, np.dtype("float32"))


@pytest.mark.parametrize(
    ("shape", "how", "said"),
    [
        ((1, 7, 4, 6), Preparation(), "run: a picture has 1 or 3 channels, the network takes 7\n"
         "  x: float32 1x7x4x6, layout NCHW\n  say where the channels are, --layout NCHW or NHWC, or give an array, "
         "--input x.npy"),
        ((1, 8), Preparation(), "run: a picture does not fit the input 'x'\n  x: float32 1x8; layout NCHW\n"
         "  layouts are NCHW, NHWC, CHW, HWC; anything else needs an array, --input x.npy"),
        ((1, 3, 4, 6), Preparation(std=(1, 0, 1)), "run: std does not fit the picture\n  std = 1, 0, 1; 3 channels\n"
         "  give one number or 3, for std none of them 0"),
    ],
)  # fmt: skip
def test_pictures_that_do_not_fit(shape: Any, how: Preparation, said: str) -> None:
    with pytest.raises(NetworkError) as error:
        fit_picture(np.zeros((8, 12, 3), np.uint8), Input("x", np.dtype("float32"), shape), how)
    assert str(error.value) == said


def test_figures_are_json_numbers(run: Run, two: str) -> None:
    text = run("profile", two, "--seconds", "0", "--json").out
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_compile_and_run_what_was_compiled(run: Run, conv: str, tmp_path: Path) -> None:
    path = tmp_path / "conv.convmat"
    said = run("compile", conv, "--shape", "x=1x3x5x5")
    assert said.out == f"written to {path}: {path.stat().st_size:,} bytes\n"
    found = run("compile", conv, "--shape", "x=1x3x5x5", "--json").json
    assert found == {"path": str(path), "bytes": path.stat().st_size}
    x = normal(1, 3, 5, 5)
    np.save(tmp_path / "x.npy", x)
    given = ("--input", str(tmp_path / "x.npy"))
    for word, name in (((conv,), "a"), ((str(path), "--trust"), "b")):
        said = run("run", *word, *given, "--output", str(tmp_path / f"{name}.npy"))
        assert "machine code" not in said.out
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))
    assert run("run", str(path), *given).out.startswith(
        "load: conv.convmat: its machine code is not run: --trust was not given\n  its kernels are compiled here\n"
    )
