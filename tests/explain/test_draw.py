"""Pictures and animations: what is in them, how they are written, and what cannot be drawn."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageSequence

import convmat
from convmat.cases import CASES
from convmat.errors import PlanError
from convmat.explain.picture.animation import build_acts
from convmat.explain.picture.draw import draw_example, picture_of
from convmat.explain.story.colour import CHANNELS, DARK, LIGHT, channels, ink, luminance, tint
from convmat.explain.story.example import W, X
from convmat.explain.story.scene import Scene
from convmat.geometry import Geometry
from tests.support import defined

SVG = "{http://www.w3.org/2000/svg}"


def plan(*shapes: tuple[int, ...], **options: Any) -> convmat.Plan:
    return convmat.plan(*shapes, **options)


def small() -> convmat.Plan:
    return plan((1, 3, 3, 3), (1, 3, 2, 2))


def words(path: Path) -> list[str]:
    """The texts of an SVG file, in order."""
    return [element.text or "" for element in ElementTree.parse(path).iter(f"{SVG}text")]


# -- what is in the picture -------------------------------------------------------------------------------------------


def test_the_worked_example_as_svg(golden: Callable[[str, str], None], tmp_path: Path) -> None:
    golden("example.svg", draw_example(tmp_path / "example.svg").read_text())


def test_every_number_of_the_example_is_written(tmp_path: Path) -> None:
    found = words(draw_example(tmp_path / "example.svg"))
    numbers = [int(text) for text in found if re.fullmatch(r"-?\d+", text)]
    U = convmat.im2col(X[None], (2, 2))
    y = convmat.conv(X[None], W[None]).ravel().tolist()
    # x and w stand still; then A (w again), U row by row, Y and y.
    assert numbers == [*X.ravel(), *W.ravel(), *W.ravel(), *U.ravel(), *y, *y]
    for size in ("n = B·P = 4", "k = C·F = 12", "m = 1", "input, 3 x 3 x 3", "= y, 1 x 2 x 2"):
        assert size in found


def test_each_element_has_the_colour_of_where_it_came_from() -> None:
    g = Geometry.of((1, 3, 4, 5), (2, 3, 3, 2), stride=(1, 2), padding=1, dilation=(1, 2))
    scene = Scene(g)
    index = convmat.im2col(
        np.arange(60.0).reshape(1, 3, 4, 5) + 1, (3, 2), stride=(1, 2), padding=1, dilation=(1, 2)
    )
    colours = {(c.sheet, c.row, c.col): c.tint for c in scene.x.cells}
    for cell in scene.U.cells:
        flat = int(index[cell.row, cell.col]) - 1
        if flat < 0:
            assert (cell.kind, cell.tint, cell.value) == ("pad", None, 0)
            continue
        c, row, col = np.unravel_index(flat, (3, 4, 5))
        assert cell.tint == colours[int(c), int(row) + 1, int(col) + 1]
        assert cell.value == scene.digits.x(0, c, row, col)


@pytest.mark.parametrize("case", [c for c in CASES if 0 not in (*c.x_shape, *c.geometry.y_shape)], ids=str)
def test_outputs_drawn_are_those_of_the_whole(case: Any) -> None:
    g = case.geometry
    scene = Scene(g)
    x, w = (f(np.arange(int(np.prod(s)))).reshape(s) for f, s in ((_x, g.x_shape), (_w, g.w_shape)))
    y = defined(x, w, g)
    for cell in scene.Y.cells:
        assert cell.value == y[(0, cell.row, *scene.pixels[cell.col])]


def _x(i: Any) -> Any:
    from convmat.explain.story.digits import x_digit

    return x_digit(i)


def _w(i: Any) -> Any:
    from convmat.explain.story.digits import w_digit

    return w_digit(i)


def test_a_large_layer_is_a_sample_with_its_true_sizes(tmp_path: Path) -> None:
    layer = plan((8, 64, 56, 56), (128, 64, 3, 3), stride=2, padding=1)
    found = words(layer.draw(tmp_path / "layer.svg"))
    for size in ("n = B·P = 6272", "k = C·F = 576", "m = 128", "input, 64 x 56 x 56", "= y, 128 x 28 x 28"):
        assert size in found
    assert "drawn: a sample, sums are those of the whole, image 1 of 8" in found
    assert any(text.startswith(f"planned: {layer.chosen.name}, with ") for text in found)


@pytest.mark.parametrize(
    ("shapes", "options"),
    [
        (((1, 2, 12), (2, 2, 3)), {"padding": 1}),
        (((1, 2, 3, 4, 4), (2, 2, 2, 2, 2)), {}),
        (((1, 1, 2, 2, 3, 3), (1, 1, 1, 2, 2, 2)), {}),
        (((2, 4, 5, 5), (4, 2, 3, 3)), {"groups": 2}),
        (((1, 4, 5, 5), (4, 1, 3, 3)), {"groups": 4, "padding": ((0, 1), (2, 0))}),
        (((1, 1, 4, 4), (1, 1, 3, 3)), {"padding": 5}),
        (((1, 1, 9, 9), (1, 1, 2, 2)), {"padding": -2}),
        (((1, 1, 300, 300), (1, 1, 255, 255)), {}),
        (((1, 1, 1000), (1, 1, 1)), {"stride": 300}),
        (((1, 2, 90, 90), (2, 2, 3, 3)), {"dilation": 40}),
        (((1, 3, 4, 4), (2, 3, 3, 3)), {"direction": "input", "stride": 2, "padding": 1}),
        (((1, 3, 4, 4), (2, 3, 3, 3)), {"direction": "weight"}),
        (((1, 3, 4, 4), (2, 3, 3, 3)), {"padding": 1, "padding_mode": "edge"}),
    ],
)
def test_any_convolution_can_be_drawn(shapes: Any, options: dict[str, Any], tmp_path: Path) -> None:
    path = plan(*shapes, **options).draw(tmp_path / "any.svg")
    root = ElementTree.parse(path).getroot()
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    assert 300 < width < 1500
    assert 200 < height < 1500
    for rect in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(rect.get(name, 0)) for name in ("x", "y", "width", "height"))
        assert x >= 0 and y >= 0  # noqa: PT018  one claim: inside
        assert x + w <= width and y + h <= height  # noqa: PT018


def test_numbers_may_be_given_in_the_plans_layout(tmp_path: Path) -> None:
    x = np.arange(18.0).reshape(1, 3, 3, 2) / 4
    w = np.ones((1, 2, 2, 2))
    last = plan((1, 3, 3, 2), (1, 2, 2, 2), layout="NHWC", dtype="float64")
    found = words(last.draw(tmp_path / "nhwc.svg", x=x, w=w))
    first = plan((1, 2, 3, 3), (1, 2, 2, 2), dtype="float64")
    assert found[3:] == words(first.draw(tmp_path / "nchw.svg", x=np.moveaxis(x, -1, 1), w=w))[3:]
    assert "4.25" in found


# -- colours ----------------------------------------------------------------------------------------------------------


def test_text_reads_on_every_tint() -> None:
    for c in range(len(CHANNELS)):
        for u, v in np.ndindex(5, 5):
            colour = tint(c, u / 4, v / 4)
            light, dark = sorted((luminance(colour), luminance(ink(colour))), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, colour


def test_channels_stay_apart_in_greyscale() -> None:
    """The lightness of channels differs, whatever the eye makes of hues; most of the three or four that are drawn."""
    light = [116 * luminance(tint(c)) ** (1 / 3) - 16 for c in range(5)]
    assert min(abs(a - b) for i, a in enumerate(light) for b in light[:i]) > 10
    assert min(abs(a - b) for i, a in enumerate(light[:3]) for b in light[:i]) > 20


def test_channels_stay_apart_for_colour_blind_eyes() -> None:
    """In Oklab, under the simulations of Machado, Oliveira, Fernandes 2009 (severity 1) of all three kinds."""
    for matrix in BLIND.values():
        seen = [oklab(matrix @ linear(tint(c))) for c in range(5)]
        assert min(float(np.linalg.norm(a - b)) for i, a in enumerate(seen) for b in seen[:i]) > 0.15


def linear(colour: str) -> Any:
    v = np.array(channels(colour)) / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def oklab(light: Any) -> Any:
    return TO_LAB @ np.cbrt(TO_CONES @ np.clip(light, 0, 1))


BLIND = {
    "protan": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deutan": np.array([[0.367, 0.861, -0.228], [0.28, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritan": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}
TO_CONES = np.array([[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]])
TO_LAB = np.array([[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]])


# -- pixels and movement ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True])
def test_a_png_has_the_size_and_ground_asked_for(dark: bool, tmp_path: Path) -> None:
    with Image.open(small().draw(tmp_path / "layer.png", size=400, dark=dark)) as image:
        assert image.format == "PNG"
        assert image.width == 400
        assert image.convert("RGB").getpixel((1, 1)) == channels((DARK if dark else LIGHT).paper)


def test_an_svg_scales(tmp_path: Path) -> None:
    root = ElementTree.parse(small().draw(tmp_path / "layer.svg", size=400)).getroot()
    assert root.attrib["width"] == "400"
    assert float(root.attrib["viewBox"].split()[2]) > 500


def frames_of(path: Path) -> tuple[list[Any], list[int]]:
    """The frames of a GIF as arrays, and how long each lasts in milliseconds."""
    with Image.open(path) as image:
        pictures, durations = [], []
        for frame in ImageSequence.Iterator(image):
            durations.append(frame.info["duration"])
            pictures.append(np.asarray(frame.convert("RGB")).astype(int))
        assert image.info["loop"] == 0
    return pictures, durations


def test_the_animation_tells_the_whole_story(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    path = draw_example(tmp_path / "demo.gif", frames=24, size=240, progress=lambda i, n: told.append((i, n)))
    pictures, durations = frames_of(path)
    assert told == [(i, 24) for i in range(1, 25)]
    assert len(pictures) > 12
    seconds = sum(act.seconds for act in build_acts(Scene(Geometry.of((1, 3, 3, 3), (1, 3, 2, 2)))))
    assert sum(durations) / 1000 == pytest.approx(seconds, rel=0.05)
    # More and more is on the paper, and the last frame is the whole picture.
    empty = [(picture == np.array(channels(LIGHT.paper))).all(axis=2).mean() for picture in pictures]
    assert empty[-1] < empty[0] - 0.05


def test_speed_and_frames_can_be_set(tmp_path: Path) -> None:
    def length(name: str, **options: Any) -> int:
        return sum(frames_of(draw_example(tmp_path / name, size=120, **options))[1])

    slow, fast = length("slow.gif", frames=8), length("fast.gif", frames=8, speed=4)
    assert slow == pytest.approx(4 * fast, rel=0.05)


def test_many_columns_hurry() -> None:
    few = sum(act.seconds for act in build_acts(Scene(Geometry.of((1, 1, 3, 3), (1, 1, 2, 2)))))
    many = sum(act.seconds for act in build_acts(Scene(Geometry.of((1, 3, 99, 99), (1, 3, 3, 3)))))
    assert many < 3 * few < 60


# -- what cannot be drawn ---------------------------------------------------------------------------------------------


def refused(act: Callable[[], Any]) -> str:
    with pytest.raises(PlanError) as error:
        act()
    return str(error.value)


def test_nothing_to_draw(tmp_path: Path) -> None:
    empty = plan((0, 3, 4, 4), (1, 3, 2, 2))
    assert refused(lambda: empty.draw(tmp_path / "a.svg")) == (
        "draw: there is nothing to draw\n  x 0x3x4x4, w 1x3x2x2, y 0x1x3x3: x has no elements\n"
        "  give every axis at least one element, e.g. a batch of 1"
    )
    assert plan((1, 3, 4, 4), (1, 3, 2, 2)).draw(tmp_path / "a.svg").is_file()


def test_a_name_that_says_nothing(tmp_path: Path) -> None:
    assert refused(lambda: small().draw(tmp_path / "layer.bmp")) == (
        f"draw: the name does not say what to write\n  path = '{tmp_path}/layer.bmp' ends in '.bmp'\n"
        f"  one of .svg, .png, .gif, e.g. '{tmp_path}/layer.svg'"
    )
    assert refused(lambda: small().draw(tmp_path / "layer.png", frames=9)) == (
        f"draw: only an animation has frames\n  frames = 9, path = '{tmp_path}/layer.png'\n"
        f"  give '{tmp_path}/layer.gif', or omit frames="
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 20}, "draw: size must be a width in pixels\n  size = 20\n  at least 100, e.g. size=1200"),
        ({"size": 2.5}, "draw: size must be a width in pixels\n  size = 2.5\n  at least 100, e.g. size=1200"),
        (
            {"frames": 1},
            "draw: frames must be a number of pictures\n  frames = 1\n  from 2 to 2000, e.g. frames=120",
        ),
        (
            {"speed": 0},
            "draw: speed must say how many times as fast\n  speed = 0\n  from 0.1 to 20, e.g. speed=2",
        ),
    ],
)
def test_numbers_that_make_no_animation(options: dict[str, Any], text: str, tmp_path: Path) -> None:
    assert refused(lambda: small().draw(tmp_path / "a.gif", **options)) == text
    assert list(tmp_path.iterdir()) == []


def test_too_many_pixels(tmp_path: Path) -> None:
    text = refused(lambda: small().draw(tmp_path / "a.png", size=20_000))
    assert text.startswith("draw: the picture would be too large\n  size = 20000 makes ")
    fits = int(re.findall(r"size=(\d+)", text)[0])
    picture = picture_of(small())
    assert picture.height / picture.width * fits**2 <= 32_000_000


def test_arrays_that_are_not_the_plans(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    assert refused(lambda: small().draw(path, x=np.ones((3, 3, 3)))) == (
        "draw: x is not the plan's\n  x has shape (3, 3, 3), the plan takes (1, 3, 3, 3)\n"
        "  give an array of shape (1, 3, 3, 3), or omit x= for digits"
    )
    assert refused(lambda: small().draw(path, w=np.ones((1, 3, 2, 2)) * 1j)) == (
        "draw: w does not hold real numbers\n  w.dtype = complex128\n"
        "  give its real part, e.g. w=w.real, or omit w= for digits"
    )
    padded = plan((1, 1, 3, 3), (1, 1, 3, 3), padding=1, padding_mode="edge")
    assert refused(lambda: padded.draw(path, x=np.ones((1, 1, 3, 3)))) == (
        "draw: an input that is padded explicitly cannot be drawn with its numbers\n"
        "  padding_mode = 'edge', x (1, 1, 3, 3) -> (1, 1, 5, 5)\n  omit x= for digits"
    )


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "layer.svg"
    assert refused(lambda: small().draw(nowhere)) == (
        f"draw: cannot write {nowhere}\n  No such file or directory\n"
        f"  make the folder first, or give another: mkdir -p {nowhere.parent}"
    )
    folder = tmp_path / "folder.svg"
    folder.mkdir()
    text = refused(lambda: small().draw(folder))
    assert text.startswith(f"draw: cannot write {folder}\n")
    assert text.endswith(f"give the name of a file, e.g. {folder}/out.svg")
    file = tmp_path / "file"
    file.write_text("")
    assert refused(lambda: small().draw(file / "layer.svg")).startswith(
        f"draw: cannot write {file}/layer.svg\n"
    )
    assert sorted(tmp_path.iterdir()) == [file, folder]


def test_ctrl_c_leaves_no_half_file(tmp_path: Path) -> None:
    path = tmp_path / "demo.gif"
    path.write_bytes(b"the one before")

    def interrupt(done: int, count: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_example(path, size=120, frames=10, progress=interrupt)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"the one before"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("convmat.explain.extras.util.find_spec", lambda name: None)
    assert refused(lambda: small().draw(tmp_path / "a.png")) == (
        "draw: a .png file needs pillow, which is not installed\n  no module PIL\n  pip install 'convmat[draw]'"
    )
    assert small().draw(tmp_path / "a.svg").is_file()


def test_sheets_that_are_not_drawn_are_counted() -> None:
    """A layer of three axes: every sheet of the kernels has a name, the last of each board says how many are left."""
    scene = Scene(Geometry.of((1, 2, 4, 6, 6), (2, 2, 3, 3, 3)))
    assert scene.x.labels == ("c = 0, 0", "c = 0, 1", "c = 0, 2  (+5 more)")
    assert scene.w.labels == ("o = 0", "f = 1", "f = 2", "o = 1", "f = 1", "f = 2  (+6 more)")
    assert scene.y.labels == ("o = 0, 0", "o = 1, 0  (+2 more)")
    assert Scene(Geometry.of((1, 1, 3, 4, 4), (1, 1, 2, 2, 2))).w.labels == ("c = 0, 0", "c = 0, 1")
    assert Scene(Geometry.of((1, 3, 3, 3), (1, 3, 2, 2))).w.labels == ("c = 0", "c = 1", "c = 2")


def test_without_a_path_a_notebook_shows_what_a_file_would_have(tmp_path: Path) -> None:
    plan = convmat.plan((1, 2, 5, 5), (1, 2, 2, 2))
    hows: list[dict[str, Any]] = [{}, {"dark": True, "size": 700}, {"lowering": "winograd 2"}]
    for how in hows:
        assert plan.draw(**how)._repr_svg_() == plan.draw(tmp_path / "layer.svg", **how).read_text()
    with pytest.raises(PlanError) as error:
        plan.draw(frames=20)  # type: ignore[call-overload]  # what the types forbid
    assert str(error.value) == "draw: an animation needs a file\n  frames = 20, no path\n  e.g. 'layer.gif'"
    assert plan.draw(tmp_path / "layer.gif", frames=2).stat().st_size > 0
