// @ts-check
/** Memory and FLOPs of every way as bars: a table whose numbers are also drawn. */

import { product } from "./geometry.js";
import { ways } from "./lowering/all.js";
import { inBytes, inCount } from "./show.js";

/** @typedef {import("./geometry.js").Geometry} Geometry */

/**
 * Writes the table: one row a way, refusals with their sentence.
 * @param {HTMLElement} root
 * @param {Geometry} g
 * @param {{panel: number, itemsize: number, chosen: string, choose: (name: string) => void}} options
 */
export function bars(root, g, { panel, itemsize, chosen, choose }) {
  const all = ways(g, panel);
  const x = product(g.xShape);
  const most = Math.max(1, x, ...all.map((way) => way.stored));
  const flops = Math.max(1, ...all.map((way) => way.flops));
  const body = document.createElement("tbody");
  const context = row("x itself", "given", [[x * itemsize, x / most, inBytes(x * itemsize), "given"]]);
  body.append(context);
  for (const way of all) {
    if (way.refusal !== null) {
      const tr = row(way.title, "refused", []);
      const td = document.createElement("td");
      td.colSpan = 2;
      td.textContent = `refuses: ${way.refusal}`;
      tr.append(td);
      body.append(tr);
      continue;
    }
    const tr = row(way.title, way.name === chosen ? "chosen" : "", [
      [way.stored, way.stored / most, inBytes(way.stored * itemsize), "memory"],
      [way.flops, way.flops / flops, inCount(way.flops), "flops"],
    ]);
    tr.dataset.way = way.name;
    tr.addEventListener("click", () => choose(way.name));
    body.append(tr);
  }
  root.querySelector("tbody")?.replaceWith(body);
}

/** @param {string} title @param {string} state @param {[number, number, string, string][]} values */
function row(title, state, values) {
  const tr = document.createElement("tr");
  tr.className = state;
  const th = document.createElement("th");
  th.scope = "row";
  th.textContent = title;
  tr.append(th);
  for (const [, part, text, kind] of values) {
    const td = document.createElement("td");
    const bar = document.createElement("span");
    bar.className = `bar ${kind}`;
    bar.style.setProperty("--part", String(part));
    const number = document.createElement("span");
    number.className = "number";
    number.textContent = text;
    td.append(bar, number);
    tr.append(td);
  }
  if (state === "given") tr.append(document.createElement("td"));
  return tr;
}
