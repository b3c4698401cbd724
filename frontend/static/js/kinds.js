/**
 * The page made of the parts of kinds: its form is sent in the background, and what differs is taken
 * out of the page that comes back.
 */
import { sizeText } from "./limits.js";
import { watchScales } from "./scales.js";
import { watchCsv } from "./tabular_csv.js";

const form = document.getElementById("kinds");
const progress = document.getElementById("progress");
const main = form.parentElement;
const button = form.querySelector("button.btn-primary");
let running = null;

/** Shows each chosen picture above its field's name. */
function preview(input) {
  const field = input.closest(".field");
  field.querySelector("img")?.remove();
  const [file] = input.files;
  if (!file) return;
  const image = new Image();
  image.className = "kind-preview";
  image.alt = "";
  image.onload = () => URL.revokeObjectURL(image.src);
  image.onerror = () => image.remove();
  image.src = URL.createObjectURL(file);
  input.after(image);
}

function tooLarge() {
  const files = [...form.querySelectorAll("input[type=file]")].flatMap((input) => [...input.files]);
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  const most = Number(form.dataset.maxBytes);
  return bytes > most ? `Too large: ${sizeText(bytes)} together, at most ${sizeText(most)} can be sent.` : "";
}

/** Copies problems and the answer from the page that the server answered with. */
function show(page) {
  main.querySelector(":scope > .alert")?.remove();
  const alert = page.querySelector("main > .alert");
  if (alert) form.before(document.importNode(alert, true));
  for (const place of form.querySelectorAll(".problem[id]")) {
    const problem = page.getElementById(place.id)?.textContent ?? "";
    place.textContent = problem;
    const field = document.getElementById(place.id.replace(/-problem$/, ""));
    field?.classList.toggle("is-invalid", problem !== "");
    field?.setAttribute("aria-invalid", String(problem !== ""));
  }
  const answer = document.getElementById("answer");
  const fresh = document.importNode(page.getElementById("answer"), true);
  fresh.removeAttribute("autofocus");
  answer.replaceWith(fresh);
  if (fresh.hidden) form.querySelector('[aria-invalid="true"]')?.focus();
  else fresh.scrollIntoView({ block: "nearest" });
  return !fresh.hidden;
}

async function send() {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  progress.textContent = tooLarge() || "Working…";
  if (tooLarge()) return;
  button.setAttribute("aria-busy", "true");
  let end = "The server cannot be reached. Check the connection, then try again.";
  try {
    const address = location.pathname + location.search;
    const response = await fetch(address, { method: "POST", body: new FormData(form), signal: mine.signal });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    if (page.getElementById("kinds")) end = show(page) ? "Done." : "No answer.";
    else end = page.querySelector(".alert p")?.textContent ?? `The server answered with status ${response.status}.`;
  } catch (error) {
    if (error.name === "AbortError") return;
  }
  button.removeAttribute("aria-busy");
  progress.textContent = end;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
form.addEventListener("change", ({ target }) => {
  if (target.type === "file") preview(target);
});
// The address has the scale by then.
watchScales(() => {
  if ([...form.querySelectorAll("input[type=file]")].some((input) => input.files.length)) send();
});

const many = document.getElementById("many");
if (many) {
  watchCsv(document.getElementById("csv"), document.getElementById("csv-result"), JSON.parse(many.dataset.model));
}
