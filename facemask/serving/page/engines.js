// What finds the boxes: a network in this browser, or the server that this page comes from.
// An engine is { name, runtimes, detect(canvas, options) }; detect resolves to { result, milliseconds }, the result as
// `make infer` writes it. It is asked for one picture at a time.
import { resizeToNetwork, selectBoxes } from "./suppression.js";

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
  const network = new Uint8Array(await (await fetchWhole(settings.network)).arrayBuffer());
  const { width, height } = settings.input;
  const run = async (session, pixels) => {
    const tensor = new ort.Tensor("float32", pixels, [1, height, width, 3]);
    const { raw_detection_boxes: boxes, raw_detection_scores: scores } = await session.run({ input: tensor });
    return { boxes: boxes.data, scores: scores.data };
  };
  report("Starting the detector ...");
  let session = await ort.InferenceSession.create(network, { executionProviders: ["wasm"] });
  let name = `onnxruntime-web wasm, ${ort.env.wasm.numThreads} threads`.replace(/\b1 threads/, "1 thread");
  const graphics = await graphicsSession(ort, network, session, run, width * height * 3);
  if (graphics) [session, name] = [graphics, "onnxruntime-web webgpu"];
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
        const outputs = await run(session, resizeToNetwork(data, wide, high, width, height));
        last = { picture, outputs, milliseconds: performance.now() - started };
      }
      const { boxes, scores } = last.outputs;
      const thresholds = settings.classes.map((one) => threshold ?? one.threshold);
      const found = selectBoxes(boxes, scores, wide, high, thresholds, settings.suppression);
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

/** A session on WebGPU, if it is there, computes the same as the processor, and is faster. */
async function graphicsSession(ort, network, processor, run, length) {
  try {
    if (!(await navigator.gpu?.requestAdapter())) return null;
    const session = await ort.InferenceSession.create(network, { executionProviders: ["webgpu"] });
    const pixels = Float32Array.from({ length }, (_, i) => (i * 7919) % 256);
    const timed = async (one) => {
      await run(one, pixels); // compiles its shaders
      const started = performance.now();
      return { ...(await run(one, pixels)), milliseconds: performance.now() - started };
    };
    const [expected, found] = [await timed(processor), await timed(session)];
    const same = expected.scores.every((score, i) => Math.abs(score - found.scores[i]) < 0.01);
    if (same && found.milliseconds < expected.milliseconds) return session;
    await session.release();
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
