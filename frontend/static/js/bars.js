/** An answer about a picture, as the server's template shows it too. */
import { make } from "./dom.js";

/** 0.9312 as people read it. */
export const percent = (probability) => `${(probability * 100).toFixed(1)} %`;

/** What the model says: one label, or for models that give several, all that hold. */
export function verdict({ label, labels }) {
  return labels === undefined ? label : labels.join(", ") || "none of the labels";
}

/**
 * The elements of an answer. prediction: `{label, probability, top, labels?}`.
 * whole: what the API answered, for those who want the JSON.
 */
export function answerParts(prediction, whole) {
  const bar = ({ label, probability }) =>
    make(
      "li",
      {},
      make("span", {}, label),
      make("meter", { value: probability, "aria-label": label }),
      make("span", { className: "number" }, percent(probability)),
    );
  return [
    make("p", { className: "verdict" }, verdict(prediction)),
    make("ul", { className: "bars", role: "list" }, ...prediction.top.map(bar)),
    make(
      "details",
      {},
      make("summary", {}, "The answer as JSON"),
      make("pre", { className: "json" }, JSON.stringify(whole, null, 2)),
    ),
  ];
}
