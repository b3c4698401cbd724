/** Building pages from text that is not trusted: never as HTML. */

/** An element. props: attributes, `on…` listeners, or properties that the element has. */
export function make(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** What went wrong, as a box that screen readers announce. error: an ApiError. */
export function problemBox(error) {
  const details = (error.details ?? []).map(({ field, problem, expected }) =>
    make(
      "li",
      {},
      field ? make("strong", {}, `${field}: `) : null,
      problem,
      expected === undefined ? "" : `; expected ${expected}`,
    ),
  );
  return make(
    "div",
    { className: "alert alert-danger", role: "alert" },
    make("p", {}, error.message),
    details.length ? make("ul", {}, ...details) : null,
    error.id ? make("p", { className: "facts" }, `Request ${error.id}`) : null,
  );
}
