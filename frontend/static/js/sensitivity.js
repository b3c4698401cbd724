/** How the answer changes over one column while the others stay as they are. */

import { ask } from "./api.js";
import { drawCurve } from "./curve.js";
import { make } from "./dom.js";
import { latest } from "./latest.js";
import { measure } from "./tabular_answer.js";

const POINTS = 33;
const MOST_CHOICES = 12;
// As keraport.css lays the answer out at the foot of a small screen.
const small = matchMedia("(max-width: 60rem)");

/** The values of a column to predict for. */
function spread(column) {
  if (column.kind === "choice") return column.choices.map(([value]) => value);
  const [min, max] = [Number(column.input.min), Number(column.input.max)];
  const values = Array.from({ length: POINTS }, (_, i) => Math.min(max, min + ((max - min) * i) / (POINTS - 1)));
  return column.kind === "integer" ? [...new Set(values.map(Math.round))] : values;
}

/** Whether a column has a range to plot over. */
export function variable(column) {
  return column.slides || (column.kind === "choice" && column.choices.length <= MOST_CHOICES);
}

export class Sensitivity {
  /** figure: to draw in. api: the model's address. */
  constructor(figure, api, output) {
    Object.assign(this, { figure, api, output });
    this.column = null;
    // The last request, and its predictions.
    this.asked = null;
    this.found = [];
    new ResizeObserver(() => this.found.length && !figure.hidden && this.#draw()).observe(figure.parentElement);
    this.request = latest((signal, rows) => this.#ask(signal, rows));
  }

  hide() {
    this.request.cancel();
    this.asked = null;
    this.figure.hidden = true;
  }

  /** Draw for `this.column`. values: the row, which the model answered with `prediction`. */
  async update(values, prediction) {
    const shown = this.column && measure(prediction, this.output);
    if (!shown) return this.hide();
    const { [this.column.name]: at, ...others } = values;
    Object.assign(this, { shown, at: [at, shown.of(prediction)] });
    const key = JSON.stringify([this.column.name, others]);
    // Moving along the curve does not change it.
    if (this.asked === key) return this.found.length ? this.#draw() : undefined;
    this.asked = key;
    this.found = [];
    const xs = spread(this.column);
    try {
      const newest = await this.request(xs.map((x) => ({ ...others, [this.column.name]: x })));
      if (newest) this.#draw();
    } catch {
      // The answer itself says what is wrong; the next one brings the plot back.
      this.hide();
    }
  }

  async #ask(signal, rows) {
    const { column } = this;
    const { predictions } = await ask(this.api, { json: rows, signal });
    this.found = rows.map((row, i) => [row[column.name], predictions[i]]);
  }

  #draw() {
    const { column, shown } = this;
    const points = this.found.map(([x, prediction]) => [x, shown.of(prediction)]);
    if (!points.some(([, y]) => y !== null)) return this.hide();
    const title = make("p", { className: "sensitivity-title" }, `How ${shown.title} changes with ${column.name}`);
    this.figure.hidden = false;
    this.figure.replaceChildren(title, ...(column.kind === "choice" ? this.#bars(points) : this.#curve(points)));
  }

  #curve(points) {
    const { column, shown, at } = this;
    const unit = column.unit ? ` ${column.unit}` : "";
    const known = points.filter(([, y]) => y !== null);
    const [[x0, y0], [x1, y1]] = [known[0], known.at(-1)];
    const words = `From ${shown.text(y0)} at ${x0}${unit} to ${shown.text(y1)} at ${x1}${unit}`;
    const chart = drawCurve({
      width: this.figure.clientWidth,
      height: small.matches ? 84 : 150,
      points,
      at: typeof at[0] === "number" ? at : null,
      range: shown.range,
      dots: column.kind === "integer" && points.length < POINTS,
      text: shown.text,
      label: `${shown.title} over ${column.name}. ${words}.`,
    });
    return [chart, make("figcaption", {}, `${words}, all other fields as they are.`)];
  }

  #bars(points) {
    const { column, shown, at } = this;
    const ys = points.map(([, y]) => y ?? 0);
    const [low, high] = shown.range ?? [Math.min(0, ...ys), Math.max(0, ...ys)];
    const labels = new Map(column.choices);
    const part = (value) => `${((value / (high - low || 1)) * 100).toFixed(1)}%`;
    const items = points.map(([x, y]) => {
      const bar = make("span", { className: "choice-bar" });
      bar.style.marginLeft = part(Math.min(0, y ?? 0) - low);
      bar.style.width = part(Math.abs(y ?? 0));
      const chosen = x === at[0];
      return make(
        "li",
        { className: chosen ? "chosen" : "" },
        make("span", {}, chosen ? `${labels.get(x)} (chosen)` : labels.get(x)),
        " ",
        make("span", {}, y === null ? "not among the likeliest" : shown.text(y)),
        make("span", { className: "choice-track", "aria-hidden": "true" }, bar),
      );
    });
    return [make("ul", { className: "choices" }, ...items), make("figcaption", {}, "All other fields as they are.")];
  }
}
