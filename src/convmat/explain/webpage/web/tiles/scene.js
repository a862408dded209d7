// @ts-check
/**
 * A convolution cut into tiles: what is drawn of it, and every number on the way from x and w to y.
 *
 *   X[c, q] = BT d B       d: the tile q of channel c, t x t elements of x
 *   W[o, c] = G w GT
 *   Y[o, q] = sum over c of W[o, c] * X[c, q], point by point
 *   y[o, q] = AT Y A       m x m outputs
 *
 * Tiles are m apart. Of a dilated convolution each takes every d-th element, and d of them interleave before the next.
 * Two axes always: with one, the second has a single tap. A matrix of every transform is exact; numbers are rounded in
 * their last digits only, to what their sums are certain of.
 */

import { indices, range } from "../geometry.js";
import { fastCorrelation, valueOf } from "../toomcook.js";
import { ownOf } from "./own.js";

/** @typedef {import("../scene.js").Scene} Scene */
/** @typedef {import("../toomcook.js").Fraction} Fraction */

/** Values and, of each, the sum of its terms' magnitudes. @typedef {{v: number[][], a: number[][]}} Grid */

/** An axis: its matrices, its tiles and how many of them are drawn, its dilation, its first coordinate, its outputs.
 * @typedef {{fast: import("../toomcook.js").FastCorrelation, tiles: number, drawn: number, d: number, lo: number,
 *   P: number}} Axis */

export class TileScene {
  /** @param {Scene} scene @param {import("../story.js").Pass} pass @param {number} m */
  constructor(scene, pass, m) {
    this.own = ownOf(scene, pass);
    this.m = m;
    const { geometry: h } = this.own;
    const { tiles } = scene.budget;
    this.h = h;
    this.group = scene.group;
    this.image = pass === "weight" ? 0 : scene.image;
    const rooms = h.rank > 1 ? [tiles.down, tiles.across] : [tiles.across];
    /** @type {Axis[]} */
    this.axes = [0, 1].map((a) => {
      const real = a < h.rank;
      const F = real ? h.F[a] : 1;
      const fast = fastCorrelation(F > 1 ? m : 1, F);
      const d = F > 1 ? h.d[a] : 1;
      const count = real ? Math.ceil(h.P[a] / (d * fast.m)) * d : 1;
      const drawn = real ? Math.min(count, Math.max(Math.floor(rooms[a] / fast.t), 1)) : 1;
      return { fast, tiles: count, drawn, d, lo: real ? h.lo[a] : 0, P: real ? h.P[a] : 1 };
    });
    this.channels = range(Math.min(h.C / h.G, tiles.channels));
    this.outs = range(Math.min(h.m, tiles.channels));
    this.tiles = indices(this.axes.map((axis) => axis.drawn));
    this.points = indices(this.axes.map((axis) => axis.fast.t));
    /** @type {Map<string, Grid>} */
    this.made = new Map();
  }

  /** Extents of a tile of x, of a filter, of a tile of y. */
  get t() {
    return this.axes.map((axis) => axis.fast.t);
  }

  get r() {
    return this.axes.map((axis) => axis.fast.r);
  }

  get out() {
    return this.axes.map((axis) => axis.fast.m);
  }

  /** Whether nothing is left out of the group and image shown. */
  get whole() {
    const { h } = this;
    return this.channels.length === h.C / h.G && this.outs.length === h.m && this.axes.every((a) => a.drawn === a.tiles);
  }

  /** The channel of x behind one of the group. @param {number} c */
  channel(c) {
    return this.group * (this.h.C / this.h.G) + c;
  }

  /** @param {number} o */
  filter(o) {
    return this.group * this.h.m + o;
  }

  /** Indices of as many axes as there are. @param {number[]} at */
  real(at) {
    return at.slice(0, this.h.rank);
  }

  /** Where element u of tile q lies in x. @param {number[]} q @param {number[]} u */
  coordinate(q, u) {
    return this.axes.map((axis, a) => first(axis, q[a]) + u[a] * axis.d - axis.lo);
  }

  /** Whether a coordinate is one of x. @param {number[]} at */
  inside(at) {
    return this.real(at).every((v, a) => v >= 0 && v < this.h.I[a]);
  }

  /** Output v of tile q. @param {number[]} q @param {number[]} v */
  pixel(q, v) {
    return this.axes.map((axis, a) => first(axis, q[a]) + v[a] * axis.d);
  }

  /** Coordinates of x under the tiles that are drawn, along both axes. */
  get spots() {
    return this.axes.map((axis) => reached(axis, axis.fast.t, Infinity).map((p) => p - axis.lo));
  }

  /** Positions of y that they give. */
  get slots() {
    return this.axes.map((axis) => reached(axis, axis.fast.m, axis.P));
  }

  /** The number of the tile that gives an output, and where it lies there. @param {number[]} p */
  tileOf(p) {
    const place = this.axes.map(({ fast, d }, a) => ({
      q: Math.floor(p[a] / (d * fast.m)) * d + (p[a] % d),
      v: Math.floor((p[a] % (d * fast.m)) / d),
    }));
    return { q: place[0].q * this.axes[1].drawn + place[1].q, v: place.map(({ v }) => v) };
  }

  // -- numbers ---------------------------------------------------------------------------------------------------------

  /** @param {number} c @param {number[]} at a coordinate */
  x(c, at) {
    return this.inside(at) ? this.own.x.value(this.image, this.channel(c), ...this.real(at)) : 0;
  }

  /** @param {number} o @param {number} c @param {number[]} f */
  w(o, c, f) {
    return this.own.w.value(this.filter(o), c, ...this.real(f));
  }

  /** The tile q of channel c. @param {number} c @param {number[]} q */
  d(c, q) {
    return grid(this.t, (u) => this.x(c, this.coordinate(q, u)));
  }

  /** @param {number} o @param {number} c */
  kernel(o, c) {
    return grid(this.r, (f) => this.w(o, c, f));
  }

  /** @param {number} c @param {number[]} q */
  X(c, q) {
    return this.#once(`X ${c} ${q}`, () => this.#both("BT", this.d(c, q)));
  }

  /** @param {number} o @param {number} c */
  W(o, c) {
    return this.#once(`W ${o} ${c}`, () => this.#both("G", this.kernel(o, c)));
  }

  /** Summed over all channels, drawn or not. @param {number} o @param {number[]} q */
  Y(o, q) {
    return this.#once(`Y ${o} ${q}`, () => {
      const terms = range(this.h.C / this.h.G).map((c) => [this.W(o, c), this.X(c, q)]);
      const sum = (/** @type {"v" | "a"} */ of) =>
        grid(this.t, ([i, j]) => terms.reduce((s, [w, x]) => s + w[of][i][j] * x[of][i][j], 0)).v;
      return { v: sum("v"), a: sum("a") };
    });
  }

  /** @param {number} o @param {number[]} q */
  y(o, q) {
    return this.#once(`y ${o} ${q}`, () => this.#both("AT", this.Y(o, q)));
  }

  /** The left half of a transform: its matrix times a tile. @param {"BT" | "G" | "AT"} matrix @param {Grid} tile */
  half(matrix, tile) {
    const [rows] = this.axes.map((axis) => axis.fast[matrix]);
    return sandwich(rows, tile, null);
  }

  /** @param {"BT" | "G" | "AT"} matrix @param {Grid} tile */
  #both(matrix, tile) {
    const [rows, cols] = this.axes.map((axis) => axis.fast[matrix]);
    return sandwich(rows, tile, cols);
  }

  /** @param {string} key @param {() => Grid} make */
  #once(key, make) {
    const made = this.made.get(key) ?? make();
    this.made.set(key, made);
    return made;
  }
}

/** Where a tile begins: d of them interleave. @param {Axis} axis @param {number} q */
const first = ({ fast, d }, q) => Math.floor(q / d) * fast.m * d + (q % d);

/** The positions below `end` of `count` elements of each tile that is drawn. @param {Axis} axis @param {number} count
 * @param {number} end */
function reached(axis, count, end) {
  const all = range(axis.drawn).flatMap((q) => range(count).map((i) => first(axis, q) + i * axis.d));
  return [...new Set(all)].filter((p) => p < end).sort((a, b) => a - b);
}

/** @param {number[]} extents @param {(at: number[]) => number} at @returns {Grid} */
function grid([rows, cols], at) {
  const v = range(rows).map((i) => range(cols).map((j) => at([i, j])));
  return { v, a: v.map((row) => row.map(Math.abs)) };
}

/** rows @ tile @ cols^T, or rows @ tile. @param {Fraction[][]} rows @param {Grid} tile @param {Fraction[][] | null} cols */
function sandwich(rows, tile, cols) {
  const numbers = (/** @type {Fraction[][]} */ m, /** @type {(v: number) => number} */ f) => m.map((row) => row.map((v) => f(valueOf(v))));
  const made = (/** @type {number[][]} */ of, /** @type {(v: number) => number} */ f) => {
    const half = product(numbers(rows, f), of);
    return cols ? product(half, transposed(numbers(cols, f))) : half;
  };
  return { v: made(tile.v, (v) => v), a: made(tile.a, Math.abs) };
}

/** @param {number[][]} a @param {number[][]} b */
const product = (a, b) => a.map((row) => range(b[0].length).map((j) => row.reduce((sum, v, k) => sum + v * b[k][j], 0)));

/** @template T @param {T[][]} m @returns {T[][]} */
export const transposed = (m) => range(m[0].length).map((j) => m.map((row) => row[j]));

/** An element of a grid without the digits that rounding made. @param {Grid} of @param {number} i @param {number} j */
export function settled({ v, a }, i, j) {
  const size = a[i][j];
  const digits = size > 0 ? 14 - Math.ceil(Math.log10(size)) : 0;
  return Number(v[i][j].toFixed(Math.min(Math.max(digits, 0), 100))) + 0;
}
