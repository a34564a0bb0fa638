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

async function upload(file, { bar, said }) {
  try {
    if (file.size > Number(form.dataset.limit)) throw new Error("the file is larger than is taken");
    said.textContent = "asks for a place";
    const begun = await (await postForm("/upload/begin", { name: file.name, type: file.type, size: file.size })).json();
    said.textContent = "is on its way";
    await send(begun.form, file, (bytes) => {
      bar.value = Math.min(bytes, file.size);
      said.textContent = `${Math.floor((100 * bar.value) / bar.max)} %`;
    });
    bar.value = bar.max;
    said.textContent = "is compared";
    const { job_id: job } = await (await postForm(`/upload/${begun.id}/finish`, {})).json();
    const link = document.createElement("a");
    link.href = `/jobs/${job}`;
    link.textContent = "is queued: see its job";
    said.replaceChildren(link);
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
