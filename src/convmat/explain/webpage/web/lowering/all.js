// @ts-check
/** The registry: a new lowering is a module and a line here. */

import { depthwise } from "./depthwise.js";
import { direct } from "./direct.js";
import { im2col } from "./im2col.js";
import { kn2row } from "./kn2row.js";
import { mec } from "./mec.js";
import { panels } from "./panels.js";
import { pointwise } from "./pointwise.js";
import { winograd2, winograd4, winograd6 } from "./winograd.js";

/** @typedef {import("../geometry.js").Geometry} Geometry */
/** @typedef {import("./lowering.js").Lowering} Lowering */

/** @type {Lowering[]} */
export const ALL = [im2col, panels, direct, mec, kn2row, pointwise, depthwise, winograd2, winograd4, winograd6];

/** What a way costs. @typedef {{name: string, title: string, refusal: string | null, stored: number, flops: number}} Way */

/** The reason why a lowering cannot do a pass of a geometry: the first of its phases' reasons. @param {Lowering} way
 * @param {Geometry} g @param {import("../story.js").Pass} [pass] */
export function refusal(way, g, pass = "forward") {
  for (const phase of (way.own?.(g, pass) ?? g).phases()) {
    const reason = way.refuses(phase.geometry);
    if (reason !== null) return reason;
  }
  return null;
}

/**
 * Elements stored and FLOPs of every way; phases run one after the other and share their scratch.
 * @param {Geometry} g
 * @param {number} panel columns of a panel
 * @returns {Way[]}
 */
export function ways(g, panel) {
  const phases = g.phases().map((p) => p.geometry);
  const dense = phases.filter((p) => p.P.every((n) => n > 0));
  return ALL.map((way) => {
    const reason = refusal(way, g);
    const stored = reason === null ? Math.max(0, ...dense.map((p) => way.stored(p, panel))) : 0;
    const flops = reason === null ? dense.reduce((sum, p) => sum + (way.flops?.(p) ?? p.flops), 0) : 0;
    return { name: way.name, title: way.title, refusal: reason, stored, flops };
  });
}
