// The rules of a policy: what a field says is copied to what would be kept, and the server counts it shortly after.

import { getJson } from "./net.js";

const WAIT_MS = 250;
const fields = [...document.querySelectorAll("#what-if-form input[name]")];
const sliders = [...document.querySelectorAll("#what-if-form [data-slider]")];
const message = document.getElementById("what-if-message");
const told = document.getElementById("told");
const moved = document.getElementById("moved");
let timer = null;
let asked = 0;

function show(field) {
  // The text itself, not a number made of it: what is shown, previewed and kept is one and the same.
  for (const place of document.querySelectorAll(`[data-copy="${field.name}"]`)) {
    if (place instanceof HTMLInputElement) place.value = field.value;
    else place.textContent = field.value || "–";
  }
  const place = Number(field.value);
  const slider = sliders.find((each) => each.dataset.slider === field.name);
  if (slider) slider.value = String(place);
  const line = document.getElementById(`${field.name}-line`);
  if (!line) return;
  const x = String(500 * Math.min(1, Math.max(0, place)));
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
}

async function ask() {
  const mine = asked;
  const rules = new URLSearchParams(fields.map((field) => [field.name, field.value]));
  try {
    const found = await getJson(`/policies/preview?${rules}`);
    if (mine !== asked) return;
    for (const place of document.querySelectorAll("[data-told]")) {
      place.textContent = found[place.dataset.told].toLocaleString("en");
    }
    message.textContent = "";
  } catch (fault) {
    if (mine !== asked) return;
    // Counts of other rules would be wrong here: none is shown.
    for (const place of document.querySelectorAll("[data-told]")) place.textContent = "–";
    message.textContent = `The counts cannot be shown. ${fault.message}`;
  }
  told.removeAttribute("aria-busy");
}

function change(field) {
  show(field);
  // The list of those that move was made for the rules that the page came with.
  if (moved) moved.hidden = fields.some((each) => each.value !== each.defaultValue);
  // Until the answer is there, the counts are those of the rules before.
  told.setAttribute("aria-busy", "true");
  asked += 1;
  clearTimeout(timer);
  timer = setTimeout(ask, WAIT_MS);
}

function slide(slider) {
  const field = document.getElementById(slider.dataset.slider);
  field.value = Number(slider.value).toFixed(2);
  const [low, high] = ["low", "high"].map((name) => document.getElementById(name));
  if (Number(low.value) > Number(high.value)) {
    const other = field === low ? high : low;
    other.value = field.value;
    change(other);
  }
  change(field);
}

for (const slider of sliders) {
  slider.hidden = false;
  slider.addEventListener("input", () => slide(slider));
}
for (const field of fields) {
  field.addEventListener("input", () => change(field));
  // Changed before this module was there, or put back by the browser as it was.
  if (field.value !== field.defaultValue) change(field);
}
