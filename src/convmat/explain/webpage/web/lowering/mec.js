// @ts-check
/** mec: lower all axes but the first; along it the windows of neighbouring output rows overlap in place. */

import { indices, product, range } from "../geometry.js";
import { sampleOf } from "../sample.js";
import { tapsFirst, tuple } from "./lowering.js";

/** @type {import("./lowering.js").Lowering} */
export const mec = {
  name: "mec",
  title: "MEC",
  summary: {
    forward: "Lower the columns only. Each output row multiplies a run of rows of L, and neighbouring runs overlap in place.",
    input: "Each output row adds to its run of dL, and runs overlap in place; then col2im for the columns alone.",
    weight: "Lower the columns only. Each output row's gradient meets its run of L and adds its part to dA.",
  },
  store: "whole",
  refuses: (g) => {
    if (g.rank < 2) return "needs two spatial axes or more: the first one stays as it is, got 1";
    if (g.F[0] < 2) return `needs a filter of two rows or more to overlap, got ${g.F[0]}`;
    if (g.d[0] !== 1) {
      return `needs dilation 1 on the first spatial axis (a window's rows must be one run), got ${g.d[0]}`;
    }
    if (g.F.includes(0) || g.xShape.includes(0)) {
      return `needs elements to lower, got filter ${tuple(g.F)} and input ${tuple(g.xShape)}`;
    }
    return null;
  },
  stored: (g) => product(g.P.slice(1)) * lines(g.P[0], g.s[0], g.F[0]) * product(g.F.slice(1)) * (g.C / g.G),
  budget: (g, budget) => {
    // L has all taps of a line below each other: few lines, but enough for two output rows.
    const { taps, channels } = sampleOf(g, budget);
    const run = product(taps.slice(1)) * channels;
    return { ...budget, lines: Math.max(Math.floor(36 / run), taps[0] + g.s[0]) };
  },
  depth: tapsFirst,
  board: (scene) => {
    const { g, sample, channels } = scene;
    const across = indices(sample.taps.slice(1));
    const run = across.length * channels.length;
    const columns = indices(sample.pixels.slice(1));
    const rows = lines(sample.pixels[0], g.s[0], sample.taps[0]) * run;
    const total = lines(g.P[0], g.s[0], g.F[0]) * product(g.F.slice(1)) * (g.C / g.G);
    return {
      symbol: "L",
      title: "the columns lowered",
      rows,
      cols: columns.length,
      origin: (row, col) => {
        const line = Math.floor(row / run);
        const f = across[Math.floor((row % run) / channels.length)];
        const rest = columns[col].map((p, a) => p * g.s[a + 1] + f[a] * g.d[a + 1] - g.lo[a + 1]);
        return { c: row % channels.length, q: [line - g.lo[0], ...rest] };
      },
      head: "row, f₁, c",
      label: (row) => {
        const f = across[Math.floor((row % run) / channels.length)];
        return [Math.floor(row / run) - g.lo[0], ...f, scene.channel(row % channels.length)].join(", ");
      },
      trueRows: `rows of x · F₁ · ${g.G > 1 ? "C/G" : "C"} = ${total}`,
      trueCols: `P₁ = ${product(g.P.slice(1))}`,
      cutRows: rows < total,
      cutCols: columns.length < product(g.P.slice(1)),
    };
  },
  blocks: (scene) => {
    const { g, sample, channels } = scene;
    const run = product(sample.taps.slice(1)) * channels.length;
    const k = range(sample.taps[0] * run);
    const cols = range(product(sample.pixels.slice(1)));
    return range(sample.pixels[0]).map((r) => ({
      rows: k.map((i) => r * g.s[0] * run + i),
      k,
      cols,
      j: cols.map((q) => r * cols.length + q),
      name: `output row ${r}`,
    }));
  },
};

/** Rows of the padded input that p outputs read. @param {number} p @param {number} s @param {number} f */
const lines = (p, s, f) => (p - 1) * s + f;
