"""The page in a browser: what clicks, keys, hovering and sliders do, against what Python computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convmat
from convmat.explain.story.digits import Digits
from convmat.explain.story.example import W, X
from tests.explain.screen import Y, cell, lit, say, slide, values

pytestmark = pytest.mark.browser


# -- steps ------------------------------------------------------------------------------------------------------------


def test_steps_lead_from_the_input_to_the_output(example: Any) -> None:
    assert say(example, "clock") == "0 / 9"
    assert set(values(example, "U").values()) == {""}
    example.click("#forward")
    assert say(example, "step-title") == "The kernel becomes a row"
    assert list(values(example, "A").values()) == [
        "1",
        "2",
        "0",
        "1",
        "2",
        "0",
        "1",
        "1",
        "0",
        "1",
        "2",
        "−1",
    ]
    for _ in range(4):
        example.click("#forward")
    assert say(example, "step-title") == "Unroll the window of output (1, 1)"
    column = [values(example, "U")[f"U[{row}, 3]"] for row in range(12)]
    assert column == ["5", "6", "8", "9", "2", "0", "0", "1", "1", "0", "0", "3"]
    assert set(values(example, "y").values()) == {""}
    for _ in range(4):
        example.click("#forward")
    assert values(example, "y") == Y
    assert say(example, "clock") == "9 / 9"
    assert say(example, "sum").replace("\n", "") == (
        "y[0, 1, 1] = 1·5 + 2·6 + 0·8 + 1·9 + 2·2 + 0·0 + 1·0 + 1·1 + 0·1 + 1·0 + 2·0 + (−1)·3 = 28"
    )
    example.click("#back")
    assert values(example, "y") == Y | {"y[0, 1, 1]": ""}


def test_keys_step_play_and_jump(example: Any) -> None:
    keys = example.keyboard
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    assert say(example, "clock") == "2 / 9"
    keys.press("ArrowLeft")
    assert say(example, "clock") == "1 / 9"
    keys.press("End")
    assert say(example, "clock") == "9 / 9"
    keys.press("Home")
    assert say(example, "clock") == "0 / 9"
    example.select_option("#speed", "4")
    example.locator("#speed").blur()
    keys.press(" ")
    assert example.get_attribute("#play", "aria-label") == "Pause"
    example.wait_for_function("document.getElementById('clock').textContent === '9 / 9'", timeout=20_000)
    example.wait_for_function("document.getElementById('play').getAttribute('aria-label') === 'Play'")
    assert values(example, "y") == Y


def test_the_time_line_can_be_dragged_anywhere(example: Any) -> None:
    slide(example, "timeline", 7)
    assert say(example, "clock") == "7 / 9"
    assert values(example, "y") == Y | {"y[0, 1, 0]": "", "y[0, 1, 1]": ""}
    assert example.get_attribute("#timeline", "aria-valuetext") == "step 7 of 9"
    slide(example, "timeline", 0)
    assert set(values(example, "Y").values()) == {""}


def test_elements_fly_and_land(visit: Any) -> None:
    page = visit("#step=0", reduced_motion="no-preference")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelectorAll('.flyer').length === 12")
    assert set(values(page, "U").values()) == {""}
    page.wait_for_function("document.querySelectorAll('.flyer').length === 0")
    assert [values(page, "U")[f"U[{row}, 0]"] for row in range(4)] == ["1", "2", "4", "5"]
    # A step during a flight ends it: what is shown is the later step.
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(1200)
    assert say(page, "clock") == "2 / 9"
    assert values(page, "U")["U[0, 1]"] == ""


# -- looking at elements ----------------------------------------------------------------------------------------------


def test_hovering_an_input_shows_every_place_it_is_copied_to(visit: Any) -> None:
    page = visit("#step=8")
    cell(page, "x", "x[0, 1, 1]").hover()
    assert lit(page, "hot") == {"x[0, 1, 1]", "U[3, 0]", "U[2, 1]", "U[1, 2]", "U[0, 3]"}
    assert say(page, "step-title") == "x[0, 1, 1] = 5"
    assert say(page, "step-text") == "x[0, 1, 1] stands in 4 places of U."
    page.mouse.move(2, 2)
    assert say(page, "step-title") == "Row 0 of A times column 3"


def test_hovering_an_output_shows_its_row_column_and_sum(visit: Any) -> None:
    page = visit("#step=8")
    cell(page, "y", "y[0, 0, 1]").hover()
    assert {f"U[{k}, 1]" for k in range(12)} <= lit(page, "warm")
    assert sum(name.startswith("A[") for name in lit(page, "warm")) == 12
    assert page.locator(".windows .edge").count() == 3
    assert say(page, "sum").endswith("= 20")
    assert say(page, "step-text") == "Row 0 of A meets column 1 of U here."


def test_a_click_keeps_an_element_lit_until_escape(visit: Any) -> None:
    page = visit("#step=8")
    cell(page, "U", "U[4, 2]").click()
    page.mouse.move(2, 2)
    assert say(page, "step-title") == "U[4, 2] = 0"
    assert say(page, "step-text") == "It is x[1, 1, 0] and meets column 4 of A in column 2 of Y."
    page.keyboard.press("Escape")
    assert say(page, "step-title") == "Row 0 of A times column 3"


def test_the_keyboard_visits_elements_and_a_screen_reader_hears_them(visit: Any) -> None:
    page = visit("#step=8")
    page.locator("#timeline").focus()
    page.locator('[data-board="x"]').focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert say(page, "step-title") == "x[0, 1, 1] = 5"
    assert say(page, "live").startswith("x[0, 1, 1] = 5. x[0, 1, 1] stands in 4 places of U.")
    assert "3 sheets of 3 by 3" in page.get_attribute('[data-board="x"]', "aria-label")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")  # from the last row of a sheet to the next sheet
    assert say(page, "step-title").startswith("x[1, 0, ")
    page.locator('[data-board="y"]').focus()
    page.keyboard.press("ArrowRight")
    assert say(page, "live").endswith("= 20")


def test_steps_are_announced(example: Any) -> None:
    assert example.get_attribute("#live", "aria-live") == "polite"
    example.keyboard.press("ArrowRight")
    assert say(example, "live").startswith(
        "Step 1 of 9. The kernel becomes a row. The filter's 3 x 2 x 2 weights"
    )


def test_the_matrices_can_be_read_as_tables(example: Any) -> None:
    example.locator("#as-tables summary").click()
    captions = example.locator("#tables caption").all_inner_texts()
    assert captions == ["A: the kernel, flattened", "U: the unrolled input", "Y: the output, as a matrix"]
    rows = example.locator("#tables table").nth(2).locator("td").all_inner_texts()
    assert rows == list(Y.values())


def test_every_control_has_a_name(example: Any) -> None:
    nameless = example.evaluate(
        """() => [...document.querySelectorAll('button, input, select, [tabindex="0"]')].filter((e) => {
          const label = e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent;
          return !label.trim();
        }).map((e) => e.outerHTML)"""
    )
    assert nameless == []


# -- ways and passes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["forward", "input", "weight"])
def test_every_way_and_pass_ends_with_the_same_numbers(example: Any, direction: str) -> None:
    x, w = X[None], W[None]
    dy = np.array([[[[-2.0, 1.0], [-1.0, 2.0]]]])
    board, array = {
        "forward": ("y", convmat.conv(x, w)),
        "input": ("x", convmat.conv_input_grad(dy, w, x.shape)),
        "weight": ("w", convmat.conv_weight_grad(x, dy, w.shape)),
    }[direction]
    for way in ("im2col", "panels", "direct", "mec", "kn2row"):
        example.locator(f"#ways-{way}").check()
        example.locator(f"#passes-{direction}").check()
        example.click("#last")
        shown = [int(value.replace("−", "-")) for value in values(example, board).values()]
        assert shown == array.ravel().tolist(), way


def test_a_way_that_refuses_says_why_and_gives_way(example: Any) -> None:
    example.locator("#ways-pointwise").check()
    assert say(example, "refusal") == "pointwise refuses this convolution: needs a 1x1 filter, got 2x2."
    assert not example.locator("#picture").is_visible()
    slide(example, "slide-F0", 1)
    slide(example, "slide-F1", 1)
    assert not example.locator("#refusal").is_visible()
    example.locator("#last").click()
    assert "" not in values(example, "y").values()


def test_panels_forget_the_panel_before(visit: Any) -> None:
    page = visit("#way=panels&panel=2&step=4")
    stored = {name for name, value in values(page, "U").items() if value}
    assert {name[-2] for name in stored} == {"0", "1"}
    page.keyboard.press("ArrowRight")
    stored = {name for name, value in values(page, "U").items() if value}
    assert {name[-2] for name in stored} == {"2"}


# -- sliders ----------------------------------------------------------------------------------------------------------


def test_sliders_change_the_convolution_and_what_it_costs(example: Any) -> None:
    slide(example, "slide-I0", 6)
    slide(example, "slide-I1", 5)
    slide(example, "slide-O", 2)
    slide(example, "slide-p", 1)
    slide(example, "slide-s", 2)
    g = convmat.Geometry.of((1, 3, 6, 5), (2, 3, 2, 2), stride=2, padding=1)
    assert say(example, "formula") == str(g)
    facts = say(example, "facts")
    assert f"({g.m} × {g.k}) @ ({g.k} × {g.n})" in facts
    assert f"{g.unrolled} elements" in facts
    bars = example.locator("#bars tr[data-way]").all_inner_texts()
    assert [row.split()[0] for row in bars] == ["im2col", "panels", "in", "MEC", "kn2row"]
    assert f"{g.unrolled * 8 / 1024:.4g} KiB" in bars[0]


def test_a_typed_number_may_be_large_and_the_picture_becomes_a_sample(example: Any) -> None:
    for id_, number in (("C", 64), ("O", 128), ("I0", 56), ("I1", 56), ("F0", 3), ("F1", 3)):
        example.locator(f"#type-{id_}").fill(str(number))
        example.locator(f"#type-{id_}").press("Enter")
    assert say(example, "formula") == "1x64x56x56 * 128x64x3x3 -> 1x128x54x54"
    assert say(example, "sample").startswith(
        "Drawn is a sample: 3 of 64 input channels, 3 of 128 output channels"
    )
    assert example.locator(".tear").count() > 4
    assert "n = B·P = 2916" in example.locator("#picture").text_content()
    example.click("#last")
    digits = Digits(convmat.Geometry.of((1, 64, 56, 56), (128, 64, 3, 3)))
    assert values(example, "y")["y[2, 1, 3]"].replace("−", "-") == str(digits.y(0, 2, (1, 3)))


def test_numbers_that_make_no_convolution_get_a_sentence_and_a_way_back(example: Any) -> None:
    slide(example, "slide-F1", 5)
    assert say(example, "refusal").startswith("conv: the filter is wider than the padded input on axis W\n")
    assert say(example, "clock") == ""
    assert say(example, "formula") == "1x3x3x3 * 1x3x2x5", "nothing is left of the shape before"
    assert (say(example, "facts"), say(example, "bars")) == ("", "")
    assert example.get_attribute("#play", "aria-disabled") == "true"
    slide(example, "slide-p", 1)
    assert example.get_attribute("#play", "aria-disabled") == "false"
    assert not example.locator("#refusal").is_visible()
    assert say(example, "formula").endswith("-> 1x1x4x1, padding (1, 1) (1, 1)")


def test_buttons_need_no_signs_of_a_font(example: Any) -> None:
    for name in ("first", "back", "play", "forward", "last"):
        assert say(example, name).strip() == ""
        assert example.locator(f"#{name} svg path").get_attribute("d")


def test_no_stage_s_name_is_cut(example: Any) -> None:
    example.set_viewport_size({"width": 390, "height": 900})
    example.reload()
    cut = "e => [...e.children].filter(p => p.scrollWidth > p.clientWidth && !p.classList.contains('wordless')).length"
    assert example.locator("#stages").evaluate(cut) == 0


def test_each_axis_and_side_can_be_set_apart(example: Any) -> None:
    example.locator("#apart").check()
    slide(example, "slide-hi1", 2)
    slide(example, "slide-s0", 2)
    assert say(example, "formula") == "1x3x3x3 * 1x3x2x2 -> 1x1x1x4, stride 2x1, padding (0, 0) (0, 2)"
    example.locator("#apart").uncheck()
    assert say(example, "formula") == "1x3x3x3 * 1x3x2x2 -> 1x1x1x1, stride 2x2"


def test_groups_divide_the_channels_and_one_is_shown(example: Any) -> None:
    slide(example, "slide-C", 4)
    slide(example, "slide-O", 4)
    slide(example, "slide-G", 1)  # the second divisor of 4
    assert say(example, "formula") == "1x4x3x3 * 4x2x2x2 -> 1x4x2x2, groups 2"
    slide(example, "group", 2)
    assert "Drawn is group 2 of 2" in say(example, "sample")
    assert "x[2, 0, 0]" in values(example, "x")
    slide(example, "slide-C", 6)  # groups stay a divisor of both
    assert say(example, "formula") == "1x6x3x3 * 4x3x2x2 -> 1x4x2x2, groups 2"
    slide(example, "slide-C", 3)
    assert say(example, "formula") == "1x3x3x3 * 4x3x2x2 -> 1x4x2x2"


def test_one_axis_is_a_row(example: Any) -> None:
    example.locator("#rank-1").check()
    assert say(example, "formula") == "1x3x8 * 1x3x2 -> 1x1x7"
    assert say(example, "refusal") == ""
    example.locator("#ways-mec").check()
    assert "needs two spatial axes or more" in say(example, "refusal")


# -- the reader's own numbers ------------------------------------------------------------------------------------------


def type_in(page: Any, name: str, text: str) -> None:
    page.fill(f"#typed-{name}", text)
    page.locator(f"#typed-{name}").blur()


def test_numbers_that_are_typed_take_the_place_of_the_digits(example: Any) -> None:
    example.click("#own-numbers summary")
    assert np.array_equal(np.fromstring(example.input_value("#typed-x"), sep=" "), X.ravel())
    assert not example.locator("#typed-dy-row").is_visible()
    w = np.arange(12).reshape(1, 3, 2, 2) - 5
    type_in(example, "w", str(w.tolist()))
    example.click("#last")
    y = convmat.conv(X[None].astype(np.float64), w.astype(np.float64))
    assert values(example, "y") == {
        f"y[0, {i}, {j}]": str(int(y[0, 0, i, j])).replace("-", "−") for i in (0, 1) for j in (0, 1)
    }
    # A slider that moves away and back finds them again; starting over forgets them.
    slide(example, "slide-O", 2)
    slide(example, "slide-O", 1)
    assert np.array_equal(np.fromstring(example.input_value("#typed-w"), sep=" "), w.ravel())
    example.click("#reset")
    assert np.array_equal(np.fromstring(example.input_value("#typed-w"), sep=" "), W.ravel())


def test_numbers_that_do_not_fit_are_refused_with_a_sentence(example: Any) -> None:
    example.click("#own-numbers summary")
    type_in(example, "w", "1 2 3")
    assert say(example, "typed-wrong") == "w of 1x3x2x2 takes 12 numbers, 3 are given."
    type_in(example, "w", "1 2 oops")
    assert say(example, "typed-wrong") == "w: oops is no number."
    type_in(example, "w", " ".join(["1"] * 12))
    assert not example.locator("#typed-wrong").is_visible()
