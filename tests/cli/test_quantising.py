"""`convmat quantize`: examples from folders and archives, the file it writes, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import convmat
from tests.network.made import model, node, normal

Run = Callable[..., Any]


@pytest.fixture
def conv(tmp_path: Path) -> str:
    path = tmp_path / "conv.onnx"
    nodes = [node("Conv", "x w", "a"), node("Relu", "a", "y")]
    path.write_bytes(model(nodes, {"x": ("n", 3, 6, 6)}, "y", {"w": normal(4, 3, 3, 3, seed=1)}))
    return str(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos" / "some"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for n in range(3):
        Image.fromarray(rng.integers(0, 256, (8, 9, 3)).astype(np.uint8)).save(folder / f"{n}.png")
    np.save(folder / "x.npy", normal(1, 3, 6, 6))
    (folder / "notes.txt").write_text("no picture")
    return folder.parent


FAST = ("--seconds", "0", "--no-keep-quicker")


def test_a_folder_of_pictures(run: Run, conv: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    done = run(
        "quantize", conv, "--data", str(photos), "-o", str(out), "--mean", "127.5", "--std", "127.5", *FAST
    )
    assert done.code == 0, done.out
    assert "1 of 1 layers in 8 bits; outputs" in done.out
    assert f"written to {out}: {out.stat().st_size:,} bytes" in done.out
    assert "on 4 examples" in done.out
    x = normal(2, 3, 6, 6)
    wanted = convmat.load(conv)(x)
    assert np.linalg.norm(convmat.load(out)(x) - wanted) < 0.2 * np.linalg.norm(wanted)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["conv.onnx", "photos", "small.onnx"]


def test_an_archive_of_arrays(run: Run, conv: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", anything=normal(20, 3, 6, 6).astype(np.float64))
    words = ("--data", str(tmp_path / "x.npz"), "-o", str(tmp_path / "small.onnx"), "--json", *FAST)
    found = run("quantize", conv, *words).json
    assert (found["examples"], found["measure"], len(found["layers"])) == (20, "distance", 1)
    refused = run("quantize", conv, *words)
    assert (refused.code, "is there already" in refused.out) == (2, True)
    assert run("quantize", conv, *words, "--overwrite", "--examples", "5").json["examples"] == 5


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("nothing", "nothing is not there"),
        ("empty", "there are no examples in"),
        ("conv.onnx", "is no .npz and no folder"),
        ("bad.npz", "cannot be read"),
        ("two.npz", "the arrays of"),
        ("broken", "is no example"),
    ],
)
def test_bad_data(run: Run, conv: str, tmp_path: Path, data: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "x.png").write_bytes(b"no picture")
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    np.savez(tmp_path / "two.npz", a=np.ones(3), b=np.ones(3))
    before = sorted(tmp_path.iterdir())
    done = run(
        "quantize", conv, "--data", str(tmp_path / data), "-o", str(tmp_path / "small.onnx"), *FAST, width=200
    )
    assert done.code == 1
    assert said in done.out
    assert sorted(tmp_path.iterdir()) == before


def test_places_that_cannot_be_written(run: Run, conv: str, photos: Path, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "no" / "such" / "place.onnx"):
        done = run("quantize", conv, "--data", str(photos), "-o", str(place), *FAST)
        assert done.code == 2
        assert "quantize: cannot write" in done.out


def test_the_model_itself_is_replaced_on_request_alone(run: Run, conv: str, photos: Path) -> None:
    before, words = Path(conv).read_bytes(), ("quantize", conv, "--data", str(photos), "-o", conv, *FAST)
    assert run(*words).code == 2
    assert Path(conv).read_bytes() == before
    done = run(*words, "--overwrite", width=200)
    assert f"{Path(conv).stat().st_size:,} bytes, {len(before):,} before" in done.out


def test_what_stops_it_leaves_nothing_behind(
    run: Run, conv: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(convmat.Network, "to_onnx", interrupted)
    before = sorted(tmp_path.iterdir())
    done = run("quantize", conv, "--data", str(photos), "-o", str(tmp_path / "small.onnx"), *FAST)
    assert done.code == 130
    assert sorted(tmp_path.iterdir()) == before
