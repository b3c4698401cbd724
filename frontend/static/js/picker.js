/** Four ways to add pictures: chosen, dropped anywhere, pasted, or taken by the camera. */
import { cameraButton } from "./camera.js";

const carriesFiles = (transfer) => transfer?.types.includes("Files");
const isEditable = (element) =>
  element instanceof Element && element.closest("input:not([type=file]), textarea, [contenteditable]");

/**
 * form: of the template's `picker`. onFiles: called with an array of files, at least one.
 * onProblem: called with a message for people, or "" to clear it.
 */
export function startPicker(form, { onFiles, onProblem }) {
  const input = form.elements.image;
  const zone = form.querySelector(".drop");
  input.required = false; // pictures may come by other ways
  zone.classList.add("enhanced");
  zone.querySelector("label").className = "btn btn-primary";
  form.querySelector(".drop-hint").hidden = false;

  const chosen = () => {
    const files = [...input.files];
    input.value = ""; // so that the same file can be chosen again
    if (files.length) onFiles(files);
  };
  input.addEventListener("change", chosen);
  chosen(); // what was chosen before this module ran, or came back with the page

  const camera = cameraButton(input, { onFile: (file) => onFiles([file]), onProblem });
  if (camera) input.after(camera);

  const highlight = (on) => zone.classList.toggle("dropping", on);
  document.addEventListener("dragover", (event) => {
    if (!carriesFiles(event.dataTransfer)) return;
    event.preventDefault(); // else the browser leaves the page to show the file
    event.dataTransfer.dropEffect = "copy";
    highlight(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) highlight(false);
  });
  document.addEventListener("drop", (event) => {
    highlight(false);
    if (!carriesFiles(event.dataTransfer)) return;
    event.preventDefault();
    if (event.dataTransfer.files.length) onFiles([...event.dataTransfer.files]);
  });

  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    const text = event.clipboardData.types.includes("text/plain");
    // Documents paste as text and as a picture: in a field, the text is meant.
    if (!files.length || (text && isEditable(event.target))) return;
    event.preventDefault();
    onFiles(files);
  });
}
