// @ts-check
/** What belongs to a cell of a story of tiles: the tiles that an element lies in, what meets at a point; in words as well. */

import { indices, range } from "../geometry.js";
import { show } from "../show.js";

/** @typedef {import("./story.js").TileStory} TileStory */
/** @typedef {import("./story.js").OnBench} OnBench */
/** @typedef {import("../inspect.js").Finding} Finding */
/** @typedef {import("../paint.js").Mark} Mark */

/**
 * @param {TileStory} story
 * @param {number} id
 * @param {(number | undefined)[]} values
 * @param {OnBench} bench
 * @returns {Finding}
 */
export function lookAt(story, id, values, bench) {
  const { boards, tiles } = story;
  const cell = boards.cells[id];
  /** @type {Map<number, Mark>} */
  const marks = new Map([[id, "hot"]]);
  const mark = (/** @type {Mark} */ as, /** @type {(number | undefined)[]} */ ids) => {
    for (const each of ids) if (each !== undefined && each >= 0 && !marks.has(each)) marks.set(each, as);
  };
  const value = values[id];
  const found = (/** @type {string} */ name, /** @type {string} */ text, /** @type {number[]} */ pixels = []) => ({
    title: cell.text ? `${name} = ${cell.text}` : value === undefined ? name : `${name} = ${show(value)}`,
    text, marks, pixels, sum: story.sum(id),
  }); // prettier-ignore
  const whole = (/** @type {string} */ key, /** @type {number} */ sheet) => tiles.points.map((s) => boards.point(key, sheet, s));
  const numbers = range(tiles.tiles.length);

  if (boards.planes[cell.board].bench) return onBench(story, id, bench, mark, found);
  if (cell.board === "x") {
    const c = cell.sheet;
    const under = numbers.filter((q) => boards.under(c, q).includes(id));
    mark("warm", under.flatMap((q) => whole("X", boards.sheet(c, q))));
    const many = under.length === 1 ? "one tile" : `${under.length} tiles: they overlap`;
    const what = cell.kind === "element" ? story.full(cell) : "A zero of the padding";
    return found(what, `It lies in ${many}. Each transforms it with its neighbours, into ${tiles.points.length} numbers.`, under);
  }
  if (cell.board === "w") {
    mark("warm", whole("W", cell.sheet));
    return found(story.full(cell), `One of ${indices(tiles.r).length} weights behind the ${tiles.points.length} numbers of this sheet of W.`);
  }
  if (cell.board === "y") {
    const { o, q } = story.output(cell);
    mark("warm", whole("Y", boards.sheet(o, q)));
    return found(story.full(cell), `One of the ${boards.given(o, q).length} outputs of its tile, from the ${tiles.points.length} sums of Y.`, [q]);
  }
  const { sheet, s } = boards.where(cell);
  const { channels, outs } = tiles;
  const point = `(${tiles.real(s).join(", ")})`;
  if (cell.board === "W") {
    const [o, c] = [Math.floor(sheet / channels.length), sheet % channels.length];
    mark("hot", numbers.map((q) => boards.point("X", boards.sheet(c, q), s)));
    mark("warm", numbers.map((q) => boards.point("Y", boards.sheet(o, q), s)));
    mark("warm", range(indices(tiles.r).length).map((i) => boards.planes.w.first + sheet * indices(tiles.r).length + i));
    return found(cell.name, `It meets point ${point} of every tile of its channel, and nothing else.`);
  }
  const [first, q] = [Math.floor(sheet / tiles.tiles.length), sheet % tiles.tiles.length];
  if (cell.board === "X") {
    mark("warm", boards.under(first, q));
    mark("hot", outs.map((o) => boards.point("W", boards.pair(o, first), s)));
    mark("warm", outs.map((o) => boards.point("Y", boards.sheet(o, q), s)));
    return found(cell.name, `Point ${point} of its tile: it meets the same point of W, and nothing else.`, [q]);
  }
  mark("hot", channels.flatMap((c) => [boards.point("W", boards.pair(first, c), s), boards.point("X", boards.sheet(c, q), s)]));
  mark("warm", boards.given(first, q));
  return found(cell.name, `At point ${point} a row of W[s] meets a column of X[s]: a sum over channels.`, [q]);
}

/**
 * @param {TileStory} story
 * @param {number} id
 * @param {OnBench} on
 * @param {(as: Mark, ids: (number | undefined)[]) => void} mark
 * @param {(name: string, text: string, pixels?: number[]) => Finding} found
 * @returns {Finding}
 */
function onBench(story, id, on, mark, found) {
  const { boards } = story;
  const cell = boards.cells[id];
  const [bench, part] = /** @type {["tile", "left" | "right" | "half" | "source" | "result"]} */ (cell.board.split("-"));
  const has = (/** @type {"left" | "right" | "half"} */ which) => boards.has(bench, which);
  const line = boards.line.bind(boards, bench);
  const symbol = boards.planes[cell.board].symbol;
  const { row, col } = cell;
  const pixels = on.name === "tile" || on.name === "back" ? [on.at[1]] : [];
  if (part === "result" || part === "half") {
    const last = part === "result" && has("right");
    mark("warm", last ? line(has("half") ? "half" : "source", "row", row) : line("left", "row", row));
    mark("warm", last ? line("right", "col", col) : line("source", "col", col));
    return found(cell.name, `Row ${row} from its left meets column ${col} from above.`, pixels);
  }
  if (part === "left") {
    const to = has("half") ? "half" : "result";
    mark("warm", line("source", "row", col));
    mark("warm", line(to, "row", row));
    const what = cell.text ? `It takes so much of row ${col}` : `It meets row ${col}`;
    return found(cell.name, `${what} of ${boards.planes[`${bench}-source`].symbol} into row ${row} of the product.`, pixels);
  }
  if (part === "right") {
    mark("warm", line(has("half") ? "half" : "source", "col", row));
    mark("warm", line("result", "col", col));
    return found(cell.name, `It takes so much of column ${row} into column ${col} of the product.`, pixels);
  }
  if (has("left")) mark("warm", line("left", "col", row));
  return found(`${symbol}[${row}, ${col}]`, "What is being worked on now.", pixels);
}
