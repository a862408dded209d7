// @ts-check
/** The words around the picture: sums written out, sizes, tables. */

import { product, range } from "./geometry.js";
import { ways } from "./lowering/all.js";
import { element } from "./page.js";
import { inBytes, inCount, show } from "./show.js";

/** @typedef {import("./geometry.js").Geometry} Geometry */
/** @typedef {import("./story.js").Story | import("./tiles/story.js").TileStory} Story */
/** @typedef {import("./story.js").Sum} Sum */

/** Writes a sum out, its factors in the colour of the input element. @param {Story} story @param {Sum | null} sum */
export function writeSum(story, sum) {
  const root = element("sum");
  root.replaceChildren();
  if (!sum) return;
  const { cells } = story.boards;
  const part = (/** @type {string} */ text, kind = "", cell = -1) => {
    const span = document.createElement("span");
    span.textContent = text;
    span.className = kind;
    const colour = cell >= 0 ? cells[cell].tint : null;
    if (colour) span.style.setProperty("--tint", colour);
    root.append(span);
  };
  const bracketed = (/** @type {string} */ text) => (/^\d+$/.test(text) ? text : `(${text})`);
  const bracket = (/** @type {number} */ v) => (v < 0 ? `(${show(v)})` : show(v));
  part(sum.name, "name");
  part(" = ");
  sum.terms.forEach((term, i) => {
    if (i) part(" + ");
    if (term.left !== null) {
      part(term.leftText ? bracketed(term.leftText) : bracket(term.left), "factor weight", term.leftCell);
      part("·");
    }
    part(bracket(term.right), "factor", term.rightCell);
  });
  if (sum.more > 0 || sum.rest) {
    const more = sum.more > 0 ? `${inCount(sum.more)} more ${sum.more === 1 ? "term" : "terms"}: ` : "not drawn: ";
    part(`${sum.terms.length ? " + " : ""}(${more}${show(sum.rest)})`);
  }
  part(" = ");
  part(show(sum.total), "total");
}

/** The sizes in a sentence. @param {Geometry} g @param {import("./story.js").Pass} pass @param {number} itemsize */
export function facts(g, pass, itemsize) {
  const groups = g.G > 1 ? `${g.G} groups of ` : "";
  const times = g.duplication === 1 ? "once" : `${Number(g.duplication.toPrecision(3))} times`;
  const own = { forward: null, input: g.gradInput(), weight: g.gradWeight() }[pass];
  const also = own ? `  As convmat runs it, a convolution of its own: ${own}.` : "";
  return (
    `${groups}(${g.m} × ${g.k}) @ (${g.k} × ${g.n}).  U would hold ${inCount(g.unrolled)} elements ` +
    `(${inBytes(g.unrolled * itemsize)}) from ${inCount(product(g.xShape))} of x: each ${times}.  ${inCount(ways(g, 1)[0].flops)} FLOP.${also}`
  );
}

/** The matrices as real tables, for screen readers and for copying. @param {HTMLElement} root @param {Story} story */
export function tables(root, story) {
  const values = story.valuesAt(story.steps.length - 1);
  for (const key of story.tabled) {
    const plane = story.boards.planes[key];
    for (const sheet of range(plane.sheets)) {
      const table = document.createElement("table");
      const label = plane.sheets > 1 ? `, ${plane.labels[sheet]}` : "";
      table.createCaption().textContent = `${story.name(plane.symbol)}: ${plane.title}${label}`;
      for (const row of range(plane.rows)) {
        const tr = table.insertRow();
        for (const col of range(plane.cols)) {
          const id = story.boards.id(key, row, col, sheet);
          const { text } = story.boards.cells[id];
          tr.insertCell().textContent = text ?? show(values[id] ?? story.sum(id)?.total ?? story.given(id));
        }
      }
      root.append(table);
    }
  }
}
