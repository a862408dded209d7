// @ts-check
/**
 * A scene: one convolution, the sample of it that is drawn, and the numbers in it.
 *
 * Lowerings and passes read nothing else, so each of them is a module of its own.
 */

import { indices, product, range } from "./geometry.js";
import { Numbers } from "./numbers.js";
import { sampleOf } from "./sample.js";

/** @typedef {import("./geometry.js").Geometry} Geometry */
/** @typedef {import("./sample.js").Budget} Budget */
/** @typedef {import("./numbers.js").Given} Given */

export class Scene {
  /**
   * @param {Geometry} g
   * @param {Budget} budget
   * @param {{group?: number, image?: number, panel?: number, given?: Given}} [options] the group and the image shown,
   *   the columns of a panel, and arrays to take the numbers from
   */
  constructor(g, budget, { group = 0, image = 0, panel = 4, given = {} } = {}) {
    this.g = g;
    this.budget = budget;
    this.group = Math.min(group, g.G - 1);
    this.image = Math.min(image, g.B - 1);
    this.panel = panel;
    this.numbers = new Numbers(g, given);
    this.sample = sampleOf(g, budget);
    this.channels = range(this.sample.channels);
    this.outs = range(this.sample.outs);
    this.taps = indices(this.sample.taps);
    this.pixels = indices(this.sample.pixels);
    /** Extents of the input's box. */
    this.box = this.sample.stop.map((stop, a) => stop - this.sample.start[a]);
    /** Sheets per channel: one for rank 1 and 2, a slice each beyond. */
    this.slices = product(this.box.slice(0, Math.max(g.rank - 2, 0)));
  }

  /** Whether the figure shows everything of the one group and image it is about. */
  get whole() {
    return this.sample.whole;
  }

  /** The channel of x behind a channel of the group. @param {number} c */
  channel(c) {
    return this.group * (this.g.C / this.g.G) + c;
  }

  /** The output channel behind one of the group. @param {number} o */
  out(o) {
    return this.group * this.g.m + o;
  }

  /**
   * The coordinate that output p reads through tap f, padding included: p*s + f*d - lo.
   * @param {number[]} p
   * @param {number[]} f
   */
  coordinate(p, f) {
    const { s, d, lo } = this.g;
    return p.map((v, a) => v * s[a] + f[a] * d[a] - lo[a]);
  }

  /**
   * What lies at a coordinate: an element of x, padding, or a zero that input dilation inserts.
   * @param {number[]} q
   * @returns {"element" | "pad" | "gap"}
   */
  kind(q) {
    const { E, e } = this.g;
    if (q.some((v, a) => v < 0 || v >= E[a])) return "pad";
    return q.every((v, a) => v % e[a] === 0) ? "element" : "gap";
  }

  /** The element at a coordinate of channel c of the group, 0 where there is none. @param {number} c @param {number[]} q */
  x(c, q) {
    const i = this.index(q);
    return i ? this.numbers.x(this.image, this.channel(c), i) : 0;
  }

  /** The element's index in x. @param {number[]} q @returns {number[] | null} */
  index(q) {
    return this.kind(q) === "element" ? q.map((v, a) => v / this.g.e[a]) : null;
  }

  /** @param {number} o @param {number} c @param {number[]} f */
  w(o, c, f) {
    return this.numbers.w(this.out(o), c, f);
  }

  /** @param {number} o @param {number[]} p */
  dy(o, p) {
    return this.numbers.dy(this.image, this.out(o), p);
  }
}
