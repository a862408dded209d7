// @ts-check
/**
 * Tells a story: makes the steps by which a pass fills the boards, for lowerings whose products are of the unrolled
 * input. Steps that copy, steps that multiply, steps that add back.
 */

import { range } from "./geometry.js";
import { near, show } from "./show.js";

/** @typedef {import("./story.js").Story} Story */
/** @typedef {import("./story.js").Step} Step */
/** @typedef {import("./boards.js").Block} Block */

export class Teller {
  /** @param {Story} story */
  constructor(story) {
    this.story = story;
    this.boards = story.boards;
    this.scene = story.scene;
    this.lowering = story.lowering;
    /** @type {Step[]} */
    this.steps = [];
    /** @type {Map<number, number>} sums so far */
    this.sums = new Map();
    /** @type {number[]} cells of the last block, to be dropped by the next step */
    this.dropped = [];
    if (story.pass === "forward") this.#forward();
    else if (story.pass === "input") this.#input();
    else this.#weight();
  }

  /** @param {Partial<Step> & Pick<Step, "stage" | "title" | "text">} step */
  #step(step) {
    const plain = { from: [], to: [], flights: [], sets: [], drops: [], pixels: [], focus: null };
    this.steps.push({ ...plain, ...step });
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
      const { atOnce, store } = this.lowering;
      if (atOnce) {
        this.#spread(block, range(block.cols.length));
        this.#addBackAll(block);
      } else if (store === "place") {
        // Nothing is stored: a column is gone as soon as it is added.
        block.cols.forEach((col, c) => {
          this.#spread(block, [c]);
          this.#addBack(block, col);
          this.steps[this.steps.length - 1].drops = block.rows.map((row) => this.boards.id("U", row, col));
        });
      } else {
        range(block.cols.length).forEach((c) => this.#spread(block, [c]));
        if (store === "panel") back(block);
      }
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
    const total = this.story.total(out);
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
    const symbol = this.story.name(boards.board.symbol);
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
        const value = whole && !this.lowering.atOnce ? this.story.total(boards.cells[a].twin) : part;
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
      const total = this.story.total(cell.id);
      if (near(last.get(cell.id) ?? 0, total)) continue;
      sets.push([cell.id, total]);
      if (key !== "x") sets.push([this.boards.matrixCell(cell), total]);
    }
    if (sets.length) this.#step({ stage: "rest", title: "The rest", text, to: sets.map(([id]) => id), sets });
  }
}

/** @param {string} text */
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
