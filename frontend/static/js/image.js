/** The page of a model that takes a picture. */
import { answersCsv, save } from "./answers_csv.js";
import { upload } from "./api.js";
import { answerParts } from "./bars.js";
import { drawBoxes } from "./boxes.js";
import { make, problemBox } from "./dom.js";
import { layOver, pngOf } from "./drawn.js";
import { watchExamples } from "./examples.js";
import { heats } from "./heat.js";
import { startPictures } from "./pictures.js";
import { cosine, partsOf, spoken } from "./readings.js";
import { watchScales } from "./scales.js";
import { pictureNames, zipped } from "./zip.js";

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

/** A button that shows where the model looks, for models that can tell. */
function explanation(row) {
  const { explain } = list.dataset;
  if (!explain) return null;
  const button = make(
    "button",
    { type: "button", className: "btn btn-outline-secondary btn-sm" },
    "Where does it look?",
  );
  const shown = make("div", { className: "heats", role: "status" });
  button.addEventListener("click", async () => {
    button.setAttribute("aria-busy", "true");
    shown.replaceChildren(make("p", { className: "facts" }, "Looking, patch by patch…"));
    const url = new URL(form.dataset.url, location.href);
    url.searchParams.set("explain", explain);
    try {
      const answer = await upload(url.href, row.file);
      shown.replaceChildren(...heats(answer.explanation, outputs));
      button.hidden = true;
    } catch (error) {
      shown.replaceChildren(problemBox(error));
    }
    button.removeAttribute("aria-busy");
  });
  return make("div", {}, button, shown);
}

const form = document.querySelector(".pictures-form");
const predictions = new Map(); // row -> its answer
const follows = ([a], [b]) => a.element.compareDocumentPosition(b.element) & Node.DOCUMENT_POSITION_FOLLOWING;
// As the page has the pictures, not as they were answered.
const inOrder = () => [...predictions].sort((a, b) => (follows(a, b) ? -1 : 1));
const drawnNames = outputs.filter(({ kind }) => kind === "mask" || kind === "picture").map(({ name }) => name);

/** The masks and pictures of all answers, named after the files that were sent. */
function savePictures() {
  const answers = inOrder();
  const sent = answers.map(([row]) => row.file.name);
  const names = pictureNames(sent, drawnNames.length > 1 ? drawnNames : [""]);
  const pictures = answers.flatMap(([, prediction]) => drawnNames.map((name) => pngOf(prediction[name])));
  save(zipped(names.map((name, i) => [`${name}.png`, pictures[i]])), `${list.dataset.name}-answers.zip`);
}

function saveAnswers() {
  const answers = inOrder().map(([row, prediction]) => [row.file.name, prediction]);
  save(answersCsv("file", answers, outputs), `${list.dataset.name}-answers.csv`);
}

const downloadButton = (text, onclick) =>
  make("button", { type: "button", className: "btn btn-outline-secondary", hidden: true, onclick }, text);
const downloads = [downloadButton("Download answers", saveAnswers)];
if (drawnNames.length) downloads.push(downloadButton("Download all pictures", savePictures));
form.querySelector(".count").before(...downloads);
const refreshDownloads = () => {
  for (const button of downloads) button.hidden = predictions.size === 0;
};
// Rows that were removed are in no file.
new MutationObserver(() => {
  for (const row of [...predictions.keys()]) if (!row.element.isConnected) predictions.delete(row);
  refreshDownloads();
}).observe(list, { childList: true });
const pictures = startPictures(form, list, {
  show(row, answer) {
    const [prediction] = answer.predictions;
    const similar = similarities(row, prediction);
    const parts = [...answerParts(prediction, outputs, answer), similar, explanation(row)];
    row.answer(...parts.filter(Boolean));
    drawBoxes(row.element, () => row.file);
    layOver(row.element, row.source);
    predictions.set(row, prediction);
    refreshDownloads();
    return spoken(prediction, outputs);
  },
});

watchExamples(form, (files) => pictures.add(files.map(([, file]) => file)));

/** Answers all pictures again, with their pixels scaled as another link says. */
watchScales((scale) => {
  const url = new URL(form.dataset.url, location.href);
  url.searchParams.set("scale", scale);
  form.dataset.url = url.href;
  pictures.again();
});
