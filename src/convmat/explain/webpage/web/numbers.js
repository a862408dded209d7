// @ts-check
/**
 * The numbers in the pictures: small digits computed from an element's flat position, or given arrays; and the exact
 * results by the definition, one element at a time. explain/story/digits.py is its twin.
 */

import { flat, indices, mod, product, range } from "./geometry.js";

/** @typedef {import("./geometry.js").Geometry} Geometry */
/** @typedef {{x?: number[], w?: number[], dy?: number[]}} Given flat arrays in C order */

/** @param {number} i a digit, 0 to 9 */
export const xDigit = (i) => (i * 7 + Math.floor(i / 10) * 3 + 1) % 10;
/** @param {number} i -2 to 2 */
export const wDigit = (i) => ((i * 2 + Math.floor(i / 3)) % 5) - 2;
/** @param {number} i -2 to 2 */
export const dyDigit = (i) => ((i * 3 + Math.floor(i / 4)) % 5) - 2;

/**
 * The sum over all combinations of one pair an axis of f(position in the first array, position in the second).
 * @param {number[][][]} axes for each axis its pairs
 * @param {number[]} one extents of the first array's axes
 * @param {number[]} two extents of the second's
 * @param {(first: number, second: number) => number} f
 */
function sumPairs(axes, one, two, f) {
  /** @type {(a: number, first: number, second: number) => number} */
  const walk = (a, first, second) => {
    if (a === axes.length) return f(first, second);
    let sum = 0;
    for (const [i, j] of axes[a]) sum += walk(a + 1, first * one[a] + i, second * two[a] + j);
    return sum;
  };
  return walk(0, 0, 0);
}

export class Numbers {
  /** @param {Geometry} g @param {Given} given */
  constructor(g, given = {}) {
    this.g = g;
    this.given = given;
    this.each = g.C / g.G;
    this.pixels = product(g.I);
    this.taps = product(g.F);
    this.outputs = product(g.P);
  }

  /** @param {number} i */
  #x(i) {
    return this.given.x ? this.given.x[i] : xDigit(i);
  }

  /** @param {number} i */
  #w(i) {
    return this.given.w ? this.given.w[i] : wDigit(i);
  }

  /** @param {number} i */
  #dy(i) {
    return this.given.dy ? this.given.dy[i] : dyDigit(i);
  }

  /** One of the given arrays, flat. @param {"x" | "w" | "dy"} name */
  flat(name) {
    const { g } = this;
    const [shape, at] = {
      x: /** @type {const} */ ([g.xShape, (/** @type {number} */ i) => this.#x(i)]),
      w: /** @type {const} */ ([g.wShape, (/** @type {number} */ i) => this.#w(i)]),
      dy: /** @type {const} */ ([g.yShape, (/** @type {number} */ i) => this.#dy(i)]),
    }[name];
    return range(product(shape)).map(at);
  }

  /** @param {number} b @param {number} c over all groups @param {number[]} i */
  x(b, c, i) {
    return this.#x((b * this.g.C + c) * this.pixels + flat(i, this.g.I));
  }

  /** @param {number} o @param {number} c within the group @param {number[]} f */
  w(o, c, f) {
    return this.#w((o * this.each + c) * this.taps + flat(f, this.g.F));
  }

  /** @param {number} b @param {number} o @param {number[]} p */
  dy(b, o, p) {
    return this.#dy((b * this.g.O + o) * this.outputs + flat(p, this.g.P));
  }

  /**
   * Along an axis, the input element that output p reads through tap f; -1 on padding and between inserted zeros.
   * @param {number} a
   * @param {number} p
   * @param {number} f
   */
  source(a, p, f) {
    const { s, d, lo, e, E } = this.g;
    const q = p * s[a] + f * d[a] - lo[a];
    return q >= 0 && q < E[a] && q % e[a] === 0 ? q / e[a] : -1;
  }

  /** y[b, o, p]. @param {number} b @param {number} o @param {number[]} p */
  y(b, o, p) {
    const { g, each } = this;
    const axes = g.F.map((n, a) => range(n).map((f) => [f, this.source(a, p[a], f)]).filter(([, i]) => i >= 0));
    const first = b * g.C + Math.floor(o / g.m) * each;
    return range(each).reduce((sum, c) => {
      const [w0, x0] = [(o * each + c) * this.taps, (first + c) * this.pixels];
      return sum + sumPairs(axes, g.F, g.I, (f, i) => this.#w(w0 + f) * this.#x(x0 + i));
    }, 0);
  }

  /** dU: what output p of image b sends back through tap f of channel c within the group. @param {number} b
   * @param {number} group @param {number} c @param {number[]} f @param {number[]} p */
  du(b, group, c, f, p) {
    return range(this.g.m).reduce((sum, i) => {
      const o = group * this.g.m + i;
      return sum + this.w(o, c, f) * this.dy(b, o, p);
    }, 0);
  }

  /** dx[b, c, i], c over all groups. @param {number} b @param {number} c @param {number[]} i */
  dx(b, c, i) {
    const { g, each } = this;
    const axes = g.F.map((n, a) =>
      range(n)
        .map((f) => [f, i[a] * g.e[a] + g.lo[a] - f * g.d[a]])
        .filter(([, q]) => mod(q, g.s[a]) === 0)
        .map(([f, q]) => [f, q / g.s[a]])
        .filter(([, p]) => p >= 0 && p < g.P[a]),
    );
    const group = Math.floor(c / each);
    return range(g.m).reduce((sum, j) => {
      const o = group * g.m + j;
      const [w0, y0] = [(o * each + (c % each)) * this.taps, (b * g.O + o) * this.outputs];
      return sum + sumPairs(axes, g.F, g.P, (f, p) => this.#w(w0 + f) * this.#dy(y0 + p));
    }, 0);
  }

  /** dw[o, c, f], summed over the batch. @param {number} o @param {number} c @param {number[]} f */
  dw(o, c, f) {
    const { g, each } = this;
    const axes = g.P.map((n, a) => range(n).map((p) => [p, this.source(a, p, f[a])]).filter(([, i]) => i >= 0));
    const first = Math.floor(o / g.m) * each + c;
    return range(g.B).reduce((sum, b) => {
      const [y0, x0] = [(b * g.O + o) * this.outputs, (b * g.C + first) * this.pixels];
      return sum + sumPairs(axes, g.P, g.I, (p, i) => this.#dy(y0 + p) * this.#x(x0 + i));
    }, 0);
  }

  /** All of y, dx or dw, flat: for small geometries and tests. @param {"y" | "dx" | "dw"} which */
  all(which) {
    const { g } = this;
    if (which === "y") return indices(g.yShape).map(([b, o, ...p]) => this.y(b, o, p));
    if (which === "dx") return indices(g.xShape).map(([b, c, ...i]) => this.dx(b, c, i));
    return indices(g.wShape).map(([o, c, ...f]) => this.dw(o, c, f));
  }
}
