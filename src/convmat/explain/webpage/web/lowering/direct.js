// @ts-check
/** direct: im2col's product whose second operand is never stored: each element is read from x when it is needed. */

import { channelsFirst, oneBlock, unrolled } from "./lowering.js";

/** @type {import("./lowering.js").Lowering} */
export const direct = {
  name: "direct",
  title: "in place",
  summary: {
    forward: "The same product, but the unrolled input need not exist: each element is read from x when its turn comes.",
    input: "Every weight times every gradient goes straight to its place in dx: no column is stored.",
    weight: "The same product, but the unrolled input need not exist: each element is read from x when its turn comes.",
  },
  store: "place",
  refuses: () => null,
  stored: () => 0,
  depth: channelsFirst,
  board: (scene) => unrolled(scene, channelsFirst(scene)),
  blocks: (scene) => [oneBlock(scene)],
};
