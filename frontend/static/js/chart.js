/** The small charts of the status. */

const HEIGHT = 16;

/** The points of a line, as app/web/status.py makes them. peak: the value at the top. */
export function points(history, peak) {
  const y = (value) => (HEIGHT - 1 - (peak ? ((HEIGHT - 2) * value) / peak : 0)).toFixed(1);
  return history.map((value, x) => `${x},${y(value)}`).join(" ");
}

/** Draw `history` into the <svg> that the page has for it. */
export function draw(svg, history, peak) {
  svg.querySelector("polyline").setAttribute("points", points(history, peak));
}
