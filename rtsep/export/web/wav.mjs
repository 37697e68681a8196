// Mono sound as a WAV file of 32-bit floats.

export function wav(pieces, rate) {
  const samples = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const data = new DataView(new ArrayBuffer(44 + 4 * samples));
  const text = (at, words) => [...words].forEach((letter, i) => data.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  data.setUint32(4, 36 + 4 * samples, true);
  text(8, "WAVEfmt ");
  data.setUint32(16, 16, true);
  data.setUint16(20, 3, true); // float
  data.setUint16(22, 1, true);
  data.setUint32(24, rate, true);
  data.setUint32(28, 4 * rate, true);
  data.setUint16(32, 4, true);
  data.setUint16(34, 32, true);
  text(36, "data");
  data.setUint32(40, 4 * samples, true);
  const sound = new Float32Array(data.buffer, 44);
  let at = 0;
  for (const piece of pieces) {
    sound.set(piece, at);
    at += piece.length;
  }
  return new Blob([data], { type: "audio/wav" });
}
