// @ts-check
/**
 * Where every cell and every label of the picture goes.
 *
 * Wide: the product as worked by hand, A beside Y, U above Y, x in the corner, w and y below. Narrow: A stands upright
 * beside U, each weight next to the row that it multiplies, and the sheets lie above and below.
 */

import { range } from "./geometry.js";

/** @typedef {import("./boards.js").Boards} Boards */
/** @typedef {import("./boards.js").Plane} Plane */
/** @typedef {import("./boards.js").Key} Key */

/** A text. @typedef {{x: number, y: number, text: string, anchor: "start" | "middle" | "end", size: number,
 *   role: "title" | "note" | "label" | "dimension", turn?: boolean, key?: Key}} Label */

/** A dimension line with its text, along the top, bottom, left or right. @typedef {{x: number, y: number, length: number,
 *   vertical: boolean, text: string, cut: boolean, side: 1 | -1}} Dimension */

/** A box around a sheet or matrix. @typedef {{key: Key, x: number, y: number, w: number, h: number, cutRows: boolean,
 *   cutCols: boolean}} Frame */

/**
 * @typedef {object} Layout
 * @property {number} width
 * @property {number} height
 * @property {number} size side of a matrix cell
 * @property {{x: number, y: number, size: number}[]} cells by id
 * @property {Label[]} labels
 * @property {Dimension[]} dimensions
 * @property {Frame[]} frames
 */

/** The biggest and smallest cells. */
const [LARGEST, SMALLEST] = [44, 12];

const SHEET_LABEL = 15;
const GAP = 14;

/**
 * @param {Boards} boards
 * @param {number} width what there is
 * @param {number} height likewise; the picture may be higher where cells would get too small
 * @param {(symbol: string) => string} name what the pass calls a symbol
 * @returns {Layout}
 */
export function layoutOf(boards, width, height, name) {
  return width >= 560 ? new Placing(boards, name).wide(width, height) : new Placing(boards, name).narrow(width);
}

class Placing {
  /** @param {Boards} boards @param {(symbol: string) => string} name */
  constructor(boards, name) {
    this.boards = boards;
    this.planes = boards.planes;
    this.name = name;
    /** @type {{x: number, y: number, size: number}[]} */
    this.cells = new Array(boards.cells.length);
    /** @type {Label[]} */
    this.labels = [];
    /** @type {Dimension[]} */
    this.dimensions = [];
    /** @type {Frame[]} */
    this.frames = [];
  }

  /** @param {number} width @param {number} height @returns {Layout} */
  wide(width, height) {
    const { A, U, Y, w, y, x } = this.planes;
    const columns = Math.max(U.cols, Y.cols);
    const beside = Math.max(A.cols, Math.min(x.sheets * (x.cols + 0.5), columns, 14));
    const [left, middle, right, top, between, bottom] = [56, 74, 56, 54, 60, 14];
    const below = Math.max(w.rows, y.rows) * 0.9;
    const across = (width - left - middle - right) / (beside + columns);
    const down = (height - top - between - bottom - 16 - SHEET_LABEL) / (U.rows + A.rows + below);
    const u = Math.floor(Math.max(Math.min(across, Math.max(down, 15), LARGEST), SMALLEST));
    // The corner is as high as U, or as one row of sheets where U is low.
    const corner = Math.max(U.rows * u, x.rows * Math.min(u, (beside * u) / (x.cols + 0.5)));

    const used = left + middle + right + u * (beside + columns);
    const x0 = left + Math.max((width - used) / 2, 0);
    const ux = x0 + beside * u + middle;
    const ax = ux - middle - A.cols * u;
    const ay = top + corner + 16;
    const uy = ay - 16 - U.rows * u;
    this.#matrix(U, ux, uy, u);
    this.#matrix(A, ax, ay, u);
    this.#matrix(Y, ux, ay, u);

    const by = ay + A.rows * u + between;
    this.#sheets(x, x0, 30, beside * u, ay - 16 - 30, Math.min(1.35 * u, LARGEST), "fill");
    // A filter in one row, to the left of A's beginning where A is short.
    const filter = (w.sheets / A.rows) * (w.cols * 0.9 * u + GAP);
    const wide = Math.max(A.cols * u, Math.min(filter, beside * u));
    const wEnd = this.#sheets(w, ux - middle - wide, by, wide, Infinity, 0.9 * u, "row");
    const yEnd = this.#sheets(y, ux, by, Math.max(columns * u, 110) + right - 16, Infinity, u, "row");

    this.#title(U, ux, uy - 38, "start");
    this.#above(U, ux, uy - 12, u, U.trueCols);
    this.#aside(U, ux + U.cols * u + 12, uy, u, U.trueRows, 1);
    this.#rowLabels(ux - 8, uy, u);
    this.#title(A, ax, ay + A.rows * u + 44, "start", undefined, A.cols * u + middle - 12);
    this.#below(A, ax, ay + A.rows * u + 12, u, A.trueCols);
    this.#aside(A, ax - 12, ay, u, A.trueRows, -1);
    this.#title(Y, ux, ay + Y.rows * u + 44, "start");
    this.#title(x, x0, 16, "start");
    return this.#done(Math.max(used, width), Math.max(wEnd, yEnd) + bottom);
  }

  /** @param {number} width @returns {Layout} */
  narrow(width) {
    const { A, U, Y, w, y, x } = this.planes;
    const columns = Math.max(U.cols, Y.cols);
    const [left, middle, right] = [46, 28, 46];
    const u = Math.floor(
      Math.max(Math.min((width - left - middle - right) / (A.rows + columns), 640 / U.rows, 30), SMALLEST),
    );
    const used = left + middle + right + u * (A.rows + columns);
    const shift = Math.max((width - used) / 2, 0);
    this.#title(x, 8, 16, "start");
    const xEnd = this.#sheets(x, 8, 24, width - 16, Infinity, 26, "row");
    this.#title(w, 8, xEnd + 26, "start");
    const wEnd = this.#sheets(w, 8, xEnd + 34, width - 16, Infinity, 22, "row");

    const ax = left + shift;
    const ux = ax + A.rows * u + middle;
    const uy = wEnd + 66;
    this.#upright(A, ax, uy, u);
    this.#matrix(U, ux, uy, u);
    this.#above(U, ux, uy - 10, u, U.trueCols);
    this.#aside(U, ux + U.cols * u + 12, uy, u, U.trueRows, 1);
    this.#title(U, ux, uy - 32, "start");
    this.#title(A, ax + (A.rows * u) / 2, uy - 24, "middle", `${this.name("A")}ᵀ`);
    this.#rowLabels(ax - 6, uy, u);
    const yy = uy + Math.max(U.rows, A.cols) * u + 26;
    this.#matrix(Y, ux, yy, u);
    this.#title(Y, ux - 10, yy + (Y.rows * u) / 2 + 5, "end", this.name("Y"));
    this.#title(y, 8, yy + Y.rows * u + 32, "start");
    const yEnd = this.#sheets(y, 8, yy + Y.rows * u + 40, width - 16, Infinity, 28, "row");
    return this.#done(Math.max(used, width), yEnd + 14);
  }

  /** @param {number} width @param {number} height @returns {Layout} */
  #done(width, height) {
    const { cells, labels, dimensions, frames } = this;
    const size = cells[this.planes.U.first].size;
    return { width, height, size, cells, labels, dimensions, frames };
  }

  // -- boards ----------------------------------------------------------------------------------------------------------

  /** @param {Plane} plane @param {number} x @param {number} y @param {number} size */
  #matrix(plane, x, y, size) {
    for (const cell of this.boards.all(plane.key)) {
      this.cells[cell.id] = { x: x + cell.col * size, y: y + cell.row * size, size };
    }
    const { cutRows, cutCols } = plane;
    this.frames.push({ key: plane.key, x, y, w: plane.cols * size, h: plane.rows * size, cutRows, cutCols });
  }

  /** A stands up: its row o is a column. @param {Plane} plane @param {number} x @param {number} y @param {number} size */
  #upright(plane, x, y, size) {
    for (const cell of this.boards.all(plane.key)) {
      this.cells[cell.id] = { x: x + cell.row * size, y: y + cell.col * size, size };
    }
    const { cutRows, cutCols } = plane;
    const [w, h] = [plane.rows * size, plane.cols * size];
    this.frames.push({ key: plane.key, x, y, w, h, cutRows: cutCols, cutCols: cutRows });
  }

  /**
   * Sheets in an area: one above the other on a diagonal, or in a grid, whichever makes them larger.
   * @param {Plane} plane
   * @param {number} x
   * @param {number} y
   * @param {number} width
   * @param {number} height
   * @param {number} largest
   * @param {"fill" | "row"} way
   * @returns {number} where they end
   */
  #sheets(plane, x, y, width, height, largest, way) {
    const { sheets, rows, cols, key } = plane;
    const each = way === "row" && sheets > this.boards.outs ? sheets / this.boards.outs : 1;
    const fit = range(sheets).map((i) => {
      const across = i + 1;
      const down = Math.ceil(sheets / across);
      const size = Math.min(
        largest,
        (width - GAP * (across - 1)) / (across * cols),
        (height - down * (SHEET_LABEL + 8)) / (down * rows),
      );
      return { across, down, size };
    });
    // A row begins with a filter: a whole number of filters side by side, or parts of one.
    const even = fit.filter(({ across }) => across % each === 0 || across < each);
    const best = way === "row" ? mostAcross(even, largest * 0.8) : besideRows(fit);
    const size = Math.max(Math.floor(best.size * 2) / 2, 7);
    const { across, down } = best;
    const stepX = cols * size + GAP;
    const stepY = way === "fill" ? height / down : rows * size + SHEET_LABEL + 8;
    const slack = width - ((across - 1) * stepX + cols * size);
    for (const s of range(sheets)) {
      const [i, j] = [s % across, Math.floor(s / across)];
      const slant = way === "fill" && across === 1 && sheets > 1 ? (slack * (j + 0.5)) / down : 0;
      const centred = way === "fill" && across > 1 ? slack / 2 : way === "fill" && sheets === 1 ? slack / 2 : 0;
      const sx = x + i * stepX + slant + centred;
      const lift = way === "fill" ? Math.max((stepY - rows * size - SHEET_LABEL) / 2, 0) : 0;
      const sy = y + j * stepY + SHEET_LABEL + lift;
      const count = rows * cols;
      for (const n of range(count)) {
        const cell = this.boards.cells[plane.first + s * count + n];
        this.cells[cell.id] = { x: sx + cell.col * size, y: sy + cell.row * size, size };
      }
      const { cutRows, cutCols } = plane;
      this.frames.push({ key, x: sx, y: sy, w: cols * size, h: rows * size, cutRows, cutCols });
      this.labels.push({
        x: sx, y: sy - 4, text: this.#sheetLabel(plane, s), anchor: "start", size: 11, role: "label", key,
      }); // prettier-ignore
    }
    return y + down * stepY;
  }

  /** Several filters: their number over the first sheet of each; the colours tell the channels.
   * @param {Plane} plane @param {number} s */
  #sheetLabel(plane, s) {
    if (plane.key !== "w" || this.boards.outs === 1) return plane.labels[s];
    const each = plane.sheets / this.boards.outs;
    return s % each ? "" : `o = ${this.boards.scene.out(s / each)}`;
  }

  // -- words -----------------------------------------------------------------------------------------------------------

  /** The symbol and what it is, as far as there is room. @param {Plane} plane @param {number} x @param {number} y
   * @param {"start" | "middle" | "end"} anchor @param {string} [text] @param {number} [room] */
  #title(plane, x, y, anchor, text, room = Infinity) {
    const role = /** @type {const} */ ("title");
    const choices = text === undefined ? this.#words(plane).map((w) => `${this.name(plane.symbol)}  ${w}`) : [text];
    const words = choices.find((w) => w.length * 7.2 < room) ?? choices[choices.length - 1];
    this.labels.push({ x, y, text: words, anchor, size: 14, role, key: plane.key });
  }

  /** What a board is, the longest way of saying it first. @param {Plane} plane @returns {string[]} */
  #words(plane) {
    const { g } = this.boards.scene;
    const gradient = this.name(plane.symbol) !== plane.symbol ? "gradient of the " : "";
    const cross = (/** @type {number[]} */ shape) => shape.join(" × ");
    if (plane.key === "x") return [`${gradient}input, ${cross([g.C, ...g.I])}`];
    if (plane.key === "w") return [`${gradient}${plane.title}, ${cross(g.wShape)}`];
    if (plane.key === "y") return [`${gradient}output, ${cross([g.O, ...g.P])}`];
    if (plane.key === "A") {
      const name = this.name("w");
      return [`${plane.title}: ${name}, ${cross(g.wShape)}`, plane.title, `= ${name}`, ""];
    }
    if (plane.key === "Y") return [`= ${this.name("y")}, ${cross([g.O, ...g.P])}`];
    return [`${gradient && "gradient of "}${plane.title}`];
  }

  /** @param {Plane} plane @param {number} x @param {number} y @param {number} u @param {string} text */
  #above(plane, x, y, u, text) {
    this.dimensions.push({ x, y, length: plane.cols * u, vertical: false, text, cut: plane.cutCols, side: -1 });
  }

  /** @param {Plane} plane @param {number} x @param {number} y @param {number} u @param {string} text */
  #below(plane, x, y, u, text) {
    this.dimensions.push({ x, y, length: plane.cols * u, vertical: false, text, cut: plane.cutCols, side: 1 });
  }

  /** @param {Plane} plane @param {number} x @param {number} y @param {number} u @param {string} text
   * @param {1 | -1} side */
  #aside(plane, x, y, u, text, side) {
    this.dimensions.push({ x, y, length: plane.rows * u, vertical: true, text, cut: plane.cutRows, side });
  }

  /** Channel and tap of each row of U, where they can be read. @param {number} x @param {number} y @param {number} u */
  #rowLabels(x, y, u) {
    const { board } = this.boards;
    if (u < 14) return;
    const note = (/** @type {number} */ at, /** @type {string} */ text) =>
      this.labels.push({ x, y: at, text, anchor: "end", size: 10, role: "note", key: "U" });
    note(y - 6, board.head);
    for (const row of range(board.rows)) note(y + row * u + u / 2 + 3.5, board.label(row));
  }
}

/** @template {{size: number}} T @param {T[]} fit @returns {T} */
const largestOf = (fit) => fit.reduce((a, b) => (b.size > a.size ? b : a));

/** The arrangement with the most sheets side by side whose cells are large enough.
 * @template {{size: number}} T @param {T[]} fit @param {number} enough @returns {T} */
const mostAcross = (fit, enough) => [...fit].reverse().find((f) => f.size >= enough) ?? largestOf(fit);

/** One above the other, beside their rows of U, unless cells could be much larger.
 * @template {{size: number}} T @param {T[]} fit @returns {T} */
const besideRows = (fit) => (fit[0].size >= 0.62 * largestOf(fit).size ? fit[0] : largestOf(fit));
