// @ts-check
/**
 * The boards of a story of tiles: x, w, y as they are; X, W, Y transformed, a sheet for each tile and channel; and four
 * benches, one of them shown at a time, on which a small product is worked.
 *
 *   tile      [   d      B  ]     filter   [   w      G^T ]     points   [      X[s] ]     back    [     Y       A   ]
 *             [ BT BT d  X  ]              [ G G w    W   ]              [ W[s] Y[s] ]             [ AT  AT Y    y   ]
 */

import { tint } from "../colour.js";
import { indices, range } from "../geometry.js";
import { textOf, valueOf } from "../toomcook.js";
import { transposed } from "./scene.js";

/** @typedef {import("./scene.js").TileScene} TileScene */
/** @typedef {import("../boards.js").Cell} Cell */
/** @typedef {import("../boards.js").Plane} Plane */
/** @typedef {import("../toomcook.js").Fraction} Fraction */
/** @typedef {"tile" | "filter" | "points" | "back"} Bench */
/** @typedef {"left" | "source" | "half" | "right" | "result"} Part */

/** The matrix of a bench's transform, and the names of its parts with two axes and with one. */
export const TRANSFORMS = {
  filter: { matrix: "G", left: "G", right: "Gᵀ", source: "w", result: "W" },
  tile: { matrix: "BT", left: "Bᵀ", right: "B", source: "d", result: "X" },
  back: { matrix: "AT", left: "Aᵀ", right: "A", source: "Y", result: "y" },
};

export class TileBoards {
  /** @param {TileScene} scene @param {(symbol: string) => string} name what the pass calls a symbol */
  constructor(scene, name) {
    this.scene = scene;
    this.name = name;
    /** @type {Cell[]} */
    this.cells = [];
    /** @type {Record<string, Plane>} in the order in which the keyboard visits them */
    this.planes = {};
    /** @type {Map<string, number>} cells of x, w and y by their indices */
    this.at = new Map();
    this.#sheets();
    this.#benches();
  }

  /** @param {string} key @param {number} row @param {number} col @param {number} [sheet] */
  id(key, row, col, sheet = 0) {
    const plane = this.planes[key];
    return plane.first + (sheet * plane.rows + row) * plane.cols + col;
  }

  /** All cells of a board. @param {string} key */
  all(key) {
    const { first, sheets, rows, cols } = this.planes[key];
    return this.cells.slice(first, first + sheets * rows * cols);
  }

  /** A cell of X, W or Y by its point: a line's lie along its row. @param {string} key @param {number} sheet
   * @param {number[]} point */
  point(key, sheet, [i, j]) {
    return this.scene.h.rank > 1 ? this.id(key, i, j, sheet) : this.id(key, 0, i, sheet);
  }

  /** The sheet of X, and of Y, of a channel and a tile's number. @param {number} c @param {number} q */
  sheet(c, q) {
    return c * this.scene.tiles.length + q;
  }

  /** @param {number} o @param {number} c */
  pair(o, c) {
    return o * this.scene.channels.length + c;
  }

  /** Sheet and point of a cell of X, W, Y. @param {Cell} cell */
  where(cell) {
    const line = this.scene.h.rank === 1;
    return { sheet: cell.sheet, s: line ? [cell.col, 0] : [cell.row, cell.col] };
  }

  /** The cells of x under a tile. @param {number} c @param {number} q */
  under(c, q) {
    const { scene } = this;
    return indices(scene.t).map((u) => this.at.get(`x ${c} ${scene.coordinate(scene.tiles[q], u)}`) ?? -1);
  }

  /** The cells of y that a tile gives. @param {number} o @param {number} q */
  given(o, q) {
    const { scene } = this;
    const all = indices(scene.out).map((v) => this.at.get(`y ${o} ${scene.pixel(scene.tiles[q], v)}`));
    return all.filter((id) => id !== undefined);
  }

  /** Whether a bench has a part: an axis of one tap is not transformed. @param {Bench} bench @param {Part} part */
  has(bench, part) {
    return `${bench}-${part}` in this.planes;
  }

  /**
   * @param {string} key
   * @param {Pick<Plane, "symbol" | "title" | "rows" | "cols"> & Partial<Plane>} plane
   * @param {(sheet: number, row: number, col: number) => Partial<Cell> & {name: string}} make
   */
  #add(key, plane, make) {
    const first = this.cells.length;
    const { sheets = 1, rows, cols } = plane;
    for (const [sheet, row, col] of indices([sheets, rows, cols])) {
      const id = this.cells.length;
      this.cells.push({ id, board: key, sheet, row, col, kind: "element", tint: null, twin: -1, ...make(sheet, row, col) });
    }
    const plain = { sheets, labels: [""], trueRows: "", trueCols: "", cutRows: false, cutCols: false };
    this.planes[key] = { key, matrix: sheets === 1, first, ...plain, ...plane };
  }

  // -- sheets ----------------------------------------------------------------------------------------------------------

  #sheets() {
    const { scene } = this;
    const { own, channels, outs, tiles, axes, h } = scene;
    const line = h.rank === 1;
    const flat = (/** @type {number[]} */ [rows, cols]) => (line ? { rows: 1, cols: rows } : { rows, cols });
    const at = (/** @type {number} */ row, /** @type {number} */ col) => (line ? [col, 0] : [row, col]);
    const cut = (/** @type {boolean[]} */ [rows, cols]) => ({ cutRows: !line && rows, cutCols: line ? rows : cols });
    const { spots, slots } = scene;
    const lengths = (/** @type {number[][]} */ of) => of.map((list) => list.length);
    const some = axes.map((axis) => axis.drawn < axis.tiles);

    const named = channels.map((c) => `c = ${scene.channel(c)}`);
    this.#add("x", { symbol: "x", title: "input", sheets: channels.length, labels: named, ...flat(lengths(spots)), ...cut(some) }, (c, row, col) => {
      const q = at(row, col).map((i, a) => spots[a][i]);
      this.at.set(`x ${c} ${q}`, this.cells.length);
      const inside = scene.inside(q);
      const [u, v] = spots.map((list, a) => {
        const most = list[list.length - 1];
        return most > 0 ? Math.min(Math.max(q[a] / most, 0), 1) : 0.5;
      });
      return {
        kind: inside ? "element" : "pad",
        name: inside ? own.x.name(scene.image, scene.channel(c), ...scene.real(q)) : "padding",
        tint: inside ? tint(c, line ? 0.5 : u, line ? u : v) : null,
      };
    });
    const each = channels.length;
    const pairs = outs.flatMap((o) => channels.map((c) => `o = ${scene.filter(o)}, c = ${c}`));
    this.#add("w", { symbol: "w", title: outs.length > 1 ? "kernels" : "kernel", sheets: pairs.length, labels: pairs, ...flat(scene.r) }, (sheet, row, col) => {
      const [o, c] = [Math.floor(sheet / each), sheet % each];
      this.at.set(`w ${o} ${c} ${at(row, col)}`, this.cells.length);
      return { name: own.w.name(scene.filter(o), c, ...scene.real(at(row, col))), tint: tint(c) };
    });
    const grid = channels.flatMap((c) => tiles.map((q) => `c = ${scene.channel(c)}, tile ${this.#tuple(q)}`));
    this.#add("X", { symbol: "X", title: "the tiles, transformed", sheets: grid.length, labels: grid, ...flat(scene.t), ...cut(some) }, (sheet, row, col) => {
      const [c, q] = [Math.floor(sheet / tiles.length), sheet % tiles.length];
      return { name: `X[${[scene.channel(c), this.#tuple(tiles[q]), this.#tuple(at(row, col))].join(", ")}]`, tint: tint(c) };
    });
    this.#add("W", { symbol: "W", title: "the kernels, transformed", sheets: pairs.length, labels: pairs, ...flat(scene.t) }, (sheet, row, col) => {
      const [o, c] = [Math.floor(sheet / each), sheet % each];
      return { name: `W[${[scene.filter(o), c, this.#tuple(at(row, col))].join(", ")}]`, tint: tint(c) };
    });
    const products = outs.flatMap((o) => tiles.map((q) => `o = ${scene.filter(o)}, tile ${this.#tuple(q)}`));
    this.#add("Y", { symbol: "Y", title: "a product at each point", sheets: products.length, labels: products, ...flat(scene.t), ...cut(some) }, (sheet, row, col) => {
      const [o, q] = [Math.floor(sheet / tiles.length), sheet % tiles.length];
      return { name: `Y[${[scene.filter(o), this.#tuple(tiles[q]), this.#tuple(at(row, col))].join(", ")}]`, paint: "Z" };
    });
    const results = outs.map((o) => `o = ${scene.filter(o)}`);
    this.#add("y", { symbol: "y", title: "output", sheets: outs.length, labels: results, ...flat(lengths(slots)), ...cut(some) }, (o, row, col) => {
      const p = at(row, col).map((i, a) => slots[a][i]);
      this.at.set(`y ${o} ${p}`, this.cells.length);
      return { name: own.y.name(scene.image, scene.filter(o), ...scene.real(p)) };
    });
  }

  /** @param {number[]} at */
  #tuple(at) {
    const real = this.scene.real(at);
    return real.length > 1 ? `(${real.join(", ")})` : String(real[0]);
  }

  // -- benches ---------------------------------------------------------------------------------------------------------

  #benches() {
    const { scene } = this;
    const extents = { filter: scene.r, tile: scene.t, back: scene.t };
    for (const bench of /** @type {("filter" | "tile" | "back")[]} */ (["filter", "tile", "back"])) {
      const { matrix, left, right, source, result } = TRANSFORMS[bench];
      const [L, R] = scene.axes.map((axis) => /** @type {Fraction[][]} */ (axis.fast[/** @type {"G"} */ (matrix)]));
      const [rows, cols] = extents[bench];
      const kinds = { filter: ["w", "W"], tile: ["x", "X"], back: ["Z", "y"] }[bench];
      const symbol = this.name(source);
      const both = L.length + L[0].length > 2 && R.length + R[0].length > 2;
      this.#part(bench, "source", symbol, rows, cols, kinds[0]);
      if (L.length + L[0].length > 2) this.#constant(bench, "left", left, L);
      if (both) this.#part(bench, "half", `${left} ${symbol}`, L.length, cols, kinds[bench === "back" ? 0 : 1]);
      if (R.length + R[0].length > 2) this.#constant(bench, "right", right, transposed(R));
      this.#part(bench, "result", this.name(result), L.length, R.length, kinds[1]);
    }
    const [C, O, N] = [scene.channels.length, scene.outs.length, scene.tiles.length];
    this.#part("points", "source", "X[s]", C, N, "X", (row) => tint(row));
    this.#part("points", "left", "W[s]", O, C, "W", (_, col) => tint(col));
    this.#part("points", "result", "Y[s]", O, N, "Z");
  }

  /** @param {Bench} bench @param {Part} part @param {string} symbol @param {number} rows @param {number} cols
   * @param {string} paint @param {(row: number, col: number) => string | null} [colour] */
  #part(bench, part, symbol, rows, cols, paint, colour = () => null) {
    const title = { tile: "a tile", filter: "a kernel", back: "a tile of y", points: "at one point" }[bench];
    this.#add(`${bench}-${part}`, { symbol, title, rows, cols, bench }, (_, row, col) => {
      return { name: `${symbol}[${row}, ${col}]`, tint: colour(row, col), paint };
    });
  }

  /** @param {Bench} bench @param {Part} part @param {string} symbol @param {Fraction[][]} matrix */
  #constant(bench, part, symbol, matrix) {
    const title = "of the transform, exact";
    this.#add(`${bench}-${part}`, { symbol, title, rows: matrix.length, cols: matrix[0].length, bench }, (_, row, col) => {
      const f = matrix[row][col];
      return { name: `${symbol}[${row}, ${col}]`, paint: f.n ? "constant" : "zero", text: textOf(f), constant: valueOf(f) };
    });
  }

  /** The constants, which every moment shows. @returns {[number, number][]} */
  get constants() {
    return this.cells.filter((cell) => cell.constant !== undefined).map((cell) => [cell.id, Number(cell.constant)]);
  }

  /** The cells of a bench's part in C order. @param {Bench} bench @param {Part} part */
  part(bench, part) {
    const key = `${bench}-${part}`;
    const { rows, cols } = this.planes[key];
    return indices([rows, cols]).map(([row, col]) => this.id(key, row, col));
  }

  /** A row or a column of a bench's part. @param {Bench} bench @param {Part} part @param {"row" | "col"} along
   * @param {number} at */
  line(bench, part, along, at) {
    const key = `${bench}-${part}`;
    const { rows, cols } = this.planes[key];
    return along === "row" ? range(cols).map((j) => this.id(key, at, j)) : range(rows).map((i) => this.id(key, i, at));
  }
}
