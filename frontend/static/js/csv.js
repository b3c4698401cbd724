/**
 * Splits a CSV into its rows, each as it is in the file, in the dialect that the API reads
 * (app/serving/tasks/tables/csv_table.py): comma, semicolon or tab; quotes count at the start of a cell only,
 * and "" means one quote; spaces before a cell and blank lines do not count; any line ends.
 */

export class CsvError extends Error {}

const DELIMITERS = [",", ";", "\t"];

/** The delimiter with which the header contains the most names of the model's columns. */
function delimiterOf(text, names) {
  const header = text.trimStart().split(/\r|\n/, 1)[0];
  const known = (delimiter) => {
    const cells = header.split(delimiter).map((cell) => cell.trim().replace(/^"+|"+$/g, ""));
    return new Set(cells.filter((cell) => names.includes(cell))).size;
  };
  return DELIMITERS.reduce((best, d) => (known(d) > known(best) ? d : best));
}

/**
 * The rows of a CSV without its byte order mark, header first. names: of the model's columns.
 * Returns `{delimiter, records}`, of each record its `text`, the `line` that it begins on (from 1),
 * and `cells`, their number. Throws CsvError for quotes that are not closed as they should be.
 */
export function splitCsv(text, names) {
  const delimiter = delimiterOf(text, names);
  const records = [];
  let line = 1;
  let at = 0;
  while (at < text.length) {
    const begin = at;
    const cells = [];
    at = readRecord(text, begin, delimiter, line, cells);
    const record = text.slice(begin, at);
    if (cells.length > 1 || unquoted(record) !== "") records.push({ text: record, line, cells: cells.length });
    line += record.includes("\n") || record.includes("\r") ? record.match(/\r\n|\r|\n/g).length : 0;
    at += text.startsWith("\r\n", at) ? 2 : 1;
    line += 1;
  }
  return { delimiter, records };
}

/** Where the record that begins at `at` ends. cells: gets where each of its cells begins. */
function readRecord(text, at, delimiter, line, cells) {
  for (;;) {
    cells.push(at);
    while (text[at] === " ") at += 1;
    if (text[at] === '"') at = afterQuotes(text, at, line, delimiter);
    else while (at < text.length && text[at] !== delimiter && text[at] !== "\n" && text[at] !== "\r") at += 1;
    if (text[at] !== delimiter || at >= text.length) return at;
    at += 1;
  }
}

function afterQuotes(text, opening, line, delimiter) {
  let at = opening;
  do {
    at = text.indexOf('"', at + 1);
    if (at < 0) throw new CsvError(`Line ${line}: a quotation mark is opened and not closed.`);
    at += 1;
  } while (text[at] === '"');
  if (at < text.length && text[at] !== delimiter && text[at] !== "\n" && text[at] !== "\r") {
    throw new CsvError(
      `Line ${line}: there is text after a closing quotation mark. Write "" for a quotation mark within quotes.`,
    );
  }
  return at;
}

/** The cells of a record as written. */
export function rawCells(record, delimiter) {
  const starts = [];
  readRecord(record.text, 0, delimiter, record.line, starts);
  return starts.map((start, i) => record.text.slice(start, i + 1 < starts.length ? starts[i + 1] - 1 : undefined));
}

/** The text of a cell. */
export function unquoted(cell) {
  const text = cell.trim();
  return (text.startsWith('"') ? text.slice(1, -1).replaceAll('""', '"') : text).trim();
}

/** A cell with this text. */
export function quoted(text, delimiter) {
  const special = /["\r\n]|^\s|\s$/.test(text) || text.includes(delimiter);
  return special ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * A cell of an answer. Spreadsheets run what begins as a formula does: such a text gets an apostrophe
 * before it, which they do not show. Numbers stay numbers.
 */
export function guarded(text) {
  return /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
}
