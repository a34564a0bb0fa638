// Requests to our own pages. A failure carries what the server says of it, to be shown as it is.

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

async function send(address, options) {
  let answer;
  try {
    answer = await fetch(address, { credentials: "same-origin", redirect: "error", ...options });
  } catch {
    throw new Refused(0, "UNREACHABLE", "UNREACHABLE: the server cannot be reached");
  }
  return check(answer);
}

export async function getJson(address) {
  return (await send(address, { headers: { Accept: "application/json" } })).json();
}

export async function getBuffer(address) {
  return (await send(address, { headers: { Accept: "application/octet-stream" } })).arrayBuffer();
}

// ``keepalive`` lets the request end after its page is left.
export async function postForm(address, fields, { keepalive = false } = {}) {
  const token = document.querySelector('input[name="form_token"]').value;
  const headers = { Accept: "application/json", "X-Form-Token": token };
  return send(address, { method: "POST", headers, keepalive, body: new URLSearchParams(fields) });
}
