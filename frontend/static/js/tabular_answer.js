/** The answer of a model of rows, formatted for people as in app/web/models/answers/table_answer.py. */

import { make } from "./dom.js";
import { chance, drawn as drawnBy, drawnValue, headline, partsOf, percent, written } from "./readings.js";

export { spoken } from "./readings.js";

function classes(part) {
  const items = part.value.top.map((top) =>
    make(
      "li",
      {},
      make("span", {}, top.label),
      " ",
      make("span", {}, chance(top)),
      top.probability === undefined ? null : " ",
      top.probability === undefined
        ? null
        : make("progress", { max: 1, value: top.probability, "aria-hidden": "true" }),
    ),
  );
  return [
    make("p", { className: "reading-value" }, headline(part), " "),
    make("ul", { className: "chances" }, ...items),
  ];
}

/** A prediction as nodes. */
export function drawn(prediction, outputs) {
  const parts = partsOf(prediction, outputs);
  if (parts.length > 1 || "score" in Object(parts[0].value)) return drawnBy(prediction, outputs, classes);
  const [part] = parts;
  return [
    make("p", { className: "reading-name" }, part.title),
    ...(part.kind === "classes" ? classes(part) : drawnValue(part)),
  ];
}

/**
 * The value of predictions to plot beside this one: `{title, of, text}`, its name, a function from a
 * prediction to a number (or null), and one from that number to words. null: nothing.
 */
export function measure(prediction, outputs) {
  for (const [i, part] of partsOf(prediction, outputs).entries()) {
    const sameOf = (other) => partsOf(other, outputs)[i].value;
    if (part.kind === "classes") {
      const { label } = part.value;
      const number = "probability" in part.value ? "probability" : "score";
      return {
        title: `the ${number} of “${label}”`,
        of: (other) => sameOf(other).top.find((t) => t.label === label)?.[number] ?? null,
        ...(number === "probability" ? { text: percent, range: [0, 1] } : { text: (value) => written(value) }),
      };
    }
    if (part.kind === "number" && typeof part.value === "number")
      return { title: part.title, of: sameOf, text: (value) => written(value, part.decimals) };
  }
  return null;
}

const isList = Array.isArray;
const isDrawn = ({ kind }) => kind === "mask" || kind === "picture";
const nested = (value) => isList(value) && value.some(isList);

/** The names of the columns that a table gets for its answers. taken: those that it already has. */
export function answerColumns(prediction, taken) {
  const names = partsOf(prediction).flatMap(({ name, value, kind }) => {
    if (kind === "classes") {
      const keys = ["probability", "score", "labels"].filter((key) => key in value);
      return [name || "label", ...keys.map((key) => `${name} ${key}`.trim())];
    }
    if (isList(value) && !nested(value)) return value.map((_, i) => `${name} ${i + 1}`.trim());
    if (isDrawn({ kind })) return [name];
    if (value !== null && typeof value === "object" && !isList(value))
      return Object.keys(value).map((key) => `${name} ${key}`);
    return [name || "value"];
  });
  return names.map((name) => (taken.includes(name) ? `${name} (answer)` : name));
}

/** The cells for `answerColumns`. */
export function answerCells(prediction, outputs) {
  return partsOf(prediction, outputs).flatMap((part) => {
    const { value, decimals } = part;
    if (isDrawn(part)) return [headline(part)];
    if (value !== null && typeof value === "object" && "top" in value) {
      const { label, probability, score, labels } = value;
      return [label, String(probability ?? score), ...(labels ? [labels.join("; ")] : [])];
    }
    if (nested(value)) return [JSON.stringify(value)];
    const values = value !== null && typeof value === "object" ? Object.values(value) : [value];
    return values.map((each) =>
      typeof each !== "number" || decimals === null ? String(each) : each.toFixed(decimals),
    );
  });
}
