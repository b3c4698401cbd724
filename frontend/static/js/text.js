/** Texts that appear word by word. */

import { ApiError, open } from "./api.js";
import { copies } from "./copy.js";
import { problemBox } from "./dom.js";
import { events } from "./events.js";
import { watchExamples } from "./examples.js";
import { clearProblems, showProblems } from "./problems.js";

const LOST = "The connection to the server was lost. What was written so far is kept.";
const NOT_TO_ITS_END = "This is shown when a text is written to its end.";

const $ = (id) => document.getElementById(id);
const form = $("writer");
const answer = $("answer");
const [stop, copy, again, progress] = ["stop", "copy", "again", "progress"].map($);
const written = $("written").querySelector("mark");
const rest = $("actual").querySelector(".rest");
const { url, unit } = form.dataset;

/** The AbortController of the text being written, if there is one. */
let running = null;
/** The request for the text on the page; null for a text that came with the page. */
let asked = null;

/** The form's values as the API expects them. */
function order() {
  const { seed, start, diversity, words } = form.elements;
  const numberOf = (field) => (Number.isNaN(field.valueAsNumber) ? null : field.valueAsNumber);
  return {
    seed: start?.value === "random" ? null : seed.value,
    diversity: numberOf(diversity),
    words: numberOf(words),
  };
}

/** The characters between the seed and the text that follows: see `gap` in app/web/models/text_page.py. */
function gap(seed, text) {
  const together = unit === "character" || /^[.,;:!?)\]}%’”…]/u.test(text) || /[\s([{$#“‘]$/u.test(seed);
  return together ? "" : " ";
}

/** Shows the beginning of one of the two texts. text: its continuation, or the first words of it. */
function begin(paragraph, seed, text) {
  paragraph.querySelector(".seed").textContent = seed;
  paragraph.querySelector(".gap").textContent = gap(seed, text);
}

/** A new text takes the place of the one before. */
function start(what, { seed, unknown_words: unknown }) {
  const random = what.seed === null;
  asked = what;
  for (const whose of answer.querySelectorAll(".whose"))
    whose.textContent = `${random ? "Random" : "Your"} beginning: `;
  begin($("written"), seed, "");
  begin($("actual"), seed, "");
  written.textContent = rest.textContent = "";
  $("written-title").textContent = random ? "How the model continues" : "The text";
  $("actual").parentElement.hidden = !random;
  answer.querySelector(".versions").classList.toggle("pair", random);
  $("unknown").textContent = unknown ? `Not known to the model: ${unknown.join(", ")}` : "";
  answer.hidden = false;
  answer.scrollIntoView({ block: "nearest" });
}

/** Show a text while it arrives. Returns how it ended, in words. Throws ApiError. */
async function show(what, response) {
  let [seed, count] = ["", 0];
  const soFar = () => `${count} ${unit}${count === 1 ? "" : "s"}.`;
  try {
    for await (const { name, data } of events(response.body)) {
      if (name === "start") {
        seed = data.seed;
        start(what, data);
      } else if (name === "word") {
        if (!written.textContent) begin($("written"), seed, data.text);
        written.append(data.text);
        count += 1;
      } else if (name === "done") {
        const { actual } = data.predictions[0];
        if (actual !== undefined) {
          begin($("actual"), seed, actual);
          rest.textContent = actual;
        }
        return `Done: ${soFar()}`;
      } else if (name === "error") {
        throw new ApiError(data.error.message, { ...data.error, id: data.id });
      }
    }
  } catch (error) {
    if (error.name === "AbortError") return `Stopped after ${soFar()}`;
    // Browsers' names for a broken connection mean nothing to users.
    throw error instanceof ApiError ? error : new ApiError(LOST);
  }
  throw new ApiError(LOST);
}

/** Show what went wrong before the first word, beside the fields if they are the cause. */
function refuse(error) {
  if (error.name === "AbortError") return "Stopped.";
  const left = showProblems(form, error);
  if (left.length || !error.details.length) {
    error.details = left;
    $("failure").append(problemBox(error));
  }
  return answer.hidden ? "Nothing was written." : "Nothing new was written."; // below stands the text before
}

/** Shows the buttons for a text being written, or for a finished one. The focus leaves a button that
 * is removed. */
function offer(writing) {
  const focused = document.activeElement;
  stop.hidden = !writing;
  again.hidden = copy.hidden = writing || answer.hidden;
  answer.setAttribute("aria-busy", String(writing));
  if (writing && focused === again) stop.focus();
  if (!writing && focused === stop) (again.hidden ? form.querySelector(".btn-primary") : again).focus();
}

/** Ask for a text. One still being written is cancelled. */
async function write(what) {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  clearProblems(form);
  $("failure").replaceChildren();
  offer(true);
  progress.textContent = "Writing…";
  let end = "";
  try {
    const response = await open(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
      body: JSON.stringify(what),
      signal: mine.signal,
    });
    try {
      end = await show(what, response);
    } catch (error) {
      if (mine === running) $("failure").append(problemBox(error));
      end = "The text breaks off.";
    }
    if (mine === running && asked === what && what.seed === null) rest.textContent ||= NOT_TO_ITS_END;
  } catch (error) {
    if (mine === running) end = refuse(error);
  }
  if (mine !== running) return;
  running = null;
  progress.textContent = end;
  offer(false);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  write(order());
});
watchExamples(form, () => write(order()));
stop.addEventListener("click", () => running?.abort());
again.addEventListener("click", () => write(asked ?? order()));
copies(
  copy,
  () =>
    ["seed", "gap"].map((part) => $("written").querySelector(`.${part}`).textContent).join("") + written.textContent,
  $("copied"),
);

const [slider, number] = [$("diversity-slider"), $("diversity")];
slider.addEventListener("input", () => (number.value = slider.value));
number.addEventListener("input", () => (slider.value = number.value));
