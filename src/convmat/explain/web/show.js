// @ts-check
/** Numbers as they are written, and when two are the same. */

/** @param {number} a @param {number} b */
export const near = (a, b) => Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a), Math.abs(b));

/** A number for a cell or a sentence: whole ones as they are, others with three figures. @param {number} value */
export function show(value) {
  const text = Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(3)));
  return text.replace("-", "\u2212");
}
