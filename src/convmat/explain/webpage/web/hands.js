// @ts-check
/** Pointer, touch and keyboard. */

import { element } from "./page.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./boards.js").Key} Key */

/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** @param {EventTarget | null} target @returns {number | null} the cell under it */
function cellAt(target) {
  const cell = target instanceof Element ? target.closest("[data-id]") : null;
  return cell ? Number(cell.getAttribute("data-id")) : null;
}

/** @param {EventTarget | null} target @returns {Key | null} the board around it */
function boardAt(target) {
  const board = target instanceof Element ? target.closest("[data-board]") : null;
  return board ? /** @type {Key} */ (board.getAttribute("data-board")) : null;
}

/** Hovering looks at a cell, a click or tap keeps looking at it. @param {App} app */
export function pointer(app) {
  const svg = element("picture");
  svg.addEventListener("pointerover", (event) => {
    const id = cellAt(event.target);
    if (id !== null && !app.playing && app.pinned === null && event.pointerType !== "touch") app.look(id, false);
  });
  svg.addEventListener("pointerout", (event) => {
    if (app.playing || app.pinned !== null || cellAt(event.target) === null) return;
    if (cellAt(event.relatedTarget) === null) app.unlook();
  });
  svg.addEventListener("click", (event) => {
    const id = cellAt(event.target);
    if (id === null || app.pinned === id) app.unlook();
    else app.pin(id);
  });
  svg.addEventListener("focusin", (event) => {
    const key = boardAt(event.target);
    if (key && event.target instanceof Element && event.target.matches(":focus-visible")) app.visit(key, null);
  });
  svg.addEventListener("focusout", () => {
    if (app.pinned === null) app.unlook();
  });
}

/** @param {App} app */
export function keyboard(app) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target instanceof Element ? event.target : document.body;
    const board = boardAt(target);
    /** @type {Record<string, () => void>} */
    const keys = {
      Escape: () => app.unlook(),
      ArrowRight: () => app.step(1),
      ArrowLeft: () => app.step(-1),
      Home: () => app.step(-Infinity),
      End: () => app.step(Infinity),
      " ": () => (app.playing ? app.stop() : app.play()),
    };
    const arrow = ARROWS[event.key];
    let act = keys[event.key];
    if (board && arrow) act = () => app.visit(board, arrow);
    else if (event.key !== "Escape" && target.closest("input, select, textarea, summary, pre")) return;
    else if (event.key === " " && target.closest("button, a")) return;
    if (!act) return;
    act();
    if (event.key !== "Escape") event.preventDefault();
  });
}

/**
 * The nearest cell of a board in a direction.
 * @param {{id: number}[]} board
 * @param {{x: number, y: number, size: number}[]} places by cell
 * @param {number} from
 * @param {[number, number]} direction
 */
export function neighbour(board, places, from, direction) {
  const middle = (/** @type {number} */ id) => {
    const { x, y, size } = places[id];
    return [x + size / 2, y + size / 2];
  };
  const [x0, y0] = middle(from);
  let [best, found] = [Infinity, from];
  for (const { id } of board) {
    const [x, y] = middle(id);
    const along = (x - x0) * direction[0] + (y - y0) * direction[1];
    const aside = Math.abs((x - x0) * direction[1]) + Math.abs((y - y0) * direction[0]);
    if (along > places[from].size * 0.4 && along + 3 * aside < best) [best, found] = [along + 3 * aside, id];
  }
  return found;
}
