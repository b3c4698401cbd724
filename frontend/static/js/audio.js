/** Recordings in a form: chosen, dropped on the field, or recorded; each is drawn and can be heard. */
import { make } from "./dom.js";
import { canRecord, record, recordingProblem } from "./recorder.js";
import { decoded, drawWaveform } from "./waveform.js";

/** input: a file field of a recording. */
function enhance(input) {
  const field = input.closest(".field");
  const problem = document.getElementById(`${input.id}-problem`);
  const seconds = Number(input.dataset.seconds);
  const shown = make("div", {});
  const status = make("span", { className: "facts", role: "status" });
  let running = null;
  input.after(shown);

  const complain = (text) => {
    problem.textContent = text;
    input.setAttribute("aria-invalid", String(Boolean(text)));
  };

  async function show() {
    for (const player of shown.querySelectorAll("audio")) URL.revokeObjectURL(player.src);
    shown.replaceChildren();
    const [file] = input.files;
    if (!file) return;
    complain("");
    const player = make("audio", { controls: true, src: URL.createObjectURL(file) });
    player.setAttribute("aria-label", file.name);
    shown.replaceChildren(player);
    const buffer = await decoded(file);
    // Another one may have been chosen meanwhile.
    if (buffer && shown.contains(player)) player.before(drawWaveform(buffer, seconds));
  }

  function take(file) {
    const transfer = new DataTransfer();
    transfer.items.add(file);
    input.files = transfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  if (canRecord()) {
    const button = make("button", { type: "button", className: "btn btn-outline-secondary" }, "Record");
    button.addEventListener("click", async () => {
      if (running) {
        running.stop();
        return;
      }
      complain("");
      button.disabled = true;
      try {
        running = await record(seconds, (time) => {
          const text = `Recording, ${Math.floor(time)} s`;
          if (status.textContent !== text) status.textContent = text;
        });
      } catch (error) {
        complain(recordingProblem(error));
        return;
      } finally {
        button.disabled = false;
      }
      button.textContent = "Stop";
      const file = await running.done;
      running = null;
      button.textContent = "Record";
      status.textContent = "";
      take(file);
    });
    input.after(make("div", { className: "sending" }, button, status));
  }

  const carriesFiles = ({ dataTransfer }) => dataTransfer?.types.includes("Files");
  field.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    field.classList.add("dropping");
  });
  field.addEventListener("dragleave", () => field.classList.remove("dropping"));
  field.addEventListener("drop", (event) => {
    field.classList.remove("dropping");
    if (!carriesFiles(event) || !event.dataTransfer.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  input.addEventListener("change", show);
  show(); // what came back with the page
}

for (const input of document.querySelectorAll(".kind-audio input[type=file]")) enhance(input);
