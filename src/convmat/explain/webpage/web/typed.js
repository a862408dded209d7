// @ts-check
/** The reader's own numbers: a box for each given array, in C order, as many as the array has elements. */

import { product } from "./geometry.js";
import { element } from "./page.js";

/** @typedef {import("./geometry.js").Geometry} Geometry */
/** @typedef {import("./numbers.js").Numbers} Numbers */
/** @typedef {"x" | "w" | "dy"} Name */

/** @type {Name[]} */
const NAMES = ["x", "w", "dy"];

/** Elements of an array that can be typed. */
export const MOST = 600;

/**
 * The numbers in a text, between blanks, commas or brackets. Throws an Error with a sentence.
 * @param {string} name @param {string} text @param {number[]} shape
 */
export function parsed(name, text, shape) {
  const words = text.split(/[\s,;[\]()]+/).filter((word) => word !== "");
  const wrong = words.find((word) => !Number.isFinite(Number(word)));
  if (wrong !== undefined) throw new Error(`${name}: ${wrong} is no number`);
  const count = product(shape);
  if (words.length !== count)
    throw new Error(`${name} of ${shape.join("x")} takes ${count} numbers, ${words.length} are given`);
  return words.map(Number);
}

/** A flat array as text: a line for each of its last axis. @param {number[]} values @param {number[]} shape */
export function written(values, shape) {
  const width = shape[shape.length - 1];
  /** @type {string[]} */
  const lines = [];
  for (let at = 0; at < values.length; at += width) lines.push(values.slice(at, at + width).join(" "));
  return lines.join("\n");
}

/** @param {Geometry} g @returns {Record<Name, number[]>} */
export const shapesOf = (g) => ({ x: g.xShape, w: g.wShape, dy: g.yShape });

export class Typed {
  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
    /** @type {Map<string, number[]>} arrays by name and shape: a slider that returns finds them again */
    this.arrays = new Map();
    /** @type {Geometry | null} */
    this.g = null;
    for (const name of NAMES) this.#box(name).addEventListener("change", () => this.#take(name));
  }

  /** What was typed for a geometry's arrays. @param {Geometry} g @returns {import("./numbers.js").Given} */
  given(g) {
    const shapes = shapesOf(g);
    return Object.fromEntries(
      NAMES.map((name) => [name, this.arrays.get(`${name} ${shapes[name].join("x")}`)]).filter(([, found]) => found),
    );
  }

  /** Forgets all of it. */
  clear() {
    this.arrays.clear();
  }

  /**
   * Writes the numbers that are shown into the boxes; an array that is too large for one has none.
   * @param {Geometry} g @param {Numbers} numbers @param {Name[]} read the arrays that the pass reads
   */
  show(g, numbers, read) {
    this.g = g;
    element("typed-wrong").hidden = true;
    const shapes = shapesOf(g);
    for (const name of NAMES) {
      const shape = shapes[name];
      const fits = product(shape) <= MOST;
      element(`typed-${name}-row`).hidden = !read.includes(name);
      element(`typed-${name}-shape`).textContent = fits
        ? `${name}, ${shape.join(" x ")}`
        : `${name}, ${shape.join(" x ")}: more than ${MOST} numbers, too many to type`;
      const box = this.#box(name);
      box.hidden = !fits;
      box.value = fits ? written(numbers.flat(name), shape) : "";
    }
  }

  /** @param {Name} name */
  #take(name) {
    if (!this.g) return;
    const shape = shapesOf(this.g)[name];
    try {
      this.arrays.set(`${name} ${shape.join("x")}`, parsed(name, this.#box(name).value, shape));
    } catch (error) {
      element("typed-wrong").textContent = `${error instanceof Error ? error.message : error}.`;
      element("typed-wrong").hidden = false;
      return;
    }
    this.changed();
  }

  /** @param {Name} name */
  #box(name) {
    return /** @type {HTMLTextAreaElement} */ (element(`typed-${name}`));
  }
}
