// @ts-check
/**
 * The six boards of the picture and the cells on them.
 *
 *   x  sheets      U  matrix         the three matrices stand as in a product worked by hand:
 *   A  matrix      Y  matrix         a row of A meets a column of U in an element of Y
 *   w  sheets      y  sheets
 */

import { flat, indices, range } from "./geometry.js";
import { tint } from "./colour.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./lowering/lowering.js").Unrolling} Lowering */
/** A board's name; here one of x, w, A, U, Y, y. @typedef {string} Key */

/**
 * @typedef {object} Cell
 * @property {number} id
 * @property {Key} board
 * @property {number} sheet 0 on a matrix
 * @property {number} row
 * @property {number} col
 * @property {"element" | "pad" | "gap"} kind
 * @property {string} name e.g. "x[0, 1, 2]"
 * @property {string | null} tint the colour of the input element behind it
 * @property {number} twin the cell of the other board that holds the same element: x behind U, w behind A, y behind Y
 * @property {string} [paint] the board whose looks it has, where that is not its own
 * @property {string} [text] of a constant, exact: a fraction
 * @property {number} [constant] its value
 */

/**
 * @typedef {object} Plane
 * @property {Key} key
 * @property {string} symbol
 * @property {string} title
 * @property {boolean} matrix
 * @property {number} rows of a sheet
 * @property {number} cols
 * @property {number} sheets
 * @property {string[]} labels one a sheet
 * @property {number} first the id of its first cell; ids run sheet by sheet in C order
 * @property {string} trueRows
 * @property {string} trueCols
 * @property {boolean} cutRows rows are left out
 * @property {boolean} cutCols
 * @property {string} [bench] the group of boards that is shown with it, in the place of others
 */

/** Where a board cell is used: column k of A, column j of Y. @typedef {{k: number, j: number}} Use */

/** @typedef {import("./lowering/lowering.js").Block} Block */

export class Boards {
  /** @param {Scene} scene @param {Lowering} lowering */
  constructor(scene, lowering) {
    this.scene = scene;
    this.lowering = lowering;
    /** @type {Cell[]} */
    this.cells = [];
    this.depth = lowering.depth(scene);
    this.board = lowering.board(scene);
    this.blocks = lowering.blocks(scene);
    this.outs = scene.outs.length;
    /** @type {Map<string, number>} */
    this.at = new Map();
    /** @type {Record<Key, Plane>} in the order in which the keyboard visits them */
    this.planes = {
      x: this.#input(),
      w: this.#weights(),
      U: this.#unrolled(),
      A: this.#flattened(),
      y: this.#output(),
      Y: this.#row(),
    };
    /** @type {Map<number, Use[]>} where each cell of U is used */
    this.uses = new Map();
    /** @type {number[][]} for each column of Y, the cells of U that it meets, in the order of A's columns */
    this.column = range(scene.pixels.length).map(() => []);
    /** @type {number[][]} for each column of A, the cells of U that it meets, in the order of Y's columns */
    this.line = this.depth.map(() => []);
    /** @type {Map<number, number[]>} the cells of U that hold an element of x */
    this.copies = new Map();
    this.#relate();
  }

  /** @param {Key} key @param {number} row @param {number} col @param {number} [sheet] */
  id(key, row, col, sheet = 0) {
    const plane = this.planes[key];
    return plane.first + (sheet * plane.rows + row) * plane.cols + col;
  }

  /** All cells of a board. @param {Key} key */
  all(key) {
    const { first, sheets, rows, cols } = this.planes[key];
    return this.cells.slice(first, first + sheets * rows * cols);
  }

  /** @param {Omit<Cell, "id">} cell */
  #add(cell) {
    this.cells.push({ id: this.cells.length, ...cell });
    return this.cells.length - 1;
  }

  /** @returns {Plane} */
  #input() {
    const { scene } = this;
    const { g, sample, box, channels, slices } = scene;
    const first = this.cells.length;
    const lead = indices(box.slice(0, -2));
    const [rows, cols] = [box.at(-2) ?? 1, box[box.length - 1]];
    const shade = (/** @type {number[]} */ q) =>
      q.slice(-2).map((v, a) => {
        const axis = g.rank - Math.min(g.rank, 2) + a;
        const most = Math.min(sample.stop[axis], g.E[axis]) - 1;
        return most > 0 ? Math.min(Math.max(v / most, 0), 1) : 0.5;
      });
    channels.forEach((c) =>
      lead.forEach((l, s) =>
        indices([rows, cols]).forEach(([row, col]) => {
          const local = [...l, ...(g.rank > 1 ? [row] : []), col];
          const q = local.map((v, a) => v + sample.start[a]);
          const kind = scene.kind(q);
          const shades = shade(q);
          const [u, v] = g.rank > 1 ? shades : [0.5, shades[0]];
          const index = scene.index(q);
          const id = this.#add({
            board: "x",
            sheet: c * slices + s,
            row,
            col,
            kind,
            name: index ? `x[${[scene.channel(c), ...index].join(", ")}]` : kind === "pad" ? "padding" : "inserted zero",
            tint: kind === "element" ? tint(c, u, v) : null,
            twin: -1,
          });
          this.at.set(`x ${c} ${q}`, id);
        }),
      ),
    );
    const labels = channels.flatMap((c) =>
      lead.map((l) => `c = ${scene.channel(c)}${l.length ? `, ${l.map((v, a) => v + sample.start[a])}` : ""}`),
    );
    return {
      key: "x",
      symbol: "x",
      title: "input",
      matrix: false,
      rows,
      cols,
      sheets: labels.length,
      labels,
      first,
      trueRows: g.rank > 1 ? String(g.I[g.rank - 2]) : "",
      trueCols: String(g.I[g.rank - 1]),
      cutRows: g.rank > 1 && sample.stop[g.rank - 2] < g.E[g.rank - 2] + Math.max(g.hi[g.rank - 2], 0),
      cutCols: sample.stop[g.rank - 1] < g.E[g.rank - 1] + Math.max(g.hi[g.rank - 1], 0),
    };
  }

  /** @returns {Plane} */
  #weights() {
    const { scene } = this;
    const { g, sample, channels, outs } = scene;
    const first = this.cells.length;
    const lead = indices(sample.taps.slice(0, -2));
    const [rows, cols] = [sample.taps.at(-2) ?? 1, sample.taps[sample.taps.length - 1]];
    let sheet = 0;
    /** @type {string[]} */
    const labels = [];
    for (const o of outs) {
      for (const c of channels) {
        for (const l of lead) {
          for (const [row, col] of indices([rows, cols])) {
            const f = [...l, ...(g.rank > 1 ? [row] : []), col];
            const name = `w[${[scene.out(o), c, ...f].join(", ")}]`;
            const id = this.#add({ board: "w", sheet, row, col, kind: "element", name, tint: tint(c), twin: -1 });
            this.at.set(`w ${o} ${c} ${f}`, id);
          }
          labels.push(`c = ${c}${l.length ? `, ${l}` : ""}`);
          sheet += 1;
        }
      }
    }
    return {
      key: "w",
      symbol: "w",
      title: outs.length > 1 ? "kernels" : "kernel",
      matrix: false,
      rows,
      cols,
      sheets: sheet,
      labels,
      first,
      trueRows: g.rank > 1 ? String(g.F[g.rank - 2]) : "",
      trueCols: String(g.F[g.rank - 1]),
      cutRows: g.rank > 1 && sample.taps[g.rank - 2] < g.F[g.rank - 2],
      cutCols: sample.taps[g.rank - 1] < g.F[g.rank - 1],
    };
  }

  /** @returns {Plane} */
  #flattened() {
    const { scene, depth } = this;
    const first = this.cells.length;
    for (const o of scene.outs) {
      depth.forEach(({ c, f }, col) => {
        const twin = this.at.get(`w ${o} ${c} ${f}`) ?? -1;
        const name = `A[${scene.out(o)}, (${[c, ...f].join(", ")})]`;
        this.#add({ board: "A", sheet: 0, row: o, col, kind: "element", name, tint: tint(c), twin });
      });
    }
    const { g } = scene;
    return this.#matrix("A", "A", this.outs > 1 ? "the kernels, flattened" : "the kernel, flattened", this.outs, depth.length, first, {
      trueRows: `m = ${g.m}`,
      trueCols: `k = ${g.k}`,
      cutRows: this.outs < g.m,
      cutCols: depth.length < g.k,
    });
  }

  /** @returns {Plane} */
  #output() {
    const { scene } = this;
    const { g, sample, outs } = scene;
    const first = this.cells.length;
    const lead = indices(sample.pixels.slice(0, -2));
    const [rows, cols] = [sample.pixels.at(-2) ?? 1, sample.pixels[sample.pixels.length - 1]];
    /** @type {string[]} */
    const labels = [];
    for (const o of outs) {
      for (const l of lead) {
        for (const [row, col] of indices([rows, cols])) {
          const p = [...l, ...(g.rank > 1 ? [row] : []), col];
          const name = `y[${[scene.out(o), ...p].join(", ")}]`;
          const id = this.#add({
            board: "y", sheet: labels.length, row, col, kind: "element", name, tint: null, twin: -1,
          }); // prettier-ignore
          this.at.set(`y ${o} ${p}`, id);
        }
        labels.push(`o = ${scene.out(o)}${l.length ? `, ${l}` : ""}`);
      }
    }
    return {
      key: "y",
      symbol: "y",
      title: "output",
      matrix: false,
      rows,
      cols,
      sheets: labels.length,
      labels,
      first,
      trueRows: g.rank > 1 ? String(g.P[g.rank - 2]) : "",
      trueCols: String(g.P[g.rank - 1]),
      cutRows: g.rank > 1 && sample.pixels[g.rank - 2] < g.P[g.rank - 2],
      cutCols: sample.pixels[g.rank - 1] < g.P[g.rank - 1],
    };
  }

  /** @returns {Plane} */
  #row() {
    const { scene } = this;
    const { g, pixels } = scene;
    const first = this.cells.length;
    for (const o of scene.outs) {
      pixels.forEach((p, col) => {
        const twin = this.at.get(`y ${o} ${p}`) ?? -1;
        const name = `Y[${scene.out(o)}, (${p.join(", ")})]`;
        this.#add({ board: "Y", sheet: 0, row: o, col, kind: "element", name, tint: null, twin });
      });
    }
    return this.#matrix("Y", "Y", "the output, as a matrix", this.outs, pixels.length, first, {
      trueRows: `m = ${g.m}`,
      trueCols: `n = B·P = ${g.n}`,
      cutRows: this.outs < g.m,
      cutCols: pixels.length < g.n,
    });
  }

  /** @returns {Plane} */
  #unrolled() {
    const { scene, board } = this;
    const first = this.cells.length;
    for (const row of range(board.rows)) {
      for (const col of range(board.cols)) {
        const { c, q } = board.origin(row, col);
        const twin = this.at.get(`x ${c} ${q}`) ?? -1;
        const kind = scene.kind(q);
        const colour = twin >= 0 ? this.cells[twin].tint : null;
        const name = `${board.symbol}[${row}, ${col}]`;
        this.#add({ board: "U", sheet: 0, row, col, kind, name, tint: colour, twin });
      }
    }
    return this.#matrix("U", board.symbol, board.title, board.rows, board.cols, first, {
      trueRows: board.trueRows,
      trueCols: board.trueCols,
      cutRows: board.cutRows,
      cutCols: board.cutCols,
    });
  }

  /**
   * @param {Key} key
   * @param {string} symbol
   * @param {string} title
   * @param {number} rows
   * @param {number} cols
   * @param {number} first
   * @param {Pick<Plane, "trueRows" | "trueCols" | "cutRows" | "cutCols">} sizes
   * @returns {Plane}
   */
  #matrix(key, symbol, title, rows, cols, first, sizes) {
    return { key, symbol, title, matrix: true, rows, cols, sheets: 1, labels: [""], first, ...sizes };
  }

  #relate() {
    for (const cell of this.all("U")) {
      if (cell.twin >= 0) this.copies.set(cell.twin, [...(this.copies.get(cell.twin) ?? []), cell.id]);
    }
    for (const block of this.blocks) {
      block.cols.forEach((col, c) =>
        block.rows.forEach((row, r) => {
          const id = this.id("U", row, col);
          const [k, j] = [block.k[r], block.j[c]];
          this.uses.set(id, [...(this.uses.get(id) ?? []), { k, j }]);
          this.column[j][k] = id;
          this.line[k][j] = id;
        }),
      );
    }
  }

  /** The value of a cell whose board is given, not computed. @param {number} id @returns {number} */
  given(id) {
    const { scene } = this;
    const cell = this.cells[id];
    if (cell.board === "U" || cell.board === "A" || cell.board === "Y") {
      return cell.twin >= 0 ? this.given(cell.twin) : 0;
    }
    if (cell.board === "x") {
      const q = this.coordinate(cell);
      return scene.x(Math.floor(cell.sheet / scene.slices), q);
    }
    if (cell.board === "w") {
      const { o, c, f } = this.tap(cell);
      return scene.w(o, c, f);
    }
    const { o, p } = this.pixel(cell);
    return scene.dy(o, p);
  }

  /** The coordinate of a cell of x, padding included. @param {Cell} cell */
  coordinate(cell) {
    const { box, sample, g, slices } = this.scene;
    const lead = indices(box.slice(0, -2))[cell.sheet % slices];
    return [...lead, ...(g.rank > 1 ? [cell.row] : []), cell.col].map((v, a) => v + sample.start[a]);
  }

  /** Filter, channel and tap of a cell of w. @param {Cell} cell */
  tap(cell) {
    const { sample, channels, g } = this.scene;
    const lead = indices(sample.taps.slice(0, -2));
    const sheet = Math.floor(cell.sheet / lead.length);
    const f = [...lead[cell.sheet % lead.length], ...(g.rank > 1 ? [cell.row] : []), cell.col];
    return { o: Math.floor(sheet / channels.length), c: sheet % channels.length, f };
  }

  /** Output channel, pixel and column of Y of a cell of y or Y. @param {Cell} cell */
  pixel(cell) {
    const { sample, pixels, g } = this.scene;
    if (cell.board === "Y") return { o: cell.row, p: pixels[cell.col], j: cell.col };
    const lead = indices(sample.pixels.slice(0, -2));
    const p = [...lead[cell.sheet % lead.length], ...(g.rank > 1 ? [cell.row] : []), cell.col];
    return { o: Math.floor(cell.sheet / lead.length), p, j: flat(p, sample.pixels) };
  }

  /** The cell of A that holds a weight, and back; of Y that holds an output; of x behind U. @param {Cell} cell */
  matrixCell(cell) {
    if (cell.board === "w") {
      const { o, c, f } = this.tap(cell);
      const k = this.depth.findIndex((d) => d.c === c && d.f.every((v, a) => v === f[a]));
      return this.id("A", o, k);
    }
    const { o, j } = this.pixel(cell);
    return this.id("Y", o, j);
  }
}
