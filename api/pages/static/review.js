// The review page: joins the player, what is drawn over it, the time line, the tables and the keys.

import { formatClock } from "./clock.js";
import { bindDecision } from "./decide.js";
import { Faces } from "./faces.js";
import { bindKeys, showKeys } from "./keys.js";
import { placeFaces } from "./lanefaces.js";
import { getBuffer, getJson, postForm } from "./net.js";
import { Notes } from "./notes.js";
import { Overlay } from "./overlay.js";
import { WORST, findNearest, readLanes, readRegions } from "./packed.js";
import { Player } from "./player.js";
import { Stripe, nameHottest } from "./stripe.js";
import { Thumbs } from "./thumbs.js";
import { Timeline, saySample } from "./timeline.js";

const NOW_US = 1500; // a picture this near to a sample's time is that sample's picture
const PLAYING_US = 34_000;
const PAGE_ROWS = 50;

const find = (id) => document.getElementById(id);
const facts = JSON.parse(document.querySelector("main").dataset.facts);
const keys = new Map();
const stage = find("stage");
const asked = new URLSearchParams(location.search);
let picked = null;
let timeline = null;
let lanes = new Map();
let regions = new Map();

// What is told again in the same words is left as it is, or readers of screens would say it again.
const say = (id, text) => { if (find(id).textContent !== text) find(id).textContent = text; };
const sayStage = (text) => say("stage-message", text);
const sayLanes = (text) => { if (find("timeline-message")) find("timeline-message").textContent = text; };

const overlay = new Overlay(find("overlay"), find("video"), facts);
const faces = new Faces(facts, () => redraw());
const player = new Player(find("video"), facts, { onTime: () => redraw(), say: sayStage });

const notes = new Notes(keys, () => player.now);

function redraw() {
  const us = player.now;
  const isPlaying = !player.video.paused;
  const near = faces.near(us, isPlaying ? 300_000 : 600_000);
  overlay.picked = picked;
  overlay.draw(near, us, isPlaying ? PLAYING_US : NOW_US);
  const fault = faces.findFault(us);
  say("faces-message", fault ? `Boxes and maps cannot be shown. ${fault.message}` : "");
  find("time").textContent = formatClock(us);
  find("seek").value = String(us);
  find("seek").setAttribute("aria-valuetext", formatClock(us));
  find("play").textContent = player.isPlaying ? "Pause" : "Play";
  const at = findNearest(player.samples, us);
  const isSample = at >= 0 && Math.abs(player.samples[at] - us) <= NOW_US;
  find("sample").textContent = player.samples.length ? (isSample ? `sample ${at + 1} of ${player.samples.length}` : "between samples") : "";
  const place = new URLSearchParams({ t: (us / 1e6).toFixed(3) });
  if (picked !== null) place.set("track", String(picked));
  find("moment").href = `/r/${facts.analysis}?${place}`;
  if (timeline) timeline.show(us, picked);
}

// The clock is silent for readers of screens, as it runs with the video. Where a step or a stop has led to is said.
function sayPlace() {
  say("place-said", [formatClock(player.now), find("sample").textContent].filter(Boolean).join(", "));
}

async function step(go) {
  await go();
  sayPlace();
}

function pick(ordinal) {
  picked = ordinal;
  for (const row of document.querySelectorAll(".face")) {
    const isPicked = Number(row.dataset.track) === ordinal;
    row.classList.toggle("is-picked", isPicked);
    row.querySelector("[data-pick]").setAttribute("aria-pressed", String(isPicked));
  }
  redraw();
}

async function openLanes() {
  sayLanes("Asking for the scores …");
  if (facts.hidden) {
    player.setSamples(new Float64Array(0));
    return;
  }
  let times;
  try {
    ({ times, lanes } = readLanes(await getBuffer(`/r/${facts.analysis}/lanes`)));
  } catch (fault) {
    sayLanes(`The scores over time cannot be shown. ${fault.message}`);
    player.setSamples(new Float64Array(0));
    return;
  }
  player.setSamples(times);
  if (!lanes.size) {
    sayLanes("No timeline is stored for this analysis: no sample could be judged.");
    find("lanes").hidden = true;
    return;
  }
  const isWhole = facts.tracks.every((track) => lanes.has(track.ordinal));
  sayLanes(isWhole ? "" : "Single samples of some faces are no longer stored; the highest of each moment are.");
  timeline = new Timeline(find("timeline"), facts, lanes, {
    onSeek: (us, ordinal) => {
      if (ordinal !== null) picked = ordinal;
      pick(picked);
      goNear(us);
    },
    onSpan: notes.isOpen ? (start, end, ordinal) => notes.open(start, end, ordinal) : null,
  });
  for (const id of ["zoom-in", "zoom-out", "zoom-all"]) find(id).disabled = false;
  redraw(); // before the parts of the faces come, which are as much again for hours of video
  await openRegions();
  fillTable();
  redraw();
}

function goNear(us) {
  const place = findNearest(player.samples, us);
  player.seek(place < 0 ? us : player.samples[place]);
}

async function openRegions() {
  try {
    regions = readRegions(await getBuffer(`/r/${facts.analysis}/regions`), facts.regions.length);
  } catch (fault) {
    sayLanes(`Where in the faces it was over time cannot be shown. ${fault.message}`);
    return;
  }
  for (const box of document.querySelectorAll("[data-stripe]")) {
    const track = facts.tracks.find((each) => String(each.ordinal) === box.dataset.stripe);
    const series = regions.get(track.ordinal);
    if (series) new Stripe(box, facts, track, series, (us) => { pick(track.ordinal); player.seek(us); });
  }
}

// What the samples of very many faces were like takes the server a while to say: not before the page is there.
async function openQuality() {
  const places = [...document.querySelectorAll("[data-quality]")];
  if (!places.length) return;
  try {
    const said = await getJson(`/r/${facts.analysis}/quality`);
    for (const place of places) place.textContent = said[place.dataset.quality];
  } catch (fault) {
    // The link to the same without scripts stays behind it.
    const why = `What its samples were like cannot be shown. ${fault.message}`;
    for (const place of places) place.prepend(why, document.createElement("br"));
  }
}

function fillTable() {
  const choice = find("samples-track");
  for (const track of lanes.keys()) {
    const option = document.createElement("option");
    option.value = String(track);
    option.textContent = track === WORST ? "highest of each sample" : `face ${track}`;
    choice.append(option);
  }
  let start = 0;
  const show = () => {
    const lane = lanes.get(Number(choice.value));
    start = Math.max(0, Math.min(start, lane.pts.length - 1));
    const end = Math.min(lane.pts.length, start + PAGE_ROWS);
    const rows = [];
    for (let i = start; i < end; i += 1) rows.push(makeRow(saySample(facts, lane, i), lane.pts[i], regions.get(Number(choice.value))));
    find("samples-rows").replaceChildren(...rows);
    find("samples-place").textContent = `${start + 1} to ${end} of ${lane.pts.length}`;
    find("samples-previous").disabled = start === 0;
    find("samples-next").disabled = end === lane.pts.length;
  };
  choice.addEventListener("change", () => { start = 0; show(); });
  find("samples-previous").addEventListener("click", () => { start -= PAGE_ROWS; show(); });
  find("samples-next").addEventListener("click", () => { start += PAGE_ROWS; show(); });
  show();
}

function makeRow(sample, us, series) {
  const row = document.createElement("tr");
  const time = document.createElement("td");
  const link = document.createElement("a");
  link.href = `?t=${(us / 1e6).toFixed(3)}`;
  link.dataset.seek = String(us);
  link.textContent = sample.time;
  time.append(link);
  const score = document.createElement("td");
  score.className = "number";
  score.textContent = sample.score;
  const part = document.createElement("td");
  part.textContent = nameHottest(facts, series, us);
  const why = document.createElement("td");
  why.textContent = sample.why;
  row.append(time, score, part, why);
  return row;
}

function toggle(id, key, change) {
  const button = find(id);
  if (!button) return;
  const flip = () => {
    const isOn = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(isOn));
    change(isOn);
    redraw();
  };
  button.addEventListener("click", flip);
  if (key) keys.set(key, flip);
}

function jump(direction) {
  const starts = facts.spans.filter((span) => span.kind === "suspicious").map((span) => span.start_us).sort((a, b) => a - b);
  const target = direction > 0 ? starts.find((us) => us > player.now + 1) : starts.filter((us) => us < player.now - 1).pop();
  if (target === undefined) return;
  goNear(target);
}

function bindWellness() {
  const isOn = (id) => find(id).getAttribute("aria-pressed") === "true";
  const apply = () => {
    stage.closest(".review").classList.toggle("is-blurred", isOn("blur"));
    stage.closest(".review").classList.toggle("is-grey", isOn("grey"));
    player.video.muted = isOn("mute");
    showKeys(isOn("shortcuts"));
  };
  // One after the other, so that of two quick presses the later one is kept.
  let last = Promise.resolve();
  const store = async (wanted) => {
    try {
      await postForm("/preferences", wanted, { keepalive: true });
      say("preferences-message", "");
    } catch (fault) {
      say("preferences-message", `What you prefer could not be stored. ${fault.message}`);
    }
  };
  const keep = () => {
    apply();
    const wanted = { blur: isOn("blur"), grey: isOn("grey"), mute: isOn("mute"), keys: isOn("shortcuts") };
    last = last.then(() => store(wanted));
  };
  for (const id of ["blur", "grey", "mute", "shortcuts"]) toggle(id, null, keep);
  apply();
}

function bindSliders() {
  const opacity = find("opacity");
  if (!opacity) return;
  opacity.addEventListener("input", () => { overlay.opacity = Number(opacity.value) / 100; redraw(); });
  find("threshold").addEventListener("input", () => {
    overlay.threshold = Number(find("threshold").value) / 100;
    find("threshold-value").textContent = overlay.threshold.toFixed(2);
    redraw();
  });
}

function setKeys() {
  const all = new Map([
    [",", () => step(() => player.previous())],
    [".", () => step(() => player.next())],
    [" ", () => player.toggle()],
    ["ArrowLeft", () => step(() => player.stepFrame(-1))],
    ["ArrowRight", () => step(() => player.stepFrame(1))],
    ["[", () => step(() => jump(-1))],
    ["]", () => step(() => jump(1))],
    ["f", () => {
      const known = facts.tracks.map((track) => track.ordinal);
      if (known.length) pick(known[(known.indexOf(picked) + 1) % known.length]);
    }],
  ]);
  for (const [key, act] of all) keys.set(key, act);
}

function bindPage() {
  find("play").addEventListener("click", () => player.toggle());
  find("previous").addEventListener("click", () => step(() => player.previous()));
  find("next").addEventListener("click", () => step(() => player.next()));
  find("frame-back").addEventListener("click", () => step(() => player.stepFrame(-1)));
  find("frame-on").addEventListener("click", () => step(() => player.stepFrame(1)));
  for (const id of ["frame-back", "frame-on"]) find(id).disabled = !player.canStepFrames;
  find("seek").addEventListener("input", () => player.seek(Number(find("seek").value)));
  player.video.addEventListener("pause", () => { redraw(); sayPlace(); });
  toggle("boxes", "b", (isOn) => { overlay.shows.boxes = isOn; });
  toggle("map", "h", (isOn) => { overlay.shows.map = isOn; });
  toggle("smooth", null, (isOn) => { overlay.shows.smooth = isOn; });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-seek]");
    if (!link || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if (link.dataset.thumb) pick(Number(link.dataset.thumb));
    player.seek(Number(link.dataset.seek));
  });
  for (const button of document.querySelectorAll("[data-pick]")) {
    button.addEventListener("click", () => pick(Number(button.dataset.pick)));
  }
  const bindZoom = (id, act) => { if (find(id)) find(id).addEventListener("click", () => timeline && act()); };
  bindZoom("zoom-in", () => timeline.zoom(0.5));
  bindZoom("zoom-out", () => timeline.zoom(2));
  bindZoom("zoom-all", () => timeline.zoom(Infinity));
  new ResizeObserver(redraw).observe(stage);
}

function chooseStart() {
  const seconds = Number(asked.get("t"));
  if (asked.has("t") && Number.isFinite(seconds) && seconds >= 0) return Math.round(seconds * 1e6);
  const first = document.querySelector("[data-thumb]");
  return first ? Number(first.dataset.seek) : 0;
}

async function begin() {
  bindPage();
  bindSliders();
  bindWellness();
  bindDecision(keys);
  setKeys();
  bindKeys(keys, () => find("shortcuts").getAttribute("aria-pressed") === "true");
  const track = asked.get("track");
  const wanted = facts.tracks.find((each) => String(each.ordinal) === track || each.id === track);
  if (wanted) picked = wanted.ordinal;
  const drawn = openLanes();
  drawn.then(openQuality);
  await Promise.all([drawn, player.open(chooseStart())]);
  pick(picked);
  const links = document.querySelectorAll("[data-thumb]");
  new Thumbs(links, {
    getSource: () => player.video.currentSrc || player.video.src,
    getLink: async () => (await getJson(`/r/${facts.analysis}/video`)).url,
    faces,
    facts,
    overlay,
    copies: timeline ? placeFaces(find("lanes"), timeline.rows, links) : new Map(),
  });
}

begin();
