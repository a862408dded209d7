// @ts-check
/**
 * Where the boards of a story of tiles go.
 *
 *   x    bench    X       the bench has the product that leads from one board to another.
 *   w   W   Y   y         Narrow: before and after side by side, the bench above them.
 */

import { range } from "../geometry.js";

/** @typedef {import("./story.js").TileStory} TileStory */
/** @typedef {import("../boards.js").Plane} Plane */
/** @typedef {import("../layout.js").Layout} Layout */

const [LARGEST, SMALLEST] = [30, 11];

/** The bench's cells are larger: its numbers are there to be read. */
const LARGE = 42;

const [TITLE, LABEL, APART, GAP, BETWEEN] = [22, 14, 9, 12, 22];
const BENCHES = /** @type {const} */ (["tile", "filter", "points", "back"]);

/** A block of sheets: how many in a row, with the gaps between tiles and between channels.
 * @typedef {{plane: Plane, groups: number, down: number, across: number, stacked: boolean}} Block */

/** @param {TileStory} story @param {number} width @param {number} height @returns {Layout} */
export function tileLayout(story, width, height) {
  const placing = new Placing(story);
  return width >= 560 ? placing.wide(width, height) : placing.narrow(width);
}

/** How well a picture reads: sheets at first, then the bench. @param {{u: number, bench: number}} way */
const worth = ({ u, bench }) => 3 * Math.min(u, 22) + Math.min(bench, 36);

class Placing {
  /** @param {TileStory} story */
  constructor(story) {
    this.story = story;
    this.boards = story.boards;
    /** @type {Layout["cells"]} */
    this.cells = new Array(story.boards.cells.length);
    /** @type {Layout["labels"]} */
    this.labels = [];
    /** @type {Layout["frames"]} */
    this.frames = [];
  }

  /** @param {number} width @param {number} height @returns {Layout} */
  wide(width, height) {
    const sizes = BENCHES.map((bench) => this.#bench(bench));
    const [rows, cols] = [Math.max(...sizes.map((size) => size.rows)), Math.max(...sizes.map((size) => size.cols))];
    const around = 2 * BETWEEN + 16;
    const most = Math.max(height, 600) - 3 * BETWEEN;
    /** The room of the bench, and how high the picture is, where cells have that size. */
    const at = (/** @type {number} */ u, /** @type {boolean} */ stacked) => {
      const [x, X, ...below] = ["x", "X", "w", "W", "Y", "y"].map((key) => this.#block(key, stacked));
      const room = width - this.#width(x, u) - this.#width(X, u) - around - 2 * GAP;
      const foot = Math.max(...below.map((block) => this.#height(block, u))) + TITLE;
      const beside = GAP + 3 * TITLE;
      const bench = Math.min(Math.floor(room / cols), Math.floor((most - foot - beside) / rows), LARGE);
      const top = Math.max(this.#height(x, u), this.#height(X, u), rows * bench + GAP + 2 * TITLE) + TITLE;
      const wide = below.reduce((sum, block) => sum + this.#width(block, u) + BETWEEN, 16);
      return { u, stacked, bench, top, foot, fits: bench >= Math.min(1.3 * u, 26) && wide <= width };
    };
    const all = [false, true].flatMap((stacked) => range(LARGEST - SMALLEST + 1).map((i) => at(LARGEST - i, stacked)));
    const good = all.filter((way) => way.fits && way.top + way.foot <= most);
    const possible = good.length ? good : [at(SMALLEST, true)];
    const best = possible.reduce((a, b) => (worth(b) > worth(a) ? b : a));

    const { u, stacked, top, foot } = best;
    const [x, X, ...below] = ["x", "X", "w", "W", "Y", "y"].map((key) => this.#block(key, stacked));
    const left = 8;
    const right = Math.max(width, 8 + this.#width(x, u) + this.#width(X, u) + around + cols * SMALLEST) - 8;
    this.#sheets(x, left, TITLE, u, this.#width(x, u) + 60);
    this.#sheets(X, right - this.#width(X, u), TITLE, u, this.#width(X, u));
    const from = left + this.#width(x, u) + BETWEEN;
    const middle = right - this.#width(X, u) - BETWEEN - from;
    for (const [i, bench] of BENCHES.entries()) {
      const size = Math.max(Math.min(Math.floor((middle - 2 * GAP) / sizes[i].cols), Math.floor((top - GAP - 2 * TITLE) / sizes[i].rows), LARGE), SMALLEST);
      const [w, h] = [sizes[i].cols * size + 2 * GAP, sizes[i].rows * size + GAP + TITLE];
      this.#work(bench, from + (middle - w) / 2, Math.max((top - h) / 2, 2), size);
    }
    const taken = below.reduce((sum, block) => sum + this.#width(block, u), 0);
    const apart = Math.max(Math.min((right - left - taken) / 3, 90), BETWEEN);
    let bx = left;
    for (const block of below) {
      const room = block === below[3] ? right - bx : this.#width(block, u) + apart - 6;
      this.#sheets(block, bx, top + BETWEEN + TITLE, u, room);
      bx += this.#width(block, u) + apart;
    }
    return this.#done(Math.max(right + 8, bx), top + foot + 2 * BETWEEN);
  }

  /** @param {number} width @returns {Layout} */
  narrow(width) {
    const sizes = BENCHES.map((bench) => this.#bench(bench));
    const cols = Math.max(...sizes.map((size) => size.cols));
    const b = Math.max(Math.min(Math.floor((width - 40) / cols), 34), SMALLEST);
    for (const [i, bench] of BENCHES.entries()) this.#work(bench, (width - sizes[i].cols * b - 2 * GAP) / 2, 6, b);
    let y = Math.max(...sizes.map((size) => size.rows)) * b + GAP + 2 * TITLE + BETWEEN;
    for (const keys of [["x", "X"], ["w", "W"], ["y", "Y"]]) {
      const blocks = keys.map((key) => this.#block(key, true));
      let u = 28;
      while (u > SMALLEST && blocks.reduce((sum, block) => sum + this.#width(block, u), 0) > width - 56) u -= 1;
      const [first, second] = blocks;
      this.#sheets(first, 8, y + TITLE, u, width / 2);
      const x = Math.max(width - 8 - this.#width(second, u), this.#width(first, u) + 34);
      this.#sheets(second, x, y + TITLE, u, width - x);
      y += Math.max(...blocks.map((block) => this.#height(block, u))) + TITLE + BETWEEN;
    }
    return this.#done(width, y);
  }

  /** @param {number} width @param {number} height @returns {Layout} */
  #done(width, height) {
    const { cells, labels, frames } = this;
    const size = cells[this.boards.planes.X.first].size;
    return { width, height, size, cells, labels, dimensions: [], frames };
  }

  // -- sheets ----------------------------------------------------------------------------------------------------------

  /** Channels side by side or stacked; the tiles of one as they lie in the image. @param {string} key @param {boolean} stacked @returns {Block} */
  #block(key, stacked) {
    const { tiles } = this.story;
    const plane = this.boards.planes[key];
    const tiled = key === "X" || key === "Y";
    const line = tiles.h.rank === 1;
    const [down, across] = !tiled ? [1, 1] : line ? [1, tiles.tiles.length] : tiles.axes.map((axis) => axis.drawn);
    const groups = plane.sheets / (down * across);
    // Kernels lie in a row for each filter, and so do their transforms.
    return { plane, groups, down, across, stacked: stacked || (line && tiled) };
  }

  /** Columns of groups. @param {Block} block */
  #columns(block) {
    const pairs = block.plane.key === "w" || block.plane.key === "W";
    if (pairs) return block.groups / this.story.tiles.outs.length;
    return block.stacked ? 1 : block.groups;
  }

  /** The room between the tiles of a channel. @param {number} u */
  #slit(u) {
    return Math.max(Math.round(u * 0.25), 3);
  }

  /** @param {Block} block @param {number} u */
  #group(block, u) {
    const { rows, cols } = block.plane;
    const slit = this.#slit(u);
    return { w: block.across * (cols * u + slit) - slit, h: block.down * (rows * u + slit) - slit };
  }

  /** @param {Block} block @param {number} u */
  #width(block, u) {
    const columns = this.#columns(block);
    return columns * (this.#group(block, u).w + GAP) - GAP;
  }

  /** @param {Block} block @param {number} u */
  #height(block, u) {
    return Math.ceil(block.groups / this.#columns(block)) * (this.#group(block, u).h + LABEL + APART);
  }

  /** @param {Block} block @param {number} x @param {number} y @param {number} u @param {number} room for the title */
  #sheets(block, x, y, u, room) {
    const { plane, groups, down, across } = block;
    const { key, rows, cols } = plane;
    const group = this.#group(block, u);
    const columns = this.#columns(block);
    const slit = this.#slit(u);
    const titles = this.#titles(plane);
    const title = titles.find((text) => text.length * 7.2 < room) ?? titles[titles.length - 1];
    this.#text(key, "title", x, y - 6, title, 14);
    for (const i of range(groups)) {
      const gx = x + (i % columns) * (group.w + GAP);
      const gy = y + Math.floor(i / columns) * (group.h + LABEL + APART) + LABEL;
      const label = this.#label(key, i);
      if (label) this.#text(key, "label", gx, gy - 4, label, 11);
      for (const tile of range(down * across)) {
        const tx = gx + (tile % across) * (cols * u + slit);
        const ty = gy + Math.floor(tile / across) * (rows * u + slit);
        const first = plane.first + (i * down * across + tile) * rows * cols;
        for (const n of range(rows * cols)) {
          const { row, col } = this.boards.cells[first + n];
          this.cells[first + n] = { x: tx + col * u, y: ty + row * u, size: u };
        }
      }
      const { cutRows, cutCols } = plane;
      this.frames.push({ key, x: gx, y: gy, w: group.w, h: group.h, cutRows, cutCols });
    }
  }

  /** @param {string} key @param {number} i */
  #label(key, i) {
    const { tiles } = this.story;
    const { channels, outs, h } = tiles;
    if (key === "x" || key === "X") return h.C > 1 ? `c = ${tiles.channel(channels[i])}` : "";
    if (key === "y" || key === "Y") return h.O > 1 ? `o = ${tiles.filter(outs[i])}` : "";
    const [o, c] = [Math.floor(i / channels.length), i % channels.length];
    // A row is a filter: its number over the first of its kernels; the colours tell the channels.
    if (h.O > 1) return c === 0 ? `o = ${tiles.filter(o)}` : "";
    return h.C > 1 ? `c = ${c}` : "";
  }

  /** What a board is, the longest way of saying it first. @param {Plane} plane @returns {string[]} */
  #titles(plane) {
    const { story } = this;
    const { tiles } = story;
    const { h } = tiles;
    const name = story.name(plane.symbol);
    const cross = (/** @type {number[]} */ shape) => shape.join(" × ");
    const real = (/** @type {number[]} */ all) => cross(tiles.real(all));
    const all = h.B * tiles.axes.reduce((n, axis) => n * axis.tiles, 1);
    const many = `${all} ${all === 1 ? "tile" : "tiles"}`;
    /** @type {Record<string, string[]>} */
    const words = {
      x: [`input, ${cross([h.C, ...h.I])}`, cross([h.C, ...h.I])],
      w: [`${plane.title}, ${cross(h.wShape)}`, cross(h.wShape)],
      y: [`output, ${cross([h.O, ...h.P])}`, cross([h.O, ...h.P])],
      X: [`${many} of ${real(tiles.t)}, transformed`, `${many} of ${real(tiles.t)}`, many],
      W: [`${story.name("w")} transformed, ${real(tiles.t)}`, real(tiles.t)],
      Y: [`= W[s] @ X[s] at each of ${tiles.points.length} points`, `${tiles.points.length} products`, "= W X"],
    };
    return [...words[plane.key].map((text) => `${name}  ${text}`), name];
  }

  // -- benches ---------------------------------------------------------------------------------------------------------

  /** Rows and columns of cells. @param {typeof BENCHES[number]} bench */
  #bench(bench) {
    const size = (/** @type {string} */ part) => this.boards.planes[`${bench}-${part}`] ?? { rows: 0, cols: 0 };
    const [left, source, half, right, result] = ["left", "source", "half", "right", "result"].map(size);
    const both = half.cols > 0;
    const rows = Math.max(source.rows, right.rows) + result.rows;
    if (both) return { rows, cols: left.cols + half.cols + result.cols };
    return left.cols ? { rows, cols: left.cols + result.cols } : { rows: right.rows + result.rows, cols: source.cols + result.cols };
  }

  /** As worked by hand: each product to the right of its first factor and below its second.
   * @param {typeof BENCHES[number]} bench @param {number} x @param {number} y @param {number} u */
  #work(bench, x, y, u) {
    const plane = (/** @type {string} */ part) => this.boards.planes[`${bench}-${part}`];
    const [left, source, half, right, result] = ["left", "source", "half", "right", "result"].map(plane);
    const top = Math.max(left ? source.rows : 0, right?.rows ?? 0);
    const yTop = y + LABEL;
    const yLow = yTop + top * u + LABEL + GAP;
    let at = x;
    const low = (/** @type {Plane} */ p) => {
      this.#matrix(p, at, yLow, u);
      at += p.cols * u + GAP;
    };
    if (left) low(left);
    if (left) this.#matrix(source, at, yTop + (top - source.rows) * u, u);
    if (half) low(half);
    if (!left) low(source);
    if (right) this.#matrix(right, at, yTop + (top - right.rows) * u, u);
    this.#matrix(result, at, yLow, u);
  }

  /** @param {Plane} plane @param {number} x @param {number} y @param {number} size */
  #matrix(plane, x, y, size) {
    for (const cell of this.boards.all(plane.key)) {
      this.cells[cell.id] = { x: x + cell.col * size, y: y + cell.row * size, size };
    }
    this.frames.push({ key: plane.key, x, y, w: plane.cols * size, h: plane.rows * size, cutRows: false, cutCols: false });
    this.#text(plane.key, "title", x + 1, y - 5, plane.symbol, 13);
  }

  /** @param {string} key @param {"title" | "label"} role @param {number} x @param {number} y @param {string} text @param {number} size */
  #text(key, role, x, y, text, size) {
    this.labels.push({ x, y, text, anchor: "start", size, role, key });
  }
}
