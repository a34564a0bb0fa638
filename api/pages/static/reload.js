// Loads a page again while what it shows goes on, but not while somebody is at one of its controls, nor while
// the page that they have asked for is under way.

const seconds = Number(document.querySelector("main").dataset.reloadS);
let isLeft = false;
for (const name of ["pointerdown", "keydown", "submit"]) document.addEventListener(name, () => { isLeft = true; }, true);
setInterval(() => {
  const { activeElement } = document;
  if (!isLeft && (!activeElement || activeElement.matches("body, main"))) location.reload();
  isLeft = false;
}, seconds * 1000);
