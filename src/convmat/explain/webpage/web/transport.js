// @ts-check
/** The buttons and the time line: what they show. */

import { element, input } from "./page.js";

/** @typedef {import("./story.js").Step} Step */

const STAGES = {
  flatten: "flatten", read: "unroll", filter: "kernels", tile: "tiles", multiply: "multiply", add: "add back", back: "back", rest: "rest",
}; // prettier-ignore

/** The two outlines of one button: fonts have no such signs everywhere. */
const PLAY = "M3.5 1.5v13L14 8z";
const PAUSE = "M3.5 2h3v12h-3zM9.5 2h3v12h-3z";

/** The stages over the time line, each as long as it has steps. @param {Step[]} steps */
export function strip(steps) {
  input("timeline").max = String(steps.length);
  input("timeline").disabled = steps.length === 0;
  element("stages").replaceChildren();
  for (let i = 0; i < steps.length; ) {
    let end = i;
    while (end < steps.length && steps[end].stage === steps[i].stage) end += 1;
    const part = document.createElement("span");
    part.className = steps[i].stage;
    part.style.flexGrow = String(end - i);
    part.textContent = STAGES[steps[i].stage];
    element("stages").append(part);
    i = end;
  }
  fitStages();
}

/** A word that its stage has no room for is left out, and not cut in two. */
export function fitStages() {
  for (const part of element("stages").children) {
    part.classList.remove("wordless");
    part.classList.toggle("wordless", part.scrollWidth > part.clientWidth);
  }
}

/** @param {number} now steps that have been taken @param {number} total */
export function clock(now, total) {
  input("timeline").value = String(now);
  input("timeline").setAttribute("aria-valuetext", `step ${now} of ${total}`);
  element("clock").textContent = total ? `${now} / ${total}` : "";
  for (const id of ["first", "back"]) element(id).setAttribute("aria-disabled", String(now <= 0));
  for (const id of ["forward", "last"]) element(id).setAttribute("aria-disabled", String(now >= total));
  element("play").setAttribute("aria-disabled", String(total === 0));
}

/** @param {boolean} playing */
export function playButton(playing) {
  element("play").querySelector("path")?.setAttribute("d", playing ? PAUSE : PLAY);
  element("play").setAttribute("aria-label", playing ? "Pause" : "Play");
}

/** Dark where it is light, and the other way round. */
export function switchTheme() {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  root.dataset.theme = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
}

/** Puts the address of the view where it can be pasted from. */
export async function copyLink() {
  const button = element("link");
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  } catch {
    button.textContent = "It is in the address bar";
  }
  setTimeout(() => (button.textContent = "Copy link"), 1600);
}
