/** Sending a CSV: progress, cancel, a preview of the answers and a download. */

import { ApiError } from "./api.js";
import { CsvRows, MAX_MB } from "./csv_rows.js";
import { make, problemBox } from "./dom.js";

const PREVIEW_ROWS = 10;

const count = (n) => n.toLocaleString("en");
const rowsOf = (n) => (n === 1 ? "1 row" : `${count(n)} rows`);

/** The progress of a run, with a button to cancel it. */
function progressBox(total, cancel) {
  const bar = make("progress", { max: total, value: 0, "aria-label": "Rows answered" });
  const words = make("span", {}, `0 of ${rowsOf(total)}`);
  const button = make("button", { type: "button", className: "btn btn-outline-secondary", onclick: cancel }, "Cancel");
  const box = make("div", { className: "csv-progress" }, bar, words, button);
  const set = (done) => {
    bar.value = done;
    words.textContent = `${count(done)} of ${rowsOf(total)}`;
  };
  return { box, set, button };
}

function table(head, answerHead, rows) {
  const cell = (tag, text, i) =>
    make(tag, { className: i >= head.length ? "answered" : "", ...(tag === "th" ? { scope: "col" } : {}) }, text);
  const line = (tag, cells) => make("tr", {}, ...cells.map((text, i) => cell(tag, text, i)));
  return make(
    "div",
    { className: "table-box", tabIndex: 0, role: "region", "aria-label": "The first rows with their answers" },
    make(
      "table",
      { className: "table" },
      make("thead", {}, line("th", [...head, ...answerHead])),
      make("tbody", {}, ...rows.map((cells) => line("td", cells))),
    ),
  );
}

/** form: with the file. place: where the answers go. model: `{api, output, names}`. */
export function watchCsv(form, place, { api, output, names }) {
  const input = form.querySelector("input[type=file]");
  const send = form.querySelector("button");
  const drop = form.querySelector(".csv-drop");
  const status = make("p", { className: "visually-hidden", role: "status" });
  const keepExtra = new URL(form.action).searchParams.get("extra") === "keep";
  let running = null;
  let address = null;

  const limit = form.querySelector("[data-limit]");
  limit.textContent = `${MAX_MB} MB, which this page sends in parts (through the API ${limit.textContent} at once)`;
  form.querySelector("[data-plain]").remove();
  form.after(status);

  function finish(file, rows, predictions) {
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(new Blob([rows.answered(predictions, output)], { type: "text/csv;charset=utf-8" }));
    const name = file.name.replace(/\.[^.]*$/, "");
    const shown = Math.min(PREVIEW_ROWS, predictions.length);
    const title = make("h3", { tabIndex: -1 }, `${rowsOf(predictions.length)} answered`);
    place.replaceChildren(
      title,
      make(
        "p",
        {},
        make(
          "a",
          { className: "btn btn-primary", href: address, download: `${name}-answers.csv` },
          "Download with answers",
        ),
      ),
      make("p", { className: "facts" }, shown < predictions.length ? `The first ${shown} of them:` : "All of them:"),
      table(rows.columns, rows.answerColumns(predictions), rows.preview(predictions, output, PREVIEW_ROWS)),
    );
    status.textContent = `${rowsOf(predictions.length)} answered. The download is ready.`;
    return title;
  }

  async function run() {
    running?.abort();
    const mine = new AbortController();
    running = mine;
    const [file] = input.files;
    place.replaceChildren();
    status.textContent = "";
    let progress = null;
    // The focus moves from the Cancel button to the element that takes its place.
    const leave = (element) => document.activeElement === progress?.button && element.focus();
    try {
      const rows = await CsvRows.read(file, names, keepExtra);
      mine.signal.throwIfAborted();
      progress = progressBox(rows.rows.length, () => mine.abort());
      if (rows.rows.length) {
        place.replaceChildren(progress.box);
        status.textContent = `Sending ${rowsOf(rows.rows.length)}.`;
      }
      const predictions = await rows.predict(api, { signal: mine.signal, onProgress: progress.set });
      const held = document.activeElement === progress.button;
      const title = finish(file, rows, predictions);
      if (held) title.focus();
    } catch (error) {
      if (running !== mine) return;
      if (error.name === "AbortError") {
        leave(send);
        const words = `Cancelled at ${progress.box.textContent.replace("Cancel", "")}. Nothing was kept.`;
        place.replaceChildren(make("p", {}, words));
        status.textContent = words;
      } else if (error.details) {
        leave(send);
        status.textContent = "";
        place.replaceChildren(problemBox(error));
      } else throw error;
    }
  }

  input.addEventListener("change", () => input.files.length && run());
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    run();
  });
  for (const type of ["dragenter", "dragover"]) {
    drop.addEventListener(type, (e) => {
      e.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", (e) => {
    if (!drop.contains(e.relatedTarget)) drop.classList.remove("over");
  });
  drop.addEventListener("drop", (e) => {
    e.preventDefault();
    drop.classList.remove("over");
    if (e.dataTransfer.files.length !== 1) {
      running?.abort();
      running = null;
      place.replaceChildren(problemBox(new ApiError("Drop one CSV file at a time.")));
      return;
    }
    input.files = e.dataTransfer.files;
    run();
  });
}
