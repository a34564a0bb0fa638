// Which presses of keys are the page's, and which belong to what has the focus.

const WRITES = "textarea, select, input:not([type=radio]):not([type=range]):not([type=checkbox])";

// Decides within the form of the decision, or where nothing has the focus. Anywhere else Enter sends the form that
// one is in, such as a note, or nothing.
function mayEnter(target) {
  return target.matches("body, main") || target.closest("#decide") !== null;
}

function belongsToFocus(target, key) {
  const isField = target.matches("input, select, textarea");
  if (isField && target.form && target.form !== document.getElementById("decide")) return true;
  if (key === "Enter" && !mayEnter(target)) return true;
  if (target.matches("button, a, summary") && (key === "Enter" || key === " ")) return true;
  if (target.matches("[type=radio], [type=checkbox]") && key === " ") return true;
  if (target.matches("input, [tabindex=\"0\"]") && key.startsWith("Arrow")) return true; // sliders, choices, what scrolls
  return target.matches(WRITES) && !(key === "Enter" && target.matches("select, input"));
}

// Keys are named where they act, to readers of screens too, and nowhere while they are off.
export function showKeys(areOn) {
  document.querySelector(".review").classList.toggle("is-keyless", !areOn);
  for (const each of document.querySelectorAll("[data-shown-key]")) {
    if (areOn) each.setAttribute("aria-keyshortcuts", each.dataset.shownKey);
    else each.removeAttribute("aria-keyshortcuts");
    if (each.dataset.titleKey) each.title = areOn ? `${each.dataset.title} (${each.dataset.titleKey})` : each.dataset.title;
  }
}

// Acts on the keys of a map, by the name of each, while they are on. People who speak their text, or whose hands
// tremble, press single letters without wanting anything.
export function bindKeys(keys, areOn) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !areOn()) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const act = keys.get(key);
    if (!act || belongsToFocus(event.target, key)) return;
    event.preventDefault();
    act();
  });
}
