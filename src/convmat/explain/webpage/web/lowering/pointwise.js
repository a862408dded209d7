// @ts-check
/** pointwise: with a 1x1 filter the input is the matrix already. */

import { channelsFirst, oneBlock, pairs, unrolled } from "./lowering.js";

/** @type {import("./lowering.js").Lowering} */
export const pointwise = {
  name: "pointwise",
  title: "pointwise",
  summary: {
    forward: "With a 1x1 filter the input is the matrix already: a channel is a row, read in place.",
    input: "With a 1x1 filter the product is the input's gradient already: nothing overlaps.",
    weight: "With a 1x1 filter the input is the matrix already: its rows meet the rows of the output's gradient.",
  },
  store: "place",
  refuses: (g) => {
    if (g.F.some((f) => f !== 1)) return `needs a 1x1 filter, got ${g.F.join("x")}`;
    const outside = g.lo.some((lo, a) => lo > 0 || (g.P[a] - 1) * g.s[a] - lo >= g.I[a]);
    return outside ? `needs every output inside the input, got padding ${pairs(g)}` : null;
  },
  stored: () => 0,
  depth: channelsFirst,
  board: (scene) => unrolled(scene, channelsFirst(scene)),
  blocks: (scene) => [oneBlock(scene)],
};
