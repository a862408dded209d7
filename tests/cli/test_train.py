"""`convmat train`: from a data set to a network that others run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import convmat

Run = Callable[..., Any]


def examples(path: Path) -> str:
    """Pictures with a bright half: which one is the class."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 60)
    x = rng.random((60, 1, 16, 16), np.float32)
    x[target == 1, :, :8] += 1
    x[target == 0, :, 8:] += 1
    np.savez(path, x=x, y=target)
    return str(path)


def test_it_learns_and_goes_on(run: Run, tmp_path: Path) -> None:
    import onnxruntime

    data, out = examples(tmp_path / "halves.npz"), tmp_path / "net.onnx"
    first = run(
        "train", "lenet", "--data", data, "--epochs", "2", "--batch", "8", "--out", str(out), "--json"
    )
    assert first.code == 0, first.out
    made = json.loads(first.out)
    assert made["examples"] == 48
    assert made["epochs"][-1]["test_accuracy"] > 0.9
    session = onnxruntime.InferenceSession(str(out))
    x = np.load(data)["x"][:4]
    scores = session.run(None, {"x": x})[0]
    assert scores.argmax(1).tolist() == np.load(data)["y"][:4].tolist()
    keep = str(tmp_path / "here.safetensors")
    words = ("--data", data, "--batch", "8", "--rate", "0.01", "--freeze", "features.*", "--checkpoint", keep)
    assert run("train", str(out), *words, "--epochs", "1").code == 0
    assert "epoch   2" in run("train", str(out), *words, "--epochs", "2", "--resume").out
    done = run("train", str(out), *words, "--epochs", "2", "--resume")
    assert (done.code, "epoch " in done.out) == (0, False)


def test_names_in_capitals(run: Run, tmp_path: Path) -> None:
    data = Path(examples(tmp_path / "halves.npz")).rename(tmp_path / "HALVES.NPZ")
    for name in ("A.ONNX", "A.CONVMAT"):
        words = ("--data", str(data), "--epochs", "1", "--out", str(tmp_path / name))
        assert run("train", "lenet", *words).code == 0
        assert convmat.load(tmp_path / name)(np.zeros((2, 1, 16, 16), np.float32)).shape == (2, 2)


def test_what_cannot_be_trained(run: Run, tmp_path: Path) -> None:
    data = examples(tmp_path / "halves.npz")
    done = run("train", "lenet", "--data", data, "--optimiser", "adagrad")
    assert (done.code, "one of sgd, adam, adamw" in done.out) == (1, True)
    done = run("train", "lenet", "--data", data, "--freeze", "head.*")
    assert "a pattern names no parameter" in done.out
    done = run("train", "lenet", "--data", "nowhere")
    assert "one of 'mnist', 'fashion-mnist', 'digits'" in done.out
    done = run("train", "lenet", "--data", data, "--resume")
    assert "add --checkpoint FILE" in done.out
    done = run("train", "lenett", "--data", data)
    assert "train: there is no network of that name\n  lenett\n  one of lenet, " in done.out
    keep = str(tmp_path / "here.safetensors")
    done = run("train", "lenet", "--data", data, "--epochs", "1", "--resume", "--checkpoint", keep)
    assert (done.code, f"{keep} is not there yet: from the beginning" in done.out) == (0, True)
    done = run("train", "resnet20", "--data", data, "--resume", "--checkpoint", keep)
    of = re.search(r"  (\d+) of (\d+) arrays differ", done.out)
    assert of is not None
    assert int(of[1]) <= int(of[2])


def test_what_cannot_be_written_is_said_before_anything_is_trained(run: Run, tmp_path: Path) -> None:
    data, away = examples(tmp_path / "halves.npz"), tmp_path / "away"
    for option in ("--out", "--checkpoint", "--history"):
        done = run("train", "lenet", "--data", data, "--epochs", "1", option, str(away / "a.onnx"))
        assert (done.code, "epoch " in done.out) == (2, False)
        assert f"train: cannot write {away / 'a.onnx'}\n  No such file or directory\n" in done.out
    done = run("train", "lenet", "--data", data, "--epochs", "1", "--out", str(tmp_path / "a.txt"))
    assert (done.code, "epoch " in done.out) == (1, False)
    assert "train: the trained network has no format\n" in done.out
    assert "e.g. a.onnx, or .convmat" in done.out
    assert not list(tmp_path.glob("*.onnx"))


def test_targets_that_are_no_classes(run: Run, tmp_path: Path) -> None:
    x = np.zeros((4, 1, 16, 16), np.float32)
    for y, what in (
        (np.array(list("abcd")), "<U1[3]"),
        (np.arange(4) / 2, "float64[3], 0.0 the least"),
        (np.arange(4) - 1, "int64[3], -1 the least"),
    ):
        np.savez(tmp_path / "a.npz", x=x, y=y)
        done = run("train", "lenet", "--data", str(tmp_path / "a.npz"))
        assert done.code == 1
        assert done.out.strip() == (
            f"train: the targets are no classes\n  {what}\n  whole numbers from 0 on are needed, one for each example"
        )
