/** Masks and pictures in answers: drawn as outputs/mask.html and picture.html, then laid over what was sent. */
import { make } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";

/** A part of a whole for people. */
const percent = (share) => `${(share * 100).toFixed(1)} %`;

/** A mask in a few words: its most frequent labels. */
export function maskWords({ classes }) {
  const found = [...classes].sort((a, b) => b.share - a.share).filter(({ share }) => share > 0);
  return found.map(({ label, share }) => `${label} ${percent(share)}`).join(", ");
}

/** Where a part of a picture is: its corners in whole pixels. */
export const placeOf = ({ xmin, ymin, xmax, ymax }) =>
  `${Math.round(xmin)}, ${Math.round(ymin)} to ${Math.round(xmax)}, ${Math.round(ymax)}`;

function swatch(color) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 1 1");
  svg.setAttribute("aria-hidden", "true");
  const square = document.createElementNS(SVG, "rect");
  for (const [name, value] of Object.entries({ width: 1, height: 1, fill: color })) square.setAttribute(name, value);
  svg.append(square);
  return svg;
}

/** The figure of a mask or a picture. part: see readings.js. */
export function drawnFigure({ kind, title, value }) {
  const [height, width] = value.size;
  const mask = kind === "mask";
  const alt = mask ? `Mask: ${maskWords(value)}` : `${title}: a picture of ${width} × ${height} pixels`;
  const label = (each) =>
    make("li", {}, swatch(each.color), `${each.label} `, make("span", { className: "number" }, percent(each.share)));
  const link = { className: "download", href: value.png, download: `${title}.png` };
  const part = value.box ? { "data-part": placeOf(value.box) } : {};
  return make(
    "figure",
    { className: "drawn", "data-drawn": kind, "data-name": title, ...part },
    make("div", { className: "drawn-stage" }, make("img", { src: value.png, width, height, alt })),
    make(
      "figcaption",
      {},
      mask ? make("ul", { className: "legend", role: "list" }, ...value.classes.map(label)) : null,
      value.box ? make("p", { className: "facts" }, `It shows the part from ${placeOf(value.box)}.`) : null,
      make("a", link, `Download the ${kind}`),
    ),
  );
}

/** The bytes of a picture in an answer. */
export function pngOf({ png }) {
  return Uint8Array.from(atob(png.slice(png.indexOf(",") + 1)), (character) => character.charCodeAt(0));
}

/** A slider in percent with its label, which calls `follow` with 0 to 1 at once and at each change. */
function slider(text, start, follow) {
  const input = make("input", { type: "range", className: "form-range", min: 0, max: 100, value: start });
  const changed = () => {
    input.setAttribute("aria-valuetext", `${input.value} %`);
    follow(input.value / 100);
  };
  input.addEventListener("input", changed);
  changed();
  return make("label", { className: "drawn-slider" }, make("span", {}, text), input);
}

/**
 * Lays the figures within `parent` over the picture that was sent. source: its address; null where
 * the browser cannot show it.
 */
export function layOver(parent, source) {
  if (!source) return;
  // What shows a part of the picture stays beside it.
  for (const figure of parent.querySelectorAll(".drawn:not(.laid-over, [data-part])")) {
    const stage = figure.querySelector(".drawn-stage");
    const out = stage.querySelector("img");
    const sent = make("img", { src: source, alt: "", className: "drawn-sent" });
    // Both in the place of the one that came out, whose shape is that of the other.
    stage.prepend(sent);
    figure.classList.add("laid-over");
    const mask = figure.dataset.drawn === "mask";
    const control = mask
      ? slider("Opacity of the mask", 50, (part) => {
          out.style.opacity = part;
        })
      : slider("Before and after", 50, (part) => {
          out.style.clipPath = `inset(0 0 0 ${(1 - part) * 100}%)`;
        });
    stage.after(control);
    sent.addEventListener("error", () => {
      sent.remove();
      control.remove();
      out.removeAttribute("style");
    });
  }
}
