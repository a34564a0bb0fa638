// The sliders of the thresholds: lines move at once, counts come from the server shortly after.

import { getJson } from "./net.js";

const WAIT_MS = 250;
const low = document.getElementById("low");
const high = document.getElementById("high");
const message = document.getElementById("what-if-message");
let timer = null;
let asked = 0;

function move(slider) {
  const place = Number(slider.value);
  document.getElementById(`${slider.id}-value`).textContent = place.toFixed(2);
  document.querySelectorAll(`[data-copy="${slider.id}"]`).forEach((field) => { field.value = place.toFixed(2); });
  const line = document.getElementById(`${slider.id}-line`);
  if (!line) return;
  line.setAttribute("x1", String(500 * place));
  line.setAttribute("x2", String(500 * place));
}

async function ask() {
  asked += 1;
  const mine = asked;
  try {
    const told = await getJson(`/policies/preview?low=${low.value}&high=${high.value}`);
    if (mine !== asked) return;
    for (const place of document.querySelectorAll("[data-told]")) {
      place.textContent = told[place.dataset.told].toLocaleString("en");
    }
    message.textContent = "";
  } catch (fault) {
    // Counts of other thresholds would be wrong here: none is shown.
    for (const place of document.querySelectorAll("[data-told]")) place.textContent = "–";
    message.textContent = `The counts cannot be shown. ${fault.message}`;
  }
}

// Moved before this module was there, or put back by the browser where they were.
const isMoved = [low, high].filter((slider) => slider.value !== slider.defaultValue);
isMoved.forEach(move);
if (isMoved.length) ask();

for (const slider of [low, high]) {
  slider.addEventListener("input", () => {
    if (Number(low.value) > Number(high.value)) {
      const other = slider === low ? high : low;
      other.value = slider.value;
      move(other);
    }
    move(slider);
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT_MS);
  });
}
