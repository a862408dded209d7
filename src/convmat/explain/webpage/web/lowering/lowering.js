// @ts-check
/**
 * What a lowering is to the page: a matrix to draw (its board), and the products it makes, block by block.
 *
 * A new lowering is one module that exports a `Lowering`, and one line in all.js. One whose products are not of the
 * unrolled input itself (Winograd's tiles) gives its own `tell`: a story with boards, steps and a layout of any kind.
 */

import { product, range } from "../geometry.js";

/** @typedef {import("../geometry.js").Geometry} Geometry */
/** @typedef {import("../scene.js").Scene} Scene */
/** @typedef {import("../story.js").Pass} Pass */
/** @typedef {import("../tiles/story.js").TileStory} TileStory */
/** @typedef {import("../sample.js").Budget} Budget */

/** A tap of a channel: one column of A. @typedef {{c: number, f: number[]}} Depth */

/** An entry of the board: channel c of the group at coordinate q. @typedef {{c: number, q: number[]}} Origin */

/**
 * The matrix at the upper right: the unrolled input, or what the lowering stores instead of it.
 * @typedef {object} Board
 * @property {string} symbol
 * @property {string} title
 * @property {number} rows
 * @property {number} cols
 * @property {(row: number, col: number) => Origin} origin
 * @property {string} head what the labels of rows are, e.g. "c, f"
 * @property {(row: number) => string} label
 * @property {string} trueRows the true number of rows with its formula, e.g. "C·F = 12"
 * @property {string} trueCols
 * @property {boolean} cutRows rows are left out
 * @property {boolean} cutCols
 */

/**
 * One product: rows of the board with the columns of A that meet them, columns of the board with those of Y.
 * @typedef {object} Block
 * @property {number[]} rows
 * @property {number[]} k
 * @property {number[]} cols
 * @property {number[]} j
 * @property {string} name
 */

/**
 * What all lowerings say.
 * @typedef {object} Common
 * @property {string} name as in Python, e.g. "im2col"; panels are im2col's other schedule
 * @property {string} title
 * @property {Record<Pass, string>} summary
 * @property {"whole" | "panel" | "place"} store what is kept of the board: all, one block at a time, nothing
 * @property {boolean} [atOnce] a block is read and multiplied in one step each
 * @property {(g: Geometry) => string | null} refuses the reason, for one dense geometry
 * @property {(g: Geometry, panel: number) => number} stored elements held beside x, w and y, for one dense geometry
 * @property {(g: Geometry) => number} [flops] where they are fewer than the definition's
 * @property {(g: Geometry, pass: Pass) => Geometry} [own] the geometry that a pass is run as, where it is not g's own matrices
 * @property {(g: Geometry, budget: Budget) => Budget} [budget] of its own sample
 */

/**
 * A product of the unrolled input, in whatever order.
 * @typedef {Common & {depth: (scene: Scene) => Depth[], board: (scene: Scene) => Board,
 *   blocks: (scene: Scene) => Block[]}} Unrolling `depth` is the order of A's columns
 */

/** One that tells a story of its own. @typedef {Common & {tell: (scene: Scene, pass: Pass) => TileStory}} Telling */

/** @typedef {Unrolling | Telling} Lowering */

/** Taps within channels: im2col's order. @param {Scene} scene @returns {Depth[]} */
export const channelsFirst = (scene) => scene.channels.flatMap((c) => scene.taps.map((f) => ({ c, f })));

/** Channels within taps. @param {Scene} scene @returns {Depth[]} */
export const tapsFirst = (scene) => scene.taps.flatMap((f) => scene.channels.map((c) => ({ c, f })));

/**
 * The unrolled input itself, its rows in the order of A's columns.
 * @param {Scene} scene
 * @param {Depth[]} depth
 * @returns {Board}
 */
export function unrolled(scene, depth) {
  const { g, pixels } = scene;
  return {
    symbol: "U",
    title: "the unrolled input",
    rows: depth.length,
    cols: pixels.length,
    origin: (row, col) => ({ c: depth[row].c, q: scene.coordinate(pixels[col], depth[row].f) }),
    head: "c, f",
    label: (row) => [scene.channel(depth[row].c), ...depth[row].f].join(", "),
    trueRows: `k = ${g.G > 1 ? "C/G" : "C"}·F = ${g.k}`,
    trueCols: `n = B·P = ${g.n}`,
    cutRows: depth.length < g.k,
    cutCols: pixels.length < g.n,
  };
}

/** @param {Scene} scene @returns {Block} the whole product at once */
export function oneBlock(scene) {
  const rows = range(scene.channels.length * scene.taps.length);
  const cols = range(scene.pixels.length);
  return { rows, k: rows, cols, j: cols, name: "" };
}

/** One block for each tap of a board in taps-first order. @param {Scene} scene @returns {Block[]} */
export function tapBlocks(scene) {
  const C = scene.channels.length;
  const cols = range(scene.pixels.length);
  return scene.taps.map((f, t) => {
    const rows = range(C).map((c) => t * C + c);
    return { rows, k: rows, cols, j: cols, name: `tap (${f.join(", ")})` };
  });
}

/** A Python tuple, for sentences that are the same in both languages. @param {(number | string)[]} values */
export const tuple = (values) => `(${values.join(", ")}${values.length === 1 ? "," : ""})`;

/** The (lo, hi) of each axis as Python prints them. @param {Geometry} g */
export const pairs = (g) => tuple(g.lo.map((lo, a) => tuple([lo, g.hi[a]])));

/** @param {Geometry} g */
export const taps = (g) => product(g.F);
