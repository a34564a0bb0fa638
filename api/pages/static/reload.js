// Loads a page again while what it shows goes on, but not while somebody is at one of its controls.

const seconds = Number(document.querySelector("main").dataset.reloadS);
setInterval(() => {
  const { activeElement } = document;
  if (!activeElement || activeElement.matches("body, main")) location.reload();
}, seconds * 1000);
