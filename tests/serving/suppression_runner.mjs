// Run the page's suppression.js on arrays in files: node suppression_runner.mjs <module> <folder>
import { readFileSync, writeFileSync } from "node:fs";

const [module, folder] = process.argv.slice(2);
const { resizeToNetwork, selectBoxes } = await import(module);
const floats = (name) => new Float32Array(new Uint8Array(readFileSync(`${folder}/${name}`)).buffer);
const question = JSON.parse(readFileSync(`${folder}/question.json`, "utf8"));
const { width, height, toWidth, toHeight, thresholds, settings } = question;
const resized = resizeToNetwork(readFileSync(`${folder}/rgba`), width, height, toWidth, toHeight);
writeFileSync(`${folder}/resized`, resized);
const found = selectBoxes(floats("boxes"), floats("scores"), width, height, thresholds, settings);
writeFileSync(`${folder}/found.json`, JSON.stringify(found));
