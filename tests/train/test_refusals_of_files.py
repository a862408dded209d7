"""Data and checkpoints that cannot be read, and what a trainer does not take: whole texts, and the call made right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convmat import nn, train
from convmat.errors import NetworkError
from convmat.train import data, safetensors


def made() -> train.Trainer:
    trainer: train.Trainer = nn.build(nn.Sequential(nn.Flatten(), nn.Linear(3)), (1, 4, 4)).trainer()
    return trainer


def said(call: Any, *given: Any, **words: Any) -> str:
    with pytest.raises(NetworkError) as error:
        call(*given, **words)
    return str(error.value)


def test_examples_in_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_text("no archive")
    first, second = said(data.from_npz, path).splitlines()
    assert first == f"train: cannot read {path}"
    assert second.strip()
    np.savez(path, images=np.zeros((4, 1, 2, 2)))
    assert said(data.from_npz, path) == (
        f"train: {path} has no x and y\n  it has 'images'\n"
        "  np.savez(path, x=.., y=..), with x_test and y_test if there are such"
    )
    np.savez(path, x=np.zeros((4, 1, 2, 2), np.float32), y=np.arange(4))
    assert len(data.from_npz(path).train) == 3


def test_pictures_in_folders(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    assert said(data.from_folder, folder) == (
        f"train: {folder} has no classes\n  a folder is needed with a subfolder of pictures for each, "
        "e.g. photos/cat/1.jpg"
    )
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(folder / name / "1.jpg")
    assert data.from_folder(folder, (8, 8)).train.x.shape[1:] == (3, 8, 8)


def test_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    assert (
        said(safetensors.read_safetensors, path) == f"train: cannot read {path}\n  No such file or directory"
    )

    def written(header: Any, behind: bytes = b"") -> str:
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + behind)
        return said(safetensors.read_safetensors, path)

    path.write_bytes(b"\xff" * 20)
    no_checkpoint = f"train: {path} is no checkpoint, or not a whole one\n"
    assert said(safetensors.read_safetensors, path) == (
        f"{no_checkpoint}  its header is longer than the file\n  take the one before it"
    )
    array = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}
    assert written({"w": array}, bytes(8)) == (
        f"{no_checkpoint}  the array 'w' does not lie in it\n  take the one before it"
    )
    trainer = made()
    trainer.save(path)
    np.testing.assert_equal(safetensors.read_safetensors(path)[0], dict(trainer.held))


def test_a_checkpoint_of_another_trainer(tmp_path: Path) -> None:
    path, trainer = tmp_path / "a.safetensors", made()
    other = nn.build(nn.Sequential(nn.Flatten(), nn.Linear(5)), (1, 4, 4)).trainer()
    other.save(path)
    first, second, third = said(trainer.resume, path).splitlines()
    assert first == f"train: {path} is of another trainer"
    assert second.endswith(" first")
    assert third == "  make the trainer with the network, the optimiser and the frozen names of that one"
    other.resume(path)


def test_targets_and_limits() -> None:
    x, y = np.ones((2, 1, 4, 4), np.float32), np.array([0, 1])
    assert said(made().step, x) == "train: the loss takes targets\n  target = None\n  trainer.step(x, target)"
    assert made().step(x, y) > 0
    net = nn.build(nn.Sequential(nn.Flatten(), nn.Linear(3)), (1, 4, 4))
    assert said(net.trainer, memory_limit="1 GB") == (
        "train: memory_limit is a number of bytes\n  memory_limit = '1 GB'\n  e.g. memory_limit=2**30, or None"
    )
    net.trainer(memory_limit=2**30)
    net.trainer(memory_limit=None)
