// @ts-check
/** im2col: every window becomes a column, and the matrix of columns is stored whole. */

import { channelsFirst, oneBlock, unrolled } from "./lowering.js";

/** @type {import("./lowering.js").Lowering} */
export const im2col = {
  name: "im2col",
  title: "im2col",
  summary: {
    forward: "Every window becomes a column. The unrolled input is stored whole, then multiplied once.",
    input: "One product gives the gradient of every column, stored whole; col2im adds each element back to where it was read.",
    weight: "The unrolled input is stored whole; its rows meet the rows of the output's gradient.",
  },
  store: "whole",
  refuses: () => null,
  stored: (g) => g.unrolled,
  depth: channelsFirst,
  board: (scene) => unrolled(scene, channelsFirst(scene)),
  blocks: (scene) => [oneBlock(scene)],
};
