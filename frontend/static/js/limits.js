/** The server's limits on pictures, checked before anything is uploaded. */

const million = (value) => `${Number((value / 1e6).toPrecision(3))} million`;

/** Formats bytes for people, in the units of the server's limit (1 MB is 10^6 bytes). */
export function sizeText(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 999_500) return `${Math.round(bytes / 1000)} kB`;
  return `${Number((bytes / 1e6).toPrecision(3))} MB`;
}

/** The limits that the server wrote into the form. input: its file field. */
export function readLimits(form, input) {
  return {
    types: input.accept.split(","),
    formats: input.dataset.formats,
    maxBytes: Number(form.dataset.maxBytes),
    maxPixels: Number(form.dataset.maxPixels),
  };
}

/** Why a file cannot be sent, judged by its name and size; null if it can. */
export function fileProblem(file, limits) {
  if (/\.hei[cf]$/i.test(file.name) || /^image\/hei[cf]/.test(file.type)) {
    return "HEIC is not supported. Convert this picture to JPEG or PNG first.";
  }
  // No type: the browser does not know the file's extension. The server looks at the content.
  if (file.type && !limits.types.includes(file.type)) {
    return `Not a picture in a supported format: ${limits.formats}.`;
  }
  if (file.size === 0) return "This file is empty.";
  if (file.size > limits.maxBytes) {
    return `Too large: this file has ${file.size.toLocaleString("en")} bytes, at most ${limits.maxBytes.toLocaleString("en")} can be sent.`;
  }
  return null;
}

/** Why a picture of these pixels cannot be sent, or null. */
export function pixelProblem(width, height, limits) {
  if (width * height <= limits.maxPixels) return null;
  return `Too many pixels: ${million(width * height)}, at most ${million(limits.maxPixels)} are read. Make it smaller first.`;
}
