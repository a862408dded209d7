"""Pictures that cannot be read or drawn, and examples that are none: whole texts, and the call made right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import convmat
from convmat.errors import GeometryError, NetworkError, PlanError
from convmat.explain.demo import photo
from convmat.explain.picture import draw
from convmat.explain.terminal import examples, feed
from convmat.explain.terminal.feed import Preparation
from tests.network.made import model, node


def test_pictures_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, text, cut = tmp_path / "good.png", tmp_path / "text.png", tmp_path / "cut.png"
    Image.new("RGB", (40, 30), (200, 90, 10)).save(good)
    text.write_text("no picture")
    cut.write_bytes(good.read_bytes()[:60])

    def said(path: Path) -> str:
        with pytest.raises(GeometryError) as error:
            photo.read(path)
        return str(error.value)

    assert said(text) == (
        f"demo: the picture cannot be read\n  {text}: no format that Pillow knows\n"
        "  give a PNG, JPEG, GIF, TIFF or WebP"
    )
    first, second, third = said(cut).splitlines()
    assert first == "demo: the picture cannot be read"
    assert second.startswith(f"  {cut}: ")
    assert third == "  save it again as PNG or JPEG, or give another"
    monkeypatch.setattr(photo, "MOST_PIXELS", 1000)
    assert said(good) == (
        f"demo: the picture cannot be read\n  {good}: 40 x 30 pixels, at most 1,000\n  give a smaller picture"
    )
    monkeypatch.undo()
    assert photo.read(good).original == (40, 30)


PLAN = convmat.plan((1, 2, 6, 6), (3, 2, 3, 3))


def test_drawings_that_would_be_too_long_or_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw, "MOST_FRAMES", 3)
    with pytest.raises(PlanError) as error:
        PLAN.draw(tmp_path / "a.gif")
    first, second, third = str(error.value).splitlines()
    assert (first, third) == ("draw: the animation would be too long", "  set their number, e.g. frames=200")
    assert second.endswith(" frames;  at most 3")
    PLAN.draw(tmp_path / "a.gif", frames=2)
    monkeypatch.setattr(draw, "MOST_PIXELS", 3 * 10**6)
    with pytest.raises(PlanError) as error:
        PLAN.draw(tmp_path / "a.png", size=4000)
    first, second, third = str(error.value).splitlines()
    assert first == "draw: the picture would be too large"
    assert second.startswith("  size = 4000 makes ")
    assert second.endswith(" million pixels;  at most 3 million")
    size = int(third.partition("size=")[2].partition(",")[0])
    assert third == f"  e.g. size={size}, or a .svg file, which is sharp at any size"
    PLAN.draw(tmp_path / "a.png", size=size)
    PLAN.draw(tmp_path / "a.svg")


NET = convmat.load(model([node("Relu", "x", "y")], {"x": (1, 3, 8, 8)}, "y"))


def test_examples_that_are_none(tmp_path: Path) -> None:
    def said(path: Path) -> str:
        with pytest.raises(NetworkError) as error:
            examples.batches(path, NET.inputs, Preparation(), 8)
        return str(error.value)

    words = tmp_path / "words.txt"
    words.write_text("one two")
    assert said(words) == (
        f"quantize: {words} is no .npz and no folder\n  in {Path.cwd()}\n"
        "  give a folder of pictures, or numpy.savez(path, x=examples)"
    )
    assert said(tmp_path) == (
        f"quantize: there are no examples in {tmp_path}\n  no file ends in one of {', '.join(examples.KINDS)}\n"
        "  give a folder of pictures or of .npy files"
    )
    wrong = tmp_path / "wrong.npy"
    wrong.write_text("no array")
    first, second, third = said(tmp_path).splitlines()
    assert (first, third) == (f"quantize: {wrong} is no example", "  mend it, or take it away")
    assert second.strip()
    np.save(wrong, np.zeros((1, 3, 8, 8), np.float32))
    assert len(examples.batches(tmp_path, NET.inputs, Preparation(), 8)) == 1


def test_an_archive_is_no_array(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    with path.open("wb") as file:
        np.savez(file, x=np.zeros(3))
    wanted: Any = NET.inputs[0]
    with pytest.raises(NetworkError) as error:
        feed._numbers(path, wanted)
    assert str(error.value) == (f"run: {path} is no array\n  it is an archive\n  write it with numpy.save")
    np.save(path, np.zeros(3))
    assert feed._numbers(path, wanted).dtype == np.float32
