// The video, stepped by the exact times of the stored samples, or frame by frame. Its link is asked for when it
// is needed.

import { getJson } from "./net.js";
import { findFirst } from "./packed.js";

const NUDGE_S = 0.0005; // a time at a frame's very edge may show the frame before it
const LINK_TRIES = 2;
const FRAME_WAIT_MS = 2000; // a seek that shows no other frame within this has not left the one that was shown
const FRAME_TRIES = 6;
const SLOW_MS = 30_000;

export class Player {
  constructor(video, facts, { onTime, say }) {
    this.video = video;
    this.facts = facts;
    this.samples = new Float64Array(0);
    this.steps = 0; // taken before the samples are there: made good when they come
    this.isReady = false;
    this.willPlay = false;
    this.frames = 0; // still to be gone, back where it is negative
    this.shownS = null; // the time of the frame that is shown, as the file has it
    this.onFrame = null;
    this.onTime = onTime;
    this.say = say;
    this.failures = 0;
    this.wanted = null;
    this.slow = null; // until it is said that the video does not come
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
    if (this.canStepFrames) this.watchFrames();
  }

  get canStepFrames() {
    return "requestVideoFrameCallback" in this.video;
  }

  watchFrames() {
    this.video.requestVideoFrameCallback((now, { mediaTime }) => {
      this.shownS = mediaTime;
      if (this.onFrame) this.onFrame();
      this.watchFrames();
    });
  }

  async open(startUs) {
    this.now = startUs;
    this.onTime(startUs);
    this.say("Asking for the video …");
    try {
      const { url } = await getJson(`/r/${this.facts.analysis}/video`);
      this.video.src = url;
      clearTimeout(this.slow);
      this.slow = setTimeout(() => this.saySlow(), SLOW_MS);
      this.seek(this.now); // whoever stepped on while the link was under way stays there
      if (this.willPlay) this.play();
    } catch (fault) {
      this.willPlay = false;
      this.say(`The video cannot be shown. ${fault.message}`);
      this.onTime(this.now);
    }
  }

  saySlow() {
    const { readyState, networkState } = this.video;
    // A browser that asks for nothing more, as one that saves data, does not wait for the store.
    if (readyState >= HTMLMediaElement.HAVE_CURRENT_DATA || networkState !== HTMLMediaElement.NETWORK_LOADING) return;
    this.say(`Nothing of the video has come from the object store for ${SLOW_MS / 1000} s. It is still waited for.`);
  }

  // Links end after a while and stores fail: ask once more, then say so.
  recover() {
    this.failures += 1;
    if (this.failures < LINK_TRIES) {
      this.willPlay = !this.video.paused;
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

  get isPlaying() {
    return !this.video.paused || this.willPlay;
  }

  // Before the link is there the wish is kept, and taken back by a second press.
  toggle() {
    if (!this.video.src) {
      this.willPlay = !this.willPlay;
      this.onTime(this.now);
    } else if (this.video.paused) {
      this.play();
    } else {
      this.video.pause();
    }
  }

  play() {
    this.willPlay = false;
    this.wanted = null;
    this.video.play().catch((fault) => {
      if (fault.name !== "AbortError") this.say(`The video does not play: ${fault.message}`);
      this.onTime(this.now);
    });
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

  // One frame on or back. Presses that come faster than the video is decoded are gone one after the other.
  async stepFrame(direction) {
    const isGoing = this.frames !== 0;
    this.frames += direction;
    if (isGoing) return;
    while (this.frames) {
      const way = Math.sign(this.frames);
      await this.goFrame(way);
      this.frames -= way;
    }
  }

  // The frame before is what is shown just before this one begins. Where the next one begins is not known in a
  // file of changing rate: half a frame more is tried until another one is shown.
  async goFrame(way) {
    const from = this.shownS;
    if (from === null || !this.video.src) return;
    const frameS = (this.facts.frame_us || 40_000) / 1e6;
    for (let tries = 0; tries < FRAME_TRIES; tries += 1) {
      const target = way < 0 ? from - 2 * NUDGE_S - (tries * frameS) / 2 : from + frameS * (1 + tries / 2);
      if (target < 0) return;
      this.seek(Math.round(1e6 * target));
      if (await this.waitForFrame(from)) break;
    }
    this.wanted = Math.round(1e6 * this.shownS);
    this.now = this.wanted;
    this.onTime(this.now);
  }

  // Whether another frame than that of a time comes to be shown.
  waitForFrame(fromS) {
    return new Promise((resolve) => {
      const end = (isOther) => {
        clearTimeout(timer);
        this.onFrame = null;
        resolve(isOther);
      };
      const timer = setTimeout(() => end(false), FRAME_WAIT_MS);
      this.onFrame = () => { if (this.shownS !== fromS) end(true); };
      this.onFrame();
    });
  }

  // The times to step by, or none where there are none to come.
  setSamples(samples) {
    this.samples = samples;
    this.isReady = true;
    for (; this.steps > 0; this.steps -= 1) this.next();
    for (; this.steps < 0; this.steps += 1) this.previous();
  }

  next() {
    if (!this.isReady) {
      this.steps += 1;
      return;
    }
    const place = findFirst(this.samples, this.now + 1);
    if (place < this.samples.length) this.seek(this.samples[place]);
  }

  previous() {
    if (!this.isReady) {
      this.steps -= 1;
      return;
    }
    const place = findFirst(this.samples, this.now) - 1;
    if (place >= 0) this.seek(this.samples[place]);
  }
}
