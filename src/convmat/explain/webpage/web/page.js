// @ts-check
/** Small helpers for the page's elements. */

/** The element of an id, which the template promises. @param {string} id @returns {HTMLElement} */
export function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/** @param {string} id */
export const input = (id) => /** @type {HTMLInputElement} */ (element(id));

/** Shows a sentence in a box, or hides the box. @param {string} id @param {string} text */
export function notice(id, text) {
  element(id).textContent = text;
  element(id).hidden = text === "";
}

/** What a screen reader says next. @param {string} text */
export const say = (text) => (element("live").textContent = text);

/** The id of a choice of a switch: names may have spaces. @param {string} id @param {string} name */
export const segment = (id, name) => `${id}-${name.replaceAll(" ", "-")}`;

/**
 * Radio buttons drawn as one switch.
 * @param {string} id
 * @param {string[][]} choices name, title, explanation
 * @param {(name: string) => void} choose
 */
export function segments(id, choices, choose) {
  for (const [name, title, hint] of choices) {
    const label = document.createElement("label");
    label.dataset.name = name;
    label.title = hint;
    const radio = document.createElement("input");
    Object.assign(radio, { type: "radio", name: id, value: name, id: segment(id, name) });
    radio.addEventListener("change", () => choose(name));
    const text = document.createElement("span");
    text.textContent = title;
    label.append(radio, text);
    element(id).append(label);
  }
}

/** @param {string} id @param {string} name */
export const check = (id, name) => (input(segment(id, name)).checked = true);
