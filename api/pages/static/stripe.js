// Where in a face it was over time: a row for each part of the face, more opaque the larger its hot share.

import { HOT } from "./overlay.js";
import { findFirst, findNearest } from "./packed.js";

const LABEL = 104;
const ROW = 13;
const PIXEL = window.devicePixelRatio || 1;

export class Stripe {
  constructor(box, facts, track, series, onSeek) {
    this.canvas = box.querySelector("canvas");
    this.facts = facts;
    this.track = track;
    this.series = series;
    this.step = medianStep(series.pts);
    box.hidden = false;
    this.canvas.addEventListener("click", (event) => {
      const x = event.clientX - this.canvas.getBoundingClientRect().left;
      if (x < LABEL) return;
      const place = findNearest(series.pts, this.toTime(x));
      if (place >= 0) onSeek(series.pts[place]);
    });
    window.addEventListener("resize", () => this.draw());
    this.draw();
  }

  get width() {
    return this.canvas.parentElement.clientWidth;
  }

  toTime(x) {
    const span = Math.max(1, this.track.end_us - this.track.start_us);
    return this.track.start_us + ((x - LABEL) / Math.max(1, this.width - LABEL)) * span;
  }

  draw() {
    const { canvas, facts } = this;
    const height = facts.regions.length * ROW;
    canvas.width = Math.round(this.width * PIXEL);
    canvas.height = Math.round(height * PIXEL);
    canvas.style.width = `${this.width}px`;
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.setTransform(PIXEL, 0, 0, PIXEL, 0, 0);
    const style = getComputedStyle(document.documentElement);
    pen.fillStyle = style.getPropertyValue("--ink").trim();
    pen.font = "11px system-ui, sans-serif";
    facts.regions.forEach((name, row) => pen.fillText(name, 0, row * ROW + 10));
    const empty = style.getPropertyValue("--raised").trim();
    for (let x = LABEL; x < this.width; x += 1) this.drawColumn(pen, x, empty);
  }

  // Whether a sample still stands for a time: up to the next one, or for one step where the next is far off.
  covers(place, us) {
    const { pts } = this.series;
    const isJoined = place + 1 < pts.length && pts[place + 1] - pts[place] <= 2.5 * this.step;
    return isJoined || us - pts[place] < this.step;
  }

  // A column shows the highest share of its samples, or of the sample that stands for it.
  drawColumn(pen, x, empty) {
    const { pts, shares } = this.series;
    const count = this.facts.regions.length;
    const [start, end] = [this.toTime(x), this.toTime(x + 1)];
    let first = findFirst(pts, start);
    const last = Math.max(first, findFirst(pts, end));
    if (first === last) {
      first -= 1;
      if (first < 0 || !this.covers(first, start)) return;
    }
    const stop = Math.max(last, first + 1);
    for (let row = 0; row < count; row += 1) {
      let highest = 0;
      for (let i = first; i < stop; i += 1) highest = Math.max(highest, shares[i * count + row]);
      pen.fillStyle = empty;
      pen.fillRect(x, row * ROW, 1, ROW - 1);
      pen.fillStyle = `rgb(${HOT.join(" ")} / ${highest / 255})`;
      pen.fillRect(x, row * ROW, 1, ROW - 1);
    }
  }
}

// The part of a face with the largest share of hot cells in a sample; empty where nothing is kept or hot.
export function nameHottest(facts, series, us) {
  if (!series) return "";
  const place = findNearest(series.pts, us);
  if (place < 0 || series.pts[place] !== us) return "";
  const count = facts.regions.length;
  const shares = [...series.shares.subarray(place * count, (place + 1) * count)];
  const highest = Math.max(...shares);
  return highest ? `${facts.regions[shares.indexOf(highest)]}, ${Math.round(highest / 2.55)} %` : "";
}

export function medianStep(pts) {
  if (pts.length < 2) return 0;
  const steps = [];
  for (let i = 1; i < pts.length; i += Math.max(1, Math.floor(pts.length / 200))) steps.push(pts[i] - pts[i - 1]);
  steps.sort((a, b) => a - b);
  return steps[Math.floor(steps.length / 2)];
}
