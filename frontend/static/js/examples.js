/**
 * The examples of a model's page: one click fills in the form, files included. An example that is too
 * long to be filled in, or whose files cannot be fetched, is sent as without scripts.
 */

async function fetched({ name, url }) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: status ${response.status}`);
  const blob = await response.blob();
  return new File([blob], name, { type: blob.type });
}

function fill(element, text) {
  element.value = text;
  // Several radio buttons are no element of the page.
  if (!(element instanceof HTMLElement)) return;
  for (const type of ["input", "change"]) element.dispatchEvent(new Event(type, { bubbles: true }));
}

/**
 * form: of the page. use: called once the fields are filled in, with the files: `[field, File]` each.
 */
export function watchExamples(form, use) {
  const examples = document.getElementById("examples");
  for (const button of examples?.querySelectorAll("[data-fill]") ?? []) {
    button.addEventListener("click", async (event) => {
      event.preventDefault();
      const { fields, files } = JSON.parse(button.dataset.fill);
      let read;
      try {
        read = await Promise.all(files.map(async (file) => [file.field, await fetched(file)]));
      } catch {
        examples.action = button.formAction;
        examples.submit();
        return;
      }
      for (const [name, text] of Object.entries(fields)) fill(form.elements.namedItem(name), text);
      use(read);
    });
  }
}
