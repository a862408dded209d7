"""Examples for quantising, from a folder or an archive: what is said where they do not fit, and that the fix works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convmat import NetworkError
from convmat.explain.terminal.examples import BATCH, batches
from convmat.explain.terminal.feed import Preparation
from convmat.network.graph import Input

X = Input("x", np.dtype(np.float32), ("n", 3))
Y = Input("y", np.dtype(np.float32), ("n", 2))
FOUR = Input("x", np.dtype(np.float32), (4, 3))


def read(path: Path, *inputs: Input) -> list[dict[str, Any]]:
    return batches(path, inputs, Preparation(), 100)


def said(path: Path, *inputs: Input) -> str:
    with pytest.raises(NetworkError) as error:
        read(path, *inputs)
    return str(error.value)


def test_a_folder_for_two_inputs(tmp_path: Path) -> None:
    assert said(tmp_path, X, Y) == (
        "quantize: a folder is for networks with one input\n  inputs: x: float32 nx3, y: float32 nx2\n"
        "  give a .npz with an array for each, by their names"
    )
    np.savez(tmp_path / "both.npz", x=np.ones((9, 3)), y=np.zeros((9, 2)))
    found = read(tmp_path / "both.npz", X, Y)
    assert [{name: each.shape for name, each in batch.items()} for batch in found] == [
        {"x": (BATCH, 3), "y": (BATCH, 2)},
        {"x": (1, 3), "y": (1, 2)},
    ]


def test_a_folder_without_examples(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    assert said(tmp_path, X).split("\n")[::2] == [
        f"quantize: there are no examples in {tmp_path}", "  give a folder of pictures or of .npy files"
    ]  # fmt: skip
    np.save(tmp_path / "one.npy", np.ones((1, 3), np.float32))
    assert len(read(tmp_path, X)) == 1


def test_an_archive_of_other_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((2, 3)), z=np.ones((2, 2)))
    assert said(tmp_path / "a.npz", X) == (
        f"quantize: the arrays of {tmp_path}/a.npz are not the inputs of the network\n"
        "  arrays: 'x', 'z';  inputs: x: float32 nx3\n  name them so: numpy.savez(path, x=examples)"
    )
    np.savez(tmp_path / "a.npz", x=np.ones((2, 3)))
    assert len(read(tmp_path / "a.npz", X)) == 1


def test_as_many_of_each(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((2, 3)), y=np.ones((3, 2)))
    assert said(tmp_path / "a.npz", X, Y) == (
        f"quantize: the arrays of {tmp_path}/a.npz have different numbers of examples\n"
        "  x (2, 3), y (3, 2)\n  the first axis is theirs"
    )


def test_fewer_than_a_batch(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((3, 3)))
    assert said(tmp_path / "a.npz", FOUR) == (
        f"quantize: {tmp_path}/a.npz has fewer examples than the network takes at once\n"
        "  3, and 4 are declared\n  give 4 or more, or say --shape with another batch"
    )
    np.savez(tmp_path / "a.npz", x=np.ones((4, 3)))
    assert len(read(tmp_path / "a.npz", FOUR)) == 1


def test_what_is_no_archive_of_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}], object))
    assert said(tmp_path / "a.npz", X) == (
        f"quantize: {tmp_path}/a.npz cannot be read\n"
        "  Object arrays cannot be loaded when allow_pickle=False\n  write it with numpy.savez, numbers alone"
    )
