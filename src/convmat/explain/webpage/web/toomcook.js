// @ts-check
/**
 * The matrices of fast correlation, exact: y = AT @ ((G @ w) * (BT @ x)), m outputs and r taps from m + r - 1 products.
 *
 * convmat/lowering/toomcook.py is its twin and says how they come from interpolation points; a test compares the two.
 */

import { gcd, range } from "./geometry.js";

/** Lowest terms, d > 0. @typedef {{n: number, d: number}} Fraction */

/** @typedef {{m: number, r: number, t: number, AT: Fraction[][], G: Fraction[][], BT: Fraction[][]}} FastCorrelation */

/** @param {number} n @param {number} [d] @returns {Fraction} */
function fraction(n, d = 1) {
  const by = Math.abs(gcd(n, d)) * (d < 0 ? -1 : 1) || 1;
  return { n: n / by + 0, d: d / by };
}

/** @param {Fraction} a @param {Fraction} b */
const times = (a, b) => fraction(a.n * b.n, a.d * b.d);

/** @param {Fraction} a @param {Fraction} b */
const minus = (a, b) => fraction(a.n * b.d - b.n * a.d, a.d * b.d);

/** @param {Fraction} f */
export const valueOf = (f) => f.n / f.d;

/** As it is written: -3/2. @param {Fraction} f */
export const textOf = (f) => (f.d === 1 ? String(f.n) : `${f.n}/${f.d}`).replace("-", "\u2212");

const [ZERO, ONE] = [fraction(0), fraction(1)];

/** Points that are known, at most. */
export const MOST_POINTS = 9;

/** For each number of finite points those that amplify rounding least, each but 0 with both its signs. */
const POINTS = ["", "0", "1", "0 1", "2/5 5/4", "0 2/3 3/2", "1/4 4/5 5/3", "0 1/2 1 2", "1/4 2/3 5/4 2", "0 2/5 4/5 5/4 5/2"];

/** So many points. @param {number} count @returns {Fraction[]} */
function known(count) {
  const sizes = POINTS[count].split(" ").filter(Boolean);
  const fractions = sizes.map((text) => text.split("/").map(Number)).map(([n, d = 1]) => fraction(n, d));
  return fractions.flatMap((f) => (f.n ? [f, fraction(-f.n, f.d)] : [f]));
}

/** F(m, r) at m + r - 2 finite points and infinity. @param {number} m @param {number} r @returns {FastCorrelation} */
export function fastCorrelation(m, r) {
  const finite = known(m + r - 2);
  const power = (/** @type {Fraction} */ p, /** @type {number} */ i) => range(i).reduce((made) => times(made, p), ONE);
  const AT = range(m).map((i) => [...finite.map((p) => power(p, i)), i === m - 1 ? ONE : ZERO]);
  const G = finite.map((p) => {
    const scale = finite.filter((q) => q !== p).reduce((made, q) => times(made, minus(p, q)), ONE);
    return range(r).map((i) => times(power(p, i), fraction(scale.d, scale.n)));
  });
  const BT = finite.map((p) => [...expanded(finite.filter((q) => q !== p)), ZERO]);
  G.push([...range(r - 1).map(() => ZERO), ONE]);
  BT.push(expanded(finite));
  return { m, r, t: m + r - 1, AT, G, BT };
}

/** The coefficients of (x - root) (x - root) .., lowest power first. @param {Fraction[]} roots */
function expanded(roots) {
  let made = [ONE];
  for (const root of roots) {
    const [shifted, kept] = [[ZERO, ...made], [...made, ZERO]];
    made = shifted.map((a, i) => minus(a, times(root, kept[i])));
  }
  return made;
}
