// Boxes and maps of the video, fetched in pieces when they are needed and kept while they are near.

import { getBuffer } from "./net.js";
import { findNearest, readFaces } from "./packed.js";

const KEPT_MAX = 12;

export class Faces {
  constructor(facts, onChange, onFault) {
    this.facts = facts;
    this.onChange = onChange;
    this.onFault = onFault;
    this.pieces = new Map();
  }

  ask(us) {
    const last = Math.floor(this.facts.duration_us / this.facts.segment_us);
    const piece = Math.min(last, Math.max(0, Math.floor(us / this.facts.segment_us)));
    if (!this.pieces.has(piece)) this.load(piece);
    return this.pieces.get(piece);
  }

  async load(piece) {
    this.pieces.set(piece, null);
    try {
      const buffer = await getBuffer(`/r/${this.facts.analysis}/faces/${piece}`);
      this.pieces.set(piece, readFaces(buffer));
      for (const old of this.pieces.keys()) {
        if (this.pieces.size > KEPT_MAX && old !== piece) this.pieces.delete(old);
      }
      this.onChange();
    } catch (fault) {
      this.onFault(fault);
      setTimeout(() => this.pieces.delete(piece), 5000);
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
