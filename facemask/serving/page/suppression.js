// The boxes that count among those of a network: the same as facemask does in Python.
// Pure functions, which Node runs in the tests.

/**
 * Choose the boxes of one picture among those of an SSD: suppression in each class, then one box a face, then the
 * thresholds.
 * @param {Float32Array} boxes (anchors, 4): ymin, xmin, ymax, xmax as shares of the picture
 * @param {Float32Array} scores (anchors, classes), with one column more at the left if `settings.background`
 * @param {number} width of the picture in pixels
 * @param {number} height of the picture in pixels
 * @param {number[]} thresholds the least score of a box of each class
 * @param {object} settings `iou`, `leastScore`, `mostPerClass`, `most`, `background`
 * @param {number} sameFace the IoU above which two boxes are about one face
 * @returns {{classId: number, score: number, box: number[]}[]} best first; classId counts from 1; the box is xmin, ymin,
 *   xmax, ymax in pixels
 */
export function selectBoxes(boxes, scores, width, height, thresholds, settings, sameFace) {
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
        candidates.push({ classId: column - first + 1, score, box: boxes.subarray(4 * anchor, 4 * anchor + 4) });
      }
    }
    found.push(...suppress(candidates, settings.iou, settings.mostPerClass));
  }
  found = found.map((one) => ({ ...one, box: Array.from(one.box, (side) => Math.min(Math.max(side, 0), 1)) }));
  found = found.filter(({ box }) => (box[2] - box[0]) * (box[3] - box[1]) > 0);
  found.sort((a, b) => b.score - a.score);
  found = suppress(found.slice(0, settings.most), sameFace);
  return found
    .filter(({ classId, score }) => score >= thresholds[classId - 1])
    .map(({ classId, score, box: [top, left, bottom, right] }) => ({
      classId,
      score,
      box: [left * width, top * height, right * width, bottom * height],
    }));
}

/** Greedy non-maximum suppression: drop each box that a better one overlaps by more than an IoU; the best come first. */
export function suppress(candidates, iou, most = Infinity) {
  const kept = [];
  for (const one of [...candidates].sort((a, b) => b.score - a.score)) {
    if (kept.length === most) break;
    if (kept.every((better) => intersectionOverUnion(better.box, one.box) <= iou)) kept.push(one);
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
