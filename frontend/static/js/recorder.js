/** Recordings of the microphone, which browsers allow over HTTPS and on this machine only. */
import { wavFile } from "./wav.js";

// Longer recordings would fill the memory of a forgotten page.
const MOST_SECONDS = 600;
const PROBLEMS = {
  NotAllowedError:
    "The browser does not let this page use the microphone. Allow it in the browser's address bar, or choose a file instead.",
  NotFoundError: "No microphone was found. Choose a file instead.",
  NotReadableError: "The microphone cannot be used just now, perhaps because another program uses it.",
};

export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.AudioWorkletNode);

/** What went wrong, for people. */
export const recordingProblem = ({ name }) => PROBLEMS[name] ?? "The microphone cannot be used. Choose a file instead.";

/**
 * Starts to record. seconds: after which it ends by itself. onTime: called with the seconds so far.
 * Returns `{stop, done}`; `done` resolves to a WAV file. Throws what the browser throws.
 */
export async function record(seconds, onTime) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const context = new AudioContext();
  const parts = [];
  let count = 0;
  let end;
  const done = new Promise((resolve) => {
    end = resolve;
  });
  const most = Math.min(seconds, MOST_SECONDS) * context.sampleRate;
  try {
    await context.audioWorklet.addModule(new URL("./recorder_worklet.js", import.meta.url));
  } catch (error) {
    for (const track of stream.getTracks()) track.stop();
    throw error;
  }
  const node = new AudioWorkletNode(context, "recorder");
  const stop = () => {
    node.port.onmessage = null;
    for (const track of stream.getTracks()) track.stop();
    context.close();
    end(wavFile(parts, context.sampleRate, "recording.wav"));
  };
  node.port.onmessage = ({ data }) => {
    parts.push(data);
    count += data.length;
    onTime(count / context.sampleRate);
    if (count >= most) stop();
  };
  context.createMediaStreamSource(stream).connect(node);
  await context.resume();
  return { stop, done };
}
