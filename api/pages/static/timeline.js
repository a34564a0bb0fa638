// The scores over time, a lane for each face and one for the highest face of each sample.

import { formatClock, formatScore } from "./clock.js";
import { WORST, findFirst } from "./packed.js";
import { medianStep } from "./stripe.js";

const LANE = 46;
const GAP = 8;
export const FACE = 40; // the picture of a face beside its lane
const NAME = FACE + 8;
const LABEL = NAME + 54;
const AXIS = 26;
const RIGHT = 12;
const ZOOM_MIN_US = 2_000_000;
const DRAG_MIN = 5;
const PIXEL = window.devicePixelRatio || 1;

// Where the picture of a face belongs beside the lane at a place.
export function placeFace(place) {
  return { left: 2, top: GAP / 2 + place * (LANE + GAP) + (LANE - FACE) / 2 };
}

export class Timeline {
  constructor(canvas, facts, lanes, { onSeek, onSpan }) {
    this.canvas = canvas;
    this.facts = facts;
    this.start = 0;
    this.end = Math.max(1, facts.duration_us);
    this.now = 0;
    this.picked = null;
    const known = facts.tracks.filter((track) => lanes.has(track.ordinal));
    this.rows = known.map((track) => ({ ...track, name: `face ${track.ordinal}`, lane: lanes.get(track.ordinal) }));
    if (lanes.has(WORST)) {
      this.rows.unshift({ ordinal: WORST, name: "highest", score: null, start_us: 0, end_us: facts.duration_us, lane: lanes.get(WORST) });
    }
    this.base = document.createElement("canvas");
    this.baseKey = "";
    this.drag = null;
    this.bindPointer(onSeek, onSpan);
    this.colours = readColours();
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.colours = readColours();
      this.baseKey = "";
      this.draw();
    });
  }

  // A click goes there; a drag, where spans may be noted, asks for a note on the span.
  bindPointer(onSeek, onSpan) {
    const { canvas } = this;
    const read = (event) => event.clientX - canvas.getBoundingClientRect().left;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button === 0 && read(event) >= LABEL) {
        this.drag = { from: read(event), to: read(event), row: this.findRow(event) };
        canvas.setPointerCapture(event.pointerId);
      }
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.drag || !onSpan) return;
      this.drag.to = read(event);
      this.draw();
    });
    canvas.addEventListener("pointercancel", () => { this.drag = null; this.draw(); });
    canvas.addEventListener("pointerup", (event) => {
      const { drag } = this;
      this.drag = null;
      if (!drag) return;
      if (onSpan && Math.abs(drag.to - drag.from) >= DRAG_MIN) {
        const ends = [this.toTime(drag.from), this.toTime(drag.to)].sort((a, b) => a - b);
        onSpan(...ends, drag.row);
      } else {
        onSeek(this.toTime(read(event)), drag.row);
      }
      this.draw();
    });
  }

  // The face of the lane under the pointer, null for the lane of all or none.
  findRow(event) {
    const place = Math.floor((event.clientY - this.canvas.getBoundingClientRect().top) / (LANE + GAP));
    const row = this.rows[place];
    return row && row.ordinal !== WORST ? row.ordinal : null;
  }

  get width() {
    return this.canvas.parentElement.clientWidth;
  }

  toX(us) {
    return LABEL + ((us - this.start) / (this.end - this.start)) * (this.width - LABEL - RIGHT);
  }

  toTime(x) {
    const share = (x - LABEL) / (this.width - LABEL - RIGHT);
    return this.start + Math.min(1, Math.max(0, share)) * (this.end - this.start);
  }

  zoom(factor) {
    const whole = Math.max(1, this.facts.duration_us);
    const span = Math.min(whole, Math.max(Math.min(ZOOM_MIN_US, whole), (this.end - this.start) * factor));
    const begin = Math.min(Math.max(0, this.now - span / 2), whole - span);
    [this.start, this.end] = [begin, begin + span];
    this.draw();
  }

  show(us, picked) {
    this.now = us;
    this.picked = picked;
    if (us < this.start || us > this.end) {
      const span = this.end - this.start;
      const begin = Math.min(Math.max(0, us - span / 2), Math.max(0, this.facts.duration_us - span));
      [this.start, this.end] = [begin, begin + span];
    }
    this.draw();
  }

  // Lanes are drawn once for a place and a width; while the video runs only the mark of the time moves.
  draw() {
    const height = this.rows.length * (LANE + GAP) + AXIS;
    const key = [this.width, height, this.start, this.end, this.picked].join();
    if (key !== this.baseKey) {
      for (const canvas of [this.canvas, this.base]) {
        canvas.width = Math.round(this.width * PIXEL);
        canvas.height = Math.round(height * PIXEL);
      }
      this.canvas.style.width = `${this.width}px`;
      this.canvas.style.height = `${height}px`;
      this.drawBase(height);
      this.baseKey = key;
    }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.drawImage(this.base, 0, 0);
    pen.setTransform(PIXEL, 0, 0, PIXEL, 0, 0);
    this.drawDrag(pen, height);
    this.drawNow(pen, height);
  }

  drawBase(height) {
    const pen = this.base.getContext("2d");
    pen.setTransform(PIXEL, 0, 0, PIXEL, 0, 0);
    pen.fillStyle = this.colours.paper;
    pen.fillRect(0, 0, this.width, height);
    this.rows.forEach((row, place) => this.drawRow(pen, row, GAP / 2 + place * (LANE + GAP)));
    this.drawCuts(pen, height);
    this.drawAxis(pen, height);
    this.drawLabels(pen);
  }

  drawDrag(pen, height) {
    if (!this.drag || Math.abs(this.drag.to - this.drag.from) < DRAG_MIN) return;
    pen.globalAlpha = 0.25;
    pen.fillStyle = this.colours.focus;
    pen.fillRect(Math.min(this.drag.from, this.drag.to), 0, Math.abs(this.drag.to - this.drag.from), height - AXIS);
    pen.globalAlpha = 1;
  }

  // A bracket over each span that somebody noted.
  drawNotes(pen, row, top) {
    pen.strokeStyle = this.colours.low;
    pen.lineWidth = 2;
    for (const note of this.facts.notes) {
      if (note.track !== row.ordinal && !(row.ordinal === WORST && note.track === null)) continue;
      if (note.end_us < this.start || note.start_us > this.end) continue;
      const [left, right] = [this.toX(note.start_us), Math.max(this.toX(note.start_us) + 3, this.toX(note.end_us))];
      pen.beginPath();
      pen.moveTo(left, top + 9);
      pen.lineTo(left, top + 2);
      pen.lineTo(right, top + 2);
      pen.lineTo(right, top + 9);
      pen.stroke();
    }
  }

  drawRow(pen, row, top) {
    const toY = (score) => top + LANE - 3 - score * (LANE - 6);
    const [left, right] = [this.toX(row.start_us), this.toX(row.end_us)];
    pen.fillStyle = this.colours.raised;
    pen.fillRect(left, top, Math.max(1, right - left), LANE);
    for (const span of this.facts.spans) {
      const isHere = row.ordinal === WORST ? span.track === null || span.kind === "suspicious" : span.track === row.ordinal;
      if (isHere && span.kind !== "cut") this.drawSpan(pen, span, top);
    }
    pen.setLineDash([5, 4]);
    pen.strokeStyle = this.colours.dim;
    pen.lineWidth = 1;
    for (const threshold of [this.facts.low, this.facts.high]) {
      line(pen, LABEL, toY(threshold), this.width - RIGHT, toY(threshold));
    }
    pen.setLineDash([]);
    this.drawScores(pen, row, toY);
    this.drawNotes(pen, row, top);
    if (row.ordinal === this.picked) {
      pen.strokeStyle = this.colours.ink;
      pen.lineWidth = 2;
      pen.strokeRect(LABEL - 1, top, this.width - LABEL - RIGHT + 2, LANE);
    }
  }

  drawSpan(pen, span, top) {
    const x = this.toX(span.start_us);
    const width = Math.max(2, this.toX(span.end_us) - x);
    if (span.kind === "suspicious") {
      pen.globalAlpha = 0.22;
      pen.fillStyle = this.colours.hot;
      pen.fillRect(x, top, width, LANE);
      pen.globalAlpha = 1;
      pen.fillRect(x, top + LANE - 4, width, 4);
      return;
    }
    pen.save();
    pen.beginPath();
    pen.rect(x, top, width, LANE);
    pen.clip();
    pen.strokeStyle = this.colours.dim;
    pen.lineWidth = 1;
    for (let at = x - LANE; at < x + width; at += 7) line(pen, at, top + LANE, at + LANE, top);
    pen.font = "12px system-ui, sans-serif";
    const words = span.what.replace("not scored: ", "");
    if (pen.measureText(words).width + 12 < width) {
      pen.fillStyle = this.colours.paper;
      pen.fillRect(x + 4, top + LANE - 20, pen.measureText(words).width + 8, 16);
      pen.fillStyle = this.colours.ink;
      pen.fillText(words, x + 8, top + LANE - 8);
    }
    pen.restore();
  }

  // A line joins neighbouring samples of one face; over a gap, or where there is no score, there is none.
  drawScores(pen, row, toY) {
    const { pts, score } = row.lane;
    const gap = 2.5 * medianStep(pts);
    const colour = row.ordinal === WORST ? this.colours.ink : this.facts.colours[row.ordinal % this.facts.colours.length];
    const first = Math.max(0, findFirst(pts, this.start) - 1);
    const last = Math.min(pts.length, findFirst(pts, this.end) + 1);
    pen.save();
    pen.beginPath();
    pen.rect(LABEL, 0, this.width - LABEL - RIGHT, this.base.height);
    pen.clip();
    pen.beginPath();
    const { start, end, width } = this; // read once: to ask the page for its width costs more than to draw a sample
    const isDense = last - first > 3 * width;
    let column = null;
    for (let i = first; i < last; i += 1) {
      if (Number.isNaN(score[i])) continue;
      const joins = i > first && !Number.isNaN(score[i - 1]) && pts[i] - pts[i - 1] <= gap;
      const x = LABEL + ((pts[i] - start) / (end - start)) * (width - LABEL - RIGHT);
      const y = toY(score[i]);
      if (!isDense) {
        if (joins) pen.lineTo(x, y);
        else pen.moveTo(x, y);
        continue;
      }
      // Many samples in one column of pixels: the lowest and the highest of them stand for all.
      const at = Math.floor(x);
      if (column && column.at === at) {
        column.low = Math.max(column.low, y);
        column.high = Math.min(column.high, y);
        continue;
      }
      if (column) closeColumn(pen, column);
      column = { at, low: y, high: y, joins };
    }
    if (column) closeColumn(pen, column);
    pen.lineJoin = "round";
    pen.strokeStyle = this.colours.ink;
    pen.lineWidth = row.ordinal === WORST ? 1.5 : 3.5;
    pen.stroke();
    if (row.ordinal !== WORST) {
      pen.strokeStyle = colour;
      pen.lineWidth = 2;
      pen.stroke();
    }
    if ((last - first) * 5 < this.width) {
      for (let i = first; i < last; i += 1) {
        if (!Number.isNaN(score[i])) dot(pen, this.toX(pts[i]), toY(score[i]), colour, this.colours.ink);
      }
    }
    pen.restore();
  }

  drawCuts(pen, height) {
    pen.setLineDash([1.5, 3]);
    pen.strokeStyle = this.colours.ink;
    pen.lineWidth = 1.5;
    for (const span of this.facts.spans) {
      if (span.kind !== "cut" || span.start_us < this.start || span.start_us > this.end) continue;
      line(pen, this.toX(span.start_us), 0, this.toX(span.start_us), height - AXIS);
    }
    pen.setLineDash([]);
  }

  drawAxis(pen, height) {
    const y = height - AXIS + 2;
    pen.strokeStyle = this.colours.ink;
    pen.lineWidth = 1;
    line(pen, LABEL, y, this.width - RIGHT, y);
    pen.fillStyle = this.colours.ink;
    pen.font = "12px system-ui, sans-serif";
    pen.textAlign = "center";
    const step = chooseStep((this.end - this.start) / Math.max(2, (this.width - LABEL) / 90));
    for (let us = Math.ceil(this.start / step) * step; us <= this.end; us += step) {
      line(pen, this.toX(us), y, this.toX(us), y + 5);
      pen.fillText(formatClock(us, step < 1_000_000 ? 1 : 0), this.toX(us), y + 18);
    }
    pen.textAlign = "left";
  }

  drawNow(pen, height) {
    const x = this.toX(this.now);
    pen.strokeStyle = this.colours.focus;
    pen.lineWidth = 2;
    line(pen, x, 0, x, height - AXIS + 6);
  }

  drawLabels(pen) {
    pen.font = "13px system-ui, sans-serif";
    this.rows.forEach((row, place) => {
      const top = GAP / 2 + place * (LANE + GAP);
      pen.fillStyle = this.colours.paper;
      pen.fillRect(0, top, LABEL - 2, LANE);
      if (row.ordinal !== WORST) {
        pen.fillStyle = this.facts.colours[row.ordinal % this.facts.colours.length];
        pen.fillRect(NAME, top + 26, 10, 10);
        pen.strokeStyle = this.colours.ink;
        pen.lineWidth = 1;
        pen.strokeRect(NAME, top + 26, 10, 10);
      }
      pen.fillStyle = this.colours.ink;
      pen.fillText(row.name, NAME, top + 17);
      pen.fillStyle = this.colours.dim;
      if (row.score) pen.fillText(row.score, NAME + 15, top + 35);
    });
  }
}

// Words for the sample of a face at a time, for a table or a reader of screens.
export function saySample(facts, lane, place) {
  const reason = lane.reason[place];
  return {
    time: formatClock(lane.pts[place]),
    score: formatScore(lane.score[place]),
    why: reason ? facts.reasons[reason - 1] : "",
  };
}

function closeColumn(pen, column) {
  if (column.joins) pen.lineTo(column.at, column.high);
  else pen.moveTo(column.at, column.high);
  pen.lineTo(column.at, column.low + 0.5);
}

function chooseStep(least) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
  return (steps.find((step) => step * 1e6 >= least) || 14400) * 1e6;
}

function line(pen, x1, y1, x2, y2) {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}

function dot(pen, x, y, colour, edge) {
  pen.beginPath();
  pen.arc(x, y, 3, 0, 2 * Math.PI);
  pen.fillStyle = colour;
  pen.fill();
  pen.lineWidth = 1;
  pen.strokeStyle = edge;
  pen.stroke();
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return Object.fromEntries(["paper", "raised", "ink", "dim", "hot", "low", "focus"].map((name) => [name, read(name)]));
}
