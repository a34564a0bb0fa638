// Sends videos from the browser to the object store, one at a time, and shows how far each is.

import { postForm } from "./net.js";

const form = document.getElementById("drop");
const list = document.getElementById("list");
let last = Promise.resolve();
let waiting = 0;

function addLine(file) {
  const line = document.createElement("li");
  line.className = "panel";
  const name = document.createElement("bdi");
  name.textContent = file.name;
  const bar = document.createElement("progress");
  bar.max = Math.max(1, file.size);
  bar.value = 0;
  bar.setAttribute("aria-label", `How far ${file.name} is`);
  const said = document.createElement("p");
  said.className = "small";
  said.textContent = "waits";
  line.append(name, bar, said);
  list.append(line);
  return { bar, said };
}

function send(target, file, onProgress) {
  return new Promise((resolve, reject) => {
    const body = new FormData();
    for (const [name, value] of Object.entries(target.fields)) body.append(name, value);
    body.append("file", file);
    const request = new XMLHttpRequest();
    request.open("POST", target.url);
    request.upload.addEventListener("progress", (event) => onProgress(event.loaded));
    request.addEventListener("load", () =>
      request.status < 300 ? resolve() : reject(new Error(`the object store answered ${request.status}`))
    );
    request.addEventListener("error", () => reject(new Error("the object store cannot be reached, or does not let this page in")));
    request.send(body);
  });
}

// Why a file is sent without its hash, null where it gets one. Browsers hash a file only as a whole, in memory,
// and only on pages that came over HTTPS or from this machine.
function explainNoHash(file) {
  if (file.size > Number(form.dataset.hashed)) return "the file is too large to be hashed in a browser";
  return globalThis.crypto?.subtle ? null : "browsers hash files only on pages that came over HTTPS";
}

async function hash(file) {
  const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function tellEnd(said, job, whyNoHash) {
  const link = document.createElement("a");
  link.href = `/jobs/${job}`;
  link.textContent = "is queued: see its job";
  const compared = whyNoHash ? `only length and type were compared: ${whyNoHash}` : "length, type and SHA-256 were compared";
  said.replaceChildren(link, `; ${compared}`);
}

async function upload(file, { bar, said }) {
  try {
    if (file.size > Number(form.dataset.limit)) throw new Error("the file is larger than is taken");
    const whyNoHash = explainNoHash(file);
    const asked = { name: file.name, type: file.type, size: file.size };
    if (!whyNoHash) {
      said.textContent = "its SHA-256 is computed";
      asked.sha256 = await hash(file);
    }
    said.textContent = "asks for a place";
    const begun = await postForm("/upload/begin", asked);
    said.textContent = "is on its way";
    await send(begun.form, file, (bytes) => {
      bar.value = Math.min(bytes, file.size);
      said.textContent = `${Math.floor((100 * bar.value) / bar.max)} %`;
    });
    bar.value = bar.max;
    said.textContent = "is compared";
    const { job_id: job } = await postForm(`/upload/${begun.id}/finish`, {});
    tellEnd(said, job, whyNoHash);
  } catch (fault) {
    said.textContent = `was not uploaded: ${fault.message}`;
    said.className = "refusal";
  }
}

function take(files) {
  for (const file of files) {
    const line = addLine(file);
    waiting += 1;
    last = last.then(() => upload(file, line)).finally(() => { waiting -= 1; });
  }
}

if (form) {
  form.addEventListener("submit", (event) => event.preventDefault());
  const chosen = document.getElementById("files");
  const takeChosen = () => {
    take([...chosen.files]);
    chosen.value = ""; // so that the same file can be chosen again
  };
  chosen.addEventListener("change", takeChosen);
  if (chosen.files.length) takeChosen(); // chosen before this module was there
  window.addEventListener("beforeunload", (event) => {
    if (waiting) event.preventDefault();
  });
  for (const name of ["dragover", "dragenter"]) {
    form.addEventListener(name, (event) => {
      event.preventDefault();
      form.classList.add("is-over");
    });
  }
  form.addEventListener("dragleave", () => form.classList.remove("is-over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("is-over");
    take([...event.dataTransfer.files]);
  });
}
