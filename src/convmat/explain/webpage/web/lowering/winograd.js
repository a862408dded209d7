// @ts-check
/** winograd: tiles of m outputs from m + r - 1 products an axis instead of m * r. */

import { product } from "../geometry.js";
import { ownGeometry } from "../tiles/own.js";
import { TileStory } from "../tiles/story.js";
import { MOST_POINTS } from "../toomcook.js";

/** @typedef {import("../geometry.js").Geometry} Geometry */

/** @param {number[]} numbers */
const joined = (numbers) => numbers.join("x");

/** Points of a tile, and tiles of an image. @param {Geometry} g @param {number} m */
function counts(g, m) {
  const each = g.F.map((f) => (f > 1 ? m : 1));
  const apart = g.F.map((f, a) => (f > 1 ? g.d[a] : 1));
  return {
    points: product(g.F.map((f, a) => each[a] + f - 1)),
    tiles: product(g.P.map((p, a) => Math.ceil(p / (apart[a] * each[a])) * apart[a])),
  };
}

/** F(m, r) along every axis with more than one tap. @param {number} m @returns {import("./lowering.js").Telling} */
const winograd = (m) => ({
  name: `winograd ${m}`,
  title: `Winograd ${m}`,
  summary: {
    forward:
      `Overlapping tiles of the input and the filters are transformed; at each point of a tile a small matrix product ` +
      `over the channels; transformed back, a tile is ${m} outputs an axis.`,
    input: "The input's gradient is a convolution too, of dy with the filters flipped: by tiles like any other.",
    weight: "The gradient of w is a convolution too, of x with dy as its filter: by tiles where dy is small enough.",
  },
  store: "panel",
  refuses: (g) => {
    if (g.rank > 2) return `is drawn with one or two spatial axes, got ${g.rank}`;
    if (g.s.some((s) => s !== 1)) return `is drawn with stride 1, got ${joined(g.s)}`;
    if (Math.min(...g.F) < 1) return `needs a filter position on every axis, got ${joined(g.F)}`;
    if (Math.max(...g.F) === 1) return "needs more than one filter position: a 1x1 filter multiplies no less";
    const widest = MOST_POINTS + 2 - m;
    if (Math.max(...g.F) > widest) return `takes filters up to ${widest} wide, got ${joined(g.F)}`;
    return null;
  },
  stored: (g, panel) => {
    const { points, tiles } = counts(g, m);
    return points * (g.C / g.G) * (Math.min(g.B * tiles, panel) + g.O);
  },
  flops: (g) => {
    const { points, tiles } = counts(g, m);
    return 2 * points * g.O * (g.C / g.G) * g.B * tiles;
  },
  own: ownGeometry,
  tell: (scene, pass) => new TileStory(scene, pass, m),
});

export const winograd2 = winograd(2);
export const winograd4 = winograd(4);
export const winograd6 = winograd(6);
