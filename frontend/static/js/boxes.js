/** Boxes drawn on the picture that was sent, above the list that the server or readings.js wrote. */
import { make } from "./dom.js";

const COLOURS = 6;
const percent = (part, whole) => `${(100 * part) / whole}%`;

/** Loads a file that the browser can show. Resolves to an image, or to null for a TIFF and the like. */
async function load(file) {
  const image = make("img", { alt: "", draggable: false });
  image.src = URL.createObjectURL(file);
  try {
    await image.decode();
    return image;
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(image.src);
  }
}

/** A box with its number in the list, and its label. */
function frame({ label, box }, number, colour, { naturalWidth: width, naturalHeight: height }) {
  const tag = make("span", { className: "box-tag" }, `${number} ${label}`);
  const element = make("span", { className: "box-frame", "data-colour": String(colour) }, tag);
  element.style.left = percent(box.xmin, width);
  element.style.top = percent(box.ymin, height);
  element.style.width = percent(box.xmax - box.xmin, width);
  element.style.height = percent(box.ymax - box.ymin, height);
  return element;
}

/**
 * Draws the boxes of every answer in `place` on its picture. pictureOf: returns the file of an input,
 * by its name.
 */
export async function drawBoxes(place, pictureOf) {
  for (const answer of place.querySelectorAll(".boxes-answer")) {
    const boxes = JSON.parse(answer.dataset.boxes);
    const file = pictureOf(answer.dataset.picture);
    const image = file && boxes.length ? await load(file) : null;
    if (!image) continue;
    const labels = [...new Set(boxes.map(({ label }) => label))];
    const frames = boxes.map((each, i) => frame(each, i + 1, labels.indexOf(each.label) % COLOURS, image));
    // The list below says the same in words.
    answer.querySelector(".boxed")?.remove();
    answer.prepend(make("div", { className: "boxed", "aria-hidden": "true" }, image, ...frames));
  }
}
