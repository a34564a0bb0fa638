// The picture of each face at the left of its lane: its highest sample, cut out of the video as those beneath are.

import { WORST, findNearest } from "./packed.js";
import { FACE, placeFace } from "./timeline.js";

const SHARP = 2; // as many pixels as the densest common screens have

// A canvas for each lane of a face that has a sample to show, by the link of that sample; nothing is drawn yet.
export function placeFaces(box, rows, links) {
  const shown = chooseSamples(rows, links);
  const placed = new Map();
  rows.forEach((row, place) => {
    const link = shown.get(row.ordinal);
    if (!link) return;
    const canvas = document.createElement("canvas");
    canvas.className = "lane-face";
    canvas.width = canvas.height = FACE * SHARP;
    canvas.setAttribute("aria-hidden", "true"); // the same face stands beneath, with a link and its time
    const { left, top } = placeFace(place);
    Object.assign(canvas.style, { left: `${left}px`, top: `${top}px`, width: `${FACE}px`, height: `${FACE}px` });
    box.append(canvas);
    placed.set(link, canvas);
  });
  return placed;
}

// Of the links of each face the one to the sample with the highest score.
function chooseSamples(rows, links) {
  const lanes = new Map(rows.filter((row) => row.ordinal !== WORST).map((row) => [row.ordinal, row.lane]));
  const chosen = new Map();
  for (const link of links) {
    const lane = lanes.get(Number(link.dataset.thumb));
    if (!lane) continue;
    const score = lane.score[findNearest(lane.pts, Number(link.dataset.seek))];
    const before = chosen.get(Number(link.dataset.thumb));
    if (!before || score > before.score) chosen.set(Number(link.dataset.thumb), { link, score });
  }
  return new Map([...chosen].map(([ordinal, { link }]) => [ordinal, link]));
}
