// @ts-check
/** What belongs to a cell: where an element is duplicated to, which row and column make an output; in words as well. */

import { show } from "./show.js";

/** @typedef {import("./story.js").Story} Story */
/** @typedef {import("./paint.js").Mark} Mark */

/**
 * @typedef {object} Finding
 * @property {string} title
 * @property {string} text
 * @property {Map<number, Mark>} marks
 * @property {number[]} pixels columns of Y whose windows are outlined
 * @property {import("./story.js").Sum | null} sum
 */

/** @param {number} n @param {string} one @param {string} [many] */
const count = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

/**
 * @param {Story} story
 * @param {number} id
 * @param {(number | undefined)[]} values
 * @returns {Finding}
 */
export function inspect(story, id, values) {
  const { boards } = story;
  const cell = boards.cells[id];
  /** @type {Map<number, Mark>} */
  const marks = new Map();
  const mark = (/** @type {Mark} */ as, /** @type {(number | undefined)[]} */ ids) => {
    for (const each of ids) if (each !== undefined && each >= 0 && !marks.has(each)) marks.set(each, as);
  };
  const value = values[id] === undefined ? "" : ` = ${show(/** @type {number} */ (values[id]))}`;
  const name = story.name(cell.name);
  const U = story.name(boards.board.symbol);
  const sum = story.sum(id);
  mark("hot", [id]);

  if (cell.board === "x") {
    const copies = boards.copies.get(id) ?? [];
    const uses = copies.flatMap((u) => boards.uses.get(u) ?? []);
    mark("hot", copies);
    mark("warm", uses.flatMap(({ j }) => story.scene.outs.map((o) => boards.id("Y", o, j))));
    mark("warm", uses.flatMap(({ j }) => story.scene.outs.map((o) => boards.cells[boards.id("Y", o, j)].twin)));
    const places = count(copies.length, "place");
    const many = copies.length === 0 ? `read by no window that is drawn` : `stands in ${places} of ${U}`;
    const gathers = `gathers from ${places} of ${U}`;
    const verb = story.pass === "input" && copies.length ? gathers : many;
    const zero = cell.kind === "pad" ? "A zero of the padding" : "A zero of the input dilation";
    const what = cell.kind === "element" ? name : "It";
    return { title: cell.kind === "element" ? name + value : zero, text: `${what} ${verb}.`, marks, pixels: [], sum };
  }
  if (cell.board === "U") {
    const uses = boards.uses.get(id) ?? [];
    const js = [...new Set(uses.map((use) => use.j))];
    mark("hot", [cell.twin]);
    mark("warm", uses.flatMap(({ k }) => story.scene.outs.map((o) => boards.id("A", o, k))));
    mark("warm", js.flatMap((j) => story.scene.outs.map((o) => boards.id("Y", o, j))));
    const origin = cell.twin >= 0 ? boards.cells[cell.twin] : null;
    const source =
      cell.kind !== "element" ? "a zero that x does not hold" : origin ? story.name(origin.name) : "an element that is not drawn";
    const meets = uses.length ? `meets column ${[...new Set(uses.map((use) => use.k))].join(" and ")} of A` : "is not used";
    const at = js.length ? ` in column ${js.join(" and ")} of Y` : "";
    const verb = story.pass === "input" ? "goes back to" : "is";
    return { title: name + value, text: `It ${verb} ${source} and ${meets}${at}.`, marks, pixels: js.length === 1 ? js : [], sum };
  }
  if (cell.board === "w" || cell.board === "A") {
    const a = cell.board === "A" ? cell : boards.cells[boards.matrixCell(cell)];
    const line = boards.line[a.col] ?? [];
    mark("hot", [a.id, a.twin]);
    mark("warm", line);
    const title = story.name(boards.cells[a.twin].name) + value;
    const text = `Column ${a.col} of row ${a.row} of ${story.name("A")}; it meets ${count(line.filter((u) => u !== undefined).length, "element")} of ${U}.`;
    return { title, text, marks, pixels: [], sum };
  }
  const { o, j } = boards.pixel(cell);
  const y = boards.id("Y", o, j);
  mark("hot", [y, boards.cells[y].twin]);
  mark("warm", boards.column[j]);
  mark("warm", boards.depth.map((_, k) => boards.id("A", o, k)));
  mark("warm", boards.column[j].map((u) => boards.cells[u].twin));
  const title = story.name(boards.cells[boards.cells[y].twin].name) + value;
  const text = `Row ${story.scene.out(o)} of ${story.name("A")} meets column ${j} of ${story.name("U")} here.`;
  return { title, text, marks, pixels: [j], sum };
}
