// @ts-check
/**
 * What of a convolution is drawn: all of a small one, an honest sample of a large one.
 *
 * A sample is the first channels, taps, outputs and pixels that fit the budget, and the box of the input that their
 * windows read. explain/story/sample.py is its twin; a test holds them together.
 */

import { product, range } from "./geometry.js";

/** @typedef {import("./geometry.js").Geometry} Geometry */

/**
 * @typedef {object} Budget
 * @property {number} rows rows of the unrolled input
 * @property {number} columns columns of the unrolled input
 * @property {number} outs output channels
 * @property {number} channels input channels
 * @property {number} box input elements along an axis
 * @property {number} lines rows of the input that the windows read, along the first axis
 * @property {{across: number, down: number, channels: number}} tiles elements of tiles side by side and below each
 *   other, and channels of either kind
 */

/**
 * @typedef {object} Sample
 * @property {number} channels input channels shown, of one group
 * @property {number} outs output channels shown, of one group
 * @property {number[]} taps filter positions shown, per axis
 * @property {number[]} pixels outputs shown, per axis
 * @property {number[]} start first input coordinate shown, per axis (negative: padding)
 * @property {number[]} stop one past the last
 * @property {boolean} whole nothing is left out
 */

/** @type {Budget} */
export const WIDE = { rows: 27, columns: 25, outs: 3, channels: 5, box: 10, lines: Infinity, tiles: { across: 12, down: 10, channels: 2 } };

/** @type {Budget} */
export const NARROW = { rows: 27, columns: 9, outs: 2, channels: 3, box: 8, lines: Infinity, tiles: { across: 8, down: 8, channels: 1 } };

/** The largest r with r^power <= n. @param {number} n @param {number} power */
function root(n, power) {
  let r = 1;
  while ((r + 1) ** power <= n) r += 1;
  return r;
}

/**
 * @param {Geometry} g
 * @param {Budget} budget
 * @returns {Sample}
 */
export function sampleOf(g, budget) {
  const { F, P, E, s, d, lo, hi, rank } = g;
  const box = range(rank).map((a) => (rank === 1 ? 2 * budget.box : a < rank - 2 ? 3 : budget.box));

  // Taps: as many as fit the rows, the last axis first, and whose window fits the box.
  const taps = [...F];
  let left = budget.rows;
  for (let a = rank - 1; a >= 0; a -= 1) {
    taps[a] = Math.max(Math.min(F[a], left, Math.floor((box[a] - 1) / d[a]) + 1), 1);
    left = Math.max(Math.floor(left / taps[a]), 1);
  }
  const channels = Math.max(
    Math.min(g.C / g.G, Math.floor(budget.rows / product(taps)), budget.channels),
    1,
  );
  const outs = Math.min(g.m, budget.outs);

  // Pixels: a box about as high as wide, whose windows fit the input's box.
  const most = range(rank).map((a) =>
    Math.min(P[a], Math.max(Math.floor((box[a] - (d[a] * (taps[a] - 1) + 1)) / s[a]) + 1, 1)),
  );
  const lines = budget.lines - (d[0] * (taps[0] - 1) + 1);
  most[0] = Math.min(most[0], Math.max(Math.floor(lines / s[0]) + 1, 1));
  const side = root(budget.columns, rank);
  const pixels = most.map((p) => Math.min(p, side));
  for (let a = rank - 1; a >= 0; a -= 1) {
    const others = product(pixels) / Math.max(pixels[a], 1);
    pixels[a] = Math.min(most[a], Math.max(Math.floor(budget.columns / Math.max(others, 1)), 1));
  }

  // The input: from its padding to the last element read, or to its end where every output is shown.
  const start = lo.map((p) => Math.min(-p, 0) + 0);
  const stop = range(rank).map((a) => {
    const read = (pixels[a] - 1) * s[a] + d[a] * (taps[a] - 1) + 1 - lo[a];
    const end = E[a] + Math.max(hi[a], 0);
    return pixels[a] === P[a] && end - start[a] <= box[a] ? Math.max(end, read) : Math.max(read, start[a] + 1);
  });
  const whole =
    channels === g.C / g.G &&
    outs === g.m &&
    range(rank).every((a) => taps[a] === F[a] && pixels[a] === P[a] && stop[a] >= E[a] + Math.max(hi[a], 0));
  return { channels, outs, taps, pixels, start, stop, whole };
}
