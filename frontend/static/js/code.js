/** Adds a copy button to each program of a model's page, and shows times in the reader's time zone. */

import { copyButton } from "./copy.js";

for (const code of document.querySelectorAll("#code pre > code")) {
  code.parentElement.before(copyButton(() => code.textContent, code.dataset.what));
}

const format = new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeStyle: "short" });
for (const time of document.querySelectorAll("#about time")) {
  time.textContent = format.format(new Date(time.dateTime));
}
