// Answers the geometries on stdin with the page's modules, in node: node node.mjs <folder of the modules>
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const { library } = await import(pathToFileURL(join(process.argv[2], "library.js")));
const answer = new Function(`${readFileSync(join(here, "harness.js"), "utf8")}; return answer;`)();
process.stdout.write(JSON.stringify(answer(library, JSON.parse(readFileSync(0, "utf8")))));
