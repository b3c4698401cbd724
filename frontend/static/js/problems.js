/** The API's problems, beside their fields. */

const control = (form, name) => {
  const field = form.elements.namedItem(name);
  return field instanceof HTMLElement && document.getElementById(`${field.id}-problem`) ? field : null;
};

function mark(field, text) {
  field.classList.toggle("is-invalid", text !== "");
  field.setAttribute("aria-invalid", String(text !== ""));
  document.getElementById(`${field.id}-problem`).textContent = text;
}

/** Clears all problems. */
export function clearProblems(form) {
  for (const field of form.elements) {
    if (field.name && control(form, field.name) === field) mark(field, "");
  }
}

/**
 * Shows the problems of an ApiError beside their fields and puts the focus on the first of these.
 * nameOf: the field that a problem belongs to, if its name differs. Returns the problems
 * that belong to none.
 */
export function showProblems(form, error, nameOf = (name) => name) {
  const left = [];
  for (const detail of error.details) {
    const field = control(form, nameOf(detail.field));
    if (!field) {
      left.push(detail);
      continue;
    }
    const where = field.name === detail.field ? "" : `${detail.field}: `;
    const problem = field.value === "" ? "missing" : detail.problem;
    const expected = detail.expected === undefined ? "" : `: expected ${detail.expected}`;
    const before = document.getElementById(`${field.id}-problem`).textContent;
    mark(field, `${before ? `${before}; ` : ""}${where}${problem}${expected}`);
  }
  form.querySelector('[aria-invalid="true"]')?.focus();
  return left;
}
