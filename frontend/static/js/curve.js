/** A small line chart with a marker, as SVG. */

const SVG = "http://www.w3.org/2000/svg";
const EDGE = { top: 10, right: 10, bottom: 24 };

function svg(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/**
 * width, height: in pixels. points: [x, y] by x, y null if unknown. range: of y, by default that of the points.
 * at: x of the marker. dots: whether only the points mean something, not the line between.
 * text: y in words. label: a description of the chart for screen readers.
 */
export function drawCurve({ width, height, points, range, at, dots, text, label }) {
  const known = points.filter(([, y]) => y !== null);
  const ys = known.map(([, y]) => y);
  let [low, high] = range ?? [Math.min(...ys), Math.max(...ys)];
  const [top, bottom] = [text(high), text(low)];
  // A flat line runs through the middle.
  if (low === high) [low, high] = [low - 1, high + 1];
  const left = 7 * Math.max(top.length, bottom.length) + 10;
  const [first, last] = [points[0][0], points.at(-1)[0]];
  const x = (value) => left + ((value - first) / (last - first)) * (width - left - EDGE.right);
  const y = (value) => EDGE.top + ((high - value) / (high - low)) * (height - EDGE.top - EDGE.bottom);
  const px = (value) => value.toFixed(1);

  const chart = svg("svg", {
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    class: "curve",
    "aria-label": label,
  });
  const said =
    top === bottom
      ? [[(low + high) / 2, top]]
      : [
          [high, top],
          [low, bottom],
        ];
  for (const [value, words] of said) {
    chart.append(
      svg("line", { class: "curve-grid", x1: left, x2: width - EDGE.right, y1: px(y(value)), y2: px(y(value)) }),
      svg("text", { x: left - 6, y: px(y(value) + 4), "text-anchor": "end" }, words),
    );
  }
  chart.append(
    svg("text", { x: left, y: height - 5 }, String(first)),
    svg("text", { x: width - EDGE.right, y: height - 5, "text-anchor": "end" }, String(last)),
  );
  let path = "";
  points.forEach(([a, b], i) => {
    if (b !== null) path += `${i && points[i - 1][1] !== null ? "L" : "M"}${px(x(a))} ${px(y(b))}`;
  });
  chart.append(svg("path", { class: "curve-line", d: path }));
  if (dots) {
    for (const [a, b] of known) chart.append(svg("circle", { class: "curve-dot", cx: px(x(a)), cy: px(y(b)), r: 2.5 }));
  }
  if (at && at[1] !== null) {
    const [cx, cy] = [px(x(at[0])), px(y(at[1]))];
    chart.append(
      svg("line", { class: "curve-at", x1: cx, x2: cx, y1: EDGE.top, y2: height - EDGE.bottom }),
      svg("circle", { class: "curve-mark", cx, cy, r: 5 }),
    );
  }
  return chart;
}
