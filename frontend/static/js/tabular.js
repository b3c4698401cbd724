/** The page of a tabular model: every change of the form is answered at once. */

import { ask } from "./api.js";
import { make, problemBox } from "./dom.js";
import { watchExamples } from "./examples.js";
import { latest } from "./latest.js";
import { Sensitivity, variable } from "./sensitivity.js";
import { drawn, spoken } from "./tabular_answer.js";
import { watchCsv } from "./tabular_csv.js";
import { RowForm } from "./tabular_form.js";

// Changes within this time are answered together, in ms.
const TOGETHER = 80;
// The answer is announced once the form has been unchanged for this time, in ms.
const STILL = 700;

const page = document.getElementById("tabular");
const { api } = page.dataset;
const output = JSON.parse(page.dataset.outputs);
const form = document.getElementById("row");
const reading = document.getElementById("answer");
const answer = reading.querySelector("[data-answer]");
const said = document.getElementById("said");

const row = new RowForm(form);
const sensitivity = new Sensitivity(reading.querySelector("figure"), api, output);
sensitivity.column = row.columns.find(variable) ?? null;
// The model's last answer and its row; null if there is no answer to the current form.
let current = null;
let problems = [];
let timer = null;
let speaking = null;

function say(text, wait) {
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    if (said.textContent !== text) said.textContent = text;
  }, wait);
}

function showNone(text) {
  current = null;
  answer.replaceChildren(make("p", { className: "reading-none" }, text));
  sensitivity.hide();
}

/** What is missing before there can be an answer. */
function explain(details) {
  const missing = details.filter((d) => d.problem === "missing").length;
  const wrong = new Set(details.map((d) => d.field)).size;
  if (missing === details.length)
    return `Fill in ${missing === 1 ? "the field that is" : `the ${missing} fields that are`} empty to see the answer.`;
  return `No answer yet: ${wrong} ${wrong === 1 ? "field needs" : "fields need"} a change.`;
}

/** submitted: whether the button was pressed, which shows all problems and takes the focus there. */
const update = latest(async (signal, submitted, quiet) => {
  const { values } = row;
  reading.toggleAttribute("data-asking", true);
  try {
    const [prediction] = (await ask(api, { json: values, signal })).predictions;
    problems = [];
    row.show(problems, submitted);
    document.getElementById("problems")?.remove();
    current = { values, prediction };
    answer.replaceChildren(...drawn(prediction, output));
    if (!quiet) say(spoken(prediction, output), submitted ? 0 : STILL);
    sensitivity.update(values, prediction);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error.code === "invalid_input") {
      problems = error.details;
      const first = row.show(problems, submitted);
      const text = explain(problems);
      showNone(text);
      if (submitted) first?.input.focus();
      say(text, submitted ? 0 : STILL);
    } else if (answer.querySelector(".alert p")?.textContent !== error.message) {
      showNone("");
      answer.replaceChildren(problemBox(error));
    }
  }
  reading.toggleAttribute("data-asking", false);
});

function changed() {
  if (timer !== null) return;
  timer = setTimeout(() => {
    timer = null;
    update(false);
  }, TOGETHER);
}

/** Plot over the column that the user is editing. */
function attend(target) {
  const column = row.columnOf(target);
  if (!column || column === sensitivity.column || !variable(column)) return;
  sensitivity.column = column;
  if (current) sensitivity.update(current.values, current.prediction);
}

form.addEventListener("input", (e) => {
  attend(e.target);
  changed();
});
form.addEventListener("focusin", (e) => attend(e.target));
form.addEventListener("change", () => row.show(problems, false));
form.addEventListener("submit", (e) => {
  e.preventDefault();
  clearTimeout(timer);
  timer = null;
  update(true);
});

watchExamples(form, () => {
  problems = [];
  clearTimeout(timer);
  timer = null;
  update(true);
});

document.getElementById("refill").addEventListener("submit", (e) => {
  e.preventDefault();
  const clear = e.submitter?.name === "empty";
  document.getElementById("problems")?.remove();
  row.fill(!clear);
  problems = [];
  if (clear) {
    update.cancel();
    showNone("Fill in the fields to see the answer.");
    reading.toggleAttribute("data-asking", false);
    row.columns[0].input.focus();
  } else changed();
});

// With problems that the server has put beside the fields, the page stays as it is.
if (!form.querySelector(".is-invalid")) {
  if (row.complete) update(false, true);
  else if (!answer.querySelector(".reading-value, .reading-values")) showNone("Fill in the fields to see the answer.");
}
watchCsv(document.getElementById("csv"), document.getElementById("csv-result"), {
  api,
  output,
  names: row.columns.map((c) => c.name),
});
