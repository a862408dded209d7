// @ts-check
/** Starts the page with the numbers that Python wrote into it, and lends its parts to the console. */

import { App } from "./app.js";
import { Geometry } from "./geometry.js";
import { ALL, ways } from "./lowering/all.js";

const written = document.getElementById("config")?.textContent ?? "{}";
const app = new App(JSON.parse(written));
Object.assign(globalThis, { convmat: { app, Geometry, ALL, ways } });
