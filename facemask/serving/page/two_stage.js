// Faces first, then a class for each: the same as facemask does in Python around YuNet and a classifier
// (facemask/detect/faces/, facemask/detect/two_stage.py, facemask/classifier/face_crops.py).
// The networks are passed in, so that Node runs this in the tests.
import { area, bilinear, enlarge } from "./resampling.js";
import { suppress } from "./suppression.js";

const BATCH = 32; // the most faces that the classifier gets at a time: more need more memory

/**
 * The boxes of one picture, a box of each class for each face.
 * @param {Uint8ClampedArray|Uint8Array} rgba the picture, four bytes a pixel, from a multiple of four in its buffer
 * @param {number} width of the picture in pixels
 * @param {number} height of the picture in pixels
 * @param {object} settings `faces` and `classifier`, as `make page` writes them
 * @param {object} networks `faces(pixels, height, width)`, for BGR planes, resolves to YuNet's outputs by name;
 *   `classify(crops, count)`, for RGB bytes, to those of the classifier
 * @returns {Promise<{classId: number, score: number, box: number[]}[]>} best first; classId counts from 1; the box is
 *   xmin, ymin, xmax, ymax in pixels
 */
export async function detectFaces(rgba, width, height, settings, networks) {
  const faces = await findFaces(rgba, width, height, settings.faces, networks);
  const { size, margin } = settings.classifier;
  const pixels = new Uint32Array(rgba.buffer, rgba.byteOffset, width * height);
  const found = [];
  for (let start = 0; start < faces.length; start += BATCH) {
    const batch = faces.slice(start, start + BATCH);
    const crops = new Uint8Array(batch.length * size * size * 3);
    batch.forEach(({ box }, i) => crops.set(cutFace(pixels, width, height, box, margin, size), i * size * size * 3));
    const { probabilities } = await networks.classify(crops, batch.length);
    const classes = probabilities.length / batch.length;
    batch.forEach(({ box, score }, i) => {
      for (let k = 0; k < classes; k++) {
        found.push({ classId: k + 1, score: Math.fround(score * probabilities[i * classes + k]), box });
      }
    });
  }
  return found.sort((a, b) => b.score - a.score);
}

/** The boxes that count: one a face, of its best class, if it scores the threshold of its class. */
export function selectFaces(found, thresholds, sameFace) {
  return suppress(found, sameFace).filter(({ classId, score }) => score >= thresholds[classId - 1]);
}

async function findFaces(rgba, width, height, settings, networks) {
  const sizes = width * height >= settings.largeFrom ? settings.largeSizes : settings.sizes;
  let faces = [];
  let source = { rgba, width, height };
  for (const size of sizes) {
    const small = scaled(source, size);
    faces.push(...(await look(small, width, height, settings, networks)));
    if (size < Math.max(width, height)) source = small; // as in Python
  }
  const clip = ({ box, score }) => ({ score, box: clipped(box, width, height) });
  const isThere = ({ box: [xmin, ymin, xmax, ymax] }) => xmax > xmin && ymax > ymin;
  faces = suppress(faces.map(clip).filter(isThere), settings.sameFace);
  if (!settings.alignment) return faces;
  return faces.map(({ box, score }) => clip({ score, box: aligned(box, settings.alignment) })).filter(isThere);
}

/** A picture scaled to a longer side of `size` pixels. */
function scaled({ rgba, width, height }, size) {
  const scale = size / Math.max(width, height);
  const [wide, high] = [width, height].map((side) => Math.max(1, roundEven(side * scale)));
  const rgb = (scale < 1 ? area : bilinear)(rgba, width, height, wide, high);
  const small = new Uint8Array(4 * wide * high);
  for (let i = 0; i < wide * high; i++) small.set(rgb.subarray(3 * i, 3 * i + 3), 4 * i);
  return { rgba: small, width: wide, height: high };
}

/** The faces of a picture of this width and height that YuNet finds in it scaled. */
async function look({ rgba, width: wide, height: high }, width, height, settings, networks) {
  const whole = settings.strides.at(-1); // the network takes whole cells of its coarsest grid; the rest is black
  const [columns, rows] = [wide, high].map((side) => Math.ceil(side / whole) * whole);
  const pixels = new Float32Array(3 * rows * columns);
  for (let y = 0, from = 0; y < high; y++) {
    for (let x = 0; x < wide; x++, from += 4) {
      for (let plane = 0; plane < 3; plane++) pixels[(plane * rows + y) * columns + x] = rgba[from + 2 - plane];
    }
  }
  const outputs = await networks.faces(pixels, rows, columns);
  const found = settings.strides.flatMap((stride) => decodeGrid(outputs, stride, columns / stride, settings.leastScore));
  return suppress(found, settings.sameFace).map(({ box, score }) => ({
    score,
    box: box.map((value, i) => (i % 2 ? (value * height) / high : (value * width) / wide)),
  }));
}

/** The boxes of one of YuNet's grids, in pixels of the network's input. */
function decodeGrid(outputs, stride, columns, leastScore) {
  const [faces, objects, boxes] = ["cls", "obj", "bbox"].map((name) => outputs[`${name}_${stride}`]);
  const share = (value) => Math.min(Math.max(value, 0), 1);
  const found = [];
  for (let cell = 0; cell < faces.length; cell++) {
    const score = Math.fround(share(faces[cell]) * share(objects[cell]));
    if (!(score >= leastScore)) continue;
    const [right, down, wide, high] = boxes.subarray(4 * cell, 4 * cell + 4);
    const [x, y] = [((cell % columns) + right) * stride, (Math.floor(cell / columns) + down) * stride];
    const [halfWide, halfHigh] = [(Math.exp(wide) * stride) / 2, (Math.exp(high) * stride) / 2];
    const box = [x - halfWide, y - halfHigh, x + halfWide, y + halfHigh];
    if (box.every(Number.isFinite)) found.push({ score, box });
  }
  return found;
}

/** A box moved and resized as `BoxAlignment` does in Python. */
function aligned([xmin, ymin, xmax, ymax], alignment) {
  const [wide, high] = [xmax - xmin, ymax - ymin];
  const [x, y] = [(xmin + xmax) / 2 + wide * alignment.shift_x, (ymin + ymax) / 2 + high * alignment.shift_y];
  const [halfWide, halfHigh] = [(wide * alignment.scale_x) / 2, (high * alignment.scale_y) / 2];
  return [x - halfWide, y - halfHigh, x + halfWide, y + halfHigh];
}

const clipped = (box, width, height) => box.map((value, i) => Math.min(Math.max(value, 0), i % 2 ? height : width));

/** The square around a box with a margin, `size` pixels wide, RGB bytes. The picture's edges are repeated around it. */
function cutFace(pixels, width, height, [xmin, ymin, xmax, ymax], margin, size) {
  const side = Math.max(1, Math.max(xmax - xmin, ymax - ymin) * (1 + 2 * margin));
  const [left, top] = [(xmin + xmax - side) / 2, (ymin + ymax - side) / 2];
  if (side >= size) {
    const whole = roundEven(side);
    return area(square(pixels, width, height, roundEven(left), roundEven(top), whole), whole, whole, size, size);
  }
  // A pixel more on each side: the new pixels at the edges lie between two old ones.
  const [x, y, whole] = [Math.floor(left) - 1, Math.floor(top) - 1, Math.ceil(side) + 3];
  return enlarge(square(pixels, width, height, x, y, whole), whole, left - x, top - y, side, size);
}

/** A square of a picture, four bytes a pixel. */
function square(pixels, width, height, left, top, side) {
  const found = new Uint32Array(side * side);
  for (let y = 0; y < side; y++) {
    const row = Math.min(Math.max(top + y, 0), height - 1) * width;
    for (let x = 0; x < side; x++) found[y * side + x] = pixels[row + Math.min(Math.max(left + x, 0), width - 1)];
  }
  return new Uint8Array(found.buffer);
}

/** Python's `round`: a half goes to the even neighbour. */
function roundEven(value) {
  const low = Math.floor(value);
  const part = value - low;
  return low + (part > 0.5 || (part === 0.5 && low % 2 !== 0) ? 1 : 0);
}
