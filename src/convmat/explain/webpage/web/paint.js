// @ts-check
/** The picture: SVG elements for boards, labels and dimension lines, and their changes from step to step. */

import { ink } from "./colour.js";
import { show } from "./show.js";

/** @typedef {import("./story.js").Story | import("./tiles/story.js").TileStory} Story */
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

/** Writes a number into a cell, a fraction over its line. @param {SVGTextElement} element @param {string} text @param {number} size */
function write(element, text, size) {
  const [over, under] = text.split("/");
  const longest = under === undefined ? text.length : Math.max(over.length, under.length);
  const most = size / (0.62 * Math.max(longest, 1.6));
  // Both ends of a fraction keep a fifth of a digit from the cell's own.
  const font = Math.min(size * (under === undefined ? 0.46 : 0.36), under === undefined ? most : most * 0.8, 18);
  element.setAttribute("font-size", font.toFixed(1));
  if (under === undefined) {
    element.textContent = text;
    return;
  }
  element.replaceChildren();
  const sign = over.startsWith("\u2212") ? 1 : 0;
  make("tspan", { x: size / 2, dy: -0.58 * font, "text-decoration": "underline" }, element).textContent = over;
  make("tspan", { x: size / 2 + (sign * font) / 4, dy: 1.14 * font }, element).textContent = under;
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
    /** @type {[string, SVGElement][]} what is shown with its bench alone */
    this.turns = [];
  }

  /** Shows one bench, in the colour of the channel that is worked on. @param {{name: string, tint: string | null} | null} bench */
  stage(bench) {
    for (const [name, element] of this.turns) {
      element.style.display = name === bench?.name ? "" : "none";
      if (!bench?.tint) continue;
      element.style.setProperty("--tint", bench.tint);
      element.style.setProperty("--on", ink(bench.tint));
    }
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
    this.turns = [];
    for (const d of layout.dimensions) this.#dimension(d, words);
    for (const l of layout.labels) {
      const bench = l.key && story.boards.planes[l.key].bench;
      const text = make("text", { class: l.role, x: l.x, y: l.y, "text-anchor": l.anchor, "font-size": l.size }, words);
      if (l.role === "title") {
        const [symbol, ...rest] = l.text.split("  ");
        make("tspan", { class: "symbol" }, text).textContent = symbol;
        if (rest.length) make("tspan", { dx: 8, class: "what" }, text).textContent = rest.join("  ");
      } else text.textContent = l.text;
      if (bench) this.turns.push([bench, text]);
    }
    this.cells = new Array(story.boards.cells.length);
    for (const key of /** @type {Key[]} */ (Object.keys(story.boards.planes))) {
      const board = make(
        "g",
        { class: `board board-${key}`, tabindex: 0, role: "application", "data-board": key, "aria-label": describe(key) },
        svg,
      );
      board.setAttribute("aria-roledescription", "matrix");
      const { bench } = story.boards.planes[key];
      if (bench) this.turns.push([bench, board]);
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
    for (const cell of story.boards.cells) {
      const value = values[cell.id];
      const mark = marks.get(cell.id);
      const stored = value !== undefined;
      const state = [
        "cell",
        `on-${cell.paint ?? cell.board}`,
        cell.kind,
        stored ? "stored" : "absent",
        story.place && cell.board === "U" ? "place" : "",
        story.boards.planes[cell.board].bench ? "bench" : "",
        mark ?? "",
      ].join(" ");
      const text = stored ? (cell.text ?? show(value)) : cell.kind === "element" || cell.board === "U" ? "" : "0";
      const key = `${state}|${text}`;
      if (this.shown[cell.id] === key) continue;
      this.shown[cell.id] = key;
      const drawn = this.cells[cell.id];
      drawn.group.setAttribute("class", state);
      if (drawn.text) write(drawn.text, text, layout.cells[cell.id].size);
    }
  }

  /** Outlines the windows of an output, or tiles. @param {number[]} pixels their numbers */
  outline(pixels) {
    const { story, layout, windows } = this;
    if (!story || !layout || !windows) return;
    windows.replaceChildren();
    for (const members of story.windows(pixels)) {
      const boxes = members.filter((id) => id >= 0).map((id) => layout.cells[id]);
      if (!boxes.length) continue;
      const x0 = Math.min(...boxes.map((b) => b.x));
      const y0 = Math.min(...boxes.map((b) => b.y));
      const x1 = Math.max(...boxes.map((b) => b.x + b.size));
      const y1 = Math.max(...boxes.map((b) => b.y + b.size));
      for (const name of ["halo", "edge"]) {
        make("rect", { class: name, x: x0 - 1, y: y0 - 1, width: x1 - x0 + 2, height: y1 - y0 + 2, rx: 4 }, windows);
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
      const group = make("g", { class: `cell flyer stored ${cell.kind} on-${cell.paint ?? cell.board}` }, flights);
      const tint = cell.tint ?? story.boards.cells[to].tint;
      if (tint) {
        group.style.setProperty("--tint", tint);
        group.style.setProperty("--on", ink(tint));
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
