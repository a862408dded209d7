"""The demonstration: its filters, its pictures, its measurements, and files that are no pictures."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from convmat import GeometryError
from convmat.cli.app import app
from convmat.explain.demo import demo, demo_report, filters, photo, sheet
from convmat.explain.demo.photo import Photo
from convmat.geometry import Geometry
from convmat.planner import sampling, trial
from tests.support import defined

QUICK = 0.05  # seconds of measuring


def picture(height: int = 20, width: int = 31) -> Photo:
    pixels = np.random.default_rng(3).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return Photo("noise.png", pixels, (width, height))


@pytest.fixture(scope="module")
def found() -> demo.Demo:
    return demo.run(picture(), QUICK)


# -- filters ----------------------------------------------------------------------------------------------------------


def test_the_first_layer() -> None:
    layer = filters.first_layer()
    assert layer.w.shape == (64, 3, 7, 7)
    assert layer.w.dtype == np.float32
    assert [len(row.names) for row in layer.rows] == [8] * 8
    lengths = np.sqrt((layer.w.astype(np.float64) ** 2).sum(axis=(1, 2, 3)))
    assert np.allclose(lengths, 1, atol=1e-6)
    angles = np.abs(np.corrcoef(layer.w.reshape(64, -1)))
    assert np.sum(angles > 0.999) == 64 + 8  # each is itself, and of each hue the opposite is its negative


def test_what_is_flat_gives_nothing() -> None:
    """All but the hues, and `light`, take no notice of a picture of one colour."""
    layer = filters.first_layer()
    names = [name for row in layer.rows for name in row.names]
    for name, kernel in zip(names, layer.w.sum(axis=(2, 3)), strict=True):
        flat = not (name.startswith("hue") or name == "light")
        assert (np.abs(kernel).max() < 1e-6) == flat, name


def test_edges_answer_to_their_direction() -> None:
    layer = filters.first_layer()
    upright = np.zeros((1, 3, 15, 15), np.float32)
    upright[..., 8:] = 1
    answers = np.abs(np.einsum("ochw,bchw->o", layer.w[16:24], upright[..., 4:11, 4:11]))
    assert answers.argmax() == 0  # 0 degrees: light changes from left to right
    assert answers[4] < 0.05 * answers[0]  # 90 degrees


def test_the_classical_bank() -> None:
    bank = {each.name: each for each in filters.classical()}
    sums = {name: float(each.kernel.sum()) for name, each in bank.items()}
    for name in ("blur", "motion blur", "sharpen", "emboss"):
        assert sums[name] == pytest.approx(1)
        assert not bank[name].signed
    for name in ("Sobel x", "Sobel y", "Laplacian", "difference of blurs"):
        assert sums[name] == pytest.approx(0, abs=1e-12)
        assert bank[name].signed
    assert bank["Sobel x"].kernel[2:5, 2:5].tolist() == [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
    assert np.array_equal(bank["Sobel y"].kernel, bank["Sobel x"].kernel.T)
    assert all(each.kernel.shape == (7, 7) for each in bank.values())


# -- what is computed and measured ------------------------------------------------------------------------------------


def test_both_banks_are_the_definition_s(found: demo.Demo) -> None:
    x = found.picture.pixels.transpose(2, 0, 1)[None].astype(np.float64) / 255
    centred = x - x.mean(axis=(2, 3), keepdims=True)
    some = [0, 13, 39, 48, 63]
    g = Geometry.of(x.shape, (len(some), 3, 7, 7), stride=2, padding=3)
    assert np.abs(found.maps[some] - defined(centred, found.layer.w[some], g)[0]).max() < 1e-5
    assert found.pictures.shape == (8, 3, 20, 31)
    padded = np.pad(x, ((0, 0), (0, 0), (3, 3), (3, 3)), mode="edge")
    for each, pictures in zip(found.bank[::3], found.pictures[::3], strict=True):
        kernel = np.broadcast_to(each.kernel, (3, 1, 7, 7))
        z = defined(padded, kernel, Geometry.of(padded.shape, kernel.shape, groups=3))
        assert np.abs(pictures - z[0]).max() < 1e-5


def test_every_way_that_does_not_refuse_is_measured(found: demo.Demo) -> None:
    running = [c for c in found.layer_plan.candidates if c.cost is not None]
    measured = [m.way.candidate for m in found.ways if m.way.candidate is not None]
    assert sorted(running, key=id) == sorted(measured, key=id)
    assert found.chosen.way.candidate is found.layer_plan.chosen
    names = [m.way.name for m in found.ways]
    assert names[-2:] == ["im2col in plain NumPy", "the definition, loops"]
    for m in found.ways:
        assert 0 < m.least <= m.seconds <= m.most
        assert m.runs >= sampling.FEWEST
        assert m.apart < 1e-5


def test_memory_is_what_was_predicted(found: demo.Demo) -> None:
    """Python's own objects come on top: some tens of kilobytes."""
    for m in found.ways:
        if m.predicted is not None:
            assert m.memory <= m.predicted.workspace + 64 * 1024


def test_the_definition_is_timed_on_a_part(found: demo.Demo) -> None:
    way = found.ways[-1].way
    assert way.note == "2 of 64 filters and 6x6 of 10x16 pixels"
    g = found.layer_plan.problem.geometry
    assert way.scale == pytest.approx(64 / 2 * (10 * 16) / (6 * 6))
    assert way.call().shape == found.maps[None][way.part].shape == (1, 2, 6, 6)
    assert g.P == (10, 16)


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (5, 5)])
def test_small_pictures(size: tuple[int, int]) -> None:
    made = demo.run(picture(*size), QUICK)
    assert all(m.apart < 1e-5 for m in made.ways)


def test_ways_that_differ_show() -> None:
    right = trial.Way("right", lambda: np.ones(4))
    wrong = trial.Way("wrong", lambda: np.array([1.0, 1.0, 1.0, 3.0]))
    found = trial.measure_ways([right, wrong], QUICK)
    assert found[0].apart == 0
    assert found[1].apart == 1


def test_json(found: demo.Demo) -> None:
    made = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert [way["chosen"] for way in made["first_layer"]["ways"]].count(True) == 1
    assert made["first_layer"]["ways"][-1]["scaled_from"] == found.ways[-1].way.note
    assert made["first_layer"]["plan"]["product"] == {"m": 64, "n": 160, "k": 147, "groups": 1}
    assert made["classical"]["plan"]["product"] == {"m": 8, "n": 3 * 20 * 31, "k": 49, "groups": 1}


# -- the sheet and the table ------------------------------------------------------------------------------------------


def test_the_sheet(found: demo.Demo, tmp_path: Path) -> None:
    path = tmp_path / "sheet"
    demo.write(found, path)
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        pixels = np.asarray(image)
    assert tuple(pixels[0, 0]) == tuple(pixels[-1, -1]) == sheet.PAPER
    assert (pixels == sheet.ABOVE).all(axis=-1).any()
    assert (pixels == sheet.BELOW).all(axis=-1).any()


@pytest.mark.parametrize("size", [(1, 1), (3, 60), (60, 3)])
def test_sheets_of_odd_pictures(size: tuple[int, int], tmp_path: Path) -> None:
    demo.write(demo.run(picture(*size), QUICK), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.width < 2000
        assert image.height < 6000


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table(found: demo.Demo, width: int) -> None:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    demo_report.show(found, Path("out/demo.png"), console)
    assert isinstance(console.file, io.StringIO)
    out = console.file.getvalue()
    assert max(map(len, out.splitlines())) <= width
    text = " ".join(out.split())
    for m in found.ways:
        if width > 60:
            assert m.way.name in out or m.way.candidate is not None
    assert text.count("> im2col") + text.count("> mec") + text.count("> kn2row") == 1
    assert "timed on 2 of 64 filters" in text
    assert "The plan chose" in text
    assert "pointwise: needs a 1x1 filter, got 7x7" in text
    assert text.endswith("the contact sheet: out/demo.png")


# -- pictures ---------------------------------------------------------------------------------------------------------


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


GREY = np.linspace(0, 255, 24 * 16).reshape(16, 24).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("grey.png", lambda: Image.fromarray(GREY)),
        ("bits.png", lambda: Image.fromarray(GREY).convert("1")),
        ("palette.gif", lambda: Image.fromarray(GREY).convert("P")),
        ("wide.png", lambda: Image.fromarray(GREY.astype(np.uint16) * 257)),
        ("float.tiff", lambda: Image.fromarray(GREY.astype(np.float32) / 255)),
        ("ink.jpg", lambda: Image.fromarray(GREY).convert("CMYK")),
        ("clear.png", lambda: Image.fromarray(GREY).convert("LA")),
    ],
)
def test_pictures_of_all_kinds(tmp_path: Path, name: str, make: Callable[[], Image.Image]) -> None:
    read = photo.read(saved(tmp_path / name, make()))
    assert read.pixels.shape == (16, 24, 3)
    assert read.pixels.dtype == np.uint8
    assert read.pixels[0, 0].max() < 60  # dark where it was
    assert read.pixels[-1, -1].min() > 195


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    assert photo.read(saved(tmp_path / "clear.png", image)).pixels.min() == 255


def test_upright(tmp_path: Path) -> None:
    image = Image.fromarray(GREY)
    turned = image.getexif()
    turned[0x0112] = 6  # a camera on its side
    read = photo.read(saved(tmp_path / "side.jpg", image, exif=turned))
    assert (read.size, read.original) == ((16, 24), (24, 16))


def test_large_pictures_are_reduced(tmp_path: Path) -> None:
    read = photo.read(saved(tmp_path / "large.png", Image.new("RGB", (3000, 1500), "teal")))
    assert (read.size, read.original) == ((640, 320), (3000, 1500))
    thin = photo.read(saved(tmp_path / "thin.png", Image.new("RGB", (20000, 3), "teal")))
    assert thin.size == (640, 1)


def bomb(path: Path) -> Path:
    """A PNG of a few bytes that says it has 4,000,000,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 80_000, 50_000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    return path


def cut(path: Path) -> Path:
    """The first half of a PNG."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def text(path: Path) -> Path:
    path.write_text("no picture")
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (bomb, "pixels"),
        (cut, ""),
        (text, "no format that Pillow knows"),
        (folder, "it is no file"),
        (lambda path: path, "there is no such file"),
    ],
    ids=["bomb", "cut", "text", "folder", "missing"],
)
def test_what_is_no_picture_is_a_sentence(tmp_path: Path, make: Callable[[Path], Path], what: str) -> None:
    path = make(tmp_path / "picture.png")
    with pytest.raises(GeometryError) as caught:
        photo.read(path)
    first, second, third = str(caught.value).split("\n")
    assert first == "demo: the picture cannot be read"
    assert second.startswith(f"  {path}: ")
    assert what in second
    assert third.strip()

    done = CliRunner().invoke(
        app, ["demo", "--image", str(path), "--output", str(tmp_path / "out" / "demo.png")]
    )
    assert done.exit_code == 2
    assert "demo: the picture cannot be read" in done.output
    assert not (tmp_path / "out").exists()


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "run", partial(demo.run, seconds=QUICK))
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture().pixels).save("noise.png")
    done = CliRunner().invoke(app, ["demo", "-i", "noise.png", "--no-network", "--json"])
    assert done.exit_code == 0
    made = json.loads(done.output)
    assert made["sheet"] == str(Path("out/demo.png"))
    assert [path.name for path in Path("out").iterdir()] == ["demo.png"]
    done = CliRunner().invoke(app, ["demo", "-i", "noise.png", "--no-network", "-o", "new/sheet.png"])
    assert done.exit_code == 0
    assert done.output.endswith(f"the contact sheet: {Path('new/sheet.png')}\n")
    assert Path("new/sheet.png").is_file()


def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "run", pytest.fail)
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(app, ["demo", "-o", str(tmp_path / "file" / "demo.png")])
    assert done.exit_code in (1, 2)
    assert "Traceback" not in done.output


def test_the_shipped_photograph() -> None:
    shipped = photo.read_shipped()
    assert (shipped.size, shipped.name) == ((320, 213), "coffee.png")
