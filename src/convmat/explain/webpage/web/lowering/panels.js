// @ts-check
/** panels: im2col's product, a few columns of the unrolled input at a time; the next panel overwrites the last. */

import { range } from "../geometry.js";
import { channelsFirst, oneBlock, unrolled } from "./lowering.js";

/** @type {import("./lowering.js").Lowering} */
export const panels = {
  name: "panels",
  title: "panels",
  summary: {
    forward: "The same product, a panel of columns at a time: what is stored stays in a cache, and the sums are the same.",
    input: "A panel of columns is multiplied back, added to dx, and overwritten by the next.",
    weight: "A panel of columns at a time, each adding its part to dA.",
  },
  store: "panel",
  refuses: () => null,
  stored: (g, panel) => g.k * Math.min(g.n, panel),
  depth: channelsFirst,
  board: (scene) => unrolled(scene, channelsFirst(scene)),
  blocks: (scene) => {
    const whole = oneBlock(scene);
    const count = Math.ceil(whole.cols.length / scene.panel);
    return range(count).map((i) => {
      const cols = whole.cols.slice(i * scene.panel, (i + 1) * scene.panel);
      return { ...whole, cols, j: cols, name: `panel ${i + 1} of ${count}` };
    });
  },
};
