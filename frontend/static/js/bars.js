/** An answer about a picture, as the server's template renders it. */
import { make } from "./dom.js";
import { chance, drawn, headline } from "./readings.js";

// Characters of a text that are shown: those of a picture in base64 say nothing.
const MOST_CHARACTERS = 5000;
const SHOWN = 60;

const shortened = (_, value) =>
  typeof value === "string" && value.length > MOST_CHARACTERS ? `${value.slice(0, SHOWN)}…` : value;

/** Labels with bars. */
function classes(part) {
  const bar = (top) =>
    make(
      "li",
      {},
      make("span", {}, top.label),
      top.probability === undefined
        ? make("span", {})
        : make("meter", { value: top.probability, "aria-label": top.label }),
      make("span", { className: "number" }, chance(top)),
    );
  return [
    make("p", { className: "verdict" }, headline(part)),
    make("ul", { className: "bars", role: "list" }, ...part.value.top.map(bar)),
  ];
}

/**
 * The elements of an answer. outputs: of the model, as the page gives them; null if it does not
 * know. whole: the API's answer, for readers who want the JSON.
 */
export function answerParts(prediction, outputs, whole) {
  return [
    ...drawn(prediction, outputs, classes),
    make(
      "details",
      {},
      make("summary", {}, "The answer as JSON"),
      make("pre", { className: "json" }, JSON.stringify(whole, shortened, 2)),
    ),
  ];
}
