/** Copying to the clipboard, and the buttons for it. */

import { make } from "./dom.js";

const SHOWN_MS = 2000;

/** Whether it worked. */
async function copied(text) {
  // Browsers have the clipboard's own interface only where the page came by HTTPS or from the
  // machine itself.
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    );
  }
  const focused = document.activeElement;
  const area = make("textarea", { value: text, className: "visually-hidden", ariaHidden: "true" });
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}

/**
 * Lets a button copy, and say so.
 * text: a function that tells what to copy. said: the element of role "status" that announces it.
 */
export function copies(button, text, said) {
  const label = button.textContent;
  let timer = 0;
  button.addEventListener("click", async () => {
    const word = (await copied(text())) ? "Copied" : "Not copied: select it by hand";
    button.textContent = word;
    said.textContent = word;
    clearTimeout(timer);
    timer = setTimeout(() => {
      button.textContent = label;
      said.textContent = "";
    }, SHOWN_MS);
  });
}

/** A button that copies, with what announces it. what: said of it to screen readers. */
export function copyButton(text, what) {
  const said = make("span", { role: "status", className: "visually-hidden" });
  const button = make("button", { type: "button", className: "btn btn-sm btn-outline-secondary" });
  button.append("Copy", make("span", { className: "visually-hidden" }, ` ${what}`));
  copies(button, text, said);
  return make("span", { className: "copy" }, button, said);
}
