/** Where a model looks, drawn over the picture or under the words as app/web/models/answers/heat.py does. */

import { make } from "./dom.js";
import { percent, written } from "./readings.js";

const SVG = "http://www.w3.org/2000/svg";
// The opacity of the patch that matters most.
const STRONGEST = 0.75;
// Shades of words, the strongest for those that matter most.
const SHADES = 4;

function shape(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** What the parts say. text: whether they are words, not patches. */
function sentence(about, drops, title, text) {
  const [part, parts, done] = text ? ["word", "words", "left out"] : ["patch", "patches", "made grey"];
  const most = Math.max(0, ...drops);
  const what = about.label ?? title;
  if (most <= 0) return `No ${part} that is ${done} takes anything from ${what}.`;
  const against = Math.min(...drops) < 0 ? ` Blue ${parts} speak against it.` : "";
  const unit = about.unit ? ` ${about.unit}` : "";
  const probable = about.probability !== undefined;
  const value = probable ? percent(about.probability) : written(about.score ?? about.value) + unit;
  const points = most >= 0.0005 ? `up to ${(most * 100).toFixed(1)} points` : "less than 0.1 points";
  const fall = probable ? points : `up to ${written(most)}${unit}`;
  return `The redder a ${part}, the more is taken from ${what} (${value}) when it is ${done}: ${fall}.${against}`;
}

function shaded(words, drops, text) {
  const most = Math.max(...drops.map(Math.abs)) || 1;
  const spans = words.flatMap((word, i) => {
    const shade = Math.floor((SHADES * Math.abs(drops[i])) / most + 0.5);
    const className = `${drops[i] > 0 ? "falls" : "rises"}-${shade}`;
    return [i ? " " : null, make("span", { className }, word)];
  });
  return make(
    "figure",
    { className: "heat" },
    make("p", { className: "heat-text" }, ...spans),
    make("figcaption", {}, text),
  );
}

function drawn({ size, patch, picture }, drops, text) {
  const [height, width] = size;
  const [down, across] = patch;
  const most = Math.max(...drops.flat().map(Math.abs)) || 1;
  const cells = drops.flatMap((row, y) =>
    row.map((drop, x) =>
      shape("rect", {
        x: x * across,
        y: y * down,
        width: Math.min(across, width - x * across),
        height: Math.min(down, height - y * down),
        class: drop > 0 ? "falls" : "rises",
        "fill-opacity": ((STRONGEST * Math.abs(drop)) / most).toFixed(3),
      }),
    ),
  );
  const image = shape("image", { href: picture, width, height });
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": text }, image, ...cells);
  return make("figure", { className: "heat" }, svg, make("figcaption", {}, text));
}

/** A figure for each picture or text and each number that is followed. outputs: of the model. */
export function heats(explanation, outputs) {
  const inputs = Object.entries(explanation.inputs);
  return inputs.flatMap(([name, input]) =>
    Object.entries(input.drops).map(([output, drops]) => {
      const title = outputs.find((each) => each.name === output)?.title ?? output;
      const said = sentence(explanation.outputs[output], drops.flat(), title, Boolean(input.words));
      const text = inputs.length > 1 ? `${name}: ${said}` : said;
      return input.words ? shaded(input.words, drops, text) : drawn(input, drops, text);
    }),
  );
}
