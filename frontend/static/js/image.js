/** The page of a model that takes a picture. */
import { answerParts } from "./bars.js";
import { make } from "./dom.js";
import { startPictures } from "./pictures.js";
import { cosine, partsOf, spoken } from "./readings.js";
import { watchScales } from "./scales.js";

// Pictures with which the vector of another is compared.
const MOST_COMPARED = 5;

const list = document.querySelector(".pictures");
const outputs = JSON.parse(list.dataset.outputs);
// Rows that have been answered, with their vectors: [row, vector].
let answered = [];

/** How similar the pictures before this one are, if the model answers a vector. */
function similarities(row, prediction) {
  const vector = partsOf(prediction, outputs).find(({ kind }) => kind === "vector")?.value;
  if (!vector) return null;
  answered = answered.filter(([other]) => other !== row && other.element.isConnected);
  const words = answered
    .slice(-MOST_COMPARED)
    .map(([other, theirs]) => [other.file.name, cosine(vector, theirs)])
    .filter(([, similarity]) => !Number.isNaN(similarity))
    .map(([name, similarity]) => `${name}: ${similarity.toFixed(3)}`);
  answered.push([row, vector]);
  return words.length ? make("p", { className: "facts" }, `Cosine similarity with ${words.join("; ")}`) : null;
}

const form = document.querySelector(".pictures-form");
const pictures = startPictures(form, list, {
  show(row, answer) {
    const [prediction] = answer.predictions;
    const similar = similarities(row, prediction);
    row.answer(...[...answerParts(prediction, outputs, answer), similar].filter(Boolean));
    return spoken(prediction, outputs);
  },
});

/** Answers all pictures again, with their pixels scaled as another link says. */
watchScales((scale) => {
  const url = new URL(form.dataset.url, location.href);
  url.searchParams.set("scale", scale);
  form.dataset.url = url.href;
  pictures.again();
});
