"""The page in a browser: addresses that are shared, screens of every width, light and dark, notebooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import convmat
from convmat.explain.webpage.page import DRAWN
from tests.explain.screen import CONTRAST, Y, cell, say, slide, values

pytestmark = pytest.mark.browser


# -- the address ------------------------------------------------------------------------------------------------------


def test_a_view_can_be_shared(visit: Any) -> None:
    page = visit()
    slide(page, "slide-p", 1)
    page.locator("#ways-kn2row").check()
    page.locator("#passes-weight").check()
    page.click("#forward")
    fragment = page.evaluate("location.hash")
    assert fragment == (
        "#x=1x3x3x3&w=1x3x2x2&stride=1,1&padding=1:1,1:1&dilation=1,1&groups=1&pass=weight&way=kn2row&step=0"
    )
    again = visit(fragment)
    assert say(again, "formula") == say(page, "formula")
    assert say(again, "step-title") == say(page, "step-title")
    assert again.locator("#ways-kn2row").is_checked()
    again.click("#reset")
    assert say(again, "formula") == "1x3x3x3 * 1x3x2x2 -> 1x1x2x2"


@pytest.mark.parametrize(
    ("fragment", "why"),
    [
        ("#x=1x3xmany", "x=many must be a whole number of at least 1"),
        ("#x=1x3x3x3&w=1x3x2", "x=1x3x3x3 and w=1x3x2 need the same axes, at least three"),
        ("#groups=2", "w takes 3 channels in each of 2 groups, x has 3"),
        ("#way=magic", f"way=magic is none of {', '.join(DRAWN)}"),
        ("#pass=sideways", "pass=sideways is none of forward, input, weight"),
        ("#step=minus", "step=minus must be a whole number of at least -1"),
        ("#x=99999x99999x99999x99999&w=1x99999x1x1", "x=99999x99999x99999x99999 has more than 2^40 elements"),
        ("#stride=0", "stride=0 must be a whole number of at least 1"),
        ("#padding=1:1,1:1,1:1", "padding=1:1,1:1,1:1 needs one lo:hi for each of 2 axes"),
    ],
)
def test_an_address_that_makes_no_sense_is_answered(visit: Any, fragment: str, why: str) -> None:
    page = visit(fragment)
    assert say(page, "problem") == f"The address is not understood: {why}. Shown is the start."
    assert say(page, "formula") == "1x3x3x3 * 1x3x2x2 -> 1x1x2x2"


def test_the_address_can_be_edited_while_the_page_is_open(example: Any) -> None:
    example.evaluate("location.hash = '#x=1x1x5&w=2x1x3'")
    example.wait_for_function("document.getElementById('formula').textContent.startsWith('1x1x5')")
    assert say(example, "formula") == "1x1x5 * 2x1x3 -> 1x2x3"


# -- screens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1920])
def test_nothing_is_cut_off_at_any_width(visit: Any, width: int) -> None:
    page = visit("#step=8", viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.keyboard.press("Home")
    page.keyboard.press("End")
    assert values(page, "y") == Y
    box = page.locator("#picture").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


def test_a_finger_can_do_it_all(visit: Any) -> None:
    page = visit("#step=8", viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    cell(page, "y", "y[0, 0, 0]").tap()
    assert say(page, "sum").endswith("= 18")
    page.locator("#back").tap()
    assert say(page, "clock") == "8 / 9"
    sizes = page.evaluate(
        "() => [...document.querySelectorAll('.transport button')].map((b) => b.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 32


def test_light_and_dark_follow_the_system_and_the_button(visit: Any) -> None:
    paper = "() => getComputedStyle(document.querySelector('main')).backgroundColor"
    light, dark = visit(), visit(color_scheme="dark")
    assert light.evaluate(paper) == "rgb(255, 255, 255)"
    before = dark.evaluate(paper)
    assert before != "rgb(255, 255, 255)"
    dark.click("#theme")
    assert dark.evaluate(paper) == "rgb(255, 255, 255)"
    light.click("#theme")
    assert light.evaluate(paper) == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(visit: Any, scheme: str) -> None:
    page = visit("#step=4", color_scheme=scheme)
    ratios = page.evaluate(CONTRAST)
    assert min(ratios.values()) >= 4.5, ratios


def test_presenting_leaves_the_picture_alone(example: Any) -> None:
    before = example.locator("#figure").bounding_box()["width"]
    example.click("#present")
    assert not example.locator("aside").is_visible()
    assert example.locator("#figure").bounding_box()["width"] > before + 200
    example.click("#present")
    assert example.locator("aside").is_visible()


def test_a_large_layer_opens_quickly_and_whole(visit: Any, tmp_path: Path) -> None:
    plan = convmat.plan((1, 512, 28, 28), (512, 512, 3, 3), padding=1)
    page = visit(path=plan.page(tmp_path / "layer.html"))
    assert say(page, "formula") == str(plan.problem.geometry)
    assert page.evaluate("performance.now()") < 15_000
    page.locator("summary", has_text="planner").click()
    assert plan.chosen.name in page.locator("pre").inner_text()


def test_the_page_in_a_notebook_runs_inside_its_frame(visit: Any, tmp_path: Path) -> None:
    cell_ = convmat.plan((1, 2, 5, 5), (2, 2, 3, 3))._repr_html_()
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><title>a notebook</title>{cell_}")
    page = visit(path=path)
    frame = page.frame_locator("iframe")
    frame.locator("#forward").click()
    assert frame.locator("#step-title").inner_text() == "Each kernel becomes a row"


def test_given_numbers_stay_while_the_shapes_do(visit: Any, tmp_path: Path) -> None:
    x = [[[0.5, -1.25, 3.0, 1e-3]]]
    page = visit(path=convmat.plan((1, 1, 4), (1, 1, 2)).page(tmp_path / "given.html", x=x))
    assert list(values(page, "x").values()) == ["0.5", "−1.25", "3", "0.001"]
    slide(page, "slide-s", 2)
    assert list(values(page, "x").values()) == ["0.5", "−1.25", "3", "0.001"]
    slide(page, "slide-I0", 5)
    assert list(values(page, "x").values()) == ["1", "8", "5", "2", "9"]


def test_the_page_says_what_is_in_its_title(visit: Any, tmp_path: Path) -> None:
    title = 'A </script><b>layer</b> & "more"'
    page = visit(path=convmat.plan((1, 1, 4), (1, 1, 2)).page(tmp_path / "titled.html", title=title))
    assert page.title() == title
    assert page.locator("h1").inner_text() == title
    assert json.loads(page.locator("#config").inner_text())["geometry"]["I"] == [4]
