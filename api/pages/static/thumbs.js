// The frames with the highest scores, cut out of the video by the browser: no picture of a face is stored.

import { takeFace } from "./faces.js";
import { mayPass } from "./net.js";
import { paintCells } from "./overlay.js";
import { findNearest } from "./packed.js";

const MARGIN = 0.35;
const NEAR = "200px"; // a frame is drawn when it is so near to what is seen
const WAIT_MS = 20_000;

// The video did not come, or could not be read.
class VideoFault extends Error {
  constructor(message, isUnreadable) {
    super(message);
    this.isUnreadable = isUnreadable;
  }
}

// Draws the frames as they come into view, one after the other. What could not be drawn is tried once more
// where its fault may pass, and else says why. A frame of `copies`, by its link, is drawn into that canvas too, which
// brings it about when it comes into view itself.
export class Thumbs {
  constructor(links, { getSource, getLink, faces, facts, overlay, copies }) {
    Object.assign(this, { getSource, getLink, faces, facts, overlay, copies });
    this.waiting = [];
    this.wanted = new Set();
    this.isBusy = false;
    this.video = null; // open while frames are drawn
    this.trouble = null; // why a frame did not come from the video: until one was tried again, none is tried
    this.fault = null; // why no frame of the video can be drawn, once that is known for good
    this.again = new Set(); // frames that were tried once
    const linkOf = new Map([...copies].map(([link, canvas]) => [canvas, link]));
    const seen = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        seen.unobserve(target);
        this.want(linkOf.get(target) || target);
      }
      this.work();
    }, { rootMargin: NEAR });
    for (const place of [...linkOf.keys(), ...links]) seen.observe(place);
  }

  want(link) {
    if (this.wanted.has(link)) return;
    this.wanted.add(link);
    this.waiting.push(link);
  }

  async work() {
    if (this.isBusy) return;
    this.isBusy = true;
    while (this.waiting.length) {
      const link = this.waiting.shift();
      try {
        if (this.trouble && !this.again.has(link)) throw this.fault || this.trouble;
        await this.drawOne(link);
        this.trouble = null;
        link.dataset.drawn = "";
      } catch (fault) {
        if (mayBeDrawn(fault) && fault !== this.fault && !this.again.has(link)) {
          if (fault instanceof VideoFault) this.trouble = fault;
          this.tryAgain(link);
        } else {
          if (fault.isUnreadable) this.fault = fault;
          sayUndrawn(link, fault.message);
        }
      }
    }
    this.close();
    this.isBusy = false;
  }

  // Behind the rest of a piece of faces that failed, which was set off before.
  tryAgain(link) {
    this.again.add(link);
    setTimeout(() => {
      this.waiting.push(link);
      this.work();
    }, this.faces.restMs);
  }

  async drawOne(link) {
    const us = Number(link.dataset.seek);
    const face = findFace(await this.faces.wait(us), us, Number(link.dataset.thumb));
    const video = await this.show(us);
    if (!video.videoWidth) throw new Error(`this browser cannot show the pictures of this video (${this.facts.codec})`);
    const canvas = link.querySelector("canvas");
    cut(canvas, video, face);
    if (face.map) drawMap(canvas, video, face, this.facts, this.overlay);
    const copy = this.copies.get(link);
    if (!copy) return;
    cut(copy, video, face); // as it was taken, to tell who it is
    copy.dataset.drawn = "";
  }

  // The video at a moment. Links end after a while: a new one is asked for once.
  async show(us) {
    if (this.fault) throw this.fault;
    try {
      if (!this.video) await this.open(this.getSource() || (await this.getLink()));
      return await this.seek(us);
    } catch {
      await this.open(await this.getLink());
      return await this.seek(us);
    }
  }

  async open(source) {
    this.close();
    this.video = document.createElement("video");
    this.video.muted = true;
    this.video.preload = "auto";
    this.video.src = source;
    try {
      await once(this.video, "loadeddata");
    } catch (fault) {
      this.close(); // what could not be opened never says that it has sought
      throw fault;
    }
  }

  async seek(us) {
    this.video.currentTime = us / 1e6 + 0.0005;
    await once(this.video, "seeked");
    return this.video;
  }

  close() {
    if (!this.video) return;
    this.video.removeAttribute("src");
    this.video.load();
    this.video = null;
  }
}

function once(video, name) {
  return new Promise((resolve, reject) => {
    const listening = new AbortController();
    const end = (act, value) => {
      clearTimeout(timer);
      listening.abort();
      act(value);
    };
    const timer = setTimeout(() => end(reject, new VideoFault("the video did not come in time", false)), WAIT_MS);
    video.addEventListener(name, () => end(resolve), { signal: listening.signal });
    const fail = () => {
      const isUnreadable = [MediaError.MEDIA_ERR_DECODE, MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED].includes(video.error?.code);
      end(reject, new VideoFault("the video cannot be read", isUnreadable));
    };
    video.addEventListener("error", fail, { signal: listening.signal });
  });
}

// Browsers say of a store that is away the same as of a video that they cannot read.
function mayBeDrawn(fault) {
  return fault instanceof VideoFault || mayPass(fault);
}

function findFace(piece, us, ordinal) {
  const track = piece.find((each) => each.ordinal === ordinal);
  const place = track ? findNearest(track.pts, us) : -1;
  if (place < 0 || track.pts[place] !== us) throw new Error("where the face is in it is no longer stored");
  return takeFace(track, place);
}

function sayUndrawn(link, why) {
  link.dataset.undrawn = "";
  const mark = document.createElement("span");
  mark.textContent = "not drawn";
  link.append(mark);
  const told = link.closest(".face").querySelector("[data-why-undrawn]");
  const sentence = `Not drawn: ${why}.`;
  if (!told.textContent.includes(sentence)) told.textContent = `${told.textContent} ${sentence}`.trim();
}

// Show a face of the picture of a video, with a margin.
function cut(canvas, video, face) {
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
}

// Lay the patch map over a face that was cut out.
function drawMap(canvas, video, face, facts, overlay) {
  const pen = canvas.getContext("2d");
  const cells = document.createElement("canvas");
  paintCells(cells, face.map, overlay.threshold, overlay.opacity);
  const [a, b, c, d, e, f] = face.map.matrix;
  const step = face.map.crop / face.map.grid;
  // Maps are placed in the displayed frame as it was scanned; the element may know another size.
  const stretch = facts.width ? video.videoWidth / facts.width : 1;
  pen.transform(a * step * stretch, d * step * stretch, b * step * stretch, e * step * stretch, c * stretch, f * stretch);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(cells, 0, 0);
}
