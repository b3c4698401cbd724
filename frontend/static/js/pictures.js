/** The list of pictures on a page: sends each one when it is added, in a request of its own. */
import { upload } from "./api.js";
import { readLimits } from "./limits.js";
import { startPicker } from "./picker.js";
import { PictureRow } from "./row.js";

const AT_ONCE = 3;
const GONE = "This file cannot be read. It may be a folder, or have changed since it was chosen: choose it again.";

const plural = (count) => `${count} picture${count === 1 ? "" : "s"}`;
// Errors that do not concern the picture itself, so that trying again may help.
const mayPass = ({ status }) => status === 0 || status === 429 || status >= 500;

/** What went wrong with one picture. error: an ApiError. */
function problemText({ message, details, retryAfter }) {
  const said = details.map(
    ({ problem, expected }) => problem + (expected === undefined ? "" : `: expected ${expected}`),
  );
  const again = retryAfter ? ` Try again in ${retryAfter} second${retryAfter === 1 ? "" : "s"}.` : "";
  return `${said.join("; ") || message}${again ? "." : ""}${again}`;
}

/**
 * form: of the template's `picker`. list: where the rows go. single: a new picture replaces the old.
 * show: called with a row and the API's answer; fills in `row.answer(…)` and returns the answer
 * in a few words, for screen readers. onReset: called when earlier answers no longer count. Returns
 * `{add, again}`: `add` sends an array of files, `again` all pictures that were answered.
 */
export function startPictures(form, list, { single = false, show, onReset = () => {} }) {
  const input = form.elements.image;
  const limits = readLimits(form, input);
  const { cancel, clear } = form.elements;
  const submit = form.querySelector("button.btn-primary");
  const status = form.querySelector("[role=status]");
  const count = form.querySelector(".count");
  const problem = form.querySelector(".problem");
  const rows = new Set();
  const sending = new Map(); // row -> AbortController
  let run = null; // from the first picture sent until none is left

  const queued = () => [...rows].filter((row) => row.state === "queued");
  // Cancelled pictures, and those that may succeed later: the form's button sends them.
  const left = () => [...rows].filter((row) => row.state === "cancelled" || row.state === "failed");

  function say(text, { visible = false } = {}) {
    status.textContent = text;
    count.textContent = visible ? text : "";
  }

  function complain(text) {
    problem.textContent = text;
    input.setAttribute("aria-invalid", String(Boolean(text)));
  }

  function refresh() {
    const focused = document.activeElement;
    submit.hidden = !left().length;
    cancel.hidden = !run;
    clear.hidden = single || !rows.size;
    form.classList.toggle("has-pictures", rows.size > 0);
    // The focused button was removed: keep the focus on the page.
    if (focused?.hidden) [cancel, submit, clear, input].find((control) => !control.hidden).focus();
    if (run?.total > 1) count.textContent = `${run.answered + run.failed} of ${run.total} done`;
  }

  function add(files) {
    if (single) rows.forEach(drop);
    if (!rows.size) list.replaceChildren(); // rows that the server wrote
    onReset();
    complain(single && files.length > 1 ? "One picture at a time: the first one was taken." : "");
    const added = (single ? files.slice(0, 1) : files).map((file) => {
      const row = new PictureRow(file, limits, { onRemove: remove, onRetry: retry });
      rows.add(row);
      list.append(row.element);
      return row;
    });
    const refused = added.filter((row) => row.state === "refused");
    start(
      added.filter((row) => row.state !== "refused"),
      refused.map((row) => `${row.file.name}: ${row.problem}`).join(" "),
    );
  }

  function drop(row) {
    if (row.state === "queued") run.total--;
    sending.get(row)?.abort();
    rows.delete(row);
    row.close();
  }

  function remove(row) {
    const near = row.element.nextElementSibling ?? row.element.previousElementSibling;
    drop(row);
    if (single) onReset();
    say(`${row.file.name} removed.`);
    settle();
    (near?.querySelector(".remove") ?? input).focus();
  }

  function retry(row) {
    row.element.focus(); // its button goes away
    start([row]);
  }

  /** note: a further sentence. */
  function start(chosen, note = "") {
    if (chosen.length) {
      run ??= { total: 0, answered: 0, failed: 0, cancelled: false, last: "" };
      run.total += chosen.length;
      for (const row of chosen) row.queue();
    }
    say([chosen.length && `Sending ${plural(chosen.length)}.`, note].filter(Boolean).join(" "));
    pump();
    refresh();
  }

  function pump() {
    for (const row of queued().slice(0, AT_ONCE - sending.size)) send(row);
  }

  async function send(row) {
    const controller = new AbortController();
    sending.set(row, controller);
    const onProgress = row.send();
    try {
      await row.checked;
      if (row.state === "refused") throw { refused: row.problem };
      await row.file
        .slice(0, 1)
        .arrayBuffer()
        .catch(() => Promise.reject({ refused: GONE }));
      const answer = await upload(form.dataset.url, row.file, { signal: controller.signal, onProgress });
      controller.signal.throwIfAborted();
      run.last = `${row.file.name}: ${show(row, answer)}`;
      run.answered++;
    } catch (error) {
      failed(row, error);
    } finally {
      sending.delete(row);
      settle();
    }
  }

  function failed(row, error) {
    if (error.name === "AbortError") {
      if (rows.has(row)) row.cancel();
      run.total--;
      return;
    }
    run.failed++;
    if (error.refused) row.refuse(error.refused);
    else if (mayPass(error)) row.fail(problemText(error));
    else row.refuse(problemText(error));
    run.last = `${row.file.name}: ${row.problem}`;
  }

  /** Continues with the next picture, or ends the run. */
  function settle() {
    pump();
    if (run && !sending.size) finish();
    refresh();
  }

  function finish() {
    const { total, cancelled, last } = run;
    run = null;
    // All pictures that the page shows, including those that were not sent.
    const found = (...states) => [...rows].filter(({ state }) => states.includes(state)).length;
    const [answered, failed] = [found("answered"), found("failed", "refused")];
    const parts = [answered && `${plural(answered)} answered`, failed && `${failed} failed`].filter(Boolean);
    const counts = parts.length ? `${parts.join(", ")}.` : "";
    if (cancelled) {
      say(`Cancelled. ${counts}`, { visible: true });
    } else if (total === 1) {
      say(last);
      if (rows.size > 1) count.textContent = counts;
    } else if (total) {
      say(counts, { visible: true });
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    complain("");
    start(left());
  });

  cancel.addEventListener("click", () => {
    run.cancelled = true;
    for (const row of queued()) {
      row.cancel();
      run.total--;
    }
    for (const controller of sending.values()) controller.abort();
  });

  clear.addEventListener("click", () => {
    rows.forEach(drop);
    onReset();
    complain("");
    say("All pictures removed.");
    refresh();
  });

  refresh();
  startPicker(form, { onFiles: add, onProblem: complain });
  return {
    add,
    again: () => start([...rows].filter((row) => row.state === "answered")),
  };
}
