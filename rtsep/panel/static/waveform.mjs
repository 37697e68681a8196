// A waveform with a slider over it: where it is, and where to go. Keys of the slider go in steps of five seconds.

const STEP_S = 5;
const QUIET_MS = 1000; // between moves where motion is not wanted
const still = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");
export const clock = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds || 0));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
};

export class Waveform {
  // place: an element with a canvas and an <input type=range> in it. seek(seconds): a person goes there.
  constructor(place, seek) {
    this.canvas = place.querySelector("canvas");
    this.slider = place.querySelector("input");
    this.peaks = [];
    this.seconds = 0;
    this.drawn = "";
    this.moved = 0;
    this.slider.step = "any";
    const go = (place) => {
      this.moved = 0;
      seek(place);
    };
    this.slider.addEventListener("input", () => go(this.slider.valueAsNumber));
    this.slider.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      go(Math.max(0, Math.min(this.seconds, this.slider.valueAsNumber + step * STEP_S)));
    });
    dark.addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  // peaks: 0 to 1, over all of it.
  load(peaks, seconds) {
    this.peaks = peaks;
    this.seconds = seconds;
    this.slider.max = seconds;
    this.draw();
  }

  at(seconds) {
    const now = performance.now();
    if (still.matches && now - this.moved < QUIET_MS) return;
    this.moved = now;
    this.slider.value = seconds;
    const text = `${clock(seconds)} of ${clock(this.seconds)}`;
    if (this.slider.getAttribute("aria-valuetext") !== text) this.slider.setAttribute("aria-valuetext", text);
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const share = this.seconds ? this.slider.valueAsNumber / this.seconds : 0;
    const played = Math.round(share * width);
    const now = `${width} ${height} ${played} ${dark.matches} ${this.peaks.length} ${this.peaks.at(-1)} ${this.peaks[0]}`;
    if (!width || this.drawn === now) return;
    this.drawn = now;
    this.canvas.width = width;
    this.canvas.height = height;
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(this.canvas);
    const [accent, quiet] = ["--accent", "--edge"].map((name) => style.getPropertyValue(name));
    for (let x = 0; x < width; x += 3) {
      const first = Math.floor((x * this.peaks.length) / width);
      const last = Math.max(first + 1, Math.ceil(((x + 3) * this.peaks.length) / width));
      const peak = Math.max(0, ...this.peaks.slice(first, last));
      const tall = Math.max(1, Math.min(1, peak) * (height - 4));
      context.fillStyle = x <= played ? accent : quiet;
      context.fillRect(x, (height - tall) / 2, 2, tall);
    }
  }
}
