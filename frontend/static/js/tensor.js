/** Lists in, lists out. */

import { open } from "./api.js";
import { copies } from "./copy.js";
import { problemBox } from "./dom.js";
import { watchExamples } from "./examples.js";
import { layout, parse } from "./layout.js";
import { clearProblems, showProblems } from "./problems.js";

const $ = (id) => document.getElementById(id);
const form = $("tensor");
const answer = $("answer");
const { url, maxLines } = form.dataset;

/** The whole answer: the page shows only its first lines. */
let whole = answer.querySelector("pre").textContent;
let running = null;

function show(predictions) {
  whole = layout(predictions);
  const lines = whole.split("\n");
  const more = lines.length - maxLines;
  answer.querySelector("pre").textContent = lines.slice(0, maxLines).join("\n");
  $("more").textContent =
    more > 0
      ? `These are the first ${maxLines} of ${lines.length.toLocaleString("en")} lines. Copy and Download give all of them.`
      : "";
  answer.hidden = false;
  answer.scrollIntoView({ block: "nearest" });
}

async function predict() {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  clearProblems(form);
  $("failure").replaceChildren();
  $("progress").textContent = "Working…";
  let end = "";
  try {
    const response = await open(url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: form.elements.body.value,
      signal: mine.signal,
    });
    const { predictions } = parse(await response.text());
    if (mine !== running) return;
    show(predictions);
    end = `Done: ${predictions.length.toLocaleString("en")} ${predictions.length === 1 ? "answer" : "answers"}.`;
  } catch (error) {
    if (mine !== running) return;
    end = "No answer.";
    refuse(error);
  }
  $("progress").textContent = end;
}

/** The API's message for a body that is not JSON, worded as on the page without scripts. */
function inWords(message) {
  return message.replace(/^the body is (not JSON.*): line (\d+) column (\d+).*$/s, "this is $1 at line $2, column $3");
}

/** Every problem of the request belongs to the one field. */
function refuse(error) {
  answer.hidden = true;
  if (error.code === "bad_request") error.details = [{ field: "body", problem: inWords(error.message) }];
  if (error.details?.length) showProblems(form, error, () => "body");
  else $("failure").append(problemBox(error));
}

/** Saves the whole answer as a file. */
function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${whole}\n`], { type: "application/json" }));
  link.download = `${url.split("/").at(-1)}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  predict();
});
watchExamples(form, predict);
copies($("copy"), () => whole, $("copied"));
$("download").addEventListener("click", download);
