// @ts-check
/** Sliders for the geometry: each with a number to type, one for all axes or one for each. */

import { Geometry, axisNames, gcd, range } from "./geometry.js";

/** @typedef {import("./geometry.js").Fields} Fields */

/**
 * One slider.
 * @typedef {object} Slider
 * @property {string} id
 * @property {string} label
 * @property {number} least
 * @property {number} most
 * @property {number} value
 * @property {(fields: Fields, value: number) => Partial<Fields>} set
 */

/**
 * The sliders of a geometry, in groups with a heading.
 * @param {Geometry} g
 * @param {boolean} apart each axis has sliders of its own
 * @returns {{title: string, sliders: Slider[]}[]}
 */
export function slidersOf(g, apart) {
  const names = axisNames(g.rank).map((n) => ({ D: "depth", H: "height", W: "width" })[n] ?? `axis ${n}`);
  const most = (/** @type {number} */ usual, /** @type {number} */ now) => Math.max(usual, now);
  /** @type {(id: string, label: string, least: number, usual: number, value: number, set: Slider["set"]) => Slider} */
  const slider = (id, label, least, usual, value, set) => ({ id, label, least, most: most(usual, value), value, set });
  const at = (/** @type {number[]} */ all, /** @type {number} */ a, /** @type {number} */ v) =>
    all.map((old, i) => (i === a ? v : old));

  const shape = [
    slider("C", "input channels C", 1, 8, g.C, (f, C) => ({ C, G: gcd(f.G, gcd(C, f.O)) })),
    ...g.I.map((n, a) => slider(`I${a}`, `input ${names[a]}`, 1, g.rank > 1 ? 16 : 32, n, (f, v) => ({ I: at(f.I, a, v) }))),
    slider("B", "batch B", 1, 4, g.B, (_, B) => ({ B })),
  ];
  const filter = [
    slider("O", "output channels O", 1, 8, g.O, (f, O) => ({ O, G: gcd(f.G, gcd(f.C, O)) })),
    ...g.F.map((n, a) => slider(`F${a}`, `filter ${names[a]}`, 1, 7, n, (f, v) => ({ F: at(f.F, a, v) }))),
  ];
  const divisors = range(gcd(g.C, g.O)).map((i) => i + 1).filter((n) => gcd(g.C, g.O) % n === 0);
  const groups = slider("G", "groups", 0, divisors.length - 1, divisors.indexOf(g.G), (_, v) => ({ G: divisors[v] ?? 1 }));
  const all = (/** @type {number} */ v) => range(g.rank).map(() => v);
  const walk = apart
    ? range(g.rank).flatMap((a) => [
        slider(`s${a}`, `stride, ${names[a]}`, 1, 4, g.s[a], (f, v) => ({ s: at(f.s, a, v) })),
        slider(`lo${a}`, `padding before, ${names[a]}`, Math.min(0, g.lo[a]), 4, g.lo[a], (f, v) => ({ lo: at(f.lo, a, v) })),
        slider(`hi${a}`, `padding after, ${names[a]}`, Math.min(0, g.hi[a]), 4, g.hi[a], (f, v) => ({ hi: at(f.hi, a, v) })),
        slider(`d${a}`, `dilation, ${names[a]}`, 1, 4, g.d[a], (f, v) => ({ d: at(f.d, a, v) })),
      ])
    : [
        slider("s", "stride", 1, 4, g.s[0], (_, v) => ({ s: all(v) })),
        slider("p", "padding", Math.min(0, g.lo[0]), 4, g.lo[0], (_, v) => ({ lo: all(v), hi: all(v) })),
        slider("d", "dilation", 1, 4, g.d[0], (_, v) => ({ d: all(v) })),
      ];
  return [
    { title: "Input", sliders: shape },
    { title: "Filter", sliders: filter },
    { title: "Windows", sliders: divisors.length > 1 ? [...walk, groups] : walk },
  ];
}

/** Whether one slider could not say what the axes are. @param {Geometry} g */
export function differs(g) {
  const uneven = [g.s, g.d].some((values) => values.some((v) => v !== values[0]));
  return uneven || [...g.lo, ...g.hi].some((v) => v !== g.lo[0]);
}

/** The geometry with another number of axes: the last ones are kept. @param {Geometry} g @param {number} rank */
export function withRank(g, rank) {
  const fit = (/** @type {number[]} */ values) =>
    values.length >= rank ? values.slice(values.length - rank) : [...Array(rank - values.length).fill(values[0]), ...values];
  const I = rank === 1 ? [Math.max(g.I[g.rank - 1], 8)] : fit(g.I).map((n) => Math.min(n, 8));
  const F = fit(g.F).map((f, a) => Math.min(f, I[a]));
  return g.with({ I, F, s: fit(g.s), d: fit(g.d), lo: fit(g.lo), hi: fit(g.hi), e: fit(g.e) });
}

export class Controls {
  /** @param {HTMLElement} root @param {(geometry: Geometry) => void} changed */
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    this.apart = false;
    this.layoutKey = "";
    /** @type {Map<string, {range: HTMLInputElement, number: HTMLInputElement}>} */
    this.inputs = new Map();
  }

  /** Shows a geometry: only new numbers where the sliders are the same. @param {Geometry} g */
  show(g) {
    this.geometry = g;
    if (differs(g)) this.apart = true;
    const groups = slidersOf(g, this.apart);
    const key = JSON.stringify(groups.map((group) => group.sliders.map((s) => [s.id, s.label])));
    if (key !== this.layoutKey) this.#build(groups);
    this.layoutKey = key;
    for (const slider of groups.flatMap((group) => group.sliders)) {
      const inputs = this.inputs.get(slider.id);
      if (!inputs) continue;
      inputs.range.min = String(slider.least);
      inputs.range.max = String(slider.most);
      if (inputs.range.value !== String(slider.value)) inputs.range.value = String(slider.value);
      const typed = String(slider.id === "G" ? g.G : slider.value);
      if (inputs.number.value !== typed) inputs.number.value = typed;
      inputs.range.setAttribute("aria-valuetext", typed);
    }
  }

  /** @param {{title: string, sliders: Slider[]}[]} groups */
  #build(groups) {
    const focus = document.activeElement?.id;
    this.inputs.clear();
    this.root.replaceChildren();
    for (const { title, sliders } of groups) {
      const set = document.createElement("fieldset");
      const legend = document.createElement("legend");
      legend.textContent = title;
      set.append(legend);
      if (title === "Input") set.append(this.#ranks());
      for (const slider of sliders) set.append(this.#row(slider));
      if (title === "Windows" && (this.geometry?.rank ?? 1) > 0) set.append(this.#switch());
      this.root.append(set);
    }
    if (focus) document.getElementById(focus)?.focus();
  }

  /** @param {Slider} slider */
  #row(slider) {
    const row = document.createElement("div");
    row.className = "slider";
    const label = document.createElement("label");
    label.htmlFor = `slide-${slider.id}`;
    label.textContent = slider.label;
    const input = document.createElement("input");
    Object.assign(input, { type: "range", id: `slide-${slider.id}`, step: "1" });
    const number = document.createElement("input");
    Object.assign(number, { type: "number", id: `type-${slider.id}`, step: "1" });
    number.setAttribute("aria-label", `${slider.label}, as a number`);
    if (slider.id === "G") number.readOnly = true;
    input.addEventListener("input", () => this.#change(slider.id, Number(input.value)));
    number.addEventListener("change", () => {
      const value = Math.round(Number(number.value));
      if (number.value === "" || !Number.isFinite(value)) this.show(/** @type {Geometry} */ (this.geometry));
      else this.#change(slider.id, Math.min(Math.max(value, slider.least), 65536));
    });
    this.inputs.set(slider.id, { range: input, number });
    row.append(label, input, number);
    return row;
  }

  #ranks() {
    const row = document.createElement("div");
    row.className = "segments small";
    row.setAttribute("role", "radiogroup");
    row.setAttribute("aria-label", "spatial axes");
    const now = this.geometry?.rank ?? 2;
    for (const rank of [...new Set([1, 2, now])].sort()) {
      const label = document.createElement("label");
      const radio = document.createElement("input");
      Object.assign(radio, { type: "radio", name: "rank", value: String(rank), id: `rank-${rank}`, checked: rank === now });
      radio.addEventListener("change", () => {
        if (this.geometry) this.changed(withRank(this.geometry, rank));
      });
      const text = document.createElement("span");
      text.textContent = `${rank}-D`;
      label.append(radio, text);
      row.append(label);
    }
    return row;
  }

  #switch() {
    const label = document.createElement("label");
    label.className = "check";
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", id: "apart", checked: this.apart });
    box.addEventListener("change", () => {
      const g = /** @type {Geometry} */ (this.geometry);
      this.apart = box.checked;
      if (!box.checked && differs(g)) {
        const one = (/** @type {number[]} */ values) => values.map(() => values[0]);
        this.changed(g.with({ s: one(g.s), d: one(g.d), lo: one(g.lo), hi: one(g.lo) }));
      } else this.show(g);
    });
    label.append(box, document.createTextNode(" each axis and side apart"));
    return label;
  }

  /** @param {string} id @param {number} value */
  #change(id, value) {
    const g = /** @type {Geometry} */ (this.geometry);
    const slider = slidersOf(g, this.apart)
      .flatMap((group) => group.sliders)
      .find((s) => s.id === id);
    if (slider) this.changed(g.with(slider.set(g.fields, value)));
  }
}
