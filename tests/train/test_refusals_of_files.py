"""Data and checkpoints that cannot be read, and what a trainer does not take: whole texts, and the call made right."""

from __future__ import annotations

import io
import json
import signal
import zipfile
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
    first, second, third = said(data.from_npz, path).splitlines()
    assert first == f"train: {path} cannot be read"
    assert second.strip()
    assert third == "  write it with numpy.savez, numbers alone"
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


def test_a_checkpoint_with_other_words(tmp_path: Path) -> None:
    """Steps that are no numbers and the like: named, and nothing has changed."""
    path, trainer = tmp_path / "a.safetensors", made()
    trainer.save(path)
    arrays, words = safetensors.read_safetensors(path)
    here = json.loads(words["convmat"])
    shifted = {name: array + 1 for name, array in arrays.items()}
    odd = {
        "it has no 'steps'": {name: each for name, each in here.items() if name != "steps"},
        "its epoch is -1": here | {"epoch": -1},
        "its seed is None": here | {"seed": None},
        "its batch is 0.5": here | {"position": {"batch": 0.5}},
        "its loss is 'a'": here | {"position": {"loss": "a"}},
    }
    before = {name: array.copy() for name, array in trainer.held.items()}
    for what, wrong in odd.items():
        safetensors.write_safetensors(path, shifted, {"convmat": json.dumps(wrong)})
        assert said(trainer.resume, path) == (
            f"train: {path} is no checkpoint, or not a whole one\n  {what}\n  take the one before it"
        )
    for text in ("{", "[]", "[" * 100_000):
        safetensors.write_safetensors(path, shifted, {"convmat": text})
        assert said(trainer.resume, path).startswith(f"train: {path} is no checkpoint, or not a whole one\n")
    np.testing.assert_equal(dict(trainer.held), before)
    safetensors.write_safetensors(path, shifted, words)
    trainer.resume(path)
    np.testing.assert_equal(dict(trainer.held), shifted)


def test_headers_that_are_hostile(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for text in (b"[" * 100_000, b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[8,4]}}'):
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(16))
        assert said(safetensors.read_safetensors, path).startswith(
            f"train: {path} is no checkpoint, or not a whole one\n"
        )


def test_an_epoch_goes_on_with_the_batches_it_was_begun_with(tmp_path: Path) -> None:
    path, x, y = tmp_path / "a.safetensors", np.ones((8, 1, 4, 4), np.float32), np.arange(8) % 3

    def stop(here: train.Progress) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        made().fit(train.Examples(x, y), batch=2, checkpoint=path, progress=stop)
    trainer = made()
    trainer.resume(path)
    assert said(trainer.fit, train.Examples(x, y), batch=3) == (
        "train: the epoch was begun with other batches\n  1 of 2 of 8 examples are done; now they are of 3 of 8\n"
        "  go on with the same examples and batch=2"
    )
    assert trainer.fit(train.Examples(x, y), batch=2)[0].steps == 4


def test_archives_that_are_torn(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((4, 1, 2, 2), np.float32), y=np.arange(4))
    whole = path.read_bytes()
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    npy = array.getvalue()
    huge = npy.replace(b"(3,), }" + b" " * 13, b"(10000000000000,), }")
    assert huge != npy
    packed = []
    for text in (huge, b"text"):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("x.npy" if text is huge else "x", text)
        packed.append(path.read_bytes())
    torn = [
        whole[: len(whole) // 2],
        whole[:-1],
        whole.replace(b"PK\x03\x04", b"PK\x03\x05"),
        b"",
        npy,
        *packed,
    ]
    for data_ in torn:
        path.write_bytes(data_)
        first, second, third = said(data.from_npz, path).splitlines()
        assert (first, third) == (
            f"train: {path} cannot be read",
            "  write it with numpy.savez, numbers alone",
        )
        assert second.strip()
    path.write_bytes(whole)
    assert len(data.from_npz(path).train) == 3


def test_shares_and_sizes(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 1, 2, 2), np.float32), y=np.arange(4))
    assert said(data.from_npz, tmp_path / "a.npz", share=1.0) == (
        "train: share is how much of the examples is judged by\n  share = 1.0\n"
        "  a number from 0 to below 1 is needed, e.g. share=0.2"
    )
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "cat" / "1.png")
    assert said(data.from_folder, tmp_path, "ab") == (
        "train: size is the height and width of pictures\n  size = 'ab'\n  e.g. size=(64, 64)"
    )
    assert data.from_folder(tmp_path, size=(64, 32)).train.x.shape == (1, 3, 64, 32)
