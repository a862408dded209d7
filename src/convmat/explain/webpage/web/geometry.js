// @ts-check
/**
 * What a convolution is: the numbers of convmat/geometry.py, recomputed in the page.
 *
 *   x: (B, C, *I)    w: (O, C/G, *F)    y: (B, O, *P)
 *   E = (I - 1)*e + 1        P = floor((lo + E + hi - d*(F - 1) - 1) / s) + 1
 *
 * A test compares every number here with Python's for hundreds of geometries.
 */

/**
 * @typedef {object} Fields
 * @property {number} B batch
 * @property {number} C input channels
 * @property {number} O output channels
 * @property {number} G groups
 * @property {number[]} I input extents
 * @property {number[]} F filter extents
 * @property {number[]} s stride
 * @property {number[]} d dilation
 * @property {number[]} lo padding before
 * @property {number[]} hi padding after
 * @property {number[]} e input dilation
 */

/**
 * A dense geometry that computes the outputs start + j*step from the taps tapStart + t*tapStep.
 * @typedef {{geometry: Geometry, start: number[], step: number[], tapStart: number[], tapStep: number[]}} Phase
 */

/** Numbers that make no convolution; the message is a sentence with the values and a fix. */
export class GeometryError extends Error {}

/** @param {number[]} numbers */
export const product = (numbers) => numbers.reduce((a, b) => a * b, 1);

/** @param {number} n @returns {number[]} 0, 1, .. n - 1 */
export const range = (n) => Array.from({ length: Math.max(n, 0) }, (_, i) => i);

/**
 * All index tuples below the extents, the last axis fastest.
 * @param {number[]} extents
 * @returns {number[][]}
 */
export function indices(extents) {
  return extents.reduce((all, n) => all.flatMap((t) => range(n).map((i) => [...t, i])), /** @type {number[][]} */ ([[]]));
}

/**
 * The flat position of an index tuple, the last axis fastest.
 * @param {number[]} at
 * @param {number[]} extents
 */
export const flat = (at, extents) => at.reduce((sum, i, a) => sum * extents[a] + i, 0);

/** @param {number} a @param {number} b @returns {number} */
export const gcd = (a, b) => (b ? gcd(b, a % b) : a);

/** The remainder that has the divisor's sign. @param {number} a @param {number} b */
export const mod = (a, b) => ((a % b) + b) % b;

/** @param {number} extent @param {number} e the extent with e - 1 zeros between neighbours */
const spread = (extent, e) => (extent ? (extent - 1) * e + 1 : 0);

/** @param {number} rank @returns {string[]} what errors call the spatial axes */
export const axisNames = (rank) => [[], ["W"], ["H", "W"], ["D", "H", "W"]][rank] ?? range(rank).map(String);

export class Geometry {
  /** @param {Fields} fields */
  constructor(fields) {
    this.B = fields.B;
    this.C = fields.C;
    this.O = fields.O;
    this.G = fields.G;
    this.I = fields.I;
    this.F = fields.F;
    this.s = fields.s;
    this.d = fields.d;
    this.lo = fields.lo;
    this.hi = fields.hi;
    this.e = fields.e;
  }

  /**
   * Checked: throws GeometryError where the filter does not fit or the channels do not divide.
   * @param {Fields} fields
   */
  static of(fields) {
    const g = new Geometry(fields);
    if (g.C % g.G || g.O % g.G) {
      throw new GeometryError(
        `conv: the channels do not divide into groups\n  C = ${g.C}, O = ${g.O};  groups = ${g.G}\n` +
          `  groups must divide both, e.g. groups=${gcd(g.C, g.O)}`,
      );
    }
    axisNames(g.rank).forEach((name, a) => {
      const padded = g.lo[a] + g.E[a] + g.hi[a];
      const need = g.reach[a] - padded;
      if (need <= 0) return;
      const kind = { W: "column", H: "row" }[name] ?? "element";
      const count = need === 1 ? `one more ${kind} is` : `${need} more ${kind}s are`;
      const inserted = g.E[a] !== g.I[a] ? ` (${g.E[a]} with input dilation)` : "";
      const fixed = range(g.rank).map((i) => `(${g.lo[i]}, ${g.hi[i] + (i === a ? need : 0)})`);
      const tuple = fixed.length === 1 ? `(${fixed[0]},)` : `(${fixed.join(", ")})`;
      throw new GeometryError(
        `conv: the filter is wider than the padded input on axis ${name}\n` +
          `  input ${name} = ${g.I[a]}${inserted}, padding (${g.lo[a]}, ${g.hi[a]}) -> ${padded};  ` +
          `filter ${name} = ${g.F[a]}, dilation ${g.d[a]} -> reach ${g.reach[a]}\n` +
          `  ${g.reach[a]} > ${padded}: ${count} enough, e.g. padding=${tuple}`,
      );
    });
    return g;
  }

  /** @param {Partial<Fields>} changes @returns {Geometry} the same with other numbers, unchecked */
  with(changes) {
    return new Geometry({ ...this.fields, ...changes });
  }

  /** @returns {Fields} */
  get fields() {
    const { B, C, O, G, I, F, s, d, lo, hi, e } = this;
    return { B, C, O, G, I, F, s, d, lo, hi, e };
  }

  get rank() {
    return this.I.length;
  }

  /** Per axis, from a window's first element to its last: d*(F - 1) + 1. */
  get reach() {
    return this.F.map((f, a) => this.d[a] * (f - 1) + 1);
  }

  /** Per axis, the input's extent with its inserted zeros. */
  get E() {
    return this.I.map((i, a) => spread(i, this.e[a]));
  }

  /** Per axis, the output's extent. */
  get P() {
    const { E, reach } = this;
    return E.map((n, a) =>
      Math.max(Math.floor((this.lo[a] + n + this.hi[a] - reach[a]) / this.s[a]) + 1, 0),
    );
  }

  get xShape() {
    return [this.B, this.C, ...this.I];
  }

  get wShape() {
    return [this.O, this.C / this.G, ...this.F];
  }

  get yShape() {
    return [this.B, this.O, ...this.P];
  }

  /** Rows of a group's product. */
  get m() {
    return this.O / this.G;
  }

  /** Columns of a group's product. */
  get n() {
    return this.B * product(this.P);
  }

  /** What a group's product sums over. */
  get k() {
    return (this.C / this.G) * product(this.F);
  }

  /** Multiplications and additions of the dense product. */
  get flops() {
    return 2 * this.G * this.m * this.n * this.k;
  }

  /** Elements of the unrolled input, if it existed. */
  get unrolled() {
    return this.G * this.k * this.n;
  }

  /** How often the unrolled input repeats an element of x, on average. */
  get duplication() {
    const elements = product(this.xShape);
    return elements ? this.unrolled / elements : 0;
  }

  /** The geometry whose input is dy and whose output is dx. */
  gradInput() {
    const { reach, P } = this;
    const lo = reach.map((r, a) => r - 1 - this.lo[a]);
    const hi = reach.map((r, a) => (this.I[a] - 1) * this.e[a] + r - lo[a] - spread(P[a], this.s[a]));
    return this.with({ C: this.O, O: this.C, I: P, s: this.e, lo, hi, e: this.s });
  }

  /** The geometry of dw: C as batch, B as channels, dy as the filter. */
  gradWeight() {
    const { P, E } = this;
    const hi = P.map((p, a) => (this.F[a] - 1) * this.d[a] + this.s[a] * (p - 1) + 1 - this.lo[a] - E[a]);
    return this.with({ B: this.C / this.G, C: this.G * this.B, F: P, s: this.d, d: this.s, hi });
  }

  /**
   * Dense geometries that together write every output once and multiply no inserted zero.
   * @returns {Phase[]}
   */
  phases() {
    const axes = range(this.rank).map((a) => this.#axisPhases(a));
    return indices(axes.map((parts) => parts.length)).map((at) => this.#phase(at.map((i, a) => axes[a][i])));
  }

  /** @param {number} a */
  #axisPhases(a) {
    const [s, d, e, lo, F, P] = [this.s[a], this.d[a], this.e[a], this.lo[a], this.F[a], this.P[a]];
    const T = e / gcd(s, e);
    const U = e / gcd(d, e);
    return range(Math.min(T, Math.max(P, 1))).map((start) => {
      const found = range(Math.min(U, F)).find((f) => mod(start * s + f * d - lo, e) === 0);
      const first = found ?? F;
      return {
        start,
        step: T,
        outputs: start < P ? Math.ceil((P - start) / T) : 0,
        tapStart: first,
        tapStep: U,
        taps: Math.ceil((F - first) / U),
        s: (s * T) / e,
        d: (d * U) / e,
        lo: first < F ? 0 - Math.floor((start * s + first * d - lo) / e) : 0,
      };
    });
  }

  /**
   * @param {{start: number, step: number, outputs: number, tapStart: number, tapStep: number, taps: number, s: number,
   *   d: number, lo: number}[]} parts
   * @returns {Phase}
   */
  #phase(parts) {
    const hi = parts.map((p, a) => (p.outputs - 1) * p.s + p.d * (p.taps - 1) + 1 - p.lo - this.I[a]);
    const geometry = this.with({
      F: parts.map((p) => p.taps),
      s: parts.map((p) => p.s),
      d: parts.map((p) => p.d),
      lo: parts.map((p) => p.lo),
      hi,
      e: parts.map(() => 1),
    });
    return {
      geometry,
      start: parts.map((p) => p.start),
      step: parts.map((p) => p.step),
      tapStart: parts.map((p) => p.tapStart),
      tapStep: parts.map((p) => p.tapStep),
    };
  }

  toString() {
    const cross = (/** @type {number[]} */ shape) => shape.join("x");
    const parts = [`${cross(this.xShape)} * ${cross(this.wShape)} -> ${cross(this.yShape)}`];
    if (this.s.some((v) => v !== 1)) parts.push(`stride ${cross(this.s)}`);
    if (this.d.some((v) => v !== 1)) parts.push(`dilation ${cross(this.d)}`);
    if (this.e.some((v) => v !== 1)) parts.push(`input dilation ${cross(this.e)}`);
    if ([...this.lo, ...this.hi].some(Boolean)) {
      parts.push(`padding ${this.lo.map((lo, a) => `(${lo}, ${this.hi[a]})`).join(" ")}`);
    }
    if (this.G > 1) parts.push(`groups ${this.G}`);
    return parts.join(", ");
  }
}
