/** Answers to pictures or texts as a CSV file: a line each. */

import { guarded, quoted } from "./csv.js";
import { numbersOf, partsOf } from "./readings.js";

/** The cells of an output, `[column, text]` each. prefix: of its columns, where there are several outputs. */
function cellsOf(part, prefix) {
  const { kind, title, value } = part;
  const named = (name) => (prefix ? `${prefix} ${name}` : name);
  if (kind === "classes") {
    const number = value.probability === undefined ? "score" : "probability";
    return [
      [named("label"), value.label],
      [named(number), String(value[number])],
      ...(value.labels ? [[named("labels"), value.labels.join("; ")]] : []),
      ...value.top.map((top) => [named(`${number} of ${top.label}`), String(top[number])]),
    ];
  }
  if (kind === "number") return numbersOf(part).map(([name, each]) => [`${title} ${name}`.trim(), String(each)]);
  if (kind === "vector") return value.map((each, i) => [`${title} ${i + 1}`, String(each)]);
  if (kind === "mask") return value.classes.map(({ label, share }) => [`${title} share of ${label}`, String(share)]);
  if (kind === "picture") return [[`${title} size`, `${value.size[1]} × ${value.size[0]}`]];
  return [[title, JSON.stringify(value)]];
}

/**
 * The text of the file. first: the name of the first column. answers: `[text, prediction]` each, the text
 * of the first column and the answer to it. outputs: of the model.
 */
export function answersCsv(first, answers, outputs) {
  const lines = answers.map(([text, prediction]) => {
    const parts = partsOf(prediction, outputs);
    const cells = parts.flatMap((part) => cellsOf(part, parts.length > 1 ? part.title : ""));
    return new Map([[first, text], ...cells]);
  });
  // Not every answer has every label.
  const columns = [...new Set(lines.flatMap((cells) => [...cells.keys()]))];
  const written = (cells) => cells.map((cell) => quoted(guarded(cell), ",")).join(",");
  const text = [written(columns), ...lines.map((cells) => written(columns.map((name) => cells.get(name) ?? ""))), ""];
  const csv = text.join("\r\n");
  // Spreadsheets recognise UTF-8 by the byte order mark.
  return (/[^\0-\x7f]/.test(csv) ? "\ufeff" : "") + csv;
}

/** Offers a text or a Blob as a file to save. type: of a text. */
export function save(content, name, type = "text/csv;charset=utf-8") {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: content.type ?? type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
