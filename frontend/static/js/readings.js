/** Predictions for people: a reading for each output, as app/web/models/readings.py makes them. */

import { make } from "./dom.js";

// Numbers of a vector, and characters of a tensor, that a page shows.
const MOST_NUMBERS = 8;
const MOST_CHARACTERS = 2000;

/** A number for people: with the decimals of the card, or six significant digits. */
export function written(value, decimals = null) {
  if (decimals !== null) return grouped(value, decimals, decimals);
  const magnitude = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)));
  if (magnitude <= -5 || magnitude >= 15) return value.toExponential(3).replace("+", "");
  return grouped(value, 0, Math.max(0, 5 - magnitude));
}

function grouped(value, minimumFractionDigits, maximumFractionDigits) {
  return value.toLocaleString("en", { minimumFractionDigits, maximumFractionDigits });
}

/** A probability for people. */
export const percent = (probability) => `${(probability * 100).toFixed(1)} %`;

/** What a class reaches, in words: a probability, or a score where the numbers are none. */
export const chance = ({ probability, score }) => (probability === undefined ? written(score) : percent(probability));

const isClasses = (value) => value !== null && typeof value === "object" && "top" in value;

/**
 * The value of each output, `{name, title, kind, unit, decimals, value}`. outputs: as the page gives
 * them; null where it does not know the model.
 */
export function partsOf(prediction, outputs = null) {
  const known = (name) => outputs?.find((output) => output.name === name) ?? {};
  const plain = { unit: null, decimals: null };
  const named = prediction !== null && typeof prediction === "object" && !Array.isArray(prediction);
  if (!named || isClasses(prediction)) {
    const only = outputs?.[0] ?? { name: "", title: isClasses(prediction) ? "label" : "value" };
    return [{ ...plain, kind: kindOf(prediction), ...only, value: prediction }];
  }
  return Object.entries(prediction).map(([name, value]) => ({
    ...plain,
    kind: kindOf(value),
    name,
    title: name,
    ...known(name),
    value,
  }));
}

function kindOf(value) {
  if (isClasses(value)) return "classes";
  if (typeof value === "number") return "number";
  if (Array.isArray(value) && value.every((each) => typeof each === "number"))
    return value.length > MOST_NUMBERS ? "vector" : "number";
  return value !== null && typeof value === "object" && !Array.isArray(value) ? "number" : "tensor";
}

/** The numbers of a part, each with its name if it has one. */
export function numbersOf({ value }) {
  if (typeof value === "number") return [["", value]];
  return Array.isArray(value) ? value.map((each) => ["", each]) : Object.entries(value);
}

const length = (value) => Math.sqrt(value.reduce((sum, each) => sum + each * each, 0));

/** The cosine of the angle between two vectors; NaN if either has no direction. */
export function cosine(a, b) {
  return a.reduce((sum, each, i) => sum + each * b[i], 0) / (length(a) * length(b));
}

/** A part in a few words. */
export function headline({ kind, value, decimals }) {
  if (kind === "classes") return value.labels ? value.labels.join(", ") || "none of the labels" : value.label;
  if (kind === "number")
    return numbersOf({ value })
      .map(([name, each]) => `${name} ${written(each, decimals)}`.trim())
      .join(", ");
  if (kind === "vector") return `${value.length.toLocaleString("en")} numbers, length ${written(length(value))}`;
  return "see the answer as JSON";
}

/** A prediction in a sentence, for screen readers. */
export function spoken(prediction, outputs) {
  const parts = partsOf(prediction, outputs);
  const several = parts.length > 1;
  return parts
    .map((part) => {
      if (part.kind === "classes") {
        const words = `${headline(part)}, ${chance(part.value)}`;
        return several ? `${part.title}: ${words}` : words;
      }
      return [part.title, headline(part), part.unit].filter(Boolean).join(" ");
    })
    .join("; ");
}

/** The heading of a part: its name and, for scores, that they are none of a probability. */
function heading(part) {
  const note = part.kind === "classes" && "score" in part.value ? " (scores, not probabilities)" : "";
  return make("p", { className: "reading-name" }, part.title + note);
}

const unitOf = (unit, className) => (unit ? make("span", { className }, ` ${unit}`) : null);

/** A number, several, a vector or a tensor as nodes. */
export function drawnValue(part) {
  const { kind, value, unit, decimals } = part;
  if (kind === "number" && typeof value === "number")
    return [
      make(
        "p",
        { className: "reading-value" },
        written(value, decimals),
        " ",
        unit ? make("span", { className: "reading-unit" }, unit) : null,
      ),
    ];
  if (kind === "number") {
    const items = numbersOf(part).map(([name, each]) =>
      make("li", {}, name ? `${name}: ` : "", written(each, decimals), unitOf(unit, "unit")),
    );
    return [make("ol", { className: "reading-values" }, ...items)];
  }
  if (kind === "vector") {
    const first = value.slice(0, MOST_NUMBERS).map((each) => written(each));
    return [
      make("p", { className: "reading-vector" }, headline(part)),
      make("p", { className: "facts" }, first.join(", ") + (value.length > MOST_NUMBERS ? ", …" : "")),
    ];
  }
  const text = JSON.stringify(value);
  const cut = text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text;
  return [make("pre", { className: "json" }, cut)];
}

/** A prediction as nodes. drawClasses: draws the value of classes. */
export function drawn(prediction, outputs, drawClasses) {
  const parts = partsOf(prediction, outputs);
  return parts.flatMap((part) => {
    if (part.kind !== "classes") return [heading(part), ...drawnValue(part)];
    const nodes = drawClasses(part);
    return parts.length > 1 || "score" in part.value ? [heading(part), ...nodes] : nodes;
  });
}
