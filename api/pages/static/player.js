// The video, stepped by the exact times of the stored samples. Its link is asked for when it is needed.

import { getJson } from "./net.js";
import { findFirst } from "./packed.js";

const NUDGE_S = 0.0005; // a time at a frame's very edge may show the frame before it
const LINK_TRIES = 2;

export class Player {
  constructor(video, facts, { onTime, say }) {
    this.video = video;
    this.facts = facts;
    this.samples = new Float64Array(0);
    this.onTime = onTime;
    this.say = say;
    this.failures = 0;
    this.wanted = null;
    this.now = 0;
    video.addEventListener("error", () => this.recover());
    video.addEventListener("loadeddata", () => {
      this.failures = 0;
      say(video.videoWidth ? "" : `This browser cannot show the pictures of this video (${facts.codec}).`);
    });
    video.addEventListener("seeked", () => {
      // A seek by us leads to a stored time exactly; the element repeats it with its own rounding.
      this.now = this.wanted === null ? video.currentTime * 1e6 : this.wanted;
      onTime(this.now);
    });
    video.addEventListener("play", () => this.follow());
  }

  async open(startUs) {
    this.now = startUs;
    this.onTime(startUs);
    try {
      const { url } = await getJson(`/r/${this.facts.analysis}/video`);
      this.video.src = url;
      this.seek(this.now); // whoever stepped on while the link was under way stays there
    } catch (fault) {
      this.say(`The video cannot be shown. ${fault.message}`);
    }
  }

  // Links end after a while and stores fail: ask once more, then say so.
  recover() {
    this.failures += 1;
    if (this.failures < LINK_TRIES) {
      this.open(this.now);
      return;
    }
    const code = this.video.error ? this.video.error.code : 0;
    const why =
      code === 4 || code === 3
        ? `This browser cannot play it (${this.facts.codec}), or the file is not where it was.`
        : "The object store did not send it.";
    this.say(`The video cannot be shown. ${why} Scores and spans below are those that are stored.`);
  }

  seek(us) {
    this.wanted = Math.min(Math.max(0, us), this.facts.duration_us);
    this.now = this.wanted;
    this.video.pause();
    this.video.currentTime = this.wanted / 1e6 + NUDGE_S;
    this.onTime(this.now);
  }

  toggle() {
    if (this.video.paused) {
      this.wanted = null;
      this.video.play().catch((fault) => this.say(`The video does not play: ${fault.message}`));
    } else {
      this.video.pause();
    }
  }

  follow() {
    const step = () => {
      if (this.video.paused) return;
      this.now = this.video.currentTime * 1e6;
      this.onTime(this.now);
      requestAnimationFrame(step);
    };
    this.wanted = null;
    requestAnimationFrame(step);
  }

  next() {
    const place = findFirst(this.samples, this.now + 1);
    if (place < this.samples.length) this.seek(this.samples[place]);
  }

  previous() {
    const place = findFirst(this.samples, this.now) - 1;
    if (place >= 0) this.seek(this.samples[place]);
  }
}
