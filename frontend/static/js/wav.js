/** Sound as a WAV file of one channel. */

/** parts: Float32Arrays of samples from -1 to 1. rate: samples a second. Returns a File of 16-bit integers. */
export function wavFile(parts, rate, name) {
  const count = parts.reduce((sum, { length }) => sum + length, 0);
  const bytes = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (at, word) => {
    for (let i = 0; i < word.length; i++) bytes.setUint8(at + i, word.charCodeAt(i));
  };
  text(0, "RIFF");
  bytes.setUint32(4, 36 + 2 * count, true);
  text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true); // PCM
  bytes.setUint16(22, 1, true); // channels
  bytes.setUint32(24, rate, true);
  bytes.setUint32(28, 2 * rate, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  text(36, "data");
  bytes.setUint32(40, 2 * count, true);
  let at = 44;
  for (const part of parts) {
    for (const sample of part) {
      bytes.setInt16(at, Math.max(-1, Math.min(1, sample)) * 32767, true);
      at += 2;
    }
  }
  return new File([bytes], name, { type: "audio/wav" });
}
