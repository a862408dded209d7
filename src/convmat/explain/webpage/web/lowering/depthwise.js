// @ts-check
/** depthwise: one channel a group; every tap multiplies a whole image, read in place, by one number. */

import { tapBlocks, tapsFirst, unrolled } from "./lowering.js";

/** @type {import("./lowering.js").Lowering} */
export const depthwise = {
  name: "depthwise",
  title: "depthwise",
  summary: {
    forward: "One channel a group: too thin for a matrix product. Each tap multiplies and adds a whole image in place.",
    input: "One channel a group: each tap multiplies the whole gradient and adds it back, shifted.",
    weight: "One channel a group: each tap's weight meets one shifted image, read in place.",
  },
  store: "place",
  atOnce: true,
  refuses: (g) => (g.C === g.G ? null : `needs one input channel a group, got ${g.C / g.G}`),
  stored: () => 0,
  depth: tapsFirst,
  board: (scene) => unrolled(scene, tapsFirst(scene)),
  blocks: tapBlocks,
};
