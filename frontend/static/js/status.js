/**
 * Keeps the status page up to date. Everything is changed in place, text by text: focus and
 * scrolling stay, and screen readers announce changes of the verdict only.
 */

import { ask } from "./api.js";
import { draw } from "./chart.js";
import { count, megabytes, memory, number, requests, when } from "./figures.js";

const EVERY_MS = 2000;
const AT_MOST_EVERY_MS = 30_000;
const TIMEOUT_MS = 10_000;
const MEASURES = ["requests_per_s", "p50_ms", "p95_ms", "p99_ms", "mean_batch"];

const page = Object.fromEntries(
  ["overall", "live", "replicas", "events", "no-events"].map((id) => [id, document.getElementById(id)]),
);

// --- showing -------------------------------------------------------------------------------------

const cells = (element, name) => element.querySelectorAll(`[data-cell="${name}"]`);

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function fill(element, name, text) {
  for (const cell of cells(element, name)) write(cell, text);
}

function setState(element, state) {
  const mark = element.querySelector(".state");
  mark.className = `state state-${state}`;
  write(mark, state);
}

function list(element, texts) {
  if ([...element.children].map((item) => item.textContent).join("\n") === texts.join("\n")) return;
  element.replaceChildren(
    ...texts.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }),
  );
}

/** The children of `parent`, one per name in that order: existing ones are kept. */
function sync(parent, names, template) {
  const known = Map.groupBy([...parent.children], (child) => child.dataset.name);
  const wanted = names.map((name) => {
    const kept = known.get(name)?.shift();
    if (kept) return kept;
    const made = document.getElementById(template).content.firstElementChild.cloneNode(true);
    made.dataset.name = name;
    return made;
  });
  for (const left of known.values()) for (const child of left) child.remove();
  wanted.forEach((child, i) => {
    if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] ?? null);
  });
  return wanted;
}

function showModel(row, model, peak) {
  const link = cells(row, "title")[0];
  link.href = `/models/${encodeURIComponent(model.name)}`;
  write(link, model.title);
  setState(row, model.state);
  for (const name of MEASURES) fill(row, name, number(model[name]));
  const writes = model.words_total > 0;
  fill(row, "rows_per_s", number(writes ? model.words_per_s : model.rows_per_s));
  fill(row, "rows_unit", writes ? " words" : "");
  fill(row, "waiting", count(model.waiting));
  fill(row, "memory_bytes", megabytes(model.memory_bytes));
  const errors = Object.entries(model.errors);
  const total = errors.reduce((sum, [, times]) => sum + times, 0);
  fill(row, "errors", count(model.requests_total === null ? null : total));
  list(
    cells(row, "codes")[0],
    errors.map(([code, times]) => `${count(times)} ${code.replaceAll("_", " ")}`),
  );
  draw(row.querySelector("svg"), model.history, peak);
}

/** A model's own name for the version that answers by default, which comes first and whose row stays
 * whatever number it has; the others with theirs. */
function keys(models) {
  return models.map(({ name, version }, i) => (models[i - 1]?.name === name ? `${name}/${version}` : name));
}

function showReplica(section, replica, peaks) {
  const models = replica.models ?? [];
  const show = (name, shown) => (cells(section, name)[0].hidden = !shown);
  fill(section, "name", replica.name);
  setState(section.querySelector("h2"), replica.reachable ? replica.state : "unreachable");
  const problems = models.filter((model) => model.reason).map((model) => `${model.title}: ${model.reason}`);
  for (const { name, reason } of replica.sources ?? []) problems.push(`the source of ${name}: ${reason}`);
  if (!replica.reachable) problems.push(`${replica.name} cannot be reached: ${replica.problem}`);
  list(cells(section, "problems")[0], problems);
  show("facts", replica.reachable);
  show("empty", replica.reachable && !models.length);
  show("table", models.length);
  cells(section, "table")[0].setAttribute("aria-label", `Models of ${replica.name}`);
  if (replica.reachable) {
    when(section.querySelector("time"), replica.started_at);
    fill(section, "requests", requests(replica));
    fill(section, "memory", memory(replica.memory));
  }
  const rows = sync(section.querySelector("tbody"), keys(models), "new-model");
  for (const [i, row] of rows.entries()) showModel(row, models[i], peaks.get(models[i].name));
}

function showEvents(events) {
  page.events.hidden = !events.length;
  page["no-events"].hidden = events.length > 0;
  const names = events.map(({ time, replica, text }) => `${time} ${replica} ${text}`);
  sync(page.events.querySelector("tbody"), names, "new-event").forEach((row, i) => {
    when(row.querySelector("time"), events[i].time, { recent: true });
    fill(row, "replica", events[i].replica);
    fill(row, "text", events[i].text);
  });
}

function showOverall(level, text) {
  page.overall.className = `overall overall-${level}`;
  write(page.overall, text);
}

function show({ summary, replicas, events }) {
  const peaks = new Map();
  for (const { name, history } of replicas.flatMap((replica) => replica.models ?? [])) {
    peaks.set(name, Math.max(peaks.get(name) ?? 0, ...history));
  }
  const sections = sync(
    page.replicas,
    replicas.map((replica) => replica.name),
    "new-replica",
  );
  for (const [i, section] of sections.entries()) showReplica(section, replicas[i], peaks);
  showEvents(events);
  showOverall(summary.level, summary.text);
}

// --- asking --------------------------------------------------------------------------------------

let answeredAt = new Date();
let wait = EVERY_MS;
let timer;
let asking = null;

async function refresh() {
  if (asking) return;
  asking = new AbortController();
  let status = null;
  try {
    const signal = AbortSignal.any([asking.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    status = await ask("/api/status", { signal });
  } catch (error) {
    if (error.status === 401) return location.reload(); // which asks to sign in
    // Whatever went wrong, there is no answer.
  }
  asking = null;
  if (document.hidden) return;
  if (status) {
    answeredAt = new Date();
    wait = EVERY_MS;
    show(status);
    write(page.live, `Updated every two seconds, last at ${answeredAt.toLocaleTimeString()}.`);
  } else {
    wait = Math.min(2 * wait, AT_MOST_EVERY_MS);
    showOverall(
      "problem",
      `No answer since ${answeredAt.toLocaleTimeString()}. The figures are from then; still trying.`,
    );
  }
  timer = setTimeout(refresh, wait);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (document.hidden) {
    asking?.abort();
  } else {
    wait = EVERY_MS;
    refresh();
  }
});

write(page.live, "Updated every two seconds.");
for (const time of document.querySelectorAll("time")) {
  when(time, Date.parse(time.dateTime) / 1000, { recent: page.events.contains(time) });
}
if (!document.hidden) timer = setTimeout(refresh, EVERY_MS);
