/** JSON laid out for people: short values stay on one line, as in app/web/layout.py. */

const WIDTH = 76;

/** The value of a JSON text. Whole numbers beyond 2^53 keep their digits, as BigInt. */
export function parse(text) {
  return JSON.parse(text, (_key, value, { source } = {}) => {
    const rounded = Number.isInteger(value) && !Number.isSafeInteger(value);
    return rounded && /^-?\d+$/.test(source ?? "") ? BigInt(source) : value;
  });
}

/** Writes a value as text of several lines. value: as `parse` returns it. */
export function layout(value, indent = "", used = 0) {
  if (typeof value === "bigint") return String(value);
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const line = flat(value);
  if (indent.length + used + line.length <= WIDTH) return line;
  const inner = `${indent}  `;
  const list = Array.isArray(value);
  const lines = list
    ? items(value, inner)
    : Object.entries(value).map(([key, item]) => {
        const name = `${JSON.stringify(key)}: `;
        return name + layout(item, inner, name.length);
      });
  const body = lines.map((each) => inner + each).join(",\n");
  return list ? `[\n${body}\n${indent}]` : `{\n${body}\n${indent}}`;
}

function items(value, indent) {
  if (value.some((item) => typeof item === "object" && item !== null)) return value.map((item) => layout(item, indent));
  // As many on each line as fit.
  const lines = [];
  for (const item of value.map((each) => layout(each))) {
    const longer = `${lines.at(-1)}, ${item}`;
    if (lines.length && longer.length < WIDTH - indent.length) lines[lines.length - 1] = longer;
    else lines.push(item);
  }
  return lines;
}

function flat(value) {
  if (Array.isArray(value)) return `[${value.map(flat).join(", ")}]`;
  if (typeof value !== "object" || value === null) return layout(value);
  return `{${Object.entries(value)
    .map(([key, item]) => `${JSON.stringify(key)}: ${flat(item)}`)
    .join(", ")}}`;
}
