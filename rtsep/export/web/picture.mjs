// A running spectrogram on a canvas: newest column at the right, low frequencies at the bottom, on a mel scale.

const LOWEST_DB = -100;
const HIGHEST_DB = -20;
const HIGHEST_MEL = mel(16000);

function mel(hertz) {
  return 2595 * Math.log10(1 + hertz / 700);
}

export class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.context.clearRect(0, 0, canvas.width, canvas.height);
  }

  draw(analyser) {
    const { canvas, context } = this;
    const levels = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(levels);
    context.drawImage(canvas, -1, 0);
    const column = context.createImageData(1, canvas.height);
    for (let y = 0; y < canvas.height; y += 1) {
      const hertz = 700 * (10 ** ((HIGHEST_MEL * (1 - y / canvas.height)) / 2595) - 1);
      const bin = Math.round((2 * hertz * levels.length) / analyser.context.sampleRate);
      const level = levels[Math.min(bin, levels.length - 1)];
      const share = Math.min(1, Math.max(0, (level - LOWEST_DB) / (HIGHEST_DB - LOWEST_DB)));
      column.data.set([255 * share ** 2, 60 + 180 * share, 90 + 90 * share, 255 * Math.min(1, 2 * share)], 4 * y);
    }
    context.putImageData(column, canvas.width - 1, 0);
  }
}
