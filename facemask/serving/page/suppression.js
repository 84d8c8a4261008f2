// Pixels in, boxes out, around a network without its suppression: the same as facemask does in Python.
// Pure functions, which Node runs in the tests.

/**
 * Resize as the network's own resizer does: bilinear, between the four nearest pixels, without half-pixel centres.
 * @param {Uint8ClampedArray|Uint8Array} rgba the picture, four bytes a pixel
 * @param {number} width of the picture in pixels
 * @param {number} height of the picture in pixels
 * @param {number} toWidth the network's width
 * @param {number} toHeight the network's height
 * @returns {Float32Array} of shape (toHeight, toWidth, 3), 0 to 255
 */
export function resizeToNetwork(rgba, width, height, toWidth, toHeight) {
  const out = new Float32Array(toHeight * toWidth * 3);
  const columns = positions(width, toWidth);
  const rows = positions(height, toHeight);
  let at = 0;
  for (let y = 0; y < toHeight; y++) {
    const top = rows.low[y] * width;
    const bottom = rows.high[y] * width;
    const down = rows.part[y];
    for (let x = 0; x < toWidth; x++) {
      const right = columns.part[x];
      const a = 4 * (top + columns.low[x]);
      const b = 4 * (top + columns.high[x]);
      const c = 4 * (bottom + columns.low[x]);
      const d = 4 * (bottom + columns.high[x]);
      for (let channel = 0; channel < 3; channel++) {
        const upper = rgba[a + channel] + (rgba[b + channel] - rgba[a + channel]) * right;
        const lower = rgba[c + channel] + (rgba[d + channel] - rgba[c + channel]) * right;
        out[at++] = upper + (lower - upper) * down;
      }
    }
  }
  return out;
}

function positions(from, to) {
  const low = new Int32Array(to);
  const high = new Int32Array(to);
  const part = new Float32Array(to);
  const scale = Math.fround(from / to);
  for (let i = 0; i < to; i++) {
    const position = Math.fround(i * scale);
    low[i] = Math.min(Math.floor(position), from - 1);
    high[i] = Math.min(low[i] + 1, from - 1);
    part[i] = position - low[i];
  }
  return { low, high, part };
}

/**
 * Choose the boxes of one picture: suppression in each class, then one box a face, then the thresholds.
 * @param {Float32Array} boxes (anchors, 4): ymin, xmin, ymax, xmax as shares of the picture
 * @param {Float32Array} scores (anchors, classes), with one column more at the left if `settings.background`
 * @param {number} width of the picture in pixels
 * @param {number} height of the picture in pixels
 * @param {number[]} thresholds the least score of a box of each class
 * @param {object} settings `iou`, `leastScore`, `mostPerClass`, `most`, `sameFace`, `background`
 * @returns {{classId: number, score: number, box: number[]}[]} best first; classId counts from 1; the box is xmin, ymin,
 *   xmax, ymax in pixels
 */
export function selectBoxes(boxes, scores, width, height, thresholds, settings) {
  const anchors = boxes.length / 4;
  const columns = scores.length / anchors;
  const first = settings.background ? 1 : 0;
  const floor = Math.max(settings.leastScore, Math.min(...thresholds));
  let found = [];
  for (let column = first; column < columns; column++) {
    // A box below every threshold suppresses none above it, because the better box always comes first.
    let candidates = [];
    for (let anchor = 0; anchor < anchors; anchor++) {
      const score = scores[anchor * columns + column];
      if (score >= floor && score > settings.leastScore) {
        candidates.push({ classId: column - first + 1, score, share: boxes.subarray(4 * anchor, 4 * anchor + 4) });
      }
    }
    found.push(...suppress(candidates, settings.iou, settings.mostPerClass));
  }
  found = found.map((one) => ({ ...one, share: Array.from(one.share, (side) => Math.min(Math.max(side, 0), 1)) }));
  found = found.filter(({ share }) => (share[2] - share[0]) * (share[3] - share[1]) > 0);
  found.sort((a, b) => b.score - a.score);
  found = suppress(found.slice(0, settings.most), settings.sameFace, settings.most);
  return found
    .filter(({ classId, score }) => score >= thresholds[classId - 1])
    .map(({ classId, score, share: [top, left, bottom, right] }) => ({
      classId,
      score,
      box: [left * width, top * height, right * width, bottom * height],
    }));
}

/** Greedy non-maximum suppression: drop each box that a better one overlaps by more than an IoU. */
function suppress(candidates, iou, most) {
  const kept = [];
  for (const one of [...candidates].sort((a, b) => b.score - a.score)) {
    if (kept.length === most) break;
    if (kept.every((better) => intersectionOverUnion(better.share, one.share) <= iou)) kept.push(one);
  }
  return kept;
}

function intersectionOverUnion(a, b) {
  const areaA = (a[2] - a[0]) * (a[3] - a[1]);
  const areaB = (b[2] - b[0]) * (b[3] - b[1]);
  if (areaA <= 0 || areaB <= 0) return 0;
  const high = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0);
  const wide = Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
  return (high * wide) / (areaA + areaB - high * wide);
}
