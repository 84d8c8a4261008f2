// The page: a picture or a camera, its boxes, the count of each class, and downloads.
import { openEngine } from "./engines.js";

const MOST_PIXELS = 16_000_000; // what every browser's canvas can hold
const LEAST_SIDE = 800; // smaller pictures are drawn enlarged, so that labels can be read

const at = (id) => document.getElementById(id);
const view = at("view");
const work = document.createElement("canvas"); // the picture as it is, without boxes
work.getContext("2d", { willReadFrequently: true });
let settings, engine, picture, shown, stream;
let wanted = 0; // the number of the newest request for a picture
let turn = Promise.resolve(); // ends when the engine is free

start().catch((error) => fail(error.message));

async function start() {
  const response = await fetch("page.json");
  if (!response.ok) throw new Error(`page.json cannot be loaded (${response.status}).`);
  settings = await response.json();
  at("privacy").textContent = settings.privacy;
  at("statistics").href = "statistics"; // index.html does not name it, since the page of make page has none
  at("statistics").hidden = !settings.statistics;
  at("model").textContent = `Model: ${settings.model.run}, ${settings.model.model}.`;
  const differ = new Set(settings.classes.map((one) => one.threshold)).size > 1;
  at("threshold").value = differ ? 0.5 : settings.classes[0].threshold;
  at("own").checked = differ;
  at("own-row").hidden = !differ;
  at("own-values").textContent = settings.classes.map((one) => `${one.name} ${one.threshold.toFixed(2)}`).join(", ");
  tellThreshold();
  count(null);
  engine = await openEngine(settings, say);
  for (const one of engine.runtimes) at("runtime").add(new Option(one.label, one.value));
  at("runtime-row").hidden = engine.runtimes.length < 2;
  for (const id of ["file", "camera"]) at(id).disabled = false;
  at("file-label").classList.remove("off");
  say("Ready. Choose, drop or paste a picture, or start the camera.");
  document.body.dataset.ready = engine.name;
}

const threshold = () => (at("own").checked ? null : Number(at("threshold").value));

function tellThreshold() {
  const own = at("own").checked;
  at("threshold-value").textContent = own ? "" : Number(at("threshold").value).toFixed(2);
  at("threshold").classList.toggle("unused", own);
}

/** What the engine finds on `work`, in its turn; null if something newer than request `number` came meanwhile. */
async function detect(number, name, file, picture) {
  const before = turn;
  let done;
  turn = new Promise((resolve) => (done = resolve));
  await before;
  try {
    if (number !== wanted) return null;
    const runtime = at("runtime").value || "auto";
    const found = await engine.detect(work, { threshold: threshold(), runtime, name, file, picture });
    return number === wanted ? found : null;
  } finally {
    done();
  }
}

async function takeFile(file) {
  if (!engine || !file) return;
  stopCamera();
  const number = ++wanted;
  say("Reading the picture ...");
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return number === wanted && fail(`${file.name}: not a picture that this browser can read.`);
  }
  if (number !== wanted) return bitmap.close();
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
  put(bitmap, Math.max(1, Math.floor(bitmap.width * scale)), Math.max(1, Math.floor(bitmap.height * scale)));
  picture = { name: file.name || "picture.png", file: settings.engine === "server" ? file : null };
  bitmap.close();
  await detectPicture();
}

async function detectPicture() {
  if (!picture) return;
  const number = ++wanted;
  say("Detecting ...");
  try {
    const found = await detect(number, picture.name, picture.file, picture);
    if (found) show(found.result, found.milliseconds, true);
  } catch (error) {
    if (number === wanted) fail(error.message, picture); // another runtime may be chosen
  }
}

function put(source, width, height) {
  work.width = width;
  work.height = height;
  work.getContext("2d", { willReadFrequently: true }).drawImage(source, 0, 0, width, height);
}

function show(result, milliseconds, isPicture) {
  shown = { result, isPicture, number: wanted };
  view.hidden = false;
  at("empty").hidden = true;
  paint();
  count(result);
  at("boxes").textContent = JSON.stringify(result, null, 2);
  for (const id of ["get-picture", "get-boxes"]) at(id).disabled = false;
  const size = `${result.image.width} x ${result.image.height} pixels`;
  const number = result.boxes.length;
  const faces = number ? `${number} ${number === 1 ? "face" : "faces"}.` : "No face found.";
  say(`${faces} ${Math.round(milliseconds)} ms on ${result.runtime}, ${size}`);
}

/** Draw the picture on `work` and its boxes. */
function paint() {
  const { result, isPicture } = shown;
  const scale = isPicture ? Math.max(1, LEAST_SIDE / Math.max(work.width, work.height)) : 1;
  view.width = Math.round(work.width * scale);
  view.height = Math.round(work.height * scale);
  const pen = view.getContext("2d");
  pen.drawImage(work, 0, 0, view.width, view.height);
  // Lines and letters have the same size on every screen, however large the picture is.
  const unit = Math.max(1, view.width / (view.clientWidth || view.width));
  pen.lineWidth = 2.5 * unit;
  pen.font = `600 ${12 * unit}px system-ui, sans-serif`;
  pen.textBaseline = "bottom";
  // The server sees the whole file, this canvas may hold a smaller one.
  const [scaleX, scaleY] = [view.width / result.image.width, view.height / result.image.height];
  const boxes = result.boxes.map(({ xmin, ymin, xmax, ymax, class: name, class_id: classId, score }) => ({
    ...{ left: xmin * scaleX, top: ymin * scaleY, right: xmax * scaleX, bottom: ymax * scaleY },
    ...settings.classes[classId - 1],
    label: `${name} ${score.toFixed(2)}`,
  }));
  for (const { left, top, right, bottom, colour } of [...boxes].reverse()) {
    pen.strokeStyle = colour;
    pen.strokeRect(left, top, right - left, bottom - top);
  }
  const placed = [];
  for (const box of boxes) {
    const { x, y, wide, tall } = placeLabel(box, pen.measureText(box.label).width + 8 * unit, 17 * unit, placed);
    pen.fillStyle = box.colour;
    pen.fillRect(x, y, wide, tall);
    pen.fillStyle = box.text;
    pen.fillText(box.label, x + 4 * unit, y + tall - unit);
  }
}

/** Where a label hides none of those that are `placed`: above its box, below it, or at its upper or lower edge inside. */
function placeLabel({ left, top, bottom }, wide, tall, placed) {
  const x = Math.max(0, Math.min(left, view.width - wide));
  const places = [top - tall, bottom, top, bottom - tall]
    .filter((y) => y >= 0 && y + tall <= view.height)
    .map((y) => ({ x, y, wide, tall }));
  const isFree = (one) =>
    placed.every((other) => {
      const apart = one.x >= other.x + other.wide || other.x >= one.x + one.wide;
      return apart || one.y >= other.y + other.tall || other.y >= one.y + one.tall;
    });
  const place = places.find(isFree) ?? places[0] ?? { x, y: Math.max(0, top), wide, tall };
  placed.push(place);
  return place;
}

function count(result) {
  at("counts").replaceChildren(
    ...settings.classes.map(({ name, colour }) => {
      const number = result?.boxes.filter((box) => box.class === name).length;
      const chip = document.createElement("div");
      chip.className = `count${number ? "" : " none"}`;
      chip.style.setProperty("--class-colour", colour);
      const value = document.createElement("b");
      value.textContent = number ?? "-";
      chip.append(value, ` ${name}`);
      return chip;
    }),
  );
}

function say(text) {
  at("said").textContent = text;
  at("said").classList.remove("error");
}

function fail(text, kept = null) {
  at("said").textContent = text;
  at("said").classList.add("error");
  if (settings) count(null);
  picture = kept;
  shown = null;
  view.hidden = true;
  at("empty").hidden = false;
  at("boxes").textContent = "";
  for (const id of ["get-picture", "get-boxes"]) at(id).disabled = true;
}

async function startCamera() {
  picture = null;
  const number = ++wanted;
  if (!navigator.mediaDevices) return fail("Browsers give a camera only to pages of localhost or over HTTPS.");
  say("Waiting for the camera ...");
  let opened;
  try {
    opened = await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 1280 }, height: { ideal: 720 } },
      audio: false,
    });
  } catch (error) {
    return number === wanted && fail(`The camera cannot be used (${error.message}).`);
  }
  if (number !== wanted) return opened.getTracks().forEach((track) => track.stop());
  stream = opened;
  for (const track of opened.getTracks()) {
    track.onended = () => {
      if (stream !== opened) return;
      stopCamera();
      fail("The camera is gone.");
    };
  }
  const video = at("video");
  video.srcObject = stream;
  await video.play();
  at("camera").textContent = "Stop the camera";
  while (stream && number === wanted) {
    if (video.videoWidth) {
      put(video, video.videoWidth, video.videoHeight);
      try {
        const found = await detect(number, "camera.jpg", null, null);
        if (found) show(found.result, found.milliseconds, false);
      } catch (error) {
        if (number !== wanted) return;
        if (!error.busy) {
          stopCamera();
          return fail(error.message);
        }
        await new Promise((done) => setTimeout(done, 300));
      }
    }
    await new Promise((done) => requestAnimationFrame(done));
  }
}

function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  wanted++;
  at("video").srcObject = null;
  at("camera").textContent = "Start the camera";
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const stem = () => shown.result.image.file.replace(/\.[^.]*$/, "") || "picture";

at("file").addEventListener("change", (event) => takeFile(event.target.files[0]));
at("file").addEventListener("click", (event) => (event.target.value = "")); // the same file may be chosen again
at("camera").addEventListener("click", () => (stream ? stopCamera() : startCamera()));
at("get-picture").addEventListener("click", () =>
  view.toBlob((blob) => save(blob, `${stem()}-boxes.jpg`), "image/jpeg", 0.92),
);
at("get-boxes").addEventListener("click", () =>
  save(new Blob([`${JSON.stringify(shown.result, null, 2)}\n`], { type: "application/json" }), `${stem()}.json`),
);
at("threshold").addEventListener("input", () => {
  at("own").checked = false;
  tellThreshold();
  detectPicture();
});
at("own").addEventListener("change", () => {
  tellThreshold();
  detectPicture();
});
addEventListener("resize", () => shown?.number === wanted && paint());
at("runtime").addEventListener("change", detectPicture);
addEventListener("paste", (event) => takeFile([...event.clipboardData.files][0]));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  takeFile(event.dataTransfer.files[0]);
});
