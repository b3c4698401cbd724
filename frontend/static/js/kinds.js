/**
 * The page made of the parts of kinds: its form is sent in the background, and what differs is taken
 * out of the page that comes back.
 */
import { drawBoxes } from "./boxes.js";
import { layOver } from "./drawn.js";
import { watchExamples } from "./examples.js";
import { sizeText } from "./limits.js";
import { watchScales } from "./scales.js";
import { watchCsv } from "./tabular_csv.js";

const form = document.getElementById("kinds");
const progress = document.getElementById("progress");
const main = form.parentElement;
const button = form.querySelector("button.btn-primary");
let running = null;
// Of the picture that masks are laid over.
let source = null;

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
  drawBoxes(fresh, (name) => form.querySelector(`[data-input="${CSS.escape(name)}"] input[type=file]`)?.files[0]);
  const [file] = form.querySelector("input[type=file]")?.files ?? [];
  if (source) URL.revokeObjectURL(source);
  source = file ? URL.createObjectURL(file) : null;
  layOver(fresh, source);
  if (fresh.hidden) form.querySelector('[aria-invalid="true"]')?.focus();
  else fresh.scrollIntoView({ block: "nearest" });
  return !fresh.hidden;
}

/** explain: what else is asked for, if anything. */
async function send(explain) {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  progress.textContent = tooLarge() || "Working…";
  if (tooLarge()) return;
  button.setAttribute("aria-busy", "true");
  let end = "The server cannot be reached. Check the connection, then try again.";
  try {
    const address = new URL(location.href);
    if (explain) address.searchParams.set("explain", explain);
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
  send(event.submitter?.dataset.explain);
});
form.addEventListener("change", ({ target }) => {
  if (target.type === "file" && target.accept.startsWith("image/")) preview(target);
});
watchExamples(form, (files) => {
  for (const [name, file] of files) {
    const input = form.elements.namedItem(name);
    const chosen = new DataTransfer();
    chosen.items.add(file);
    input.files = chosen.files;
    preview(input);
  }
  send();
});
// The address has the scale by then.
watchScales(() => {
  if ([...form.querySelectorAll("input[type=file]")].some((input) => input.files.length)) send();
});

const many = document.getElementById("many");
if (many) {
  watchCsv(document.getElementById("csv"), document.getElementById("csv-result"), JSON.parse(many.dataset.model));
}
