// @ts-check
/**
 * A story: the steps by which a pass fills the boards, and what each step shows.
 *
 *   forward          Y  = A @ U          read windows into U, multiply rows of A with columns of U
 *   input gradient   dU = A^T @ dY       multiply, then col2im: add each element of dU back to where U was read from
 *   weight gradient  dA = dY @ U^T       read windows into U, multiply rows of dY with rows of U
 *
 * The boards are the same three matrices each time: what changes is which of them is unknown.
 */

import { Boards } from "./boards.js";
import { product, range } from "./geometry.js";
import { inspect } from "./inspect.js";
import { layoutOf } from "./layout.js";
import { near, sampleNote } from "./show.js";
import { Teller } from "./teller.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./lowering/lowering.js").Unrolling} Lowering */
/** @typedef {"forward" | "input" | "weight"} Pass */

/**
 * @typedef {object} Step
 * @property {"flatten" | "read" | "filter" | "tile" | "multiply" | "add" | "back" | "rest"} stage
 * @property {string} title
 * @property {string} text
 * @property {number[]} from cells that are read
 * @property {number[]} to cells that are written
 * @property {[number, number][]} flights from cell to cell
 * @property {[number, number][]} sets cell and its new value
 * @property {number[]} drops cells that are no longer stored
 * @property {number[]} pixels columns of Y (or tiles) whose windows are outlined in x
 * @property {number | null} focus the cell whose sum is written out
 */

/**
 * A sum written out.
 * @typedef {object} Sum
 * @property {string} name of the element it gives
 * @property {{left: number | null, leftText?: string, right: number, leftCell: number, rightCell: number}[]} terms
 *   left * right, or right
 * @property {number} rest of the terms that are not drawn
 * @property {number} more how many they are
 * @property {number} total
 */

/** @type {Record<Pass, {title: string, product: string, given: string}>} */
export const PASSES = {
  forward: { title: "Forward", product: "Y = A @ U", given: "x and w give y" },
  input: { title: "Input gradient", product: "dU = Aᵀ @ dY, then col2im", given: "dy and w give dx" },
  weight: { title: "Weight gradient", product: "dA = dY @ Uᵀ", given: "x and dy give dw" },
};

export class Story {
  /** @param {Scene} scene @param {Lowering} lowering @param {Pass} pass */
  constructor(scene, lowering, pass) {
    this.scene = scene;
    this.lowering = lowering;
    this.pass = pass;
    this.boards = new Boards(scene, lowering);
    /** The second operand is read where it lies. */
    this.place = lowering.store === "place";
    /** @type {import("./boards.js").Key[]} the boards that the story fills */
    this.results = { forward: ["y", "Y"], input: ["x"], weight: ["w", "A"] }[pass];
    /** @type {import("./boards.js").Key[]} the boards that are shown as tables */
    this.tabled = ["A", "U", "Y"];
    this.steps = new Teller(this).steps;
  }

  /** What a gradient calls a symbol: d before what it computes or was handed. @param {string} symbol */
  name(symbol) {
    const gradients = { forward: "", input: "xULYy", weight: "wAYy" }[this.pass];
    return (gradients.includes(symbol[0]) ? "d" : "") + symbol;
  }

  /** What is to be done, before the first step. */
  get heading() {
    return PASSES[this.pass].product;
  }

  /** What is drawn, where it is not all. */
  get note() {
    const { scene } = this;
    const { g, sample } = scene;
    return sampleNote(
      [
        [sample.channels, g.C / g.G, "input channels"],
        [sample.outs, g.m, "output channels"],
        [product(sample.taps), product(g.F), "filter positions"],
        [product(sample.pixels), product(g.P), "outputs"],
      ],
      [["group", scene.group, g.G], ["image", scene.image, g.B]],
      scene.whole,
    ); // prettier-ignore
  }

  /** @param {number} width @param {number} height */
  layout(width, height) {
    return layoutOf(this.boards, width, height, (symbol) => this.name(symbol));
  }

  /** What belongs to a cell. @param {number} id @param {(number | undefined)[]} values */
  look(id, values) {
    return inspect(this, id, values);
  }

  /** What a cell holds when its board is full. @param {number} id */
  given(id) {
    return this.boards.given(id);
  }

  /** No boards take turns. */
  benchAt() {
    return null;
  }

  /** The window of one output: its cells of x, a list for each sheet. @param {number[]} pixels columns of Y */
  windows(pixels) {
    const { scene, boards } = this;
    if (pixels.length !== 1) return [];
    const p = scene.pixels[pixels[0]];
    return scene.channels.flatMap((c) => {
      /** @type {Map<number, number[]>} */
      const bySheet = new Map();
      for (const f of scene.taps) {
        const id = boards.at.get(`x ${c} ${scene.coordinate(p, f)}`);
        if (id === undefined) continue;
        const { sheet } = boards.cells[id];
        bySheet.set(sheet, [...(bySheet.get(sheet) ?? []), id]);
      }
      return [...bySheet.values()];
    });
  }

  // -- values ----------------------------------------------------------------------------------------------------------

  /** The true value of a cell of the result: of x, w or y. @param {number} id @returns {number} */
  total(id) {
    const { scene, boards } = this;
    const cell = boards.cells[id];
    const { numbers, image } = scene;
    if (cell.board === "x") {
      const index = scene.index(boards.coordinate(cell));
      return index ? numbers.dx(image, scene.channel(Math.floor(cell.sheet / scene.slices)), index) : 0;
    }
    if (cell.board === "w") {
      const { o, c, f } = boards.tap(cell);
      return numbers.dw(scene.out(o), c, f);
    }
    const { o, p } = boards.pixel(cell);
    return numbers.y(image, scene.out(o), p);
  }

  /** The boards that are given from the start. @returns {import("./boards.js").Key[]} */
  get givens() {
    const sheets = { forward: ["x", "w"], input: ["w", "y"], weight: ["x", "y"] }[this.pass];
    return /** @type {import("./boards.js").Key[]} */ (sheets);
  }

  /**
   * What every cell holds after step t (-1: before the first); undefined where nothing is stored yet.
   * @param {number} t
   * @returns {(number | undefined)[]}
   */
  valuesAt(t) {
    /** @type {(number | undefined)[]} */
    const values = new Array(this.boards.cells.length).fill(undefined);
    const start = this.givens.flatMap((key) => this.boards.all(key));
    for (const cell of start) if (cell.kind === "element") values[cell.id] = this.boards.given(cell.id);
    if (this.place && this.pass !== "input") {
      for (const cell of this.boards.all("U")) values[cell.id] = this.boards.given(cell.id);
    }
    for (const step of this.steps.slice(0, t + 1)) {
      for (const id of step.drops) values[id] = undefined;
      for (const [id, value] of step.sets) values[id] = value;
    }
    return values;
  }

  /**
   * The sum behind a cell of the result (or of dU): its terms with the cells they come from.
   * @param {number} id
   * @returns {Sum | null}
   */
  sum(id) {
    const { boards, pass } = this;
    const cell = boards.cells[id];
    const name = this.name(cell.name);
    if (pass === "forward" && (cell.board === "y" || cell.board === "Y")) {
      const { o, j } = boards.pixel(cell);
      const pairs = boards.depth.map((_, k) => [boards.id("A", o, k), boards.column[j][k]]);
      const true_ = this.total(boards.id("Y", o, j));
      return this.#sum(this.name(boards.cells[boards.cells[boards.id("Y", o, j)].twin].name), pairs, true_, this.scene.g.k);
    }
    if (pass === "weight" && (cell.board === "w" || cell.board === "A")) {
      const a = cell.board === "A" ? cell : boards.cells[boards.matrixCell(cell)];
      const pairs = boards.line[a.col].map((u, j) => [boards.id("Y", a.row, j), u]);
      return this.#sum(this.name(boards.cells[a.twin].name), pairs, this.total(a.twin), this.scene.g.n);
    }
    if (pass === "input" && cell.board === "U") {
      const uses = boards.uses.get(id) ?? [];
      const pairs = uses.flatMap(({ k, j }) => range(boards.outs).map((o) => [boards.id("A", o, k), boards.id("Y", o, j)]));
      return this.#sum(name, pairs, this.#back(id), uses.length * this.scene.g.m);
    }
    if (pass === "input" && cell.board === "x" && cell.kind === "element") {
      const terms = (boards.copies.get(id) ?? []).map((u) => ({
        left: null, right: this.#back(u), leftCell: -1, rightCell: u,
      })); // prettier-ignore
      const total = this.total(id);
      const rest = total - terms.reduce((sum, term) => sum + term.right, 0);
      return { name, terms, rest: near(rest, 0) ? 0 : rest, more: 0, total };
    }
    return null;
  }

  /** The whole value of a cell of dU. @param {number} id */
  #back(id) {
    const { boards, scene } = this;
    return (boards.uses.get(id) ?? []).reduce((sum, { k, j }) => {
      const { c, f } = boards.depth[k];
      return sum + scene.numbers.du(scene.image, scene.group, c, f, scene.pixels[j]);
    }, 0);
  }

  /** @param {string} name @param {number[][]} pairs @param {number} total @param {number} count @returns {Sum} */
  #sum(name, pairs, total, count) {
    const terms = pairs.map(([leftCell, rightCell]) => ({
      left: this.boards.given(leftCell), right: this.boards.given(rightCell), leftCell, rightCell,
    })); // prettier-ignore
    const rest = total - terms.reduce((sum, term) => sum + term.left * term.right, 0);
    return { name, terms, rest: near(rest, 0) ? 0 : rest, more: count - terms.length, total };
  }
}
