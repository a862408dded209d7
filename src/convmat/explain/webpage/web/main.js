// @ts-check
/** Starts the page with the numbers that Python wrote into it, and lends its parts to the console. */

import { App } from "./app.js";
import { library } from "./library.js";

if (self !== top) document.body.classList.add("embedded");
const written = document.getElementById("config")?.textContent ?? "{}";
Object.assign(globalThis, { convmat: { app: new App(JSON.parse(written)), ...library } });
