// Requests to our own pages. A failure carries what the server says of it, to be shown as it is.

const ANSWER_MS = 30_000; // a request is given up when no answer has begun
const WHOLE_MS = 120_000; // and when it has not ended, as over a slow line

export class Refused extends Error {
  constructor(status, reason, detail) {
    super(detail);
    this.status = status;
    this.reason = reason;
  }
}

// Whether a request that was refused may be answered when it is sent again: no answer, too many, or a server at fault.
export function mayPass(fault) {
  return fault instanceof Refused && (fault.status === 0 || fault.status === 429 || fault.status >= 500);
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

// What browsers say of answers that cannot be read is for those who write pages.
function explain(fault, signal) {
  if (signal.aborted) return signal.reason;
  if (fault instanceof Refused) return fault;
  if (fault instanceof SyntaxError) return new Refused(0, "UNREADABLE", "UNREADABLE: the server gave no answer that can be read");
  return new Refused(0, "UNREACHABLE", "UNREACHABLE: the server cannot be reached");
}

async function send(address, options, read) {
  const ending = new AbortController();
  const { signal } = ending;
  const end = (detail) => ending.abort(new Refused(0, "TIMEOUT", `TIMEOUT: ${detail}`));
  let timer = setTimeout(end, ANSWER_MS, `nothing has come from the server for ${ANSWER_MS / 1000} s`);
  try {
    const answer = await fetch(address, { credentials: "same-origin", redirect: "error", signal, ...options });
    clearTimeout(timer);
    timer = setTimeout(end, WHOLE_MS, `the answer has not come whole within ${WHOLE_MS / 1000} s`);
    return await read(await check(answer));
  } catch (fault) {
    throw explain(fault, signal);
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
