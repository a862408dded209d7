// @ts-check
/** The words around the picture: sums written out, sizes, what the sample leaves out, tables. */

import { inBytes, inCount } from "./bars.js";
import { product, range } from "./geometry.js";
import { ways } from "./lowering/all.js";
import { element } from "./page.js";
import { show } from "./show.js";

/** @typedef {import("./geometry.js").Geometry} Geometry */
/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./story.js").Story} Story */
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
  const bracket = (/** @type {number} */ v) => (v < 0 ? `(${show(v)})` : show(v));
  part(sum.name, "name");
  part(" = ");
  sum.terms.forEach((term, i) => {
    if (i) part(" + ");
    if (term.left !== null) {
      part(bracket(term.left), "factor weight", term.leftCell);
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

/** What is drawn, where it is not all. @param {Scene} scene */
export function sampleNote(scene) {
  const { g, sample } = scene;
  const parts = [];
  const some = (/** @type {number} */ n, /** @type {number} */ all, /** @type {string} */ what) => {
    if (n < all) parts.push(`${n} of ${inCount(all)} ${what}`);
  };
  some(sample.channels, g.C / g.G, "input channels");
  some(sample.outs, g.m, "output channels");
  some(product(sample.taps), product(g.F), "filter positions");
  some(product(sample.pixels), product(g.P), "outputs");
  if (!scene.whole && !parts.length) parts.push("part of the input");
  const one = [];
  if (g.G > 1) one.push(`group ${scene.group + 1} of ${g.G}`);
  if (g.B > 1) one.push(`image ${scene.image + 1} of ${g.B}`);
  const sums = parts.length ? `a sample: ${parts.join(", ")}; sums are those of the whole` : "";
  const text = [one.join(", "), sums].filter(Boolean).join("; ");
  return text ? `Drawn is ${text}.` : "";
}

/** The three matrices as real tables, for screen readers and for copying. @param {HTMLElement} root @param {Story} story */
export function tables(root, story) {
  const values = story.valuesAt(story.steps.length - 1);
  for (const key of /** @type {import("./boards.js").Key[]} */ (["A", "U", "Y"])) {
    const plane = story.boards.planes[key];
    const table = document.createElement("table");
    table.createCaption().textContent = `${story.name(plane.symbol)}: ${plane.title}`;
    for (const row of range(plane.rows)) {
      const tr = table.insertRow();
      for (const col of range(plane.cols)) {
        const id = story.boards.id(key, row, col);
        tr.insertCell().textContent = show(values[id] ?? story.sum(id)?.total ?? story.boards.given(id));
      }
    }
    root.append(table);
  }
}
