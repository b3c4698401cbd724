/** A slider beside a number input, kept in step with it. */

import { make } from "./dom.js";

/** The largest step of 1, 2 or 5 times a power of ten that divides a range into at least a hundred. */
export function roundStep(range) {
  const power = 10 ** Math.floor(Math.log10(range / 100));
  return power * [5, 2, 1].find((n) => n * power <= range / 100);
}

/**
 * Put a slider after `input`, which has min, max and a label. unit: or undefined.
 * Moving the slider sets the input, which then fires its own event.
 */
export function addSlider(input, unit) {
  const [min, max] = [Number(input.min), Number(input.max)];
  const whole = input.dataset.kind === "integer";
  const step = whole ? 1 : roundStep(max - min);
  const decimals = Math.max(0, -Math.floor(Math.log10(step)));
  // A slider of a fixed step could not reach a maximum that is no whole number of steps away.
  const slider = make("input", { type: "range", className: "form-range", min, max, step: whole ? 1 : "any" });
  const [label] = input.labels;
  label.id ||= `${input.id}-label`;
  slider.setAttribute("aria-labelledby", label.id);

  const follow = () => {
    const value = input.value === "" ? (min + max) / 2 : Number(input.value);
    slider.value = value;
    slider.setAttribute("aria-valuetext", input.value === "" ? "empty" : [input.value, unit].filter(Boolean).join(" "));
  };
  slider.addEventListener("input", () => {
    const at = Number(slider.value);
    const ends = at <= min || at >= max;
    input.value = ends ? at : Number((Math.round(at / step) * step).toFixed(decimals));
    if (Number(input.value) < min) input.value = min;
    if (Number(input.value) > max) input.value = max;
    input.dispatchEvent(new Event("input", { bubbles: true }));
  });
  slider.addEventListener("change", () => input.dispatchEvent(new Event("change", { bubbles: true })));
  input.addEventListener("input", follow);
  follow();
  input.after(slider);
  return { follow };
}
