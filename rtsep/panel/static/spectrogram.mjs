// A running spectrogram on a canvas: newest column at the right. The bands are those of rtsep/panel/spectrum.py.

const BANDS = 128;
const LOWEST_HZ = 60;
const HIGHEST_HZ = 16000;
const LABELS = [[8000, "8 kHz"], [4000, "4 kHz"], [2000, "2 kHz"], [1000, "1 kHz"], [500, "500"], [200, "200"]];
const DARK = [[15, 20, 24], [16, 56, 84], [22, 125, 129], [126, 200, 120], [252, 243, 176]];
const LIGHT = [[243, 245, 246], [181, 221, 219], [62, 151, 156], [24, 84, 117], [20, 24, 58]];

const mel = (hertz) => 2595 * Math.log10(1 + hertz / 700);

// 256 colours as RGBA words, from quiet to loud.
function palette(stops) {
  const table = new Uint8ClampedArray(1024);
  for (let i = 0; i < 256; i += 1) {
    const place = (Math.max(0, i - 40) / 215) * (stops.length - 1); // the floor of the noise is ground
    const at = Math.min(stops.length - 2, Math.floor(place));
    for (let c = 0; c < 3; c += 1) table[4 * i + c] = stops[at][c] + (stops[at + 1][c] - stops[at][c]) * (place - at);
    table[4 * i + 3] = 255;
  }
  return new Uint32Array(table.buffer);
}

const dark = matchMedia("(prefers-color-scheme: dark)");

export class Spectrogram {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: false });
    this.history = new Uint8Array(canvas.width * BANDS); // of columns, a ring
    this.next = 0;
    this.fresh = 0;
    this.held = false;
    dark.addEventListener("change", () => this.repaint());
    this.repaint();
  }

  // The picture stands still, and goes on with what is new.
  hold(on) {
    this.held = on;
  }

  push(column) {
    if (this.held) return;
    this.history.set(column, this.next * BANDS);
    this.next = (this.next + 1) % this.canvas.width;
    this.fresh = Math.min(this.canvas.width, this.fresh + 1);
  }

  // Called once a frame of the screen.
  draw() {
    if (!this.fresh) return;
    this.context.drawImage(this.canvas, -this.fresh, 0);
    this.paint(this.fresh);
    this.fresh = 0;
  }

  repaint() {
    this.colours = palette(dark.matches ? DARK : LIGHT);
    this.paint(this.canvas.width);
  }

  // The newest columns, at the right.
  paint(count) {
    const { width, height } = this.canvas;
    const image = this.context.createImageData(count, height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let k = 0; k < count; k += 1) {
      const column = ((this.next - count + k + width) % width) * BANDS;
      for (let band = 0; band < BANDS; band += 1) {
        pixels[(BANDS - 1 - band) * count + k] = this.colours[this.history[column + band]];
      }
    }
    this.context.putImageData(image, width - count, 0);
  }
}

// Where on the scale of the picture a few round frequencies lie.
export function label(list, rate) {
  const top = mel(Math.min(HIGHEST_HZ, rate / 2));
  const bottom = mel(LOWEST_HZ);
  list.replaceChildren(
    ...LABELS.filter(([hertz]) => mel(hertz) < top).map(([hertz, text]) => {
      const item = document.createElement("li");
      item.textContent = text;
      item.style.bottom = `${(100 * (mel(hertz) - bottom)) / (top - bottom)}%`;
      return item;
    }),
  );
}
