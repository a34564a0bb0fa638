// Reads the packed arrays of api/pages/packing.py, which says how they lie. All numbers are little-endian.

const VERSION = 2;
export const WORST = 0xffffffff;
const [SCATTERED, SHORT, REASONED] = [1, 2, 4];

const IS_LITTLE = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

class Reader {
  constructor(buffer, letters) {
    if (!IS_LITTLE) throw new Error("this machine orders bytes in a way that this page does not know");
    this.buffer = buffer;
    this.view = new DataView(buffer);
    this.place = 16;
    const seen = buffer.byteLength < 16 ? "" : String.fromCharCode(...new Uint8Array(buffer, 0, 4));
    if (seen !== letters || this.view.getUint32(4, true) !== VERSION) {
      throw new Error("the server sent samples of another version: load the page again");
    }
    this.count = this.view.getUint32(8, true);
    this.times = this.take(Float64Array, this.view.getUint32(12, true));
  }

  words(count) {
    this.need(4 * count);
    const found = [];
    for (let i = 0; i < count; i += 1) found.push(this.view.getUint32(this.place + 4 * i, true));
    this.place += 4 * count;
    return found;
  }

  need(bytes) {
    this.check(this.place + bytes <= this.buffer.byteLength);
  }

  check(isWhole) {
    if (!isWhole) throw new Error("the server sent less than it has announced: load the page again");
  }

  timesFrom(first, n) {
    this.check(first + n <= this.times.length);
    return this.times.subarray(first, first + n);
  }

  timeAt(place) {
    this.check(place < this.times.length);
    return this.times[place];
  }

  take(Kind, length) {
    this.need(length * Kind.BYTES_PER_ELEMENT);
    const found = new Kind(this.buffer, this.place, length);
    this.place += Math.ceil((length * Kind.BYTES_PER_ELEMENT) / 8) * 8;
    return found;
  }
}

// What is known of a block of samples: its face, their count, their form and their times.
function readTimes(reader) {
  const [ordinal, n, first, form] = reader.words(4);
  if (!(form & SCATTERED)) return { ordinal, n, form, pts: reader.timesFrom(first, n) };
  return { ordinal, n, form, pts: Float64Array.from(reader.take(Uint32Array, n), (place) => reader.timeAt(place)) };
}

// All times, each once and rising, and a map from ordinal to {pts, score, reason}: times in microseconds, NaN
// where there is no score.
export function readLanes(buffer) {
  const reader = new Reader(buffer, "FSVL");
  const lanes = new Map();
  for (let block = 0; block < reader.count; block += 1) {
    const { ordinal, n, form, pts } = readTimes(reader);
    lanes.set(ordinal, {
      pts,
      score: reader.take(form & SHORT ? Float32Array : Float64Array, n),
      reason: form & REASONED ? reader.take(Uint8Array, n) : new Uint8Array(n),
    });
  }
  return { times: reader.times, lanes };
}

// List of {ordinal, pts, boxes, index, grid, crop, matrices, cells}, one for each face of a piece.
export function readFaces(buffer) {
  const reader = new Reader(buffer, "FSVF");
  const faces = [];
  for (let block = 0; block < reader.count; block += 1) {
    const [ordinal, n, m, grid, crop] = reader.words(6);
    faces.push({
      ordinal,
      grid,
      crop,
      pts: reader.take(Float64Array, n),
      boxes: reader.take(Float32Array, 4 * n),
      index: reader.take(Int32Array, n),
      matrices: reader.take(Float32Array, 6 * m),
      cells: reader.take(Uint8Array, m * grid * grid),
    });
  }
  return faces;
}

// Map from ordinal to {pts, shares}: 7 bytes for each time, 255 times the share of hot cells.
export function readRegions(buffer, count) {
  const reader = new Reader(buffer, "FSVR");
  const series = new Map();
  for (let block = 0; block < reader.count; block += 1) {
    const { ordinal, n, pts } = readTimes(reader);
    series.set(ordinal, { pts, shares: reader.take(Uint8Array, count * n) });
  }
  return series;
}

// Place of the first number at or behind a value, in numbers that rise.
export function findFirst(numbers, value) {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Place of the number nearest to a value, -1 where there is none.
export function findNearest(numbers, value) {
  if (!numbers.length) return -1;
  const next = findFirst(numbers, value);
  if (next === 0) return 0;
  if (next === numbers.length) return next - 1;
  return value - numbers[next - 1] <= numbers[next] - value ? next - 1 : next;
}
