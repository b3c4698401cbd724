/** One picture to every image model, side by side. */
import { answerParts } from "./bars.js";
import { make } from "./dom.js";
import { startPictures } from "./pictures.js";
import { headline, partsOf } from "./readings.js";

const grid = document.querySelector(".compared");
const before = new Map(); // name -> what its card said at first

/** The place of a model's answer. Models that became ready after the page loaded get a card of their own. */
function place(name) {
  const card = grid.querySelector(`[data-model="${CSS.escape(name)}"]`);
  if (card) return card.querySelector(".said");
  const said = make("div", { className: "said" });
  const body = make("div", { className: "card-body" }, make("h2", { className: "card-title" }, name), said);
  grid.append(make("article", { className: "card", "data-model": name }, body));
  return said;
}

function fill(name, parts) {
  const said = place(name);
  if (!before.has(name)) before.set(name, [...said.childNodes]);
  said.replaceChildren(...parts);
}

startPictures(document.querySelector(".pictures-form"), document.querySelector(".pictures"), {
  single: true,
  show(row, answers) {
    const said = Object.entries(answers).map(([name, answer]) => {
      if (answer.error) {
        fill(name, [make("p", { className: "problem" }, answer.error.message)]);
        return `${name}: no answer`;
      }
      fill(name, answerParts(answer.predictions[0], null, answer));
      const [part] = partsOf(answer.predictions[0]);
      return `${name}: ${headline(part)}`;
    });
    const answered = Object.values(answers).filter((answer) => !answer.error).length;
    row.answer(make("p", {}, `${answered} of ${said.length} models answered.`));
    return said.join("; ");
  },
  onReset() {
    for (const [name, parts] of before) place(name).replaceChildren(...parts);
  },
});
