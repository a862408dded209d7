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
import { range } from "./geometry.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./lowering/lowering.js").Lowering} Lowering */
/** @typedef {import("./boards.js").Block} Block */
/** @typedef {import("./boards.js").Cell} Cell */
/** @typedef {"forward" | "input" | "weight"} Pass */

/**
 * @typedef {object} Step
 * @property {"flatten" | "read" | "multiply" | "add" | "rest"} stage
 * @property {string} title
 * @property {string} text
 * @property {number[]} from cells that are read
 * @property {number[]} to cells that are written
 * @property {[number, number][]} flights from cell to cell
 * @property {[number, number][]} sets cell and its new value
 * @property {number[]} drops cells that are no longer stored
 * @property {number[]} pixels columns of Y whose windows are outlined in x
 * @property {number | null} focus the cell whose sum is written out
 */

/**
 * A sum written out.
 * @typedef {object} Sum
 * @property {string} name of the element it gives
 * @property {{left: number | null, right: number, leftCell: number, rightCell: number}[]} terms left * right, or right
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
    /** @type {Step[]} */
    this.steps = [];
    /** @type {Map<number, number>} sums so far */
    this.sums = new Map();
    if (pass === "forward") this.#forward();
    else if (pass === "input") this.#input();
    else this.#weight();
  }

  /** @param {Partial<Step> & Pick<Step, "stage" | "title" | "text">} step */
  #step(step) {
    const plain = { from: [], to: [], flights: [], sets: [], drops: [], pixels: [], focus: null };
    this.steps.push({ ...plain, ...step });
  }

  /** What a gradient calls a symbol: d before what it computes or was handed. @param {string} symbol */
  name(symbol) {
    const gradients = { forward: "", input: "xULYy", weight: "wAYy" }[this.pass];
    return (gradients.includes(symbol[0]) ? "d" : "") + symbol;
  }

  /** How many there are, and of them drawn. @param {number} drawn @param {number} all */
  #some(drawn, all) {
    return drawn < all ? `${all} (${drawn} drawn)` : String(all);
  }

  // -- the three passes ------------------------------------------------------------------------------------------------

  #forward() {
    this.#flattenWeights();
    this.#overBlocks(true, (block) => {
      if (this.lowering.atOnce) this.#addTap(block);
      else block.cols.forEach((col, c) => range(this.boards.outs).forEach((o) => this.#dot(block, c, o)));
    });
    this.#rest("y", "The channels that are not drawn add their part.");
  }

  #input() {
    this.#flattenWeights();
    this.#flattenOutput();
    const back = (/** @type {Block} */ block) => block.cols.forEach((col) => this.#addBack(block, col));
    this.#overBlocks(false, (block) => {
      if (this.lowering.atOnce) this.#spread(block, range(block.cols.length));
      else range(block.cols.length).forEach((c) => this.#spread(block, [c]));
      if (this.lowering.atOnce) this.#addBackAll(block);
      else if (this.lowering.store !== "whole") back(block);
    });
    if (this.lowering.store === "whole") {
      const { rows, cols } = this.boards.board;
      back({ rows: range(rows), cols: range(cols), k: [], j: [], name: "" });
    }
    this.#rest("x", "The windows and filters that are not drawn add their part.");
  }

  #weight() {
    this.#flattenOutput();
    this.#overBlocks(true, (block) => {
      if (this.lowering.atOnce) this.#correlate(block, range(block.rows.length));
      else range(block.rows.length).forEach((r) => this.#correlate(block, [r]));
    });
    this.#rest("w", "The pixels and images that are not drawn add their part.");
  }

  /**
   * Blocks in order: all read first where the board is stored whole, each one read just before it is used elsewhere.
   * @param {boolean} read whether the board is filled from x
   * @param {(block: Block) => void} use
   */
  #overBlocks(read, use) {
    const { store, atOnce } = this.lowering;
    const { blocks, board } = this.boards;
    if (store === "whole" && read) {
      range(board.cols).forEach((col) => this.#readColumn(range(board.rows), col, ""));
    }
    blocks.forEach((block, b) => {
      if (store === "panel" && b > 0) this.dropped = this.#cells(blocks[b - 1]);
      if (store === "panel" && read && atOnce) this.#readBlock(block);
      if (store === "panel" && read && !atOnce) {
        block.cols.forEach((col) => this.#readColumn(block.rows, col, block.name));
      }
      const before = this.steps.length;
      use(block);
      if (this.dropped?.length && this.steps.length > before) this.#takeDrops(this.steps[before]);
    });
  }

  /** @type {number[]} cells of the last block, to be dropped by the next step */
  dropped = [];

  /** @param {Step} step */
  #takeDrops(step) {
    step.drops = [...step.drops, ...this.dropped.filter((id) => !step.sets.some(([set]) => set === id))];
    this.dropped = [];
  }

  /** @param {Block} block */
  #cells(block) {
    return block.rows.flatMap((row) => block.cols.map((col) => this.boards.id("U", row, col)));
  }

  // -- steps that copy -------------------------------------------------------------------------------------------------

  #flattenWeights() {
    const cells = this.boards.all("A");
    const { scene } = this;
    const several = this.boards.outs > 1;
    this.#step({
      stage: "flatten",
      title: several ? "Each kernel becomes a row" : "The kernel becomes a row",
      text:
        `${several ? "Each filter's" : "The filter's"} ${scene.g.C / scene.g.G} x ${scene.g.F.join(" x ")} weights are ` +
        `written one after the other: ${several ? "a row" : "the row"} of A, k = ${scene.g.k} long.`,
      from: cells.map((cell) => cell.twin),
      to: cells.map((cell) => cell.id),
      flights: cells.map((cell) => [cell.twin, cell.id]),
      sets: cells.map((cell) => [cell.id, this.boards.given(cell.id)]),
    });
  }

  #flattenOutput() {
    const cells = this.boards.all("Y");
    this.#step({
      stage: "flatten",
      title: "The output's gradient becomes a matrix",
      text: `dy has the shape of the output. Written row after row, each of its channels is a row of dY.`,
      from: cells.map((cell) => cell.twin),
      to: cells.map((cell) => cell.id),
      flights: cells.map((cell) => [cell.twin, cell.id]),
      sets: cells.map((cell) => [cell.id, this.boards.given(cell.id)]),
    });
  }

  /** @param {number[]} rows @param {number} col @param {string} block */
  #readColumn(rows, col, block) {
    const { boards } = this;
    const to = rows.map((row) => boards.id("U", row, col));
    const real = to.filter((id) => boards.cells[id].kind === "element");
    const pixels = [...new Set(to.flatMap((id) => (boards.uses.get(id) ?? []).map((use) => use.j)))];
    const zeros = to.length - real.length;
    const at = pixels.length === 1 ? `(${this.scene.pixels[pixels[0]].join(", ")})` : "";
    this.#step({
      stage: "read",
      title: at ? `Unroll the window of output ${at}` : `Lower column ${col}`,
      text:
        (block ? `${capital(block)}: the ` : "The ") +
        (at
          ? `${this.#some(to.length, this.scene.g.k)} elements under the kernel become column ${col} of ${boards.board.symbol}`
          : `${to.length} elements that output column ${col} reads, over all rows, become column ${col} of L`) +
        (zeros ? `; ${zeros} of them ${zeros === 1 ? "is a zero" : "are zeros"} of the padding.` : "."),
      from: real.map((id) => boards.cells[id].twin).filter((id) => id >= 0),
      to,
      flights: to.filter((id) => boards.cells[id].twin >= 0).map((id) => [boards.cells[id].twin, id]),
      sets: to.map((id) => [id, boards.given(id)]),
      drops: this.#drops(to),
      pixels,
    });
  }

  /** @param {Block} block */
  #readBlock(block) {
    const { boards } = this;
    const to = this.#cells(block);
    this.#step({
      stage: "read",
      title: `Read the image under ${block.name}`,
      text: `${capital(block.name)} of the filter meets this shifted image: ${block.rows.length} x ${block.cols.length} elements.`,
      from: to.map((id) => boards.cells[id].twin).filter((id) => id >= 0),
      to,
      flights: to.filter((id) => boards.cells[id].twin >= 0).map((id) => [boards.cells[id].twin, id]),
      sets: to.map((id) => [id, boards.given(id)]),
      drops: this.#drops(to),
    });
  }

  /** The cells to drop now. @param {number[]} kept */
  #drops(kept) {
    const set = new Set(kept);
    const gone = this.dropped.filter((id) => !set.has(id));
    this.dropped = [];
    return gone;
  }

  // -- steps that multiply ---------------------------------------------------------------------------------------------

  /** One element of Y: a row of A times a column of U. @param {Block} block @param {number} c @param {number} o */
  #dot(block, c, o) {
    const { boards } = this;
    const j = block.j[c];
    const column = block.rows.map((row) => boards.id("U", row, block.cols[c]));
    const y = boards.id("Y", o, j);
    const out = boards.cells[y].twin;
    const total = this.total(out);
    this.#step({
      stage: "multiply",
      title: `Row ${this.scene.out(o)} of A times column ${j}`,
      text:
        `${block.name ? `${capital(block.name)}: the` : "The"} ${this.#some(block.k.length, this.scene.g.k)} products, ` +
        `added up, are ` +
        `${boards.cells[out].name} = ${show(total)}.`,
      from: [...column, ...block.k.map((k) => boards.id("A", o, k))],
      to: [y, out],
      flights: [[y, out]],
      sets: [
        [y, total],
        [out, total],
      ],
      pixels: [j],
      focus: out,
    });
  }

  /** kn2row: the product of one tap, added to all of Y. @param {Block} block */
  #addTap(block) {
    const { boards } = this;
    const from = [...this.#cells(block)];
    /** @type {[number, number][]} */
    const sets = [];
    for (const o of range(boards.outs)) {
      from.push(...block.k.map((k) => boards.id("A", o, k)));
      block.j.forEach((j, c) => {
        const part = block.rows.reduce((sum, row, r) => {
          const [a, u] = [boards.id("A", o, block.k[r]), boards.id("U", row, block.cols[c])];
          return sum + boards.given(a) * boards.given(u);
        }, 0);
        const y = boards.id("Y", o, j);
        this.#accumulate(y, part, sets);
        this.#accumulate(boards.cells[y].twin, part, sets);
      });
    }
    this.#step({
      stage: "multiply",
      title: `Multiply and add ${block.name}`,
      text: `${block.k.length === 1 ? "One weight" : `${block.k.length} weights`} of each filter times the shifted image, added to every output.`,
      from,
      to: sets.map(([id]) => id),
      sets,
    });
  }

  /** Columns of dU: A transposed times columns of dY. @param {Block} block @param {number[]} columns */
  #spread(block, columns) {
    const { boards, scene } = this;
    /** @type {[number, number][]} */
    const sets = [];
    for (const c of columns) {
      const j = block.j[c];
      block.rows.forEach((row, r) => {
        const { c: channel, f } = boards.depth[block.k[r]];
        const value = scene.numbers.du(scene.image, scene.group, channel, f, scene.pixels[j]);
        this.#accumulate(boards.id("U", row, block.cols[c]), value, sets);
      });
    }
    const js = columns.map((c) => block.j[c]);
    const single = js.length === 1 ? js[0] : null;
    const symbol = this.name(boards.board.symbol);
    this.#step({
      stage: "multiply",
      title: single === null ? `Multiply back ${block.name}` : `Column ${single} of dY goes back through A`,
      text:
        single === null
          ? `The weights of ${block.name}, transposed, times dY: what every output sends back through it.`
          : `${block.name ? `${capital(block.name)}: every` : "Every"} weight times this output's gradient: what the ` +
            `${block.rows.length} elements under the window get back, in ${symbol}.`,
      from: [
        ...range(boards.outs).flatMap((o) => js.map((j) => boards.id("Y", o, j))),
        ...range(boards.outs).flatMap((o) => block.k.map((k) => boards.id("A", o, k))),
      ],
      to: sets.map(([id]) => id),
      sets,
      drops: this.#drops(sets.map(([id]) => id)),
      pixels: single === null ? [] : [single],
      focus: single === null ? null : sets[0][0],
    });
  }

  /** Rows of dA: rows of dY times rows of U. @param {Block} block @param {number[]} rows */
  #correlate(block, rows) {
    const { boards } = this;
    /** @type {[number, number][]} */
    const sets = [];
    const whole = block.cols.length === this.scene.pixels.length;
    for (const r of rows) {
      const cells = block.cols.map((col) => boards.id("U", block.rows[r], col));
      for (const o of range(boards.outs)) {
        const a = boards.id("A", o, block.k[r]);
        const part = cells.reduce(
          (sum, id, c) => sum + boards.given(id) * boards.given(boards.id("Y", o, block.j[c])),
          0,
        );
        const value = whole && !this.lowering.atOnce ? this.total(boards.cells[a].twin) : part;
        this.#accumulate(a, value, sets);
        this.#accumulate(boards.cells[a].twin, value, sets);
      }
    }
    const first = boards.cells[sets[0][0]];
    const { c, f } = boards.depth[block.k[rows[0]]];
    this.#step({
      stage: "multiply",
      title:
        rows.length > 1
          ? `Multiply and add ${block.name}`
          : `dY times row ${block.rows[rows[0]]} of ${boards.board.symbol}`,
      text:
        (block.name ? `${capital(block.name)}: ` : "") +
        (rows.length > 1
          ? `every output's gradient times what this tap read there.`
          : `${block.name ? "everything" : "Everything"} that weight (${[c, ...f].join(", ")}) met, times the gradient of the output it met it for: ` +
            `dw of that weight${whole ? "" : " so far"}.`),
      from: [
        ...rows.flatMap((r) => block.cols.map((col) => boards.id("U", block.rows[r], col))),
        ...range(boards.outs).flatMap((o) => block.j.map((j) => boards.id("Y", o, j))),
      ],
      to: sets.map(([id]) => id),
      flights: sets.filter((_, i) => i % 2 === 0).map(([id]) => [id, boards.cells[id].twin]),
      sets,
      focus: rows.length > 1 ? null : first.twin,
    });
  }

  // -- col2im ----------------------------------------------------------------------------------------------------------

  /** A column of dU is added back to dx. @param {Block} block @param {number} col */
  #addBack(block, col) {
    const { boards } = this;
    const from = block.rows.map((row) => boards.id("U", row, col)).filter((id) => this.sums.has(id));
    const real = from.filter((id) => boards.cells[id].kind === "element" && boards.cells[id].twin >= 0);
    /** @type {[number, number][]} */
    const sets = [];
    for (const id of real) this.#accumulate(boards.cells[id].twin, this.sums.get(id) ?? 0, sets);
    const pixels = [...new Set(from.flatMap((id) => (boards.uses.get(id) ?? []).map((use) => use.j)))];
    this.#step({
      stage: "add",
      title: `col2im: add column ${col} back`,
      text:
        `Each of the ${from.length} elements returns to the place in x that U had read, and is added to what is there` +
        (real.length < from.length ? `; ${from.length - real.length} fall on padding and are dropped.` : "."),
      from,
      to: sets.map(([id]) => id),
      flights: real.map((id) => [id, boards.cells[id].twin]),
      sets,
      pixels: pixels.length === 1 ? pixels : [],
    });
  }

  /** kn2row: one tap's image is added back, shifted. @param {Block} block */
  #addBackAll(block) {
    const { boards } = this;
    const from = this.#cells(block);
    const real = from.filter((id) => boards.cells[id].kind === "element" && boards.cells[id].twin >= 0);
    /** @type {[number, number][]} */
    const sets = [];
    for (const id of real) this.#accumulate(boards.cells[id].twin, this.sums.get(id) ?? 0, sets);
    this.#step({
      stage: "add",
      title: `Add ${block.name} back`,
      text: `The image returns to where ${block.name} had read it, and is added to what is there.`,
      from,
      to: sets.map(([id]) => id),
      flights: real.map((id) => [id, boards.cells[id].twin]),
      sets,
    });
  }

  /** @param {number} id @param {number} value @param {[number, number][]} sets */
  #accumulate(id, value, sets) {
    const sum = (this.sums.get(id) ?? 0) + value;
    this.sums.set(id, sum);
    const earlier = sets.find(([cell]) => cell === id);
    if (earlier) earlier[1] = sum;
    else sets.push([id, sum]);
  }

  /** Whatever the sample leaves out, added at the end. @param {"x" | "w" | "y"} key @param {string} text */
  #rest(key, text) {
    const last = new Map(this.steps.flatMap((step) => step.sets));
    /** @type {[number, number][]} */
    const sets = [];
    for (const cell of this.boards.all(key)) {
      if (cell.kind !== "element") continue;
      const total = this.total(cell.id);
      if (near(last.get(cell.id) ?? 0, total)) continue;
      sets.push([cell.id, total]);
      if (key !== "x") sets.push([this.boards.matrixCell(cell), total]);
    }
    if (sets.length) this.#step({ stage: "rest", title: "The rest", text, to: sets.map(([id]) => id), sets });
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
    if (this.lowering.store === "place" && this.pass !== "input") {
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

/** @param {string} text */
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** @param {number} a @param {number} b */
const near = (a, b) => Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a), Math.abs(b));

/** A number for a cell or a sentence: whole ones as they are, others with three figures. @param {number} value */
export function show(value) {
  const text = Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(3)));
  return text.replace("-", "\u2212");
}
