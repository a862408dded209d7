"""The command line on files larger than memory: networks in tiles, and the workers of a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import convmat
from convmat.chunks.files import stream
from convmat.cli.app import app
from tests.chunks.networks import unet
from tests.chunks.test_tiles import image


def run(*arguments: str) -> str:
    """What `convmat` with these arguments printed."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A folder with a network, an image, a volume and its filter."""
    unet(squeeze=True).to_onnx(tmp_path / "gated.onnx")
    unet().to_onnx(tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", image(1, 3, 64, 80))
    np.save(tmp_path / "volume.npy", image(20, 24, 28))
    np.save(tmp_path / "w.npy", image(3, 3, 3))
    return tmp_path


def test_run_in_tiles(there: Path) -> None:
    x, out = np.load(there / "x.npy"), there / "y.npy"
    said = run(
        "run",
        f"{there}/net.onnx",
        "--input",
        f"{there}/x.npy",
        "--output",
        f"{out}",
        "--tile",
        "24,40",
        "--exact",
    )
    assert said.endswith(f"written to {out}: 1x2x64x80 float32\n")
    assert said.startswith("6 tiles of 1x2x24x40 of y 1x2x64x80, about ")
    assert "\n6 blocks in " in said
    np.testing.assert_array_equal(np.load(out), unet(exact=True)(x))
    gated, words = there / "gated.npy", ("--tile", "32", "--exact-globals")
    run("run", f"{there}/gated.onnx", "--input", f"{there}/x.npy", "--output", f"{gated}", *words)
    expected = convmat.load(there / "gated.onnx")(x)
    np.testing.assert_allclose(np.load(gated), expected, rtol=0, atol=2e-6 * float(np.abs(expected).max()))
    nowhere = CliRunner().invoke(
        app, ["run", f"{there}/net.onnx", "--input", f"{there}/x.npy", "--tile", "32"]
    )
    assert nowhere.exit_code == 1
    assert nowhere.output.startswith("run: in tiles a network goes from one file to another\n")


def refused(*arguments: str) -> str:
    """What `convmat` with these arguments says where it refuses."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code in (1, 2), result.output
    return result.output


def test_tiles_are_told_as_json_and_take_no_pictures(there: Path) -> None:
    words = (
        "run",
        f"{there}/net.onnx",
        "--input",
        f"{there}/x.npy",
        "--output",
        f"{there}/y.npy",
        "--tile",
        "32",
    )
    told = json.loads(run(*words, "--json"))
    assert (told["out"], told["shape"], told["blocks"]) == (f"{there}/y.npy", [1, 2, 64, 80], 6)
    assert refused(*words, "--mean", "127.5", "--unit") == (
        "run: in tiles a network is given the numbers of a file as they are\n"
        "  given: --mean --unit, for pictures and scores\n"
        "  prepare the file's numbers before, and omit --mean --unit\n"
    )
    np.save(there / "x.npy", np.load(there / "x.npy").astype("float64"))
    assert refused(*words) == (
        "tiled: the file's numbers do not fit the network's input 'x'\n"
        f"  {there}/x.npy has float64, the input takes float32\n"
        "  save them as such: array.astype('float32')\n"
    )


def test_weights_that_cannot_be_read_are_said(there: Path) -> None:
    (there / "words.npy").write_text("no array")
    assert refused("conv", f"{there}/volume.npy", f"{there}/words.npy", f"{there}/y.npy") == (
        f"convmat: the array w cannot be read\n  {there}/words.npy: no NumPy file of one array of numbers\n"
        f"  write it with numpy.save('{there}/words.npy', w)\n"
    )


def test_workers_of_a_cluster_do_the_same(there: Path, workers: Any) -> None:
    at = ("--scheduler", workers.scheduler.address)
    x, out, y = f"{there}/x.npy", there / "y.npy", there / "volume_y.npy"
    run("run", f"{there}/net.onnx", "--input", x, "--output", f"{out}", "--tile", "32", "--exact", *at)
    np.testing.assert_array_equal(np.load(out), unet(exact=True)(np.load(x)))
    run("conv", f"{there}/volume.npy", f"{there}/w.npy", f"{y}", "--plain", "--padding", "1", *at)
    volume, w = (np.load(there / name) for name in ("volume.npy", "w.npy"))
    np.testing.assert_array_equal(
        np.load(y), convmat.conv(volume[None, None], w[None, None], padding=1)[0, 0]
    )
    assert not list(there.glob("*.part")) + list(there.glob("*.manifest"))


def test_what_ctrl_c_leaves_is_said(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = stream.Pipeline.compute

    def interrupted(self: Any, block: int, x: Any, threads: int) -> None:
        computed(self, block, x, threads)
        raise KeyboardInterrupt

    monkeypatch.setattr("convmat.chunks.files.stream.Pipeline.compute", interrupted)
    out = there / "stopped.npy"
    call = ["conv", f"{there}/volume.npy", f"{there}/w.npy", f"{out}", "--plain", "--padding", "1"]
    found = CliRunner().invoke(app, call)
    assert found.exit_code == 130
    assert found.output.splitlines()[-3:] == [
        "interrupted: 1 of 1 blocks are done",
        f"  {out}.manifest has them",
        "  the same command with --resume goes on",
    ]
    monkeypatch.undo()
    run(*call, "--resume")
    assert out.exists()
