/** A CSV file, answered part by part. */

import { ApiError, ask } from "./api.js";
import { CsvError, guarded, quoted, rawCells, splitCsv, unquoted } from "./csv.js";
import { answerCells, answerColumns } from "./tabular_answer.js";

export const MAX_MB = 50;
export const MAX_PROBLEMS = 100;
// The server answers a part in well under a second, and it is below any sensible limit on bodies.
const PART_ROWS = 200;
const PART_CHARACTERS = 200_000;
const TRIES = 5;
// Temporary failures: too many requests, a server that restarts or cannot be reached.
const PASSING = [0, 429, 502, 503];

/** The file's text. Throws ApiError if it has none. */
async function textOf(file) {
  if (file.size > MAX_MB * 1e6) {
    throw new ApiError(`The file is larger than ${MAX_MB} MB. Send it in parts.`);
  }
  let bytes;
  try {
    bytes = await file.arrayBuffer();
  } catch {
    throw new ApiError("The file cannot be read. If it has changed since, choose it again.");
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new ApiError("This is not a CSV file in UTF-8. In a spreadsheet, save the table as “CSV UTF-8”.");
  }
}

/** A CSV file of rows for a model. names: of the model's columns. keepExtra: whether it may have others. */
export class CsvRows {
  constructor(text, names, keepExtra) {
    this.mark = text.startsWith("\ufeff") ? "\ufeff" : "";
    const { delimiter, records } = splitCsv(text.slice(this.mark.length), names);
    const [header, ...rows] = records;
    Object.assign(this, { delimiter, header, rows, names, keepExtra });
    this.columns = header ? rawCells(header, delimiter).map(unquoted) : [];
  }

  /** Throws ApiError for a file that is not a CSV that can be sent. */
  static async read(file, names, keepExtra) {
    try {
      return new CsvRows(await textOf(file), names, keepExtra);
    } catch (error) {
      throw error instanceof CsvError ? new ApiError(error.message) : error;
    }
  }

  /** Throws ApiError if columns are missing or unexpected: one error instead of one per row. */
  checkHeader() {
    const { names, columns } = this;
    if (!columns.some((c) => names.includes(c))) return;
    const details = [
      ...names
        .filter((n) => !columns.includes(n))
        .map((n) => ({ field: `column ${n}`, problem: "missing", expected: "its name in the first line" })),
      ...columns
        .filter((c) => c !== "" && !names.includes(c) && !this.keepExtra)
        .map((c) => ({ field: `column ${c}`, problem: "unexpected", expected: `only ${names.join(", ")}` })),
    ];
    if (details.length) throw new ApiError("the columns of the CSV are not those of the model", { details });
  }

  /**
   * Predictions, one per row. onProgress: called with the number of rows that are done.
   * Throws ApiError with the problems of all rows by their lines (the first 100).
   */
  async predict(api, { signal, onProgress }) {
    this.checkHeader();
    // The API has the words for a file without rows or header.
    if (!this.rows.length || !this.columns.some((c) => this.names.includes(c))) await this.#ask(api, 0, 1, signal);
    const predictions = [];
    const problems = [];
    let end = 0;
    for (let start = 0; start < this.rows.length && problems.length < MAX_PROBLEMS; start = end) {
      end = this.#partFrom(start);
      try {
        const answers = await this.#ask(api, start, end, signal);
        if (answers.length !== end - start)
          throw new ApiError(
            this.#where(start, end, "the server read other rows than this page: send the file through the API."),
          );
        predictions.push(...answers);
      } catch (error) {
        if (error.code !== "invalid_input") throw error;
        const details = error.details.map((detail) => this.#onLine(detail, start));
        // Problems of a column are those of every part.
        if (details.some(isOfColumn)) throw new ApiError(error.message, { ...error, details });
        problems.push(...details);
      }
      onProgress(end);
    }
    if (problems.length) throw this.#refused(problems, end);
    return predictions;
  }

  #partFrom(start) {
    let end = start;
    let size = 0;
    while (end < this.rows.length && end - start < PART_ROWS && (end === start || size < PART_CHARACTERS)) {
      size += this.rows[end].text.length;
      end += 1;
    }
    return end;
  }

  async #ask(api, start, end, signal) {
    const lines = [this.header, ...this.rows.slice(start, end)].filter(Boolean).map((r) => r.text);
    const options = { method: "POST", body: lines.join("\n"), headers: { "Content-Type": "text/csv" }, signal };
    for (let tried = 1; ; tried += 1) {
      try {
        return (await ask(this.keepExtra ? withExtra(api) : api, options)).predictions;
      } catch (error) {
        if (error.code === "bad_request" && this.rows.length > 1 && lines.length > 1) {
          error.message = this.#where(start, end, error.message);
        }
        if (!PASSING.includes(error.status) || tried === TRIES) throw error;
        await pause(500 * 2 ** tried, signal);
      }
    }
  }

  #where(start, end, message) {
    return `lines ${this.rows[start].line} to ${this.rows[end - 1].line}: ${message}`;
  }

  #onLine({ field, problem, value, expected }, start) {
    const [, row, name] = /^\[(\d+)\]\.?(.*)$/s.exec(field) ?? [null, 0, field];
    const found = value === undefined ? "" : `, found ${value}`;
    if (isOfColumn({ field })) return { field, problem: problem + found, expected };
    return { field: `line ${this.rows[start + Number(row)].line}: ${name}`, problem: problem + found, expected };
  }

  #refused(problems, checked) {
    const all = checked === this.rows.length && problems.length < MAX_PROBLEMS;
    const count = problems.length === 1 ? "one problem" : `${problems.length} problems`;
    const message = all
      ? `The file has ${count}. No row was answered: correct the file and send it again.`
      : `The file has ${MAX_PROBLEMS} problems or more; these are the first ${MAX_PROBLEMS}. No row was answered.`;
    return new ApiError(message, { status: 422, code: "invalid_input", details: problems.slice(0, MAX_PROBLEMS) });
  }

  /** The names of the answer columns. */
  answerColumns(predictions) {
    return answerColumns(predictions[0], this.columns);
  }

  /** The first rows, as cells. */
  preview(predictions, output, most) {
    return this.rows
      .slice(0, most)
      .map((row, i) => [...this.#fitted(row).map(unquoted), ...answerCells(predictions[i], output)]);
  }

  /** The file as it was sent, with answers added to its rows. */
  answered(predictions, output) {
    const { delimiter } = this;
    const line = (record, cells) =>
      [
        ...(record.cells === this.columns.length ? [record.text] : this.#fitted(record)),
        ...cells.map((c) => quoted(guarded(c), delimiter)),
      ].join(delimiter);
    const rows = this.rows.map((row, i) => line(row, answerCells(predictions[i], output)));
    const text = [line(this.header, this.answerColumns(predictions)), ...rows, ""].join("\r\n");
    // Spreadsheets recognise UTF-8 by the byte order mark.
    return (this.mark || (/[^\0-\x7f]/.test(text) ? "\ufeff" : "")) + text;
  }

  /** As many cells as the header has: rows may leave out empty ones at their end, or have more. */
  #fitted(record) {
    const cells = rawCells(record, this.delimiter);
    return this.columns.map((_, i) => cells[i] ?? "");
  }
}

const isOfColumn = ({ field }) => field.startsWith("column ");

function withExtra(api) {
  return `${api}${api.includes("?") ? "&" : "?"}extra=keep`;
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    });
  });
}
