// Boxes and maps of the video, fetched in pieces when they are needed and kept while they are near.

import { getBuffer, mayPass } from "./net.js";
import { findNearest, readFaces } from "./packed.js";

const KEPT_MAX = 12;
const REST_MS = 5000; // before what failed is asked for again, twice as long after each further failure
const REST_MAX_MS = 60_000;

export class Faces {
  constructor(facts, onChange) {
    this.facts = facts;
    this.onChange = onChange;
    this.pieces = new Map();
    this.loads = new Map(); // what is under way or has failed
    this.faults = new Map(); // why a piece did not come, until it comes
    this.failures = 0; // since a piece came
  }

  get restMs() {
    return Math.min(REST_MAX_MS, REST_MS * 2 ** Math.max(0, this.failures - 1));
  }

  // Why the piece of a moment cannot be had, null where nothing is known to be wrong.
  findFault(us) {
    return this.faults.get(this.place(us)) || null;
  }

  place(us) {
    const last = Math.floor(this.facts.duration_us / this.facts.segment_us);
    return Math.min(last, Math.max(0, Math.floor(us / this.facts.segment_us)));
  }

  // The piece of a moment, or null while it is under way.
  ask(us) {
    const piece = this.place(us);
    if (!this.pieces.has(piece)) this.begin(piece);
    return this.pieces.get(piece);
  }

  // The piece of a moment, once it has come. Fails with what kept it from coming.
  async wait(us) {
    const found = this.ask(us);
    return found || this.loads.get(this.place(us));
  }

  begin(piece) {
    const load = this.load(piece);
    load.catch(() => {}); // told by findFault, and to whoever waits
    this.loads.set(piece, load);
  }

  async load(piece) {
    this.pieces.set(piece, null);
    try {
      const buffer = await getBuffer(`/r/${this.facts.analysis}/faces/${piece}`);
      const found = readFaces(buffer);
      this.pieces.set(piece, found);
      this.loads.delete(piece);
      this.faults.delete(piece);
      this.failures = 0;
      for (const old of this.pieces.keys()) {
        if (this.pieces.size > KEPT_MAX && old !== piece) this.pieces.delete(old);
      }
      this.onChange();
      return found;
    } catch (fault) {
      this.failures += 1;
      this.faults.set(piece, fault);
      // Whoever shows the moment asks again when told of the change; a piece that nobody looks at is left, and so is
      // one that was refused for good.
      if (mayPass(fault)) {
        setTimeout(() => {
          this.pieces.delete(piece);
          this.onChange();
        }, this.restMs);
      }
      this.onChange();
      throw fault;
    }
  }

  // The faces whose nearest sample lies within a distance, each with its box, map and exact time.
  near(us, within) {
    return (this.ask(us) || []).flatMap((track) => {
      const place = findNearest(track.pts, us);
      if (place < 0 || Math.abs(track.pts[place] - us) > within) return [];
      return [takeFace(track, place)];
    });
  }
}

export function takeFace(track, place) {
  const row = track.index[place];
  const size = track.grid * track.grid;
  const map =
    row < 0
      ? null
      : {
          grid: track.grid,
          crop: track.crop,
          matrix: track.matrices.subarray(6 * row, 6 * row + 6),
          cells: track.cells.subarray(size * row, size * (row + 1)),
        };
  return {
    ordinal: track.ordinal,
    pts: track.pts[place],
    box: track.boxes.subarray(4 * place, 4 * place + 4),
    map,
  };
}
