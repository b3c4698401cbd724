/** Zip files without compression, for pictures, which are compressed already. */

// The polynomial of CRC-32 (ISO 3309), from its lowest bit on.
const POLYNOMIAL = 0xedb88320;
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? POLYNOMIAL ^ (c >>> 1) : c >>> 1;
  return c;
});
// 1980-01-01, the first day that a zip can tell.
const DATE = 0x21;
const UTF8 = 0x800;
const VERSION = 20;

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Bytes of numbers, `[size, value]` each, the lowest byte first. */
function packed(...fields) {
  const bytes = fields.flatMap(([size, value]) => Array.from({ length: size }, (_, i) => (value / 256 ** i) & 0xff));
  return Uint8Array.from(bytes);
}

/** A zip (APPNOTE.TXT 6.3.3) of `files`, `[name, Uint8Array]` each, as a Blob. */
export function zipped(files) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [name, bytes] of files) {
    const written = new TextEncoder().encode(name);
    const size = bytes.length;
    // As both headers have it: from the version to the length of the extra field.
    const about = packed(
      ...[VERSION, UTF8, 0, 0, DATE].map((value) => [2, value]),
      [4, crc32(bytes)],
      [4, size],
      [4, size],
      [2, written.length],
      [2, 0],
    );
    parts.push(packed([4, 0x04034b50]), about, written, bytes);
    directory.push(packed([4, 0x02014b50], [2, VERSION]), about, packed([2, 0], [2, 0], [2, 0], [4, 0], [4, offset]));
    directory.push(written);
    offset += 4 + about.length + written.length + size;
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const count = [2, files.length];
  const end = packed([4, 0x06054b50], [2, 0], [2, 0], count, count, [4, size], [4, offset], [2, 0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

// As app/api/native/picture_zip.py has them.
const UNSAFE = /[\p{Cc}<>:"/\\|?*]+/gu;
const LONGEST = 40;
const LONGEST_OUTPUT = 15;

const safe = (name, longest) =>
  [...name.replace(UNSAFE, "_")]
    .slice(0, longest)
    .join("")
    .replace(/^[ .]+|[ .]+$/g, "");

/** Names without an extension, no two of them alike. sent: names of files. outputs: names; "" stands for the only one. */
export function pictureNames(sent, outputs) {
  const taken = new Set();
  const numbers = new Map();
  return sent.flatMap((file, i) => {
    const last = file.split(/[/\\]/).at(-1);
    const stem = safe(last.replace(/(?<=.)\.[^.]*$/, ""), LONGEST) || String(i + 1);
    return outputs.map((out) => {
      const name = out ? `${stem}-${safe(out, LONGEST_OUTPUT)}` : stem;
      const key = name.toLowerCase();
      let made = name;
      while (taken.has(made.toLowerCase())) {
        numbers.set(key, (numbers.get(key) ?? 1) + 1);
        made = `${name}-${numbers.get(key)}`;
      }
      taken.add(made.toLowerCase());
      return made;
    });
  });
}
