// Plays several versions of one recording by one clock, of which one is heard: switching is a change of gains.
// Stretches come from the server as float32 (see rtsep/panel/sounds.py), so length and file format do not matter.

export const RATE = 48000; // Hz
const STRETCH = RATE; // samples fetched and scheduled at once
const BEFORE = 2; // stretches that are there before it begins
const AHEAD_S = 6; // that are scheduled before they are heard
const LEAD_S = 0.12; // from asking for sound to its first sample
const FADE_S = 0.01;
const LOOK_MS = 200;

export class SyncedPlayer {
  // changed(): called when it begins, stands still or ends. failed(sentence): when sound cannot be fetched.
  constructor(changed, failed) {
    this.changed = changed;
    this.failed = failed;
    this.context = null;
    this.length = 0;
    this.gains = [];
    this.nodes = new Set();
    this.turn = 0; // what was begun before is over
    this.playing = false;
    this.from = 0; // sample that it stands at, or began from
    this.heard = 0; // which version
    this.faded = 0; // when the last fade is over, by the clock of the context
    this.stalls = 0; // how often sound came too late
  }

  // addresses: of the versions' samples. length: of all of them, samples. It stands still at ``from``.
  load(addresses, length, from = 0) {
    this.pause();
    this.context ??= new AudioContext({ sampleRate: RATE });
    this.gains.forEach((gain) => gain.disconnect());
    this.faded = 0;
    this.addresses = addresses;
    this.length = length;
    this.from = Math.min(from, length);
    this.heard = Math.min(this.heard, addresses.length - 1);
    this.gains = addresses.map((_, k) => {
      const gain = this.context.createGain();
      gain.gain.value = k === this.heard ? 1 : 0;
      gain.connect(this.context.destination);
      return gain;
    });
  }

  // Hear version ``which`` from now on.
  choose(which) {
    const before = this.heard;
    this.heard = which;
    // One time for all, a little ahead: sound goes on while they are told, and they must begin in the same sample. A
    // fade that is on is let come to its end, for where it is just then cannot be read exactly.
    const begin = Math.max(this.context.currentTime + FADE_S, this.faded);
    this.faded = begin + FADE_S;
    this.gains.forEach(({ gain }, k) => {
      gain.setValueAtTime(k === before ? 1 : 0, begin);
      gain.linearRampToValueAtTime(k === which ? 1 : 0, this.faded);
    });
    this.changed();
  }

  // Samples from the beginning.
  get place() {
    if (!this.playing || this.began === null) return this.from;
    const since = Math.round((this.context.currentTime - this.began) * RATE);
    return Math.max(this.from, Math.min(this.length, this.from + since));
  }

  async play() {
    if (this.playing || !this.length) return;
    if (this.from >= this.length) this.from = 0;
    this.playing = true;
    this.began = null;
    this.turn += 1;
    this.changed();
    await this.context.resume();
    this.fill(this.turn).catch((error) => {
      this.pause();
      this.failed(`The sound could not be fetched (${error.message}).`);
    });
  }

  pause() {
    if (!this.playing) return;
    this.from = this.place;
    this.playing = false;
    this.turn += 1;
    this.nodes.forEach((node) => node.stop());
    this.nodes.clear();
    this.changed();
  }

  seek(place) {
    const { playing } = this;
    this.pause();
    this.from = Math.max(0, Math.min(this.length, Math.round(place)));
    if (playing) this.play();
    else this.changed();
  }

  // Fetch and schedule one stretch after another, of all versions alike.
  async fill(turn) {
    const waiting = []; // fetched before it begins
    let next = this.from;
    while (next < this.length) {
      const count = Math.min(STRETCH, this.length - next);
      const sounds = await Promise.all(this.addresses.map((address) => this.fetched(address, next, count)));
      if (turn !== this.turn) return;
      if (!sounds.some(Boolean)) break; // shorter than it was thought to be
      waiting.push([sounds, next]);
      next += count;
      if (this.began === null && waiting.length < BEFORE && next < this.length) continue;
      waiting.splice(0).forEach((stretch) => this.schedule(...stretch));
      while (this.timeOf(next) - this.context.currentTime > AHEAD_S) {
        await new Promise((done) => setTimeout(done, LOOK_MS));
        if (turn !== this.turn) return;
      }
    }
    waiting.forEach((stretch) => this.schedule(...stretch));
    while (this.place < Math.min(next, this.length)) {
      await new Promise((done) => setTimeout(done, LOOK_MS));
      if (turn !== this.turn) return;
    }
    this.pause();
    this.from = 0;
    this.changed();
  }

  // When a sample is due, by the clock of the context.
  timeOf(place) {
    return this.began + (place - this.from) / RATE;
  }

  schedule(sounds, place) {
    const now = this.context.currentTime;
    const late = this.began !== null && this.timeOf(place) < now;
    if (late) this.stalls += 1;
    if (late || this.began === null) { // all wait for it alike
      this.began = Math.round((now + LEAD_S) * RATE - (place - this.from)) / RATE;
    }
    sounds.forEach((sound, k) => {
      if (!sound) return;
      const node = new AudioBufferSourceNode(this.context, { buffer: sound });
      node.connect(this.gains[k]);
      node.onended = () => {
        node.disconnect();
        this.nodes.delete(node);
      };
      this.nodes.add(node);
      node.start(this.timeOf(place));
    });
  }

  async fetched(address, at, count) {
    const answer = await fetch(`${address}?at=${at}&count=${count}`);
    if (!answer.ok) throw new Error(await answer.text());
    const samples = new Float32Array(await answer.arrayBuffer());
    if (!samples.length) return null;
    const sound = new AudioBuffer({ numberOfChannels: 2, length: samples.length / 2, sampleRate: RATE });
    for (const channel of [0, 1]) {
      sound.copyToChannel(samples.filter((_, i) => i % 2 === channel), channel);
    }
    return sound;
  }
}
