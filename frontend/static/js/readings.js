/** Predictions for people: a reading for each output, as app/web/models/answers/readings.py makes them. */

import { make } from "./dom.js";
import { drawnFigure, maskWords, placeOf } from "./drawn.js";

// Numbers of a vector, and characters of a tensor, that a page shows.
const MOST_NUMBERS = 8;
const MOST_CHARACTERS = 2000;
// The key of the share of words that a model of texts does not know.
const SHARE = "unknown_share";

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

const isBoxes = (value) => Array.isArray(value) && value.length > 0 && value.every((each) => each?.box !== undefined);
const isClasses = (value) => value !== null && typeof value === "object" && "top" in value;

/**
 * The value of each output, `{name, title, kind, unit, decimals, value}`. outputs: as the page gives
 * them; null where it does not know the model.
 */
export function partsOf(prediction, outputs = null) {
  const share = Object(prediction)[SHARE];
  if (share !== undefined && !outputs?.some(({ name }) => name === SHARE)) {
    const { [SHARE]: _, ...rest } = prediction;
    const part = { kind: "share", name: SHARE, title: "words not known to the model", unit: null, decimals: null };
    return [...partsOf(rest, outputs), { ...part, value: share }];
  }
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
  if (isBoxes(value)) return "boxes";
  if (value !== null && typeof value === "object" && "png" in value) return "classes" in value ? "mask" : "picture";
  if (typeof value === "number") return "number";
  if (Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === "number"))
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
  if (kind === "boxes") return boxesInWords(value);
  if (kind === "mask") return maskWords(value);
  if (kind === "picture") return `a picture of ${value.size[1]} × ${value.size[0]} pixels`;
  if (kind === "vector") return `${value.length.toLocaleString("en")} numbers, length ${written(length(value))}`;
  return "see the answer as JSON";
}

/** Boxes in a few words: how many of each label. */
function boxesInWords(boxes) {
  const counts = new Map();
  for (const { label } of boxes) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts].map(([label, count]) => `${count} × ${label}`).join(", ") || "no boxes";
}

/** A prediction in a sentence, for screen readers. */
export function spoken(prediction, outputs) {
  const parts = partsOf(prediction, outputs).filter(({ kind }) => kind !== "share");
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
  const { kind, value } = part;
  const scores = kind === "classes" ? "score" in value : kind === "boxes" && value.some((box) => "score" in box);
  const note = scores ? " (scores, not probabilities)" : "";
  return make("p", { className: "reading-name" }, part.title + note);
}

const unitOf = (unit, className) => (unit ? make("span", { className }, ` ${unit}`) : null);

/** A number, several, a picture, a vector or a tensor as nodes. */
export function drawnValue(part) {
  const { kind, value, unit, decimals } = part;
  if (kind === "mask" || kind === "picture") return [drawnFigure(part)];
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
  if (kind === "boxes") return [drawnBoxes(part)];
  const text = JSON.stringify(value);
  const cut = text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text;
  return [make("pre", { className: "json" }, cut)];
}

/** The share of words that the model does not know, of each text, where it does not know some. */
function drawnShare(part) {
  return numbersOf(part)
    .filter(([, share]) => share > 0)
    .map(([name, share]) => {
      const of = name ? ` (${name})` : "";
      return make("p", { className: "facts" }, `${percent(share)} of the words are not known to the model${of}`);
    });
}

/** The list of boxes; boxes.js draws them on the picture. */
function drawnBoxes({ value, picture }) {
  const items = value.map((each) =>
    make(
      "li",
      {},
      make("span", { className: "box-label" }, each.label),
      " ",
      make("span", { className: "number" }, chance(each)),
      " ",
      make("span", { className: "facts" }, placeOf(each.box)),
    ),
  );
  const list = items.length
    ? make("ol", { className: "boxes" }, ...items)
    : make("p", {}, "No boxes: nothing reaches the threshold.");
  return make(
    "div",
    { className: "boxes-answer", "data-picture": picture ?? "", "data-boxes": JSON.stringify(value) },
    list,
  );
}

/** A prediction as nodes. drawClasses: draws the value of classes. */
export function drawn(prediction, outputs, drawClasses) {
  const parts = partsOf(prediction, outputs);
  const several = parts.filter(({ kind }) => kind !== "share").length > 1;
  return parts.flatMap((part) => {
    if (part.kind === "share") return drawnShare(part);
    if (part.kind !== "classes") return [heading(part), ...drawnValue(part)];
    const nodes = drawClasses(part);
    return several || "score" in part.value ? [heading(part), ...nodes] : nodes;
  });
}
