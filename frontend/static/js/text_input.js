/** The page of a model that takes a text: it answers while the text is typed. */

import { ask } from "./api.js";
import { answerParts } from "./bars.js";
import { problemBox } from "./dom.js";
import { watchExamples } from "./examples.js";
import { heats } from "./heat.js";
import { latest } from "./latest.js";
import { clearProblems, showProblems } from "./problems.js";
import { spoken } from "./readings.js";
import { watchCsv } from "./tabular_csv.js";

// Keys within this time are answered together, in ms.
const TOGETHER = 250;

const form = document.getElementById("text-input");
const answer = document.getElementById("answer");
const progress = document.getElementById("progress");
const asked = JSON.parse(form.dataset.asked);
const { text } = form.elements;
let timer = null;

function hide(words) {
  answer.hidden = true;
  answer.replaceChildren();
  progress.textContent = words;
}

/**
 * submitted: whether a button was pressed, which shows problems beside the field. explain: what else is
 * asked for, if anything.
 */
const update = latest(async (signal, submitted, explain) => {
  try {
    const whole = await ask(explain ? `${asked.api}?explain=${explain}` : asked.api, { json: text.value, signal });
    const [prediction] = whole.predictions;
    clearProblems(form);
    const { explanation, ...plain } = whole;
    const drawn = explanation ? heats(explanation, asked.output) : [];
    answer.replaceChildren(...answerParts(prediction, asked.output, plain), ...drawn);
    answer.hidden = false;
    progress.textContent = spoken(prediction, asked.output);
    if (submitted) answer.scrollIntoView({ block: "nearest" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    hide("No answer yet.");
    if (error.code === "invalid_input") {
      clearProblems(form);
      // Half a word is no mistake yet.
      error.details = error.details.map((detail) => ({ ...detail, field: "text" }));
      if (submitted) showProblems(form, error);
    } else {
      answer.hidden = false;
      answer.replaceChildren(problemBox(error));
    }
  }
});

text.addEventListener("input", () => {
  clearTimeout(timer);
  if (text.value.trim()) {
    timer = setTimeout(update, TOGETHER, false);
    return;
  }
  update.cancel();
  clearProblems(form);
  hide("");
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(timer);
  update(true, event.submitter?.dataset.explain);
});
// Browsers keep what was typed before the page was loaded again.
if (text.value.trim() && answer.hidden && !form.querySelector(".is-invalid")) update(false);

watchExamples(form, () => {
  clearTimeout(timer);
  update(true);
});
watchCsv(document.getElementById("csv"), document.getElementById("csv-result"), asked);
