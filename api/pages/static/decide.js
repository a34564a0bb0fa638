// The bar of decisions by keyboard. Forms do the work; without this module they work by mouse.

export function bindDecision(keys) {
  const form = document.getElementById("decide");
  const say = (text) => {
    const message = document.getElementById("decision-message");
    if (message) message.textContent = text;
  };
  if (form) {
    for (const choice of form.querySelectorAll("[data-key]")) {
      keys.set(choice.dataset.key, () => {
        choice.checked = true;
        choice.focus();
        say("");
      });
    }
    keys.set("Enter", () => {
      const missing = form.querySelector(":invalid:not(fieldset)");
      if (missing) {
        say(missing.name === "reason" ? "Choose a reason." : "Choose what you say.");
        missing.focus();
        return;
      }
      form.requestSubmit(form.querySelector("button.main"));
    });
    const reason = document.getElementById("reason");
    if (reason) keys.set("r", () => reason.focus());
    bindSkip(keys, form, reason, say);
    form.addEventListener("submit", () => {
      // The second of two quick clicks would come too late and be told so.
      setTimeout(() => form.querySelectorAll("button").forEach((button) => { button.disabled = true; }), 0);
    });
  }
  bindButton(keys, "u", "undo");
  bindButton(keys, "n", "next-item");
  bindAppeal(keys);
  bindButton(keys, "Enter", "claim");
  countDown();
}

function bindSkip(keys, form, reason, say) {
  const skip = document.getElementById("skip");
  if (!skip) return;
  const isReady = () => {
    if (reason.value) return true;
    say("Choose a reason for skipping.");
    reason.focus();
    return false;
  };
  skip.addEventListener("click", (event) => {
    if (!isReady()) event.preventDefault();
  });
  keys.set("s", () => isReady() && form.requestSubmit(skip));
}

function bindAppeal(keys) {
  const appeal = document.getElementById("appeal");
  if (!appeal) return;
  keys.set("a", () => {
    appeal.open = true;
    appeal.querySelector("textarea").focus();
  });
}

function bindButton(keys, key, id) {
  const button = document.getElementById(id);
  if (button) keys.set(key, () => button.click());
}

function countDown() {
  const left = document.getElementById("undo-left");
  if (!left) return;
  let seconds = 10;
  const timer = setInterval(() => {
    seconds -= 1;
    left.textContent = seconds > 0 ? `for ${seconds} s` : "";
    if (seconds <= 0) {
      clearInterval(timer);
      document.getElementById("undo-form").hidden = true;
    }
  }, 1000);
}
