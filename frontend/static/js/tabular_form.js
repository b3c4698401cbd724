/** The form of one row: its values, and the problems beside its fields. */

import { addSlider } from "./slider.js";

// Numbers as the server reads them from a form.
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** One input. kind: number, integer, text or choice. slides: whether it has a range to move in. */
class Column {
  constructor(input) {
    const { name, kind, unit, example = "" } = input.dataset;
    Object.assign(this, { input, name, kind, unit, example, touched: false });
    this.problem = document.getElementById(`${input.id}-problem`);
    const limited = input.min !== undefined && input.min !== "" && input.max !== "";
    this.slides = (kind === "number" || kind === "integer") && limited && Number(input.min) < Number(input.max);
    this.slider = this.slides ? addSlider(input, unit) : null;
  }

  /** The value for JSON; undefined if the field is empty. Text that is not a number stays text. */
  get value() {
    const text = this.input.value.trim();
    // Browsers return no text for input that they cannot read as a number.
    if (this.input.validity.badInput) return "";
    if (text === "") return undefined;
    if (this.kind === "text" || this.kind === "choice") return this.input.value;
    const number = NUMBER.test(text) ? Number(text) : NaN;
    return Number.isFinite(number) ? number : text;
  }

  set value(value) {
    this.input.value = value;
    this.touched = false;
    this.slider?.follow();
  }

  /** The values that may be sent and their labels, of a choice. */
  get choices() {
    return [...this.input.options].filter((o) => o.value !== "").map((o) => [o.value, o.label]);
  }

  say(problem) {
    this.problem.textContent = problem;
    this.input.classList.toggle("is-invalid", problem !== "");
    this.input.setAttribute("aria-invalid", problem === "" ? "false" : "true");
  }
}

export class RowForm {
  constructor(form) {
    this.form = form;
    this.columns = [...form.querySelectorAll("[data-name]")].map((input) => new Column(input));
    this.typing = null;
    form.addEventListener("input", (e) => {
      this.typing = this.columnOf(e.target);
    });
    form.addEventListener("change", (e) => {
      this.typing = null;
      const column = this.columnOf(e.target);
      if (column) column.touched = true;
    });
  }

  /** The column that an element of the form belongs to; a slider is its input's. */
  columnOf(element) {
    const field = element.closest(".field");
    return this.columns.find((c) => field?.contains(c.input));
  }

  get values() {
    return Object.fromEntries(this.columns.map((c) => [c.name, c.value]));
  }

  get complete() {
    return this.columns.every((c) => c.value !== undefined);
  }

  fill(withExample) {
    for (const column of this.columns) {
      column.value = withExample ? column.example : "";
      column.say("");
    }
  }

  /**
   * Put the API's problems beside their fields: all of them, or (while the user is typing) those of
   * fields that have been filled in and left. Returns the first field that is wrong.
   */
  show(details, all) {
    const wrong = new Map();
    for (const { field, problem, expected } of details) {
      const text = expected === undefined ? problem : `${problem}: expected ${expected}`;
      wrong.set(field, [...(wrong.get(field) ?? []), text]);
    }
    let first = null;
    for (const column of this.columns) {
      const texts = wrong.get(shortened(column.name)) ?? [];
      if (all) column.touched = true;
      // No new problem appears while a number is being typed; an existing one may change or go.
      const typing = column === this.typing && !all && column.problem.textContent === "";
      column.say(column.touched && !typing ? texts.join("; ") : "");
      if (texts.length) first ??= column;
    }
    return first;
  }
}

/** As the API writes names in its problems. */
function shortened(name) {
  const characters = [...name];
  return characters.length <= 100 ? name : `${characters.slice(0, 100).join("")}…`;
}
