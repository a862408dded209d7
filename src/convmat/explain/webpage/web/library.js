// @ts-check
/** The page's parts that need no page: for the browser's console, and for tests in node. */

import { ink, tint } from "./colour.js";
import { Geometry, GeometryError } from "./geometry.js";
import { ALL, refusal, ways } from "./lowering/all.js";
import { Numbers } from "./numbers.js";
import { NARROW, WIDE, sampleOf } from "./sample.js";
import { Scene } from "./scene.js";
import { fromFragment, toFragment } from "./state.js";
import { Story } from "./story.js";
import { fastCorrelation, textOf } from "./toomcook.js";

export const library = {
  ALL, Geometry, GeometryError, NARROW, Numbers, Scene, Story, WIDE,
  fastCorrelation, fromFragment, ink, refusal, sampleOf, textOf, tint, toFragment, ways,
}; // prettier-ignore
