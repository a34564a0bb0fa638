// Reads the packed arrays of api/pages/packing.py, which says how they lie. All numbers are little-endian.

const VERSION = 1;
export const WORST = 0xffffffff;

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
  }

  words(count) {
    this.need(4 * count);
    const found = [];
    for (let i = 0; i < count; i += 1) found.push(this.view.getUint32(this.place + 4 * i, true));
    this.place += 4 * count;
    return found;
  }

  need(bytes) {
    if (this.place + bytes > this.buffer.byteLength) throw new Error("the server sent less than it has announced: load the page again");
  }

  take(Kind, length) {
    this.need(length * Kind.BYTES_PER_ELEMENT);
    const found = new Kind(this.buffer, this.place, length);
    this.place += Math.ceil((length * Kind.BYTES_PER_ELEMENT) / 8) * 8;
    return found;
  }
}

// Map from ordinal to {pts, score, reason}: times in microseconds, NaN where there is no score.
export function readLanes(buffer) {
  const reader = new Reader(buffer, "FSVL");
  const lanes = new Map();
  for (let block = 0; block < reader.count; block += 1) {
    const [ordinal, n] = reader.words(2);
    lanes.set(ordinal, {
      pts: reader.take(Float64Array, n),
      score: reader.take(Float64Array, n),
      reason: reader.take(Uint8Array, n),
    });
  }
  return lanes;
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
    const [ordinal, n] = reader.words(2);
    series.set(ordinal, { pts: reader.take(Float64Array, n), shares: reader.take(Uint8Array, count * n) });
  }
  return series;
}

// All times of many lanes, each once, rising.
export function joinTimes(lanes) {
  const all = new Float64Array(lanes.reduce((sum, lane) => sum + lane.pts.length, 0));
  let end = 0;
  for (const lane of lanes) {
    all.set(lane.pts, end);
    end += lane.pts.length;
  }
  all.sort();
  return all.filter((time, place) => place === 0 || time !== all[place - 1]);
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
