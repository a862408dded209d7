"""Winograd's tiles in picture, animation and page: the numbers, what is lit and written, and what is refused."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageSequence

import convmat
from convmat.errors import PlanError
from convmat.explain.picture.draw import draw_example
from convmat.explain.picture.tilestory import tile_acts
from convmat.explain.story.colour import LIGHT, channels
from convmat.explain.story.tiles import TileScene
from convmat.explain.webpage.page import geometry_fields, html
from convmat.geometry import Geometry
from convmat.lowering.toomcook import fast_correlation
from tests.explain import twins
from tests.explain.screen import CONTRAST, cell, lit, say, values
from tests.explain.test_twins import by_node

GEOMETRIES = (
    Geometry.of((1, 2, 6, 6), (1, 2, 3, 3)),
    Geometry.of((1, 1, 4), (1, 1, 3)),
    Geometry.of((1, 3, 25), (4, 3, 4), padding=2),
    Geometry.of((2, 4, 7, 9), (6, 2, 3, 3), groups=2, padding=((1, 0), (2, 1))),
    Geometry.of((1, 1, 7, 7), (1, 1, 1, 5), padding=-1),
    Geometry.of((1, 2, 7, 3), (2, 2, 3, 1)),
    Geometry.of((1, 1, 9, 9), (1, 1, 2, 5), dilation=(2, 1), padding=3),
    Geometry.of((1, 1, 11), (1, 1, 3), dilation=2),
    Geometry.of((1, 2, 12, 9), (1, 2, 3, 3), dilation=(5, 2), padding=(3, 2)),
    Geometry.of((1, 1, 4, 4), (1, 1, 3, 3), input_dilation=2, padding=2, stride=2),
    Geometry.of((1, 5, 14, 20), (4, 5, 3, 3), padding=1),
)


def plan(*shapes: tuple[int, ...], **options: Any) -> convmat.Plan:
    return convmat.plan(*shapes, **options)


def small() -> convmat.Plan:
    return plan((1, 2, 6, 6), (1, 2, 3, 3))


def words(path: Path) -> list[str]:
    return [
        element.text or "" for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    ]


def refused(act: Callable[[], Any]) -> str:
    with pytest.raises(PlanError) as error:
        act()
    return str(error.value)


# -- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("g", GEOMETRIES, ids=str)
def test_tiles_end_with_the_definitions_outputs(g: Geometry, m: int) -> None:
    y, _, _ = twins.results(g)
    scene = TileScene(g, m)
    (phase, *_) = g.phases()
    given = [np.unique(axis.reach_of(axis.fast.m)) for axis in scene.axes]
    for each in scene.boards["y"].cells:
        spots = (each.row, each.col) if g.rank > 1 else (each.col,)
        at = [int(p[i]) for p, i in zip(given, spots, strict=False)]
        place = tuple(start + step * p for start, step, p in zip(phase.start, phase.step, at, strict=True))
        assert each.value == y[(0, each.sheet, *place)]


def test_what_is_transformed_is_exact_to_the_last_digits() -> None:
    """X = BT d B and W = G w GT in fractions, of tile (0, 1) of channel 1 and its kernel."""
    g = Geometry.of((1, 2, 6, 10), (1, 2, 3, 3))
    scene = TileScene(g, 4)
    x, w, _ = twins.arrays(g)
    f = fast_correlation(4, 3)
    for matrix, source, made in (
        (f.BT, x[0, 1, 0:6, 4:10], scene.X.settled[1, 0, 1]),
        (f.G, w[0, 1], scene.W.settled[0, 1]),
    ):
        for i, j in itertools.product(range(6), repeat=2):
            exact = sum(
                (matrix[i][u] * matrix[j][v] * Fraction(source[u, v]) for u, v in np.ndindex(*source.shape)),
                Fraction(0),
            )
            assert made[i, j] == pytest.approx(float(exact), abs=1e-11)


@pytest.mark.node
def test_the_page_has_the_same_matrices_and_numbers() -> None:
    orders = list(itertools.product((1, 2, 4), range(1, 6)))
    drawn = [(g, m) for g in GEOMETRIES for m in (2, 4)]
    answers: Any = by_node(
        [{"matrices": order} for order in orders] + [{"fields": geometry_fields(g), "m": m} for g, m in drawn]
    )
    for order, found in zip(orders, answers, strict=False):
        f = fast_correlation(*order)
        assert found == [[[str(v) for v in row] for row in matrix] for matrix in (f.AT, f.G, f.BT)]
    for (g, m), found in zip(drawn, answers[len(orders) :], strict=True):
        for key, board in TileScene(g, m).boards.items():
            expected = [each.value for each in board.cells]
            np.testing.assert_allclose(found[key], expected, rtol=1e-9, atol=1e-9, err_msg=f"{key}, {g}, {m}")


def test_what_is_infinite_is_drawn_so(tmp_path: Path) -> None:
    x = np.ones((1, 2, 6, 6))
    x[0, 0, 2, 2] = np.inf
    assert "inf" in words(small().draw(tmp_path / "tiles.svg", x=x, lowering="winograd 2"))


def test_a_page_opens_with_what_the_plan_chose_where_it_can() -> None:
    layer = plan((1, 64, 56, 56), (64, 64, 3, 3), padding=1, lowering="winograd 4")
    assert '"way": "winograd 4"' in html(layer)
    assert '"way": "winograd 4"' in html(layer, direction="input")
    assert '"way": "im2col"' in html(layer, direction="weight")


# -- picture and animation --------------------------------------------------------------------------------------------


def test_the_picture_shows_every_number_and_counts_the_products(tmp_path: Path) -> None:
    found = words(small().draw(tmp_path / "tiles.svg", lowering="winograd 4"))
    scene = TileScene(Geometry.of((1, 2, 6, 6), (1, 2, 3, 3)), 4)
    for key in ("x", "w", "y"):
        assert {str(int(each.value)) for each in scene.boards[key].cells} <= set(found)
    assert {"-97", "36", "-81", "130", "27", "8"} <= set(found)  # BT, G and AT in fractions
    for text in (
        "winograd 4: 144 FLOP between the transforms, 576 by the definition",
        "36 points s, at each",
        "(1 x 2) @ (2 x 1)",
        "36 products a tile for each pair of channels, where the definition takes 144",
    ):
        assert text in found
    assert "16 products a tile for each pair of channels, where the definition takes 36" in words(
        small().draw(tmp_path / "two.svg", lowering="winograd 2")
    )


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("g", GEOMETRIES, ids=str)
def test_everything_is_inside_the_picture(g: Geometry, m: int, tmp_path: Path) -> None:
    from convmat.explain.picture.tilepicture import TilePicture

    path = tmp_path / "any.svg"
    path.write_text(TilePicture(TileScene(g, m)).drawing().svg())
    root = ElementTree.parse(path).getroot()
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    assert width < 1800
    assert height < 1900
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y, w, h = (float(rect.get(name, 0)) for name in ("x", "y", "width", "height"))
        assert x >= 0 and y >= 0  # noqa: PT018  one claim: inside
        assert x + w <= width and y + h <= height  # noqa: PT018


def test_the_example_and_given_numbers_are_drawn_by_tiles(tmp_path: Path) -> None:
    found = words(draw_example(tmp_path / "example.svg", lowering="winograd 2"))
    assert {"18", "20", "26", "28"} <= set(found)
    line = plan((1, 1, 4), (1, 1, 3)).draw(tmp_path / "line.svg", lowering="winograd 2", x=[[[0.5, 1, 2, 4]]])
    assert {"0.5", "1.5"} <= set(words(line))


def test_the_animation_goes_through_all_tiles(tmp_path: Path) -> None:
    scene = TileScene(Geometry.of((1, 2, 6, 6), (1, 2, 3, 3)), 2)
    story = tile_acts(scene)
    captions = list(dict.fromkeys(act.at(0.5).caption for act in story))
    assert len(captions) == 1 + 2 + 8 + 16 + 4 + 1
    assert captions[3] == "Tile (0, 0) of channel 0: X = Bᵀ d B"
    assert captions[11] == "Point (0, 0): W[s] @ X[s], (1 x 2) @ (2 x 4), a sum over channels alone"
    assert all("Gᵀ" not in act.at(0.5).caption for act in tile_acts(TileScene(GEOMETRIES[1], 2)))
    path = plan((1, 1, 5), (1, 1, 3)).draw(tmp_path / "line.gif", lowering="winograd 2", frames=12, size=200)
    with Image.open(path) as image:
        frames = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(image)]
    empty = [(frame == np.array(channels(LIGHT.paper))).all(axis=2).mean() for frame in frames]
    assert empty[-1] < empty[0] - 0.02


def test_what_is_not_drawn_by_tiles(tmp_path: Path) -> None:
    path = tmp_path / "tiles.svg"
    assert refused(lambda: small().draw(path, lowering="mec")) == (
        "draw: no picture of that lowering\n  lowering = 'mec'\n"
        "  one of 'im2col', 'winograd 2', 'winograd 4', 'winograd 6'; the page has more: convmat explain"
    )
    strided = plan((1, 2, 6, 6), (1, 2, 3, 3), stride=2)
    assert refused(lambda: strided.draw(path, lowering="winograd 2")) == (
        "draw: winograd 2 refuses this convolution\n"
        "  1x2x6x6 * 1x2x3x3 -> 1x1x2x2, stride 2x2: takes stride 1 along an axis of several taps, got 2x2 for 3x3\n"
        "  omit lowering= for im2col, which refuses nothing"
    )
    deep = plan((1, 2, 4, 6, 6), (1, 2, 3, 3, 3))
    assert refused(lambda: deep.draw(path, lowering="winograd 2")) == (
        "draw: winograd 2 is drawn where it tiles every axis\n"
        "  1x2x4x6x6 * 1x2x3x3x3 -> 1x1x2x4x4: one axis is cut into slices\n"
        "  omit lowering= for im2col"
    )
    none = plan((0, 1, 3), (1, 1, 2))
    assert refused(lambda: none.draw(path, lowering="winograd 2")).startswith(
        "draw: there is nothing to draw\n"
    )
    assert list(tmp_path.iterdir()) == []


# -- the page ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small().page(tmp_path_factory.mktemp("tiles") / "tiles.html", lowering="winograd 2")


def shown(page: Any) -> set[str]:
    """The benches that are to be seen."""
    keys = page.evaluate(
        "() => [...document.querySelectorAll('[data-board]')].filter((b) => b.style.display !== 'none')"
        ".map((b) => b.dataset.board)"
    )
    return {key.split("-")[0] for key in keys if "-" in key}


@pytest.mark.browser
def test_steps_lead_through_kernels_tiles_points_and_back(visit: Any, tiles: Path) -> None:
    page = visit(path=tiles)
    assert say(page, "step-title") == (
        "Forward: y = Aᵀ Y A, Y[s] = W[s] @ X[s], W = G w Gᵀ, X = Bᵀ d B, d a tile of x"
    )
    scene = TileScene(Geometry.of((1, 2, 6, 6), (1, 2, 3, 3)), 2)
    titles = {"filter": [], "tile": [], "points": [], "back": []}  # type: dict[str, list[str]]
    for _ in range(27):
        page.keyboard.press("ArrowRight")
        (bench,) = shown(page)
        titles[bench].append(say(page, "step-title"))
    assert say(page, "clock") == "27 / 27"
    assert titles["filter"] == [
        "Transform kernel (0, 0)",
        "G from the left",
        "Gᵀ from the right",
        "Transform kernel (0, 1)",
    ]
    assert titles["tile"][:4] == [
        "Cut tile (0, 0) of channel 0",
        "Bᵀ from the left",
        "B from the right",
        "Cut tile (0, 0) of channel 1",
    ]
    assert titles["points"] == [
        *(f"The product at point (0, {j})" for j in range(4)),
        *(f"The points of row {i}" for i in (1, 2, 3)),
    ]
    assert titles["back"][-1] == "Back: tile (1, 1) of output channel 0"
    written = [float(value.replace("−", "-")) for value in values(page, "y").values()]
    assert written == [each.value for each in scene.boards["y"].cells]
    left = list(values(page, "filter-left").values())
    assert left == [
        "−1",
        "0",
        "0",
        "12",
        "12",
        "12",
        "12",
        "−12",
        "12",
        "0",
        "0",
        "1",
    ]  # 1/2 is written over a line


@pytest.mark.browser
def test_a_point_meets_its_own_point_alone_and_products_are_counted(visit: Any, tiles: Path) -> None:
    page = visit("#way=winograd+2&step=18", path=tiles)
    assert say(page, "step-text") == (
        "Likewise, each by itself; on the bench is point (1, 3): W[s] @ X[s], (1 x 2) @ (2 x 4), summed over channels "
        "alone. A tile takes 16 such products for each pair of channels, the definition 4 outputs x 9 weights = 36."
    )
    cell(page, "X", "X[1, (0, 1), (1, 2)]").hover()
    assert lit(page, "hot") == {"X[1, (0, 1), (1, 2)]", "W[0, 1, (1, 2)]"}
    assert say(page, "sum").endswith("= −6")
    cell(page, "x", "x[0, 3, 3]").hover()
    assert say(page, "step-text") == (
        "It lies in 4 tiles: they overlap. Each transforms it with its neighbours, into 16 numbers."
    )
    assert page.locator(".windows .edge").count() == 12  # four tiles in two sheets of x, and their outputs
    cell(page, "y", "y[0, 0, 0]").hover()
    assert "".join(say(page, "sum").split()).startswith("y[0,0,0]=1·27+1·(−3)+1·6+1·(−9)")
    cell(page, "points-result", "Y[s][0, 1]").hover()
    assert lit(page, "warm") == {"W[s][0, 0]", "W[s][0, 1]", "X[s][0, 1]", "X[s][1, 1]"}
    page.locator("#as-tables summary").click()
    assert "½" not in page.locator("#tables").inner_text()
    assert page.locator("#tables td").all_inner_texts()[3] == "1/2"


@pytest.mark.browser
def test_gradients_by_tiles_are_convolutions_of_their_own(visit: Any, tiles: Path) -> None:
    page = visit(path=tiles)
    page.locator("#passes-input").check()
    page.click("#last")
    g = Geometry.of((1, 2, 6, 6), (1, 2, 3, 3))
    _, dx, dw = twins.results(g)
    names = page.evaluate("() => globalThis.convmat.app.story.boards.all('y').map((c) => c.name)")
    assert names[0] == "x[0, 0, 0]"
    for name, value in values(page, "y").items():
        at = tuple(int(v) for v in re.findall(r"\d+", name))
        assert float(value.replace("−", "-")) == dx[(0, *at)]
    page.locator("#passes-weight").check()
    page.click("#last")
    found = [float(value.replace("−", "-")) for value in values(page, "y").values()]
    assert found == dw[0, 0].ravel().tolist()
    assert say(page, "sample") == "Drawn is image 1 of 2."
    page.locator("#type-I0").fill("12")
    page.locator("#type-I0").press("Enter")
    assert (
        say(page, "refusal") == "Winograd 2 refuses this convolution: takes filters up to 9 wide, got 10x4."
    )
    page.locator("#passes-forward").check()
    assert say(page, "refusal") == ""


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 768, 1280])
@pytest.mark.parametrize("m", [2, 4])
def test_no_board_covers_another_at_any_width(visit: Any, tiles: Path, width: int, m: int) -> None:
    page = visit(f"#way=winograd+{m}&step=6", path=tiles, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    right = page.evaluate("document.getElementById('picture').getBoundingClientRect().right")
    ends = page.evaluate(
        "() => [...document.querySelectorAll('#picture text')].map((t) => t.getBoundingClientRect().right)"
    )
    assert max(ends) <= right
    boxes = page.evaluate(
        """() => [...document.querySelectorAll('.cell:not(.flyer) rect')].map((r) => r.getBoundingClientRect())
          .filter((b) => b.width).map((b) => [b.left, b.top, b.right, b.bottom])"""
    )
    boxes.sort()
    for (l0, t0, r0, b0), (l1, t1, r1, b1) in itertools.combinations(boxes, 2):
        apart = min(r0, r1) - max(l0, l1) < 1 or min(b0, b1) - max(t0, t1) < 1
        assert apart, ((l0, t0), (l1, t1))


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_amid_tiles(visit: Any, tiles: Path, scheme: str) -> None:
    page = visit("#way=winograd+4&step=0", path=tiles, color_scheme=scheme)
    ratios = page.evaluate(CONTRAST)
    assert min(ratios.values()) >= 4.5, ratios


@pytest.mark.browser
def test_elements_fly_to_the_bench_and_from_it(visit: Any, tiles: Path) -> None:
    page = visit("#way=winograd+2&step=3", path=tiles, reduced_motion="no-preference")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelectorAll('.flyer').length === 16")
    page.wait_for_function("document.querySelectorAll('.flyer').length === 0")
    assert list(values(page, "tile-source").values())[:4] == ["1", "8", "5", "2"]
    assert page.evaluate("location.hash").endswith("way=winograd+2&step=4")
