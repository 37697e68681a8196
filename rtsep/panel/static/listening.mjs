// Listening to a recording and to what was made of it, in sync, and blind.

import { BlindTest } from "./blind_test.mjs";
import { element, say } from "./controls.mjs";
import { RATE, SyncedPlayer } from "./synced_player.mjs";
import { Waveform, clock } from "./waveform.mjs";

const AGAIN_MS = 700; // until it is asked how far decoding is

export class Listening {
  // send(what, values): a command to the controller. failed(sentence): for the log.
  constructor(send, failed) {
    this.failed = failed;
    this.number = null; // of the recording
    this.recording = null;
    this.loaded = ""; // what the player has
    this.before = 1; // version that was heard before the one that is
    this.player = new SyncedPlayer(() => this.render(), failed);
    this.wave = new Waveform(element("listen-wave"), (seconds) => this.player.seek(seconds * RATE));
    this.blind = new BlindTest(send);
    element("listen-play").addEventListener("click", () => this.toggle());
    const draw = () => {
      if (this.player.playing) this.renderPlace();
      requestAnimationFrame(draw);
    };
    requestAnimationFrame(draw);
  }

  open(number) {
    this.number = number;
    this.player.pause();
    this.player.from = 0;
    this.loaded = "";
    this.update(this.recordings, this.blind.state);
    element("listen").scrollIntoView({ block: "nearest" });
    element("listen-play").focus({ preventScroll: true });
  }

  update(recordings, blind) {
    this.recordings = recordings;
    if (blind && !this.blind.state) this.number = blind.recording; // begun here or by another page
    this.blind.state = blind?.recording === this.number ? blind : null;
    this.recording = recordings.find(({ number, seconds }) => number === this.number && seconds !== null) ?? null;
    element("listen").hidden = !this.recording;
    if (!this.recording) {
      this.player.pause();
      this.loaded = "";
      return;
    }
    say("listen-title", `Listen: ${this.recording.name}`);
    this.versions = this.recording.versions.filter(({ state }) => state === "done");
    this.blind.update(this.versions, this.number);
    this.load();
  }

  // What can be heard now, by name and address.
  sounds() {
    const { state } = this.blind;
    if (state && !state.over) {
      return ["a", "b", "x"].map((name) => [name.toUpperCase(), `files/blind/${state.at}/${name}/samples`]);
    }
    return this.versions.map(({ number, label }) => [label, `files/${this.number}/${number}/samples`]);
  }

  async load() {
    const sounds = this.sounds();
    const wanted = JSON.stringify(sounds);
    if (this.loaded === wanted) return;
    const other = !this.loaded.includes(`files/${this.number}/`) && !wanted.includes("blind");
    this.loaded = wanted;
    const found = await (await fetch(`files/${this.number}/0/sound`)).json();
    if (this.loaded !== wanted) return; // meanwhile it is another
    if ("refused" in found) return this.failed(found.refused);
    if (other) this.player.heard = Math.min(1, sounds.length - 1); // what was made of it
    const { playing, place } = this.player;
    this.player.load(sounds.map(([, address]) => address), found.samples, other ? 0 : place);
    if (playing) this.player.play();
    this.renderChoices(sounds.map(([label]) => label));
    element("listen-hint").hidden = wanted.includes("blind");
    element("listen-blind-hint").hidden = !wanted.includes("blind");
    this.showWave(found, wanted);
    this.render();
  }

  async showWave(found, wanted) {
    this.wave.load(found.peaks, found.samples / RATE);
    this.player.length = found.samples;
    this.renderPlace();
    if (found.complete) return;
    await new Promise((done) => setTimeout(done, AGAIN_MS));
    if (this.loaded !== wanted) return;
    const again = await (await fetch(`files/${this.number}/0/sound`)).json();
    if (this.loaded === wanted && !("refused" in again)) this.showWave(again, wanted);
  }

  toggle() {
    if (this.player.playing) this.player.pause();
    else this.player.play();
  }

  choose(which) {
    if (which >= this.player.gains.length || which === this.player.heard) return;
    this.before = this.player.heard;
    this.player.choose(which);
  }

  key(key) {
    if (!this.recording || !this.player.gains.length) return false;
    const blind = this.blind.state && !this.blind.state.over;
    if (key === " ") this.toggle();
    else if (blind && "abx".includes(key)) this.choose("abx".indexOf(key));
    else if (key === "b") this.choose(this.player.heard ? 0 : this.before || 1);
    else if (/^[1-9]$/.test(key)) this.choose(Number(key) - 1);
    else return false;
    return true;
  }

  // What is shown

  renderChoices(labels) {
    const place = element("listen-versions");
    if (place.dataset.shown === labels.join()) return;
    place.dataset.shown = labels.join();
    const legend = place.querySelector("legend");
    place.replaceChildren(
      legend,
      ...labels.map((label, k) => {
        const choice = document.createElement("label");
        const radio = document.createElement("input");
        radio.type = "radio";
        radio.name = "heard";
        radio.value = k;
        radio.addEventListener("change", () => this.choose(k));
        choice.append(radio, label);
        return choice;
      }),
    );
  }

  render() {
    say("listen-play", this.player.playing ? "Pause" : "Play");
    for (const radio of document.querySelectorAll("#listen-versions input")) {
      radio.checked = Number(radio.value) === this.player.heard;
    }
    this.renderPlace();
  }

  renderPlace() {
    const seconds = this.player.place / RATE;
    this.wave.at(seconds);
    say("listen-clock", `${clock(seconds)} / ${clock(this.player.length / RATE)}`);
  }
}
