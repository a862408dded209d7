// @ts-check
/** kn2row: one product per filter position, shifted and added. */

import { tapBlocks, taps, tapsFirst, unrolled } from "./lowering.js";

const MOST_TAPS = 256;

/** @type {import("./lowering.js").Lowering} */
export const kn2row = {
  name: "kn2row",
  title: "kn2row",
  summary: {
    forward: "One product per filter position: the whole shifted image times that position's weights, added up.",
    input: "One product per filter position, added back to dx shifted.",
    weight: "One product per filter position: the output's gradient with the image as that position saw it.",
  },
  store: "panel",
  atOnce: true,
  refuses: (g) => {
    if (taps(g) === 1) return "needs more than one filter position: with one it is the pointwise product";
    if (taps(g) > MOST_TAPS) return `makes a product of each filter position, at most ${MOST_TAPS}, got ${taps(g)}`;
    return null;
  },
  stored: (g, panel) => (taps(g) ? (g.C / g.G) * Math.min(g.n, panel) : 0),
  depth: tapsFirst,
  board: (scene) => unrolled(scene, tapsFirst(scene)),
  blocks: tapBlocks,
};
