// Scale a picture as the Python code does. Pure functions, which Node runs in the tests. Where nothing else is said, they
// take (rgba, width, height, toWidth, toHeight): the picture's bytes, four a pixel, its size and the new one. All return
// the new picture in RGB, of shape (toHeight, toWidth, 3), 0 to 255.

/** OpenCV's INTER_LINEAR for bytes. It computes with whole numbers, weights in 1/2048, and cuts off what is below. */
export function bilinear(rgba, width, height, toWidth, toHeight) {
  const fixed = (from, to) =>
    Array.from({ length: to }, (_, i) => {
      const [[low, lowShare], [high, highShare]] = between(Math.max(0, ((i + 0.5) * from) / to - 0.5), from);
      return [low, high, Math.round(2048 * lowShare), Math.round(2048 * highShare)];
    });
  const across = fixed(width, toWidth);
  const out = new Uint8Array(3 * toWidth * toHeight);
  let at = 0;
  for (const [top, bottom, topShare, bottomShare] of fixed(height, toHeight)) {
    const [above, below] = [4 * width * top, 4 * width * bottom];
    for (const [left, right, leftShare, rightShare] of across) {
      for (let channel = 0; channel < 3; channel++) {
        const [a, b] = [4 * left + channel, 4 * right + channel];
        const upper = rgba[above + a] * leftShare + rgba[above + b] * rightShare;
        const lower = rgba[below + a] * leftShare + rgba[below + b] * rightShare;
        out[at++] = (((topShare * (upper >> 4)) >> 16) + ((bottomShare * (lower >> 4)) >> 16) + 2) >> 2;
      }
    }
  }
  return out;
}

/** OpenCV's INTER_AREA for bytes: the mean of the pixels that a new one covers, those at its edges in part. */
export function area(rgba, width, height, toWidth, toHeight) {
  const weigh = (from, to) =>
    weights(to, (i) => {
      const [start, end] = [(i * from) / to, Math.min(((i + 1) * from) / to, from)];
      const covered = [];
      for (let place = Math.floor(start + 1e-3); place < end - 1e-3; place++) {
        covered.push([place, (Math.min(place + 1, end) - Math.max(place, start)) / (end - start)]);
      }
      return covered;
    });
  const means = resample(rgba, width, height, weigh(width, toWidth), weigh(height, toHeight));
  return new Uint8Array(means.map((mean) => mean + 0.5)); // bytes are cut off
}

/**
 * OpenCV's warpAffine with INTER_LINEAR: a part of a picture, enlarged to `size` by `size` pixels. The picture is `width`
 * pixels wide and high; the part begins at (left, top) and has the side `side`. OpenCV rounds places to 1/1024 of a pixel,
 * across in two steps, and then to 1/32.
 */
export function enlarge(rgba, width, left, top, side, size) {
  const step = side / size;
  const [x, y] = [left + (step - 1) / 2, top + (step - 1) / 2];
  const weigh = (fine) => weights(size, (i) => between(Math.floor((fine(i) + 16) / 32) / 32, width));
  const across = weigh((i) => Math.round(1024 * x) + Math.round(1024 * step * i));
  const down = weigh((i) => Math.round(1024 * (step * i + y)));
  const values = resample(rgba, width, width, across, down);
  return new Uint8Array(values.map((value) => value + 0.5)); // bytes are cut off
}

/** TensorFlow's `tf.compat.v1.image.resize`: bilinear, without half-pixel centres, not rounded. */
export function legacyBilinear(rgba, width, height, toWidth, toHeight) {
  const weigh = (from, to) => {
    const scale = Math.fround(from / to);
    return weights(to, (i) => between(Math.fround(i * scale), from));
  };
  return resample(rgba, width, height, weigh(width, toWidth), weigh(height, toHeight));
}

/** The two pixels around a position, each with its share. */
function between(position, from) {
  const low = Math.min(Math.floor(position), from - 1);
  return [
    [low, 1 - (position - low)],
    [Math.min(low + 1, from - 1), position - low],
  ];
}

/** The weights of each new pixel one after the other; those of pixel i are from `starts[i]` to before `starts[i + 1]`. */
function weights(to, ofPixel) {
  const starts = new Int32Array(to + 1);
  const all = [];
  for (let i = 0; i < to; i++) {
    all.push(...ofPixel(i));
    starts[i + 1] = all.length;
  }
  return { starts, places: Int32Array.from(all, ([place]) => place), shares: Float64Array.from(all, ([, share]) => share) };
}

/** Each new pixel as a weighted sum of old ones, first down and then across. */
function resample(rgba, width, height, across, down) {
  const [toWidth, toHeight] = [across.starts.length - 1, down.starts.length - 1];
  const out = new Float32Array(3 * toWidth * toHeight);
  const row = new Float32Array(3 * width);
  let at = 0;
  for (let y = 0; y < toHeight; y++) {
    row.fill(0);
    for (let i = down.starts[y]; i < down.starts[y + 1]; i++) {
      const share = down.shares[i];
      for (let to = 0, from = 4 * width * down.places[i]; to < row.length; to += 3, from += 4) {
        row[to] += share * rgba[from];
        row[to + 1] += share * rgba[from + 1];
        row[to + 2] += share * rgba[from + 2];
      }
    }
    for (let x = 0; x < toWidth; x++) {
      let [red, green, blue] = [0, 0, 0];
      for (let i = across.starts[x]; i < across.starts[x + 1]; i++) {
        const share = across.shares[i];
        const from = 3 * across.places[i];
        red += share * row[from];
        green += share * row[from + 1];
        blue += share * row[from + 2];
      }
      out[at++] = red;
      out[at++] = green;
      out[at++] = blue;
    }
  }
  return out;
}
