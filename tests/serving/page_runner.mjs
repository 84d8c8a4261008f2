// Run a part of the page's code on arrays in files: node page_runner.mjs <folder of the page> <folder of the files>
// question.json names the part and its arguments.
import { readFileSync, writeFileSync } from "node:fs";

const [page, folder] = process.argv.slice(2);
const resampling = await import(`${page}/resampling.js`);
const { selectBoxes } = await import(`${page}/suppression.js`);
const { detectFaces, selectFaces } = await import(`${page}/two_stage.js`);
const bytes = (name) => new Uint8Array(readFileSync(`${folder}/${name}`));
const floats = (name) => new Float32Array(bytes(name).buffer);
const { part, width, height, thresholds, settings, sameFace, toWidth, toHeight } = JSON.parse(
  readFileSync(`${folder}/question.json`, "utf8"),
);

const parts = {
  resampling: () => {
    for (const name of ["area", "bilinear", "legacyBilinear"]) {
      const resized = resampling[name](bytes("rgba"), width, height, toWidth, toHeight);
      writeFileSync(`${folder}/${name}`, Float32Array.from(resized));
    }
  },
  selectBoxes: () => selectBoxes(floats("boxes"), floats("scores"), width, height, thresholds, settings, sameFace),
  // The networks answer what they answered to Python, and what they are asked is kept.
  detectFaces: async () => {
    const probabilities = floats("probabilities");
    writeFileSync(`${folder}/crops`, "");
    let [looks, faces] = [0, 0];
    const networks = {
      faces: async (pixels, rows, columns) => {
        writeFileSync(`${folder}/${looks}_pixels_${rows}_${columns}`, pixels);
        const outputs = {};
        for (const stride of settings.faces.strides) {
          for (const name of ["cls", "obj", "bbox"]) outputs[`${name}_${stride}`] = floats(`${looks}_${name}_${stride}`);
        }
        looks++;
        return outputs;
      },
      classify: async (crops, count) => {
        writeFileSync(`${folder}/crops`, crops, { flag: "a" });
        const classes = thresholds.length;
        return { probabilities: probabilities.subarray(faces * classes, (faces += count) * classes) };
      },
    };
    return selectFaces(await detectFaces(bytes("rgba"), width, height, settings, networks), thresholds, sameFace);
  },
};
writeFileSync(`${folder}/found.json`, JSON.stringify((await parts[part]()) ?? null));
