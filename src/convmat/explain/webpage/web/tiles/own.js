// @ts-check
/**
 * A pass as the convolution that a lowering is handed: a gradient is one of its own, and of a geometry with input
 * dilation the first phase.
 *
 *   forward          y  = x * w
 *   input gradient   dx = dy * w with its filters flipped and their channels exchanged
 *   weight gradient  dw = x, channels as images and images as channels, * dy as filters
 */

/** @typedef {import("../geometry.js").Geometry} Geometry */
/** @typedef {import("../scene.js").Scene} Scene */
/** @typedef {import("../story.js").Pass} Pass */

/** One array: its element at an index of the pass's own convolution, and that element's name.
 * @typedef {{value: (...at: number[]) => number, name: (...at: number[]) => string}} Source */

/**
 * x by (image, channel, ..position), w by (output channel, channel within the group, ..tap), y like x.
 * @typedef {{geometry: Geometry, x: Source, w: Source, y: Source}} Own
 */

/** @param {Geometry} g @param {Pass} pass */
export const ownGeometry = (g, pass) => ({ forward: g, input: g.gradInput(), weight: g.gradWeight() })[pass];

/** @param {Scene} scene @param {Pass} pass @returns {Own} */
export function ownOf(scene, pass) {
  const { g, numbers } = scene;
  const phase = ownGeometry(g, pass).phases()[0];
  const { start, step, tapStart, tapStep } = phase;
  const out = (/** @type {number[]} */ p) => p.map((v, a) => start[a] + v * step[a]);
  const tap = (/** @type {number[]} */ f) => f.map((v, a) => tapStart[a] + v * tapStep[a]);
  const { geometry } = phase;
  const each = g.C / g.G;
  const named = (/** @type {string} */ symbol, /** @type {number[]} */ at) => `${symbol}[${at.join(", ")}]`;

  if (pass === "input") {
    // Row c of the exchanged weights: filter j of channel c's group.
    const back = (/** @type {number} */ c, /** @type {number} */ j, /** @type {number[]} */ f) =>
      [Math.floor(c / each) * g.m + j, c % each, tap(f).map((v, a) => g.F[a] - 1 - v)];
    return {
      geometry,
      x: { value: (b, o, ...p) => numbers.dy(b, o, p), name: (_, o, ...p) => named("y", [o, ...p]) },
      w: {
        value: (c, j, ...f) => {
          const [o, channel, at] = back(c, j, f);
          return numbers.w(Number(o), Number(channel), /** @type {number[]} */ (at));
        },
        name: (c, j, ...f) => named("w", back(c, j, f).flat()),
      },
      y: { value: (b, c, ...i) => numbers.dx(b, c, out(i)), name: (_, c, ...i) => named("x", [c, ...out(i)]) },
    };
  }
  if (pass === "weight") {
    const behind = (/** @type {number} */ c, /** @type {number} */ k) => Math.floor(k / g.B) * each + c;
    return {
      geometry,
      x: {
        value: (c, k, ...i) => numbers.x(k % g.B, behind(c, k), i),
        name: (c, k, ...i) => named("x", [behind(c, k), ...i]),
      },
      w: { value: (o, b, ...p) => numbers.dy(b, o, tap(p)), name: (o, _, ...p) => named("y", [o, ...tap(p)]) },
      y: { value: (c, o, ...f) => numbers.dw(o, c, out(f)), name: (c, o, ...f) => named("w", [o, c, ...out(f)]) },
    };
  }
  return {
    geometry,
    x: { value: (b, c, ...i) => numbers.x(b, c, i), name: (_, c, ...i) => named("x", [c, ...i]) },
    w: { value: (o, c, ...f) => numbers.w(o, c, tap(f)), name: (o, c, ...f) => named("w", [o, c, ...tap(f)]) },
    y: { value: (b, o, ...p) => numbers.y(b, o, out(p)), name: (_, o, ...p) => named("y", [o, ...out(p)]) },
  };
}
