/** Figures formatted as in app/web/status.py. */

/** Formats a measure: `–`, `0`, `<0.1`, `3.2`, `1,234`. value: a number, or null. */
export function number(value) {
  if (value === null) return "–";
  const tenths = Math.floor(value * 10 + 0.5);
  if (tenths === 0) return value ? "<0.1" : "0";
  return tenths < 100 ? (tenths / 10).toFixed(1) : count(Math.floor(value + 0.5));
}

/** Formats a count: `–`, `7`, `1,234`. */
export function count(value) {
  return value === null ? "–" : value.toLocaleString("en");
}

/** Formats bytes as a number of megabytes (10^6 bytes). */
export function megabytes(value) {
  return number(value === null ? null : value / 1e6);
}

/** Describes how many requests a replica has had since it started. */
export function requests(replica) {
  const total = replica.models.reduce((sum, model) => sum + (model.requests_total ?? 0), 0);
  return total ? `${count(total)} request${total === 1 ? "" : "s"} so far` : "no request yet";
}

/** Describes the memory that a replica uses, and its limit. */
export function memory({ rss, used, limit }) {
  if (used === null || limit === null) return `${megabytes(rss)} MB of memory`;
  return `${megabytes(used)} of ${megabytes(limit)} MB of memory`;
}

const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat(undefined, {
  weekday: "short",
  hour: "numeric",
  minute: "2-digit",
  second: "2-digit",
});

/**
 * Write a time, in seconds since 1970, into a <time> as the reader's clock shows it; of a recent
 * one the day of the week will do.
 */
export function when(element, seconds, { recent = false } = {}) {
  const at = new Date(Math.floor(seconds) * 1000);
  const machine = at.toISOString().replace(".000", "");
  if (element.dateTime === machine && element.dataset.local) return;
  element.dateTime = machine;
  element.dataset.local = "yes";
  element.textContent = (recent ? DAY : DATE).format(at);
}
