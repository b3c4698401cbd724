/** Hands the samples of the microphone to the page, in the thread of the browser's sound. */
class Recorder extends globalThis.AudioWorkletProcessor {
  process([input]) {
    if (input.length) this.port.postMessage(input[0].slice());
    return true;
  }
}

globalThis.registerProcessor("recorder", Recorder);
