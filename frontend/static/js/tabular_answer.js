/** What a tabular model answered, as people read it: as app/web/table_answer.py writes it. */

import { make } from "./dom.js";

/** A number for people: with the decimals that the card wants, else six digits. */
export function written(value, decimals) {
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

const isLabel = (prediction) => "top" in prediction;
const valueOf = (prediction) => Object.values(prediction)[0];

function headline(prediction, { decimals }) {
  if (!isLabel(prediction)) return written(valueOf(prediction), decimals);
  if (!prediction.labels) return prediction.label;
  return prediction.labels.join(", ") || "none of the labels";
}

/** A prediction as nodes. output: name, unit and decimals of the card, null where it has none. */
export function drawn(prediction, output) {
  const nodes = [make("p", { className: "reading-name" }, output.name ?? (isLabel(prediction) ? "label" : "value"))];
  const unit = isLabel(prediction) ? null : output.unit;
  if (!isLabel(prediction) && Array.isArray(valueOf(prediction))) {
    const items = valueOf(prediction).map((value) =>
      make("li", {}, written(value, output.decimals), unit ? make("span", { className: "unit" }, ` ${unit}`) : null),
    );
    return [...nodes, make("ol", { className: "reading-values" }, ...items)];
  }
  const suffix = unit ? make("span", { className: "reading-unit" }, unit) : null;
  nodes.push(make("p", { className: "reading-value" }, headline(prediction, output), " ", suffix));
  if (isLabel(prediction)) {
    const items = prediction.top.map(({ label, probability }) =>
      make(
        "li",
        {},
        make("span", {}, label),
        " ",
        make("span", {}, percent(probability)),
        " ",
        make("progress", { max: 1, value: probability, "aria-hidden": "true" }),
      ),
    );
    nodes.push(make("ul", { className: "chances" }, ...items));
  }
  return nodes;
}

/** A prediction in a sentence, for those who hear it. */
export function spoken(prediction, output) {
  if (isLabel(prediction)) return `${headline(prediction, output)}, ${percent(prediction.probability)}`;
  const values = [valueOf(prediction)].flat().map((value) => written(value, output.decimals));
  return [output.name ?? "value", values.join(", "), output.unit].filter(Boolean).join(" ");
}

/**
 * What of predictions can be plotted beside this one: `{title, of, text}`: what it is, a function
 * from a prediction to a number (or null), and one from that number to words. null: nothing.
 */
export function measure(prediction, output) {
  if (isLabel(prediction)) {
    const { label } = prediction;
    return {
      title: `the probability of “${label}”`,
      of: ({ top }) => top.find((t) => t.label === label)?.probability ?? null,
      text: percent,
      range: [0, 1],
    };
  }
  if (Array.isArray(valueOf(prediction))) return null;
  return { title: output.name ?? "value", of: valueOf, text: (value) => written(value, output.decimals) };
}

/** The names of the columns that a table gets for its answers. taken: those that it has. */
export function answerColumns(prediction, taken) {
  let names;
  if (isLabel(prediction)) names = ["label", "probability", ...(prediction.labels ? ["labels"] : [])];
  else {
    const [[name, value]] = Object.entries(prediction);
    names = Array.isArray(value) ? value.map((_, i) => `${name} ${i + 1}`) : [name];
  }
  return names.map((name) => (taken.includes(name) ? `${name} (answer)` : name));
}

/** The cells of `answerColumns`. */
export function answerCells(prediction, { decimals }) {
  if (isLabel(prediction)) {
    const { label, probability, labels } = prediction;
    return [label, String(probability), ...(labels ? [labels.join("; ")] : [])];
  }
  return [valueOf(prediction)].flat().map((value) => (decimals === null ? String(value) : value.toFixed(decimals)));
}
