/** One picture in the list, from its choice to its answer. */
import { make } from "./dom.js";
import { fileProblem, pixelProblem, sizeText } from "./limits.js";

export class PictureRow {
  /**
   * state: new, queued, sending, cancelled, answered, failed (trying again may help) or refused (it
   * never will). checked: resolves after all checks that need no server.
   */
  state = "new";
  #url;
  #shown = false;
  #facts;
  #said;

  constructor(file, limits, { onRemove, onRetry }) {
    this.file = file;
    this.onRetry = onRetry;
    this.#facts = make("p", { className: "facts" }, sizeText(file.size));
    this.#said = make("div", { className: "said" });
    const thumb = make("div", { className: "thumb" });
    const remove = {
      type: "button",
      className: "btn btn-outline-secondary btn-sm remove",
      "aria-label": `Remove ${file.name}`,
      onclick: () => onRemove(this),
    };
    this.element = make(
      "li",
      { className: "picture", tabIndex: -1 },
      thumb,
      make("div", { className: "who" }, make("p", { className: "name" }, file.name), this.#facts),
      make("button", remove, "Remove"),
      this.#said,
    );
    const problem = fileProblem(file, limits);
    if (problem) this.refuse(problem);
    this.checked = problem ? noPreview(thumb) : this.#preview(thumb, limits);
  }

  /** Shows the picture, and refuses it for its pixels. */
  async #preview(thumb, limits) {
    this.#url = URL.createObjectURL(this.file);
    const image = make("img", { src: this.#url, alt: "", draggable: false });
    const shown = await new Promise((resolve) => {
      image.addEventListener("load", () => resolve(true));
      image.addEventListener("error", () => resolve(false));
    });
    if (!shown) return noPreview(thumb); // a TIFF, or damaged: the server says which
    thumb.append(image);
    this.#shown = true;
    const { naturalWidth: width, naturalHeight: height } = image;
    this.#facts.append(`, ${width} × ${height} pixels`);
    const problem = pixelProblem(width, height, limits);
    if (problem) this.refuse(problem);
  }

  /** The address of the picture; null where the browser cannot show it. */
  get source() {
    return this.#shown ? this.#url : null;
  }

  /** Sets the row's state and its text. */
  #become(state, ...parts) {
    this.state = state;
    this.#said.replaceChildren(...parts);
  }

  queue() {
    this.#become("queued", make("p", { className: "facts" }, "Waiting"));
  }

  /** Begins to send. Returns a function to call with the fraction sent, 0 to 1. */
  send() {
    const text = make("p", { className: "facts" }, "Sending");
    const bar = make("progress", { value: 0, "aria-label": `Sending ${this.file.name}` });
    this.#become("sending", text, bar);
    return (part) => {
      bar.value = part;
      text.textContent = part < 1 ? `Sending, ${Math.floor(part * 100)} %` : "Sent, waiting for the answer";
    };
  }

  cancel() {
    this.#become("cancelled", make("p", { className: "facts" }, "Cancelled"));
  }

  answer(...parts) {
    this.#become("answered", ...parts);
  }

  refuse(problem) {
    this.problem = problem;
    this.#become("refused", make("p", { className: "problem" }, problem));
  }

  fail(problem) {
    this.problem = problem;
    const retry = {
      type: "button",
      className: "btn btn-outline-secondary btn-sm",
      "aria-label": `Try ${this.file.name} again`,
      onclick: () => this.onRetry(this),
    };
    this.#become("failed", make("p", { className: "problem" }, problem), make("button", retry, "Try again"));
  }

  /** Takes the row off the page and frees the picture. */
  close() {
    this.element.remove();
    if (this.#url) URL.revokeObjectURL(this.#url);
  }
}

function noPreview(thumb) {
  thumb.append(make("span", {}, "no preview"));
}
