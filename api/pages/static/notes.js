// Notes on spans: a drag over the lanes or two presses of M fill the form, which the server keeps.

import { formatClock } from "./clock.js";

export class Notes {
  constructor(keys, readTime) {
    this.form = document.getElementById("note-form");
    this.begun = null;
    if (!this.form) return;
    keys.set("m", () => this.mark(readTime()));
  }

  get isOpen() {
    return this.form !== null;
  }

  mark(us) {
    const say = document.getElementById("timeline-message");
    if (this.begun === null) {
      this.begun = us;
      say.textContent = `A note begins at ${formatClock(us)}. Press M where it ends.`;
      return;
    }
    say.textContent = "";
    this.open(Math.min(this.begun, us), Math.max(this.begun, us), null);
    this.begun = null;
  }

  open(startUs, endUs, ordinal) {
    document.getElementById("notes").open = true;
    document.getElementById("note-start").value = (startUs / 1e6).toFixed(3);
    document.getElementById("note-end").value = (endUs / 1e6).toFixed(3);
    document.getElementById("note-track").value = ordinal === null ? "" : String(ordinal);
    document.getElementById("note-text").focus();
  }
}
