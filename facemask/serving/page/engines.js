// What finds the boxes: a network in this browser, or the server that this page comes from.
// An engine is { name, runtimes, detect(canvas, options) }; detect resolves to { result, milliseconds }, the result as
// `make infer` writes it. It is asked for one picture at a time.
import { legacyBilinear } from "./resampling.js";
import { selectBoxes } from "./suppression.js";
import { detectFaces, selectFaces } from "./two_stage.js";

/** The engine that `page.json` names. `report` takes a line for the user while it loads. */
export async function openEngine(settings, report) {
  return settings.engine === "server" ? serverEngine(settings) : browserEngine(settings, report);
}

function serverEngine(settings) {
  return {
    name: settings.runtimes[0].label,
    runtimes: settings.runtimes,
    async detect(canvas, { threshold, runtime, name, file }) {
      const query = new URLSearchParams({ name, runtime });
      if (threshold !== null) query.set("threshold", threshold);
      const body = file ?? (await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92)));
      const started = performance.now();
      const response = await fetch(`detect?${query}`, { method: "POST", body });
      if (response.status === 401) location.reload(); // the session ended: the server asks for its token
      const value = await response.json().catch(() => ({ error: `The server answered ${response.status}.` }));
      if (!response.ok) throw Object.assign(new Error(value.error), { busy: response.status === 503 });
      return { result: value, milliseconds: performance.now() - started };
    },
  };
}

async function browserEngine(settings, report) {
  report("Loading the detector ...");
  const ort = await import("./ort.webgpu.min.mjs");
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 4) : 1;
  const here = (name) => new URL(name, import.meta.url).href;
  ort.env.wasm.wasmPaths = {
    mjs: here("ort-wasm-simd-threaded.asyncify.mjs"),
    wasm: here("ort-wasm-simd-threaded.asyncify.wasm"),
  };
  const used = new Set(); // where the networks run
  const open = async (url, example) => {
    const network = new Uint8Array(await (await fetchWhole(url)).arrayBuffer());
    const processor = await openNetwork(ort, network, "wasm");
    const graphics = await graphicsNetwork(ort, network, processor, example);
    used.add(graphics ? "webgpu" : `wasm, ${ort.env.wasm.numThreads} threads`.replace(/\b1 threads/, "1 thread"));
    return graphics ?? processor;
  };
  const detector = await { ssd: openSsd, two_stage: openTwoStage }[settings.detector.kind](settings, open);
  const name = `onnxruntime-web ${[...used].join(" and ")}`;
  let last = {}; // the outputs for the newest picture: another threshold needs no network
  return {
    name,
    runtimes: [],
    async detect(canvas, { threshold, name: file, picture }) {
      const { width: wide, height: high } = canvas;
      if (!picture || last.picture !== picture) {
        await new Promise((done) => setTimeout(done)); // the page is drawn before the processor is busy
        const started = performance.now();
        const { data } = canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, wide, high);
        last = { picture, outputs: await detector.look(data, wide, high), milliseconds: performance.now() - started };
      }
      const thresholds = settings.classes.map((one) => threshold ?? one.threshold);
      const found = detector.choose(last.outputs, wide, high, thresholds);
      const result = {
        format: 1,
        image: { file, width: wide, height: high },
        model: settings.model,
        runtime: name,
        packages: { "onnxruntime-web": ort.env.versions.web },
        thresholds: Object.fromEntries(settings.classes.map((one, i) => [one.name, thresholds[i]])),
        boxes: found.map(({ classId, score, box: [xmin, ymin, xmax, ymax] }) => ({
          class: settings.classes[classId - 1].name,
          class_id: classId,
          score: Math.round(score * 1e4) / 1e4,
          ...Object.fromEntries(
            Object.entries({ xmin, ymin, xmax, ymax }).map(([side, value]) => [side, Math.round(value * 10) / 10]),
          ),
        })),
      };
      return { result, milliseconds: last.milliseconds };
    },
  };
}

// A detector is { look(rgba, width, height), choose(outputs, width, height, thresholds) }: `look` runs the networks, and
// `choose` picks the boxes of what they returned, so that another threshold needs no network.

async function openSsd({ detector: { network, width, height, suppression }, sameFace }, open) {
  const input = (pixels) => ({ input: [pixels, [1, height, width, 3]] });
  const run = await open(network, input(noise(Float32Array, width * height * 3)));
  return {
    look: (rgba, wide, high) => run(input(legacyBilinear(rgba, wide, high, width, height))),
    choose: ({ raw_detection_boxes: boxes, raw_detection_scores: scores }, wide, high, thresholds) =>
      selectBoxes(boxes, scores, wide, high, thresholds, suppression, sameFace),
  };
}

async function openTwoStage({ detector, sameFace }, open) {
  const { size } = detector.classifier;
  const picture = (pixels, height, width) => ({ input: [pixels, [1, 3, height, width]] });
  const crops = (bytes, count) => ({ crops: [bytes, [count, size, size, 3]] });
  const runFaces = await open(detector.faces.network, picture(noise(Float32Array, 3 * 320 * 320), 320, 320));
  const runClassifier = await open(detector.classifier.network, crops(noise(Uint8Array, 4 * size * size * 3), 4));
  const networks = {
    faces: (pixels, height, width) => runFaces(picture(pixels, height, width)),
    classify: (bytes, count) => runClassifier(crops(bytes, count)),
  };
  return {
    look: (rgba, width, height) => detectFaces(rgba, width, height, detector, networks),
    choose: (found, width, height, thresholds) => selectFaces(found, thresholds, sameFace),
  };
}

const noise = (Kind, length) => Kind.from({ length }, (_, i) => (i * 7919) % 256);

/** A network: maps inputs by name, each [values, shape], to the values of its outputs by name. */
async function openNetwork(ort, bytes, provider) {
  const session = await ort.InferenceSession.create(bytes, { executionProviders: [provider] });
  const run = async (inputs) => {
    const tensors = Object.entries(inputs).map(([name, [values, shape]]) => {
      return [name, new ort.Tensor(values instanceof Uint8Array ? "uint8" : "float32", values, shape)];
    });
    const outputs = await session.run(Object.fromEntries(tensors));
    return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.data]));
  };
  return Object.assign(run, { release: () => session.release() });
}

/** The same network on WebGPU, if it is there, computes the same as the processor, and is faster. */
async function graphicsNetwork(ort, bytes, processor, example) {
  try {
    if (!(await navigator.gpu?.requestAdapter())) return null;
    const graphics = await openNetwork(ort, bytes, "webgpu");
    const timed = async (run) => {
      await run(example); // compiles its shaders
      const started = performance.now();
      return { outputs: await run(example), milliseconds: performance.now() - started };
    };
    const [expected, found] = [await timed(processor), await timed(graphics)];
    const isSame = Object.entries(expected.outputs).every(([name, values]) =>
      values.every((value, i) => Math.abs(value - found.outputs[name][i]) < 0.01 * Math.max(1, Math.abs(value))),
    );
    if (isSame && found.milliseconds < expected.milliseconds) return graphics;
    await graphics.release();
  } catch {
    // Drivers fail in many ways; the processor always works.
  }
  return null;
}

async function fetchWhole(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} cannot be loaded (${response.status}).`);
  return response;
}
