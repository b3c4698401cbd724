/** Copying to the clipboard, and the buttons for it. */

import { make } from "./dom.js";

const SHOWN_MS = 2000;

/** Whether it worked. */
async function copied(text) {
  // Browsers offer the clipboard API only to pages that came over HTTPS or from the machine
  // itself.
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
 * Makes a button copy, and announce it.
 * text: a function that returns the text to copy. said: the element of role "status" that announces it.
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

/** A button that copies, with the element that announces it. what: its description for screen readers. */
export function copyButton(text, what) {
  const said = make("span", { role: "status", className: "visually-hidden" });
  const button = make("button", { type: "button", className: "btn btn-sm btn-outline-secondary" });
  button.append("Copy", make("span", { className: "visually-hidden" }, ` ${what}`));
  copies(button, text, said);
  return make("span", { className: "copy" }, button, said);
}
