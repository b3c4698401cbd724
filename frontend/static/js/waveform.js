/** A recording as a picture: the range of the samples in each column. */

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [600, 80];

/** Decodes a file. Returns an AudioBuffer, or null where the browser cannot. */
export async function decoded(file) {
  const context = new AudioContext();
  try {
    return await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    return null;
  } finally {
    context.close();
  }
}

/** An SVG. heard: seconds from the beginning that the model hears; the rest is drawn paler. */
export function drawWaveform(buffer, heard) {
  const samples = buffer.getChannelData(0);
  const step = samples.length / WIDTH;
  const chart = document.createElementNS(SVG, "svg");
  const label = `The recording, ${buffer.duration.toFixed(1)} s`;
  for (const [name, value] of Object.entries({
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    class: "waveform",
    role: "img",
    "aria-label": buffer.duration > heard ? `${label}, of which the model hears the first ${heard} s` : label,
  }))
    chart.setAttribute(name, value);
  const paths = { "waveform-line": "", "waveform-rest": "" };
  for (let x = 0; x < WIDTH; x++) {
    let [low, high] = [0, 0];
    for (let i = Math.floor(x * step); i < (x + 1) * step && i < samples.length; i++) {
      low = Math.min(low, samples[i]);
      high = Math.max(high, samples[i]);
    }
    const [top, bottom] = [high, low].map((value) => ((1 - Math.max(-1, Math.min(1, value))) * HEIGHT) / 2);
    const kind = ((x + 0.5) / WIDTH) * buffer.duration <= heard ? "waveform-line" : "waveform-rest";
    paths[kind] += `M${x} ${top.toFixed(1)}h1V${(bottom + 0.5).toFixed(1)}h-1z`;
  }
  for (const [name, d] of Object.entries(paths)) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    path.setAttribute("d", d);
    chart.append(path);
  }
  return chart;
}
