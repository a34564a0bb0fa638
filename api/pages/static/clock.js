// Times and scores as people read them.

export function formatClock(us, digits = 3) {
  const ticks = Math.round(us / 10 ** (6 - digits));
  const perSecond = 10 ** digits;
  const seconds = Math.floor(ticks / perSecond);
  const rest = String(ticks % perSecond).padStart(digits, "0");
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const minutes = h ? `${h}:${String(m).padStart(2, "0")}` : String(m);
  return `${minutes}:${String(s).padStart(2, "0")}${digits ? `.${rest}` : ""}`;
}

// Two digits; never 0.00 or 1.00, as no score is certain.
export function formatScore(score) {
  return Number.isNaN(score) ? "–" : Math.min(0.99, Math.max(0.01, score)).toFixed(2);
}
