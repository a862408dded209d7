"""Reading and moving a page in the browser."""

from __future__ import annotations

from typing import Any

Y = {"y[0, 0, 0]": "18", "y[0, 0, 1]": "20", "y[0, 1, 0]": "26", "y[0, 1, 1]": "28"}
"""The worked example's output."""


def say(page: Any, id_: str) -> str:
    text: str = page.locator(f"#{id_}").inner_text()
    return text


def cell(page: Any, board: str, name: str) -> Any:
    """The element of that name on a board."""
    id_ = page.evaluate(
        "([board, name]) => globalThis.convmat.app.story.boards.all(board).find((c) => c.name === name).id",
        [board, name],
    )
    return page.locator(f'[data-id="{id_}"]')


def values(page: Any, board: str) -> dict[str, str]:
    """What is written on a board, by the names of its elements."""
    found: dict[str, str] = page.evaluate(
        "(board) => Object.fromEntries(globalThis.convmat.app.story.boards.all(board).map((c) => "
        "[c.name, document.querySelector(`[data-id='${c.id}'] text`)?.textContent ?? '']))",
        board,
    )
    return found


def lit(page: Any, mark: str) -> set[str]:
    """The names of the elements that carry a mark."""
    found = page.evaluate(
        "(mark) => [...document.querySelectorAll(`.cell.${mark}`)].map((e) => "
        "globalThis.convmat.app.story.boards.cells[Number(e.dataset.id)].name)",
        mark,
    )
    return set(found)


def slide(page: Any, id_: str, value: int) -> None:
    """Move a slider, as a finger would: a value, and the event."""
    page.locator(f"#{id_}").evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", value)


CONTRAST = """() => {
  const part = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (c) => 0.2126 * part(c[0]) + 0.7152 * part(c[1]) + 0.0722 * part(c[2]);
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const d = canvas.getImageData(0, 0, 1, 1).data;
    return [d[0] / 255, d[1] / 255, d[2] / 255, d[3] / 255];
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const c = rgba(getComputedStyle(e).backgroundColor);
      if (c[3] > 0.99) return c;
    }
    return [1, 1, 1, 1];
  };
  const ratio = (a, b) => {
    const [hi, lo] = [light(a), light(b)].sort((x, y) => y - x);
    return (hi + 0.05) / (lo + 0.05);
  };
  const found = {};
  const words = ["h1", "#formula", "#step-text", "#step-title", "#summary", "#facts", "legend", ".slider label",
    "#bars th", "#bars .number", "button", ".segments span", "#clock"];
  for (const selector of words) {
    const e = document.querySelector(selector);
    found[selector] = ratio(rgba(getComputedStyle(e).color), ground(e));
  }
  const paper = rgba(getComputedStyle(document.querySelector("main")).backgroundColor);
  for (const e of document.querySelectorAll("text.title tspan, text.label, text.note, text.dimension")) {
    found[e.textContent] = ratio(rgba(getComputedStyle(e).fill), paper);
  }
  for (const cell of document.querySelectorAll(".cell.stored:is(.on-x, .on-A, .on-U, .on-y)")) {
    const fill = rgba(getComputedStyle(cell.querySelector("rect")).fill);
    found[`cell ${cell.dataset.id}`] = ratio(rgba(getComputedStyle(cell.querySelector("text")).fill), fill);
  }
  return found;
}"""
"""The contrast of each kind of words with what lies behind it, by name."""
