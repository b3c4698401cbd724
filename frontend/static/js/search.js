/** Filters the list of models while the user types; without this module the form asks the server. */

const form = document.querySelector("form[role=search]");
const field = form.elements.q;
const count = document.querySelector("#found");
const models = [...document.querySelectorAll(".models > li")];

function narrow() {
  const words = field.value.toLowerCase().split(/\s+/);
  for (const model of models) {
    const text = model.textContent.toLowerCase();
    model.hidden = !words.every((word) => text.includes(word));
  }
  const shown = models.filter((model) => !model.hidden).length;
  count.textContent = `${shown} of ${models.length} models`;
}

form.addEventListener("submit", (event) => event.preventDefault());
field.addEventListener("input", narrow);
form.querySelector("button").hidden = true;
