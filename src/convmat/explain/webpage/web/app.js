// @ts-check
/** The page: a view, its story, the picture of it, and the steps through it. */

import { bars } from "./bars.js";
import { Controls } from "./controls.js";
import { Geometry, GeometryError } from "./geometry.js";
import { keyboard, neighbour, pointer } from "./hands.js";
import { ALL, refusal } from "./lowering/all.js";
import { check, element, input, notice, say, segment, segments } from "./page.js";
import { Picture } from "./paint.js";
import { NARROW, WIDE } from "./sample.js";
import { Scene } from "./scene.js";
import { fromFragment, toFragment } from "./state.js";
import { PASSES, Story } from "./story.js";
import { Typed } from "./typed.js";
import { clock, copyLink, playButton, strip, switchTheme } from "./transport.js";
import { facts, tables, writeSum } from "./words.js";

/** @typedef {import("./state.js").View} View */
/** @typedef {import("./story.js").Pass} Pass */
/** @typedef {import("./story.js").Step} Step */
/** @typedef {import("./tiles/story.js").TileStory} TileStory */
/** @typedef {import("./boards.js").Key} Key */
/** @typedef {import("./paint.js").Mark} Mark */

/**
 * What Python puts into the page.
 * @typedef {object} Config
 * @property {import("./geometry.js").Fields} geometry
 * @property {Pass} pass
 * @property {string} way
 * @property {number} panel
 * @property {number} itemsize bytes of an element
 * @property {import("./numbers.js").Given} given
 */

/** Below this width A stands upright and the sample is smaller. */
const NARROW_BELOW = 560;

/** The arrays that a pass reads. @type {Record<Pass, ("x" | "w" | "dy")[]>} */
const READ = { forward: ["x", "w"], input: ["dy", "w"], weight: ["dy", "x"] };

export class App {
  /** @param {Config} config */
  constructor(config) {
    this.config = config;
    /** @type {View} */
    this.start = {
      geometry: new Geometry(config.geometry),
      pass: config.pass,
      way: config.way,
      step: -1,
      panel: config.panel,
      group: 0,
      image: 0,
    };
    this.view = this.start;
    const svg = /** @type {unknown} */ (element("picture"));
    this.picture = new Picture(/** @type {SVGSVGElement} */ (svg));
    this.controls = new Controls(element("sliders"), (geometry) => this.set({ geometry, step: -1 }));
    this.typed = new Typed(() => this.set({ step: -1 }));
    /** @type {Story | TileStory | null} */
    this.story = null;
    /** @type {(number | undefined)[]} */
    this.values = [];
    this.playing = false;
    this.speed = 1;
    this.turn = 0;
    this.narrow = false;
    /** @type {number | null} the cell that a click keeps lit */
    this.pinned = null;
    /** @type {number | null} the cell that the keyboard is on */
    this.cursor = null;
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    segments(
      "passes",
      Object.entries(PASSES).map(([name, p]) => [name, p.title, p.given]),
      (pass) => this.set({ pass: /** @type {Pass} */ (pass), step: -1 }),
    );
    segments(
      "ways",
      ALL.map((way) => [way.name, way.title, way.summary.forward]),
      (way) => this.set({ way, step: -1 }),
    );
    this.#wire();
    pointer(this);
    keyboard(this);
    this.read();
  }

  // -- the view --------------------------------------------------------------------------------------------------------

  /** Takes the view from the address. */
  read() {
    this.stop();
    try {
      notice("problem", "");
      const names = ALL.map((way) => way.name);
      this.view = location.hash.length > 1 ? fromFragment(location.hash, this.start, names) : this.start;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      notice("problem", `The address is not understood: ${why}. Shown is the start.`);
      this.view = this.start;
    }
    this.build();
  }

  /** @param {Partial<View>} changes */
  set(changes) {
    this.stop();
    notice("problem", "");
    this.view = { ...this.view, ...changes };
    this.build();
  }

  /** Writes the view into the address, where there is one: a page inside a notebook has none. */
  write() {
    if (location.protocol === "about:") return;
    history.replaceState(null, "", toFragment(this.view));
  }

  /** Everything anew for the view. */
  build() {
    const { view } = this;
    const g = view.geometry;
    const lowering = ALL.find((way) => way.name === view.way) ?? ALL[0];
    this.controls.show(g);
    check("passes", view.pass);
    check("ways", view.way);
    this.#choices();
    this.turn += 1;
    this.picture.land();
    const wrong = this.#wrong();
    const reason = wrong ?? this.#refused(lowering);
    notice("refusal", reason ?? "");
    element("figure").classList.toggle("refused", reason !== null);
    element("summary").textContent = lowering.summary[view.pass];
    if (wrong !== null) {
      element("formula").textContent = `${g.xShape.join("x")} * ${g.wShape.join("x")}`;
      for (const id of ["facts", "bars"]) element(id).replaceChildren();
    } else {
      element("formula").textContent = String(g);
      element("facts").textContent = facts(g, view.pass, this.config.itemsize);
      bars(element("bars"), g, {
        panel: view.panel,
        itemsize: this.config.itemsize,
        chosen: view.way,
        choose: (way) => this.set({ way, step: -1 }),
      });
    }
    if (reason !== null) {
      this.story = null;
      this.#clock(true);
      for (const id of ["step-title", "step-text", "sum", "sample"]) element(id).textContent = "";
      say(reason);
      this.write();
      return;
    }
    this.narrow = element("figure").clientWidth < NARROW_BELOW;
    const budget = this.narrow ? NARROW : WIDE;
    const scene = new Scene(g, lowering.budget?.(g, budget) ?? budget, {
      group: view.group,
      image: view.image,
      panel: view.panel,
      given: this.#given(g),
    });
    this.typed.show(g, scene.numbers, READ[view.pass]);
    this.story = "tell" in lowering ? lowering.tell(scene, view.pass) : new Story(scene, lowering, view.pass);
    this.view = { ...view, step: Math.min(view.step, this.story.steps.length - 1) };
    element("sample").textContent = this.story.note;
    this.draw();
    this.#clock(true);
    this.#tables();
    this.go(this.view.step, false);
  }

  /** Why the numbers make no convolution. */
  #wrong() {
    try {
      Geometry.of(this.view.geometry.fields);
      return null;
    } catch (error) {
      if (error instanceof GeometryError) return error.message;
      throw error;
    }
  }

  /** Why the lowering cannot do it; the switch shows of each whether it can. @param {import("./lowering/all.js").Lowering} chosen */
  #refused(chosen) {
    const { geometry: g, pass } = this.view;
    for (const way of ALL) {
      const reason = refusal(way, g, pass);
      const label = element(segment("ways", way.name)).parentElement;
      label?.classList.toggle("refuses", reason !== null);
      label?.setAttribute("title", reason === null ? way.summary.forward : `refuses: ${reason}`);
    }
    const reason = refusal(chosen, g, pass);
    return reason === null ? null : `${chosen.title} refuses this convolution: ${reason}.`;
  }

  /** The given arrays, where the shapes are still theirs, and before them what was typed. @param {Geometry} g */
  #given(g) {
    const { given } = this.config;
    const first = this.start.geometry;
    const same = (/** @type {number[]} */ a, /** @type {number[]} */ b) => a.join() === b.join();
    return {
      x: same(g.xShape, first.xShape) ? given.x : undefined,
      w: same(g.wShape, first.wShape) ? given.w : undefined,
      dy: same(g.yShape, first.yShape) ? given.dy : undefined,
      ...this.typed.given(g),
    };
  }

  draw() {
    const { story } = this;
    if (!story) return;
    const frame = element("figure");
    const room = Math.max(innerHeight - frame.getBoundingClientRect().top - scrollY - 176, 300);
    const layout = story.layout(frame.clientWidth, room);
    this.picture.draw(story, layout, (key) => {
      const plane = story.boards.planes[key];
      const size = `${plane.matrix ? "" : `${plane.sheets} sheets of `}${plane.rows} by ${plane.cols}`;
      return `${story.name(plane.symbol)}, ${plane.title}, ${size} drawn. Arrow keys visit its elements.`;
    });
  }

  // -- steps -----------------------------------------------------------------------------------------------------------

  /** Shows step t; its elements fly there when asked to. @param {number} t @param {boolean} fly */
  async go(t, fly) {
    const { story } = this;
    if (!story) return;
    this.turn += 1;
    const { turn } = this;
    this.picture.land();
    this.pinned = null;
    const step = t >= 0 ? story.steps[t] : null;
    this.view = { ...this.view, step: t };
    this.write();
    this.#words();
    this.#clock();
    const after = story.valuesAt(t);
    this.picture.stage(story.benchAt(t));
    if (step && fly && !this.calm.matches && step.flights.length) {
      const before = story.valuesAt(t - 1);
      const late = new Set(step.flights.map(([, to]) => to));
      for (const id of step.drops) before[id] = undefined;
      for (const [id, value] of step.sets) if (!late.has(id)) before[id] = value;
      this.values = before;
      this.#paint(step);
      await this.picture.fly(step.flights, after, 950 / this.speed);
      if (turn !== this.turn) return;
    }
    this.values = after;
    this.#paint(step);
  }

  /** @param {Step | null} step */
  #paint(step) {
    const cells = this.story?.boards.cells ?? [];
    /** @type {Map<number, Mark>} */
    const marks = new Map();
    for (const id of step?.from ?? []) {
      marks.set(id, "from");
      if (cells[id].twin >= 0) marks.set(cells[id].twin, "from");
    }
    for (const id of step?.to ?? []) marks.set(id, "to");
    this.picture.update(this.values, marks, step !== null && step.stage !== "rest");
    this.picture.outline(step?.pixels ?? []);
  }

  #words() {
    const story = /** @type {Story | TileStory} */ (this.story);
    const t = this.view.step;
    const step = t >= 0 ? story.steps[t] : null;
    const { title, given } = PASSES[this.view.pass];
    const heading = step ? step.title : `${title}: ${story.heading}`;
    const text = step ? step.text : `${given}. Step forward, play, or touch any element to see where it belongs.`;
    element("step-title").textContent = heading;
    element("step-text").textContent = text;
    writeSum(story, step && step.focus !== null ? story.sum(step.focus) : null);
    if (!this.playing) say(`Step ${t + 1} of ${story.steps.length}. ${heading}. ${text}`);
  }

  /** @param {number} by */
  step(by) {
    if (!this.story) return;
    this.stop();
    const t = Math.min(Math.max(this.view.step + by, -1), this.story.steps.length - 1);
    if (t !== this.view.step) this.go(t, by === 1);
  }

  play() {
    if (!this.story) return;
    if (this.view.step >= this.story.steps.length - 1) this.go(-1, false);
    this.playing = true;
    playButton(this.playing);
    say("Playing");
    const next = () => {
      if (!this.playing || !this.story) return;
      if (this.view.step >= this.story.steps.length - 1) {
        this.stop();
        return;
      }
      this.go(this.view.step + 1, true);
      this.timer = setTimeout(next, 1400 / this.speed);
    };
    next();
  }

  stop() {
    this.playing = false;
    clearTimeout(this.timer);
    playButton(this.playing);
  }

  /** Shows on the time line where the story is; `anew` when it is another story. */
  #clock(anew = false) {
    const steps = this.story?.steps ?? [];
    if (anew) strip(steps);
    clock(this.view.step + 1, steps.length);
  }

  // -- looking at one element ------------------------------------------------------------------------------------------

  /** Lights what belongs to a cell. @param {number} id @param {boolean} aloud */
  look(id, aloud) {
    const { story } = this;
    if (!story) return;
    const found = story.look(id, this.values, this.view.step);
    this.picture.update(this.values, found.marks, true);
    this.picture.outline(found.pixels);
    element("step-title").textContent = found.title;
    element("step-text").textContent = found.text;
    writeSum(story, found.sum);
    if (aloud) say(`${found.title}. ${found.text} ${element("sum").textContent}`);
  }

  /** Looks at a cell until something else happens. @param {number} id */
  pin(id) {
    this.#settle();
    this.pinned = id;
    this.look(id, true);
  }

  /** Back to the step. */
  unlook() {
    this.pinned = null;
    if (!this.story) return;
    const { step } = this.view;
    this.#paint(step >= 0 ? this.story.steps[step] : null);
    this.#words();
  }

  /** The keyboard visits a board: its last place there, or the next in a direction. @param {Key} key
   * @param {[number, number] | null} direction */
  visit(key, direction) {
    const { story, picture } = this;
    if (!story || !picture.layout) return;
    const board = story.boards.all(key);
    const here = board.some((cell) => cell.id === this.cursor) ? Number(this.cursor) : board[0].id;
    this.cursor = direction ? neighbour(board, picture.layout.cells, here, direction) : here;
    this.#settle();
    this.look(this.cursor, true);
  }

  /** Ends what moves. */
  #settle() {
    this.stop();
    this.turn += 1;
    this.picture.land();
    this.values = this.story?.valuesAt(this.view.step) ?? [];
  }

  // -- around the picture ----------------------------------------------------------------------------------------------

  /** Panel width, group and image: shown where there is a choice. */
  #choices() {
    const { view } = this;
    const g = view.geometry;
    const rows = /** @type {[string, boolean, number, number][]} */ ([
      ["panel", view.way === "panels", view.panel, Math.max(16, view.panel)],
      ["group", g.G > 1, view.group + 1, g.G],
      ["image", g.B > 1, view.image + 1, g.B],
    ]);
    for (const [name, visible, value, most] of rows) {
      element(`${name}-row`).hidden = !visible;
      Object.assign(input(name), { min: "1", max: String(most), value: String(Math.min(value, most)) });
      element(`${name}-value`).textContent = String(Math.min(value, most));
    }
  }

  #tables() {
    const root = element("tables");
    root.replaceChildren();
    const details = /** @type {HTMLDetailsElement} */ (element("as-tables"));
    if (this.story && details.open) tables(root, this.story);
  }

  #wire() {
    /** @type {Record<string, () => void>} */
    const clicks = {
      first: () => this.step(-Infinity),
      back: () => this.step(-1),
      forward: () => this.step(1),
      last: () => this.step(Infinity),
      play: () => (this.playing ? this.stop() : this.play()),
      theme: switchTheme,
      present: () => this.#present(),
      link: copyLink,
      reset: () => {
        this.controls.apart = false;
        this.typed.clear();
        this.set(this.start);
      },
    };
    for (const [id, act] of Object.entries(clicks)) element(id).addEventListener("click", act);
    input("timeline").addEventListener("input", () => {
      this.stop();
      this.go(Number(input("timeline").value) - 1, false);
    });
    input("speed").addEventListener("change", () => (this.speed = Number(input("speed").value)));
    for (const [name, first] of /** @type {[string, number][]} */ ([["panel", 0], ["group", 1], ["image", 1]])) {
      input(name).addEventListener("input", () => this.set({ [name]: Number(input(name).value) - first, step: -1 }));
    }
    element("as-tables").addEventListener("toggle", () => this.#tables());
    addEventListener("hashchange", () => this.read());
    let width = element("figure").clientWidth;
    new ResizeObserver(() => {
      const now = element("figure").clientWidth;
      if (now === width) return;
      width = now;
      if (now < NARROW_BELOW !== this.narrow) this.build();
      else if (this.story) {
        this.draw();
        this.go(this.view.step, false);
      }
    }).observe(element("figure"));
  }

  /** The picture alone, as large as the window. */
  #present() {
    const on = document.body.classList.toggle("presenting");
    element("present").setAttribute("aria-pressed", String(on));
    this.draw();
    this.go(this.view.step, false);
  }
}
