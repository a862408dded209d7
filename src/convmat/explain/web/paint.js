// @ts-check
/** The picture: SVG elements for boards, labels and dimension lines, and their changes from step to step. */

import { ink } from "./colour.js";
import { show } from "./show.js";

/** @typedef {import("./story.js").Story} Story */
/** @typedef {import("./layout.js").Layout} Layout */
/** @typedef {import("./boards.js").Cell} Cell */
/** @typedef {import("./boards.js").Key} Key */

/** What a cell is marked as. @typedef {"from" | "to" | "hot" | "warm"} Mark */

const NS = "http://www.w3.org/2000/svg";

/**
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | number>} attributes
 * @param {Element} [parent]
 * @returns {SVGElementTagNameMap[T]}
 */
function make(tag, attributes, parent) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  parent?.append(element);
  return element;
}

export class Picture {
  /** @param {SVGSVGElement} svg */
  constructor(svg) {
    this.svg = svg;
    /** @type {{group: SVGGElement, rect: SVGRectElement, text: SVGTextElement | null}[]} */
    this.cells = [];
    /** @type {(string | undefined)[]} */
    this.shown = [];
    /** @type {Story | null} */
    this.story = null;
    /** @type {Layout | null} */
    this.layout = null;
  }

  /** Draws all of a story's boards anew. @param {Story} story @param {Layout} layout @param {(key: Key) => string} describe */
  draw(story, layout, describe) {
    this.story = story;
    this.layout = layout;
    this.shown = [];
    const { svg } = this;
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${layout.width} ${layout.height}`);
    svg.setAttribute("width", String(layout.width));
    svg.setAttribute("height", String(layout.height));
    this.#patterns();
    const words = make("g", { class: "words", "aria-hidden": "true" }, svg);
    for (const d of layout.dimensions) this.#dimension(d, words);
    for (const l of layout.labels) {
      const text = make("text", { class: l.role, x: l.x, y: l.y, "text-anchor": l.anchor, "font-size": l.size }, words);
      if (l.role === "title") {
        const [symbol, ...rest] = l.text.split("  ");
        make("tspan", { class: "symbol" }, text).textContent = symbol;
        if (rest.length) make("tspan", { dx: 8, class: "what" }, text).textContent = rest.join("  ");
      } else text.textContent = l.text;
    }
    this.cells = new Array(story.boards.cells.length);
    for (const key of /** @type {Key[]} */ (Object.keys(story.boards.planes))) {
      const board = make(
        "g",
        { class: `board board-${key}`, tabindex: 0, role: "application", "data-board": key, "aria-label": describe(key) },
        svg,
      );
      board.setAttribute("aria-roledescription", "matrix");
      for (const cell of story.boards.all(key)) this.#cell(cell, board);
      for (const frame of layout.frames.filter((f) => f.key === key)) this.#frame(frame, board);
    }
    this.windows = make("g", { class: "windows", "aria-hidden": "true" }, svg);
    this.flights = make("g", { class: "flights", "aria-hidden": "true" }, svg);
  }

  #patterns() {
    const defs = make("defs", {}, this.svg);
    const hatch = make(
      "pattern",
      { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      defs,
    );
    make("rect", { width: 6, height: 6, class: "hatch-ground" }, hatch);
    make("line", { x1: 0, y1: 0, x2: 0, y2: 6, class: "hatch-line" }, hatch);
  }

  /** @param {import("./layout.js").Dimension} d @param {Element} parent */
  #dimension(d, parent) {
    const [dx, dy] = d.vertical ? [0, d.length] : [d.length, 0];
    const [tx, ty] = d.vertical ? [4, 0] : [0, 4];
    make("path", {
      class: "measure",
      d: `M${d.x - tx} ${d.y - ty}l${2 * tx} ${2 * ty}M${d.x} ${d.y}l${dx} ${dy}M${d.x + dx - tx} ${d.y + dy - ty}l${2 * tx} ${2 * ty}`,
      "stroke-dasharray": d.cut ? "5 3" : "none",
    }, parent); // prettier-ignore
    const middle = { x: d.x + dx / 2, y: d.y + dy / 2 };
    const text = make("text", { class: "dimension", "text-anchor": "middle", "font-size": 12 }, parent);
    text.textContent = d.text;
    if (d.vertical && d.length > 6.4 * d.text.length) {
      const x = middle.x + (d.side > 0 ? 16 : -8);
      text.setAttribute("transform", `translate(${x} ${middle.y}) rotate(-90)`);
    } else if (d.vertical) {
      text.setAttribute("text-anchor", d.side > 0 ? "start" : "end");
      text.setAttribute("x", String(middle.x + 8 * d.side));
      text.setAttribute("y", String(middle.y + 4));
    } else {
      text.setAttribute("x", String(middle.x));
      text.setAttribute("y", String(middle.y + (d.side > 0 ? 16 : -7)));
    }
  }

  /** @param {import("./layout.js").Frame} frame @param {Element} parent */
  #frame(frame, parent) {
    const { x, y, w, h } = frame;
    if (!frame.cutRows && !frame.cutCols) return;
    // A torn edge: a zigzag where the sample ends but the array goes on.
    const tear = (/** @type {number} */ x0, /** @type {number} */ y0, /** @type {number} */ length, /** @type {boolean} */ down) => {
      const teeth = Math.max(Math.round(length / 8), 2);
      const step = length / teeth;
      let path = `M${x0} ${y0}`;
      for (let i = 0; i < teeth; i += 1) {
        const out = i % 2 ? -3 : 3;
        path += down ? `l${out} ${step / 2}l${-out} ${step / 2}` : `l${step / 2} ${out}l${step / 2} ${-out}`;
      }
      make("path", { class: "tear", d: path }, parent);
    };
    if (frame.cutCols) tear(x + w + 3, y, h, true);
    if (frame.cutRows) tear(x, y + h + 3, w, false);
  }

  /** @param {Cell} cell @param {Element} parent */
  #cell(cell, parent) {
    const { layout } = this;
    if (!layout) return;
    const { x, y, size } = layout.cells[cell.id];
    const group = make("g", { class: "cell", "data-id": cell.id, transform: `translate(${x} ${y})` }, parent);
    if (cell.tint) {
      group.style.setProperty("--tint", cell.tint);
      group.style.setProperty("--on", ink(cell.tint));
    }
    const inset = size > 14 ? 1 : 0.5;
    const rect = make(
      "rect",
      { x: inset, y: inset, width: size - 2 * inset, height: size - 2 * inset, rx: size > 18 ? 3 : 1.5 },
      group,
    );
    let text = null;
    if (size >= 11) {
      text = make("text", { x: size / 2, y: size / 2, "text-anchor": "middle", "dominant-baseline": "central" }, group);
    }
    this.cells[cell.id] = { group, rect, text };
  }

  /**
   * Shows values and marks; only what changed is touched.
   * @param {(number | undefined)[]} values
   * @param {Map<number, Mark>} marks
   * @param {boolean} dim whether unmarked cells step back
   */
  update(values, marks, dim) {
    const { story, layout } = this;
    if (!story || !layout) return;
    this.svg.classList.toggle("dimmed", dim);
    const place = story.lowering.store === "place";
    for (const cell of story.boards.cells) {
      const value = values[cell.id];
      const mark = marks.get(cell.id);
      const stored = value !== undefined;
      const state = [
        "cell",
        `on-${cell.board}`,
        cell.kind,
        stored ? "stored" : "absent",
        place && cell.board === "U" ? "place" : "",
        mark ?? "",
      ].join(" ");
      const text = stored ? show(value) : cell.kind === "element" || cell.board === "U" ? "" : "0";
      const key = `${state}|${text}`;
      if (this.shown[cell.id] === key) continue;
      this.shown[cell.id] = key;
      const drawn = this.cells[cell.id];
      drawn.group.setAttribute("class", state);
      if (drawn.text) {
        drawn.text.textContent = text;
        const { size } = layout.cells[cell.id];
        const most = size / (0.62 * Math.max(text.length, 1.6));
        drawn.text.setAttribute("font-size", String(Math.min(size * 0.46, most, 18).toFixed(1)));
      }
    }
  }

  /** Outlines the windows of some outputs on every sheet of x. @param {number[]} pixels columns of Y */
  outline(pixels) {
    const { story, layout, windows } = this;
    if (!story || !layout || !windows) return;
    windows.replaceChildren();
    const { scene, boards } = story;
    if (pixels.length !== 1) return;
    const { taps } = scene;
    const p = scene.pixels[pixels[0]];
    for (const c of scene.channels) {
      const ids = taps
        .map((f) => boards.at.get(`x ${c} ${scene.coordinate(p, f)}`))
        .filter((id) => id !== undefined);
      const bySheet = new Map();
      for (const id of ids) {
        const sheet = boards.cells[id].sheet;
        bySheet.set(sheet, [...(bySheet.get(sheet) ?? []), id]);
      }
      for (const members of bySheet.values()) {
        const boxes = members.map((/** @type {number} */ id) => layout.cells[id]);
        const x0 = Math.min(...boxes.map((/** @type {{x: number}} */ b) => b.x));
        const y0 = Math.min(...boxes.map((/** @type {{y: number}} */ b) => b.y));
        const x1 = Math.max(...boxes.map((/** @type {{x: number, size: number}} */ b) => b.x + b.size));
        const y1 = Math.max(...boxes.map((/** @type {{y: number, size: number}} */ b) => b.y + b.size));
        for (const name of ["halo", "edge"]) {
          make("rect", { class: name, x: x0 - 1, y: y0 - 1, width: x1 - x0 + 2, height: y1 - y0 + 2, rx: 4 }, windows);
        }
      }
    }
  }

  /**
   * Copies of cells fly to others; resolves when the last one has landed.
   * @param {[number, number][]} pairs
   * @param {(number | undefined)[]} values
   * @param {number} duration milliseconds
   * @returns {Promise<void>}
   */
  async fly(pairs, values, duration) {
    const { layout, story, flights } = this;
    if (!layout || !story || !flights) return;
    flights.replaceChildren();
    const stagger = Math.min(28, (duration * 0.6) / Math.max(pairs.length, 1));
    const landing = pairs.map(([from, to], i) => {
      const [a, b] = [layout.cells[from], layout.cells[to]];
      const cell = story.boards.cells[from];
      const group = make("g", { class: `cell flyer stored ${cell.kind} on-${cell.board}` }, flights);
      if (cell.tint) {
        group.style.setProperty("--tint", cell.tint);
        group.style.setProperty("--on", ink(cell.tint));
      }
      make("rect", { x: 1, y: 1, width: a.size - 2, height: a.size - 2, rx: 3 }, group);
      const value = values[to] ?? values[from];
      if (a.size >= 11 && value !== undefined) {
        const text = make(
          "text",
          { x: a.size / 2, y: a.size / 2, "text-anchor": "middle", "dominant-baseline": "central", "font-size": a.size * 0.42 },
          group,
        );
        text.textContent = show(value);
      }
      const arc = { x: (a.x + b.x) / 2, y: Math.min(a.y, b.y) * 0.35 + ((a.y + b.y) / 2) * 0.65 };
      const scale = b.size / a.size;
      return group.animate(
        [
          { transform: `translate(${a.x}px, ${a.y}px) scale(1)` },
          { transform: `translate(${arc.x}px, ${arc.y}px) scale(${(1 + scale) / 2})` },
          { transform: `translate(${b.x}px, ${b.y}px) scale(${scale})` },
        ],
        { duration: duration * 0.7, delay: i * stagger, easing: "cubic-bezier(.45,0,.25,1)", fill: "both" },
      ).finished;
    });
    await Promise.allSettled(landing);
    flights.replaceChildren();
  }

  /** Ends all flights at once. */
  land() {
    this.flights?.getAnimations({ subtree: true }).forEach((animation) => animation.cancel());
    this.flights?.replaceChildren();
  }
}
