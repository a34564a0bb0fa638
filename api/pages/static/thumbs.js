// The frames with the highest scores, cut out of the video by the browser: no picture of a face is stored.

import { findNearest } from "./packed.js";
import { takeFace } from "./faces.js";
import { paintCells } from "./overlay.js";

const MARGIN = 0.35;

export async function drawThumbs(links, source, faces, facts, overlay) {
  if (!links.length || !source) return;
  const video = document.createElement("video");
  video.muted = true;
  video.preload = "auto";
  video.src = source;
  await once(video, "loadeddata");
  for (const link of links) {
    const us = Number(link.dataset.seek);
    const face = await findFace(faces, us, Number(link.dataset.thumb));
    if (!face) continue;
    video.currentTime = us / 1e6 + 0.0005;
    await once(video, "seeked");
    draw(link.querySelector("canvas"), video, face, facts, overlay);
    link.dataset.drawn = "";
  }
  video.removeAttribute("src");
  video.load();
}

function once(video, name) {
  return new Promise((resolve, reject) => {
    video.addEventListener(name, resolve, { once: true });
    video.addEventListener("error", () => reject(new Error("the video cannot be read")), { once: true });
  });
}

async function findFace(faces, us, ordinal) {
  for (let tries = 0; tries < 50; tries += 1) {
    const piece = faces.ask(us);
    if (piece) {
      const track = piece.find((each) => each.ordinal === ordinal);
      const place = track ? findNearest(track.pts, us) : -1;
      return place >= 0 && track.pts[place] === us ? takeFace(track, place) : null;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return null;
}

function draw(canvas, video, face, facts, overlay) {
  const [width, height] = [video.videoWidth, video.videoHeight];
  const [x, y, w, h] = face.box;
  const side = Math.max(w * width, h * height) * (1 + 2 * MARGIN);
  const left = (x + w / 2) * width - side / 2;
  const top = (y + h / 2) * height - side / 2;
  const pen = canvas.getContext("2d");
  const scale = canvas.width / side;
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.setTransform(scale, 0, 0, scale, -left * scale, -top * scale);
  pen.drawImage(video, 0, 0, width, height);
  if (!face.map) return;
  const cells = document.createElement("canvas");
  paintCells(cells, face.map, overlay.threshold, overlay.opacity);
  const [a, b, c, d, e, f] = face.map.matrix;
  const step = face.map.crop / face.map.grid;
  // Maps are placed in the displayed frame as it was scanned; the element may know another size.
  const stretch = facts.width ? width / facts.width : 1;
  pen.transform(a * step * stretch, d * step * stretch, b * step * stretch, e * step * stretch, c * stretch, f * stretch);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(cells, 0, 0);
}
