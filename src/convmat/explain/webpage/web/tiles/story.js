// @ts-check
/**
 * A story of tiles: filters are transformed, then tiles; at each point a small product over the channels; then tiles of
 * the output are transformed back. The first of each kind goes slowly, the others in one step each.
 */

import { gcd, indices, product, range } from "../geometry.js";
import { near, sampleNote, show } from "../show.js";
import { TileBoards, TRANSFORMS } from "./boards.js";
import { tileLayout } from "./layout.js";
import { lookAt } from "./look.js";
import { TileScene, settled } from "./scene.js";

/** @typedef {import("../story.js").Step} Step */
/** @typedef {import("../story.js").Sum} Sum */
/** @typedef {import("../story.js").Pass} Pass */
/** @typedef {import("../boards.js").Cell} Cell */
/** @typedef {import("./boards.js").Bench} Bench */
/** @typedef {import("./scene.js").Grid} Grid */

/** What is on the bench: a tile or a kernel by its two numbers, or a point. @typedef {{name: Bench, at: number[],
 *   tint: string | null}} OnBench */

/** @typedef {Step & {bench: OnBench}} TileStep */

export class TileStory {
  /** @param {import("../scene.js").Scene} scene @param {Pass} pass @param {number} m outputs of a tile along an axis */
  constructor(scene, pass, m) {
    this.pass = pass;
    this.tiles = new TileScene(scene, pass, m);
    this.boards = new TileBoards(this.tiles, (symbol) => this.name(symbol));
    /** Nothing is read in place. */
    this.place = false;
    /** @type {import("../boards.js").Key[]} the boards that the story fills */
    this.results = ["y"];
    this.tabled = ["filter-left", "filter-right", "tile-left", "tile-right", "back-left", "back-right", "y"].filter(
      (key) => key in this.boards.planes,
    );
    /** @type {TileStep[]} */
    this.steps = [];
    this.#filters();
    this.#cut();
    this.#multiply();
    this.#back();
  }

  /** What the pass calls x, w and y: each may be another array's gradient. @param {string} symbol */
  name(symbol) {
    const names = { forward: {}, input: { x: "dy", y: "dx" }, weight: { w: "dy", y: "dw" } }[this.pass];
    return /** @type {Record<string, string>} */ (names)[symbol] ?? symbol;
  }

  /** What the arrays that are read and written are called in full, e.g. dx[0, 1, 2]. @param {Cell} cell */
  full(cell) {
    const gradient = this.name(cell.board) !== cell.board;
    return (gradient && cell.kind === "element" ? "d" : "") + cell.name;
  }

  get heading() {
    const [x, w, y] = ["x", "w", "y"].map((symbol) => this.name(symbol));
    const two = this.tiles.axes.every((axis) => axis.fast.t > 1);
    const [W, X] = two ? [`G ${w} Gᵀ`, "Bᵀ d B"] : [`G ${w}`, "Bᵀ d"];
    return `${y} = Aᵀ Y${two ? " A" : ""},  Y[s] = W[s] @ X[s],  W = ${W},  X = ${X},  d a tile of ${x}`;
  }

  /** What is drawn, where it is not all. */
  get note() {
    const { h, tiles, axes, channels, outs, group, image, whole } = this.tiles;
    return sampleNote(
      [
        [channels.length, h.C / h.G, "input channels"],
        [outs.length, h.m, "output channels"],
        [tiles.length, product(axes.map((axis) => axis.tiles)), "tiles"],
      ],
      [["group", group, h.G], ["image", image, h.B]],
      whole,
    ); // prettier-ignore
  }

  /** @param {number} width @param {number} height */
  layout(width, height) {
    return tileLayout(this, width, height);
  }

  /** What a cell holds at the end. @param {number} id */
  given(id) {
    return this.valuesAt(this.steps.length - 1)[id] ?? 0;
  }

  /** What belongs to a cell. @param {number} id @param {(number | undefined)[]} values @param {number} t */
  look(id, values, t) {
    return lookAt(this, id, values, this.benchAt(t));
  }

  /** What lies on the bench at a step. @param {number} t @returns {OnBench} */
  benchAt(t) {
    return t >= 0 ? this.steps[t].bench : { name: "tile", at: [0, 0], tint: this.#tint("x", 0) };
  }

  /** The cells of x that some tiles cover, a sheet each, and of y what one gives. @param {number[]} numbers */
  windows(numbers) {
    const { channels, outs } = this.tiles;
    return numbers.flatMap((q) => [
      ...channels.map((c) => this.boards.under(c, q)),
      ...outs.map((o) => this.boards.given(o, q)),
    ]);
  }

  /** @param {number} t @returns {(number | undefined)[]} */
  valuesAt(t) {
    const { boards, tiles } = this;
    /** @type {(number | undefined)[]} */
    const values = new Array(boards.cells.length).fill(undefined);
    for (const [id, value] of boards.constants) values[id] = value;
    tiles.channels.forEach((c) =>
      tiles.tiles.forEach((q, n) => {
        const d = tiles.d(c, q).v.flat();
        boards.under(c, n).forEach((id, i) => {
          if (id >= 0 && boards.cells[id].kind === "element") values[id] = d[i];
        });
      }),
    );
    tiles.outs.forEach((o) =>
      tiles.channels.forEach((c) => {
        const kernel = tiles.kernel(o, c).v.flat();
        range(kernel.length).forEach((i) => (values[boards.planes.w.first + boards.pair(o, c) * kernel.length + i] = kernel[i]));
      }),
    );
    for (const step of this.steps.slice(0, t + 1)) for (const [id, value] of step.sets) values[id] = value;
    return values;
  }

  /** The sum behind a cell of X, W, Y or y. @param {number} id @returns {Sum | null} */
  sum(id) {
    const { boards, tiles } = this;
    const cell = boards.cells[id];
    const name = this.full(cell);
    if (cell.board === "X") {
      const { sheet, s } = boards.where(cell);
      const [c, q] = [Math.floor(sheet / tiles.tiles.length), sheet % tiles.tiles.length];
      return this.#transformed(name, "tile", s, tiles.d(c, tiles.tiles[q]), tiles.X(c, tiles.tiles[q]), boards.under(c, q));
    }
    if (cell.board === "W") {
      const { sheet, s } = boards.where(cell);
      const [o, c] = [Math.floor(sheet / tiles.channels.length), sheet % tiles.channels.length];
      const kernel = boards.planes.w.first + sheet * product(tiles.r);
      return this.#transformed(name, "filter", s, tiles.kernel(o, c), tiles.W(o, c), range(product(tiles.r)).map((i) => kernel + i));
    }
    if (cell.board === "Y") {
      const { sheet, s: [i, j] } = boards.where(cell);
      const [o, q] = [Math.floor(sheet / tiles.tiles.length), sheet % tiles.tiles.length];
      const terms = tiles.channels.map((c) => ({
        left: settled(tiles.W(o, c), i, j),
        right: settled(tiles.X(c, tiles.tiles[q]), i, j),
        leftCell: boards.point("W", boards.pair(o, c), [i, j]),
        rightCell: boards.point("X", boards.sheet(c, q), [i, j]),
      }));
      return this.#written(name, terms, settled(tiles.Y(o, tiles.tiles[q]), i, j), tiles.h.C / tiles.h.G - terms.length);
    }
    if (cell.board === "y") {
      const { o, q, v } = this.output(cell);
      const sheet = boards.sheet(o, q);
      const from = tiles.points.map((s) => boards.point("Y", sheet, s));
      return this.#transformed(name, "back", v, tiles.Y(o, tiles.tiles[q]), tiles.y(o, tiles.tiles[q]), from);
    }
    return null;
  }

  /** The filter of a cell of y, the number of its tile, and where it lies in it. @param {Cell} cell */
  output(cell) {
    const { tiles } = this;
    const at = tiles.h.rank > 1 ? [cell.row, cell.col] : [cell.col, 0];
    const { slots } = tiles;
    return { o: cell.sheet, ...tiles.tileOf(at.map((i, a) => slots[a][i])) };
  }

  /** @param {string} name @param {"tile" | "filter" | "back"} bench @param {number[]} at @param {Grid} source
   * @param {Grid} made @param {number[]} cells of the source, in C order */
  #transformed(name, bench, [i, j], source, made, cells) {
    return this.#written(name, this.#terms(bench, [i, j], source, cells), settled(made, i, j), 0);
  }

  /** The terms of a transform's element, those with a factor of zero left out. @param {"tile" | "filter" | "back"} bench
   * @param {number[]} at @param {Grid} source @param {number[]} cells */
  #terms(bench, [i, j], source, cells) {
    const { matrix } = TRANSFORMS[bench];
    const [L, R] = this.tiles.axes.map((axis) => axis.fast[/** @type {"G"} */ (matrix)]);
    const terms = [];
    for (const u of range(source.v.length)) {
      for (const v of range(source.v[0].length)) {
        const [a, b] = [L[i][u], R[j][v]];
        const [n, d] = [a.n * b.n, a.d * b.d];
        if (!n) continue;
        const right = settled(source, u, v);
        terms.push({ left: n / d, leftText: shortest(n, d), right, leftCell: -1, rightCell: cells[u * source.v[0].length + v] });
      }
    }
    return terms;
  }

  /** @param {string} name @param {Sum["terms"]} terms @param {number} total @param {number} more @returns {Sum} */
  #written(name, terms, total, more) {
    const rest = total - terms.reduce((sum, term) => sum + Number(term.left) * term.right, 0);
    const size = terms.reduce((sum, term) => sum + Math.abs(Number(term.left) * term.right), 1);
    return { name, terms, rest: more > 0 && !near(rest / size, 0) ? rest : 0, more, total };
  }

  // -- steps -----------------------------------------------------------------------------------------------------------

  /** @param {Partial<TileStep> & Pick<TileStep, "stage" | "title" | "text" | "bench">} step */
  #step(step) {
    this.steps.push({ from: [], to: [], flights: [], sets: [], drops: [], pixels: [], focus: null, ...step });
  }

  /** The colour of a channel's sheets. @param {"x" | "w"} key @param {number} sheet */
  #tint(key, sheet) {
    return this.boards.all(key === "x" ? "X" : "W")[sheet * product(this.tiles.t) * (key === "x" ? this.tiles.tiles.length : 1)].tint;
  }

  /** A bench's part with the numbers of a grid. @param {Bench} bench @param {"source" | "half" | "result"} part @param {Grid} of
   * @returns {[number, number][]} */
  #fill(bench, part, of) {
    if (!this.boards.has(bench, part)) return [];
    const cols = of.v[0].length;
    return this.boards.part(bench, part).map((id, n) => [id, settled(of, Math.floor(n / cols), n % cols)]);
  }

  /**
   * One transform on its bench, in one step or, slowly, in two or three.
   * @param {"tile" | "filter" | "back"} bench
   * @param {{title: string, text: string, source: Grid, result: Grid, from: number[], to: (number | undefined)[], at: number[],
   *   tint: string | null, slow: boolean, pixels: number[], stage: Step["stage"], focus: number}} of
   */
  #transform(bench, of) {
    const { boards, tiles } = this;
    const { left, right, source, result, matrix } = TRANSFORMS[bench];
    const name = this.name(source);
    const on = { name: bench, at: of.at, tint: of.tint };
    const placed = this.#fill(bench, "source", of.source);
    const half = this.#fill(bench, "half", tiles.half(/** @type {"G"} */ (matrix), of.source));
    const made = this.#fill(bench, "result", of.result);
    const flat = made.map(([, value]) => value);
    /** @type {[number, number][]} */
    const kept = of.to.flatMap((id, n) => (id === undefined ? [] : [/** @type {[number, number]} */ ([id, flat[n]])]));
    const moved = placed.map(([id], n) => /** @type {[number, number]} */ ([of.from[n], id])).filter(([id]) => id >= 0);
    const landing = kept.map(([id]) => /** @type {[number, number]} */ ([made[of.to.indexOf(id)][0], id]));
    const ids = (/** @type {[number, number][]} */ sets) => sets.map(([id]) => id);
    const matrices = (/** @type {("left" | "right")[]} */ parts) =>
      parts.filter((part) => boards.has(bench, part)).flatMap((part) => boards.part(bench, part));
    const { stage, pixels, title } = of;
    if (!of.slow) {
      const from = [...of.from.filter((id) => id >= 0), ...matrices(["left", "right"])];
      this.#step({
        stage, pixels, bench: on, title, text: of.text, from, focus: of.focus,
        to: [...ids(placed), ...ids(half), ...ids(made), ...ids(kept)],
        flights: landing, sets: [...placed, ...half, ...made, ...kept],
      }); // prettier-ignore
      return;
    }
    this.#step({
      stage, pixels, bench: on, title, text: of.text,
      from: of.from.filter((id) => id >= 0), to: ids(placed), flights: moved, sets: placed,
    }); // prettier-ignore
    if (half.length) {
      this.#step({
        stage, pixels, bench: on, title: `${left} from the left`,
        text: `${left} times ${name}: each column of ${name} by itself. ${left} is the same for every tile: it was derived once, in fractions.`,
        from: [...matrices(["left"]), ...ids(placed)], to: ids(half), sets: half,
      }); // prettier-ignore
    }
    const last = half.length ? right : boards.has(bench, "left") ? left : right;
    const side = last === right ? `${last} from the right` : `${last} from the left`;
    this.#step({
      stage, pixels, bench: on, title: side,
      text: `${half.length ? `The same along the rows` : `${last} times ${name}`}: ${this.name(result)}, ${count(flat.length, "number")} from the ${of.source.v.flat().length} of ${name}.`,
      from: [...matrices([last === right ? "right" : "left"]), ...(half.length ? ids(half) : ids(placed))],
      to: [...ids(made), ...ids(kept)], flights: landing, sets: [...made, ...kept], focus: of.focus,
    }); // prettier-ignore
  }

  #filters() {
    const { tiles, boards } = this;
    const size = product(tiles.r);
    const points = tiles.points.length;
    for (const o of tiles.outs) {
      for (const c of tiles.channels) {
        const first = boards.planes.w.first + boards.pair(o, c) * size;
        const to = tiles.points.map((s) => boards.point("W", boards.pair(o, c), s));
        this.#transform("filter", {
          stage: "filter",
          title: `Transform kernel (${tiles.filter(o)}, ${c})`,
          text: `Its ${tiles.real(tiles.r).join(" x ")} weights become ${points} numbers: ${this.#formula("filter")}. Once for all tiles: weights that are bound are transformed before.`,
          source: tiles.kernel(o, c), result: tiles.W(o, c), from: range(size).map((i) => first + i), to, at: [o, c],
          tint: this.#tint("w", boards.pair(o, c)), slow: o === 0 && c === 0, pixels: [], focus: to[to.length > 5 ? (tiles.t[1] > 1 ? tiles.t[1] + 1 : 1) : 1],
        }); // prettier-ignore
      }
    }
  }

  #cut() {
    const { tiles, boards } = this;
    const overlap = tiles.real(tiles.axes.map((axis) => axis.fast.r - 1));
    const apart = Math.max(...tiles.axes.map((axis) => axis.d));
    tiles.tiles.forEach((q, n) => {
      for (const c of tiles.channels) {
        const to = tiles.points.map((s) => boards.point("X", boards.sheet(c, n), s));
        const place = tiles.real(q).join(", ");
        this.#transform("tile", {
          stage: "tile",
          title: `Cut tile (${place}) of channel ${tiles.channel(c)}`,
          text:
            `d: ${tiles.real(tiles.t).join(" x ")} elements${apart > 1 ? `, ${apart} apart: tiles interleave` : ""}. The next tile begins ` +
            `${tiles.m * apart} further on: neighbours share ${overlap.join(" x ")}. ` +
            `X = ${this.#formula("tile")}: as many numbers.`,
          source: tiles.d(c, q), result: tiles.X(c, q), from: boards.under(c, n), to, at: [c, n],
          tint: this.#tint("x", c), slow: n === 0 && c === 0, pixels: [n], focus: to[tiles.t[1] > 1 && tiles.t[0] > 1 ? tiles.t[1] + 1 : 1],
        }); // prettier-ignore
      }
    });
  }

  /** One point a step along the first row, then a row a step. */
  #multiply() {
    const { tiles } = this;
    const row = tiles.t[1] > 1 && tiles.t[0] > 1 ? tiles.t[1] : tiles.points.length;
    range(Math.min(row, tiles.points.length)).forEach((i) => this.#point([tiles.points[i]]));
    for (let i = row; i < tiles.points.length; i += row) this.#point(tiles.points.slice(i, i + row));
  }

  /** The products of some points, the last one on the bench. @param {number[][]} points */
  #point(points) {
    const { tiles, boards } = this;
    const { channels, outs, h } = tiles;
    /** @type {[number, number][]} */
    const sets = [];
    /** @type {number[]} */
    const from = [];
    for (const s of points) {
      for (const o of outs) {
        from.push(...channels.map((c) => boards.point("W", boards.pair(o, c), s)));
        tiles.tiles.forEach((q, n) => sets.push([boards.point("Y", boards.sheet(o, n), s), settled(tiles.Y(o, q), s[0], s[1])]));
      }
      for (const c of channels) from.push(...tiles.tiles.map((_, n) => boards.point("X", boards.sheet(c, n), s)));
    }
    const s = points[points.length - 1];
    const [i, j] = s;
    /** @type {[number, number][]} */
    const worked = [];
    outs.forEach((o) => channels.forEach((c) => worked.push([boards.id("points-left", o, c), settled(tiles.W(o, c), i, j)])));
    channels.forEach((c) => tiles.tiles.forEach((q, n) => worked.push([boards.id("points-source", c, n), settled(tiles.X(c, q), i, j)])));
    outs.forEach((o) => tiles.tiles.forEach((q, n) => worked.push([boards.id("points-result", o, n), settled(tiles.Y(o, q), i, j)])));
    const here = `(${tiles.real(s).join(", ")})`;
    const N = h.B * product(tiles.axes.map((axis) => axis.tiles));
    this.#step({
      stage: "multiply",
      title: points.length > 1 ? `The points of row ${i}` : `The product at point ${here}`,
      text:
        `${points.length > 1 ? `Likewise, each by itself; on the bench is point ${here}` : `What lies at ${here} of all sheets`}: W[s] @ X[s], ` +
        `(${h.m} x ${h.C / h.G}) @ (${h.C / h.G} x ${N}), summed over channels alone. ` +
        `${this.counted}`,
      bench: { name: "points", at: s, tint: null },
      from,
      to: [...sets, ...worked].map(([id]) => id),
      sets: [...sets, ...worked],
      focus: sets[sets.length - outs.length * tiles.tiles.length][0],
    });
  }

  /** The multiplications of a tile, against the definition's. */
  get counted() {
    const { tiles } = this;
    const [here, there] = [tiles.points.length, product(tiles.out) * product(tiles.r)];
    return `A tile takes ${here} such products for each pair of channels, the definition ${product(tiles.out)} outputs x ${product(tiles.r)} weights = ${there}.`;
  }

  #back() {
    const { tiles, boards } = this;
    tiles.outs.forEach((o) =>
      tiles.tiles.forEach((q, n) => {
        const to = indices(tiles.out).map((v) => boards.at.get(`y ${o} ${tiles.pixel(q, v)}`));
        const lost = to.filter((id) => id === undefined).length;
        const place = tiles.real(q).join(", ");
        const focus = to.find((id) => id !== undefined);
        this.#transform("back", {
          stage: "back",
          title: `Back: tile (${place}) of output channel ${tiles.filter(o)}`,
          text:
            `${tiles.points.length} sums become ${tiles.real(tiles.out).join(" x ")} outputs: ${this.#formula("back")}, put in their place` +
            (lost ? `; ${lost} of them ${lost === 1 ? "lies" : "lie"} beyond ${this.name("y")} and ${lost === 1 ? "is" : "are"} dropped.` : "."),
          source: tiles.Y(o, q), result: tiles.y(o, q), from: tiles.points.map((s) => boards.point("Y", boards.sheet(o, n), s)),
          to, at: [o, n], tint: null, slow: o === 0 && n === 0, pixels: [n], focus: focus ?? -1,
        }); // prettier-ignore
      }),
    );
  }

  /** A transform as its product is written. @param {"tile" | "filter" | "back"} bench */
  #formula(bench) {
    const { left, right, source } = TRANSFORMS[bench];
    const parts = [this.boards.has(bench, "left") ? left : "", this.name(source), this.boards.has(bench, "right") ? right : ""];
    return parts.filter(Boolean).join(" ");
  }
}

/** @param {number} n @param {string} one */
const count = (n, one) => `${n} ${one}${n === 1 ? "" : "s"}`;

/** A factor as a fraction, or with three figures where that is long. @param {number} n @param {number} d */
function shortest(n, d) {
  const by = gcd(Math.abs(n), d);
  const text = d / by === 1 ? String(n / by) : `${n / by}/${d / by}`;
  return text.length > 8 ? show(n / d) : text.replace("-", "\u2212");
}
