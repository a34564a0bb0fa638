// Requests to our own pages. A failure carries what the server says of it, to be shown as it is.

const SILENCE_MS = 30_000; // a request is given up when nothing of its answer has come for so long

export class Refused extends Error {
  constructor(status, reason, detail) {
    super(detail);
    this.status = status;
    this.reason = reason;
  }
}

async function check(answer) {
  if (answer.ok) return answer;
  let reason = `HTTP ${answer.status}`;
  let detail = "the server gave no answer that can be read";
  try {
    const problem = await answer.json();
    reason = problem.reason || reason;
    detail = problem.detail || detail;
  } catch {
    // Not a problem document: the status says what is known.
  }
  throw new Refused(answer.status, reason, `${reason}: ${detail}`);
}

// The answer itself, with a word to us for each part of it that comes.
function watch(answer, onPart) {
  if (!answer.body || answer.status === 204) return answer; // none may be made with a body
  const parts = new TransformStream({
    transform(part, control) {
      onPart();
      control.enqueue(part);
    },
  });
  return new Response(answer.body.pipeThrough(parts), { status: answer.status, headers: answer.headers });
}

// What browsers say of answers that cannot be read is for those who write pages.
function explain(fault, isSilent) {
  if (fault instanceof Refused) return fault;
  if (isSilent) return new Refused(0, "TIMEOUT", `TIMEOUT: nothing has come from the server for ${SILENCE_MS / 1000} s`);
  if (fault instanceof SyntaxError) return new Refused(0, "UNREADABLE", "UNREADABLE: the server gave no answer that can be read");
  return new Refused(0, "UNREACHABLE", "UNREACHABLE: the server cannot be reached");
}

async function send(address, options, read) {
  const ending = new AbortController();
  let timer = null;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => ending.abort(), SILENCE_MS);
  };
  wait();
  try {
    const { signal } = ending;
    const answer = await fetch(address, { credentials: "same-origin", redirect: "error", signal, ...options });
    return await read(await check(watch(answer, wait)));
  } catch (fault) {
    throw explain(fault, ending.signal.aborted);
  } finally {
    clearTimeout(timer);
  }
}

export function getJson(address) {
  return send(address, { headers: { Accept: "application/json" } }, (answer) => answer.json());
}

export function getBuffer(address) {
  return send(address, { headers: { Accept: "application/octet-stream" } }, (answer) => answer.arrayBuffer());
}

// Gives what the server says in JSON, null where it says nothing. ``keepalive`` lets the request end after its page
// is left.
export function postForm(address, fields, { keepalive = false } = {}) {
  const token = document.querySelector('input[name="form_token"]').value;
  const headers = { Accept: "application/json", "X-Form-Token": token };
  const options = { method: "POST", headers, keepalive, body: new URLSearchParams(fields) };
  return send(address, options, (answer) => (answer.status === 204 ? null : answer.json()));
}
