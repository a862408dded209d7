// @ts-check
/** Numbers as they are written, when two are the same, and what of a convolution is drawn in a sentence. */

/** @param {number} a @param {number} b */
export const near = (a, b) => Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a), Math.abs(b));

/** A number for a cell or a sentence: whole ones as they are, others with three figures. @param {number} value */
export function show(value) {
  const text = Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(3)));
  return text.replace("-", "\u2212");
}

/** Bytes for people, as Python prints them. @param {number} n */
export function inBytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let [value, unit] = [n, 0];
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number(value.toPrecision(4))} ${units[unit]}`;
}

/** A count with thousands apart, in millions or more where it is large. @param {number} n */
export function inCount(n) {
  for (const [scale, unit] of /** @type {[number, string][]} */ ([[1e12, "T"], [1e9, "G"], [1e6, "M"]])) {
    if (n >= scale) return `${Number((n / scale).toPrecision(3))} ${unit}`;
  }
  return n.toLocaleString("en-GB");
}

/**
 * What is drawn, where it is not all.
 * @param {[number, number, string][]} counts how many are drawn of how many of what
 * @param {[string, number, number][]} ones of which groups, images one is shown: its number and how many there are
 * @param {boolean} whole whether nothing else is left out
 */
export function sampleNote(counts, ones, whole) {
  const parts = counts.filter(([n, all]) => n < all).map(([n, all, what]) => `${n} of ${inCount(all)} ${what}`);
  if (!whole && !parts.length) parts.push("part of the input");
  const one = ones.filter(([, , all]) => all > 1).map(([what, i, all]) => `${what} ${i + 1} of ${all}`);
  const sums = parts.length ? `a sample: ${parts.join(", ")}; sums are those of the whole` : "";
  const text = [one.join(", "), sums].filter(Boolean).join("; ");
  return text ? `Drawn is ${text}.` : "";
}
