// @ts-check
/**
 * What a view is, and its one-line form in the address: everything needed to show the same thing again.
 *
 *   #x=1x3x3x3&w=1x3x2x2&stride=1,1&padding=0:0,0:0&dilation=1,1&groups=1&pass=forward&way=im2col&step=3
 */

import { Geometry, product } from "./geometry.js";
import { PASSES } from "./story.js";

/** @typedef {import("./story.js").Pass} Pass */
/** @typedef {import("./geometry.js").Fields} Fields */

/**
 * @typedef {object} View
 * @property {Geometry} geometry may be one that makes no convolution: checked where it is used
 * @property {Pass} pass
 * @property {string} way the lowering's name
 * @property {number} step -1 before the first
 * @property {number} panel columns of a panel
 * @property {number} group
 * @property {number} image
 */

/** Most elements an array may have in the page. */
const MOST = 2 ** 40;

/** @param {View} view */
export function toFragment(view) {
  const g = view.geometry;
  const parts = {
    x: g.xShape.join("x"),
    w: g.wShape.join("x"),
    stride: g.s.join(),
    padding: g.lo.map((lo, a) => `${lo}:${g.hi[a]}`).join(),
    dilation: g.d.join(),
    ...(g.e.some((e) => e !== 1) ? { spread: g.e.join() } : {}),
    groups: g.G,
    pass: view.pass,
    way: view.way,
    ...(view.way === "panels" ? { panel: view.panel } : {}),
    ...(view.group ? { group: view.group } : {}),
    ...(view.image ? { image: view.image } : {}),
    step: view.step,
  };
  return `#${Object.entries(parts).map(([name, value]) => `${name}=${String(value).replaceAll(" ", "+")}`).join("&")}`;
}

/**
 * The view of a fragment; what it does not say is taken from `start`. Throws an Error for what makes no sense.
 * @param {string} fragment
 * @param {View} start
 * @param {string[]} wayNames
 * @returns {View}
 */
export function fromFragment(fragment, start, wayNames) {
  const said = new URLSearchParams(fragment.replace(/^#/, ""));
  const g = start.geometry;
  const x = shape(said, "x", g.xShape);
  const w = shape(said, "w", g.wShape);
  const rank = x.length - 2;
  if (w.length !== x.length || rank < 1) throw new Error(`x=${x.join("x")} and w=${w.join("x")} need the same axes, at least three`);
  const same = rank === g.rank;
  const s = list(said, "stride", same ? g.s : undefined, rank, 1);
  const d = list(said, "dilation", same ? g.d : undefined, rank, 1);
  const e = list(said, "spread", same && !said.has("x") ? g.e : undefined, rank, 1);
  const G = whole(said.get("groups") ?? String(g.G), "groups", 1);
  const padding = (said.get("padding") ?? (same ? g.lo.map((lo, a) => `${lo}:${g.hi[a]}`).join() : "0:0")).split(",");
  const each = padding.length === 1 ? Array(rank).fill(padding[0]) : padding;
  if (each.length !== rank) throw new Error(`padding=${padding.join()} needs one lo:hi for each of ${rank} axes`);
  const pairs = each.map((/** @type {string} */ text) => text.split(":").map((v) => whole(v, "padding", -1e6)));
  const geometry = new Geometry({
    B: x[0], C: x[1], O: w[0], G, I: x.slice(2), F: w.slice(2), s, d, e,
    lo: pairs.map((p) => p[0]), hi: pairs.map((p) => p[1] ?? p[0]),
  }); // prettier-ignore
  if (w[1] * G !== x[1]) throw new Error(`w takes ${w[1]} channels in each of ${G} groups, x has ${x[1]}`);
  const pass = said.get("pass") ?? start.pass;
  if (!(pass in PASSES)) throw new Error(`pass=${pass} is none of ${Object.keys(PASSES).join(", ")}`);
  const way = said.get("way") ?? start.way;
  if (!wayNames.includes(way)) throw new Error(`way=${way} is none of ${wayNames.join(", ")}`);
  return {
    geometry,
    pass: /** @type {Pass} */ (pass),
    way,
    step: whole(said.get("step") ?? String(start.step), "step", -1),
    panel: whole(said.get("panel") ?? String(start.panel), "panel", 1),
    group: Math.min(whole(said.get("group") ?? String(start.group), "group", 0), G - 1),
    image: Math.min(whole(said.get("image") ?? String(start.image), "image", 0), x[0] - 1),
  };
}

/** @param {URLSearchParams} said @param {string} name @param {number[]} otherwise */
function shape(said, name, otherwise) {
  const text = said.get(name);
  if (text === null) return otherwise;
  const numbers = text.split("x").map((v) => whole(v, name, 1));
  if (product(numbers) > MOST) throw new Error(`${name}=${text} has more than 2^40 elements`);
  return numbers;
}

/** @param {URLSearchParams} said @param {string} name @param {number[] | undefined} otherwise @param {number} rank
 * @param {number} least */
function list(said, name, otherwise, rank, least) {
  const text = said.get(name);
  if (text === null) return otherwise ?? Array(rank).fill(1);
  const numbers = text.split(",").map((v) => whole(v, name, least));
  if (numbers.length === 1) return Array(rank).fill(numbers[0]);
  if (numbers.length !== rank) throw new Error(`${name}=${text} needs one number for each of ${rank} axes`);
  return numbers;
}

/** @param {string} text @param {string} name @param {number} least */
function whole(text, name, least) {
  const number = Number(text);
  if (!/^-?\d+$/.test(text.trim()) || number < least) throw new Error(`${name}=${text} must be a whole number of at least ${least}`);
  return number;
}
