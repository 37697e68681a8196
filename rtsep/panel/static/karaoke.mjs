// The Karaoke tab: shows rtsep/panel/karaoke.py's state, and sends what a person does.

import { element, fill, flush, forgetTouches, say, seldom, show, touch } from "./controls.mjs";
import { defaultOption, fillDevices } from "./device_list.mjs";
import { DropZone } from "./drop_zone.mjs";
import { FolderChooser } from "./folder_chooser.mjs";
import { Log } from "./log.mjs";
import { Playlist } from "./playlist.mjs";
import { TabState } from "./tab_state.mjs";
import { Waveform, clock } from "./waveform.mjs";

const OFF = -31; // the vocals slider's first step
const GUIDE_DB = -12;
const SKIP_S = 5;
const STEP_DB = 3; // of the volume, by keys
const STATES = { starting: "Starting …", preparing: "Preparing …", waiting: "Waiting for the device …" };

export class Karaoke {
  constructor(connection) {
    this.connection = connection;
    this.known = new TabState();
    this.heard = { at: 0, seconds: 0 }; // when the server last said where it is
    this.log = new Log(element("karaoke-told"), element("karaoke-nothing-told"));
    const failed = (sentence) => this.log.tell(sentence, "problem");
    this.wave = new Waveform(element("song-wave"), (seconds) => this.seek(seconds));
    this.playlist = new Playlist((what, values) => this.send(what, values));
    new FolderChooser((path) => this.send("add", { path }), failed);
    new DropZone(element("songs-drop"), "karaoke/song", failed);
    this.listen();
    const draw = () => {
      this.renderPlace();
      requestAnimationFrame(draw);
    };
    requestAnimationFrame(draw);
  }

  get state() {
    return this.known.values;
  }

  send(what, values) {
    flush();
    this.connection.send("karaoke", what, values);
  }

  // What a person does

  listen() {
    const click = (id, act) => element(id).addEventListener("click", act);
    click("song-run", () => this.playOrPause());
    click("song-stop", () => this.send("run", { on: false }));
    click("song-previous", () => this.send("turn", { songs: -1 }));
    click("song-next", () => this.send("turn", { songs: 1 }));
    click("vocals-off", () => this.vocalsOffOrOn());
    click("guide", () => this.set("vocals", GUIDE_DB));
    click("solo", () => this.set("solo", !this.state.solo));
    click("original", () => this.set("original", !this.state.original));
    click("capture", () => this.send("capture", { on: !this.captures }));
    this.slide("vocals", (value) => this.sayVocals(value), (value) => (value <= OFF ? null : value));
    this.slide("key", (value) => this.sayKey(value), (value) => value, 250);
    this.slide("volume", (value) => this.sayVolume(value), (value) => value);
    for (const [id, what, name] of [
      ["song-model", "choose_model", "model"],
      ["song-output", "choose_output", "output"],
      ["singer", "choose_singer", "microphone"],
    ]) {
      element(id).addEventListener("change", ({ target }) => {
        touch(target);
        this.send(what, { [name]: target.value || null });
      });
    }
  }

  slide(id, sayIt, meant, pause) {
    const send = seldom((value) => this.set(id, meant(value), false), pause);
    element(id).addEventListener("input", ({ target }) => {
      touch(target, () => this.render());
      sayIt(target.valueAsNumber);
      send(target.valueAsNumber);
    });
  }

  // What a person turns: taken for so at once, before the server says it, so that the next key goes on from there.
  set(name, value, now = true) {
    const argument = { vocals: "decibels", volume: "decibels", key: "key" }[name] ?? "on";
    if (now) flush();
    const number = this.connection.send("karaoke", name === "paused" ? "pause" : `set_${name}`, { [argument]: value });
    if (!number) return;
    this.known.turn(name, value, number);
    if (name === "vocals") this.known.turn("solo", false, number);
    if (now) this.render();
  }

  get captures() {
    return Boolean(this.state?.on) && this.state.mode === "capture";
  }

  get plays() {
    return Boolean(this.state?.on) && this.state.mode === "songs";
  }

  playOrPause() {
    if (this.plays) this.set("paused", !this.state.paused);
    else this.send("run", { on: true });
  }

  vocalsOffOrOn() {
    const { vocals } = this.state;
    if (vocals !== null) this.vocalsBefore = vocals;
    this.set("vocals", vocals === null ? (this.vocalsBefore ?? 0) : null);
  }

  seek(seconds) {
    if (!this.plays) return;
    this.heard = { at: performance.now(), seconds };
    this.connection.send("karaoke", "seek", { seconds });
  }

  key(key) {
    const { state } = this;
    if (!state?.playlist) return false;
    const to = (change) => Math.max(-6, Math.min(6, state.key + change));
    const louder = (change) => Math.max(-60, Math.min(0, state.volume + change));
    const act = {
      " ": () => this.playOrPause(),
      arrowleft: () => this.seek(Math.max(0, this.place - SKIP_S)),
      arrowright: () => this.seek(this.place + SKIP_S),
      n: () => this.send("turn", { songs: 1 }),
      p: () => this.send("turn", { songs: -1 }),
      v: () => this.vocalsOffOrOn(),
      g: () => this.set("vocals", GUIDE_DB),
      s: () => this.set("solo", !state.solo),
      b: () => this.set("original", !state.original),
      "[": () => this.set("key", to(-1)),
      "]": () => this.set("key", to(1)),
      ",": () => this.set("volume", louder(-STEP_DB)),
      ".": () => this.set("volume", louder(STEP_DB)),
    }[key];
    act?.();
    return Boolean(act);
  }

  forget() {
    this.known.forget();
    this.render();
  }

  refused() {
    forgetTouches(document.querySelectorAll("#karaoke select, #karaoke input"));
  }

  // What the server says

  update(news, heard) {
    this.known.hear(news, heard);
    if (news.status?.seconds !== undefined) this.heard = { at: performance.now(), seconds: news.status.seconds };
    this.render();
  }

  render() {
    const { state } = this;
    if (!state?.playlist || !state.devices) return;
    this.playlist.render(state.playlist, state.current);
    this.renderSong(state);
    this.renderVoice(state);
    this.renderDevices(state);
    this.log.update(state.told);
  }

  renderSong({ on, ending, status, paused, playlist, current, peaks, mode, original, solo }) {
    const song = playlist.find(({ number }) => number === current);
    say("song-title", song?.name ?? (this.captures ? "What is playing elsewhere" : "No song plays"));
    const now = on ? STATES[status?.state ?? "starting"] : ending ? "Stopping …" : "";
    say("song-way", now || (status ? `${status.model} → ${status.output ?? "no output"}` : ""));
    say("song-run", this.plays && !paused ? "Pause" : "Play");
    for (const id of ["song-previous", "song-next"]) element(id).disabled = !song;
    element("song-stop").disabled = !on;
    const length = status?.length ?? 0;
    const slider = element("song-wave").querySelector("input");
    slider.disabled = !song;
    this.wave.load(song ? peaks : [], song ? length : 0);
    const loud = [];
    if (on && original) loud.push("The original plays");
    else if (this.plays && solo) loud.push("Only the vocals play");
    if (on && mode === "songs" && paused) loud.push("Paused");
    say("song-loud", loud.join(". "));
    element("song-loud").hidden = loud.length === 0;
  }

  get place() {
    const { status, paused } = this.state ?? {};
    if (!this.plays || !status) return 0;
    const since = status.state === "running" && !paused ? (performance.now() - this.heard.at) / 1000 : 0;
    return Math.min(this.heard.seconds + Math.min(since, 1), status.length ?? Infinity);
  }

  renderPlace() {
    if (!this.state?.playlist) return;
    this.wave.at(this.place);
    say("song-clock", this.plays ? `${clock(this.place)} / ${clock(this.wave.seconds)}` : "");
  }

  renderVoice({ vocals, solo, original, key, volume }) {
    const level = vocals === null ? OFF : Math.max(OFF + 1, Math.round(vocals));
    if (show(element("vocals"), level)) this.sayVocals(level);
    if (show(element("key"), key)) this.sayKey(key);
    if (show(element("volume"), volume)) this.sayVolume(volume);
    for (const [id, pressed] of [
      ["vocals-off", vocals === null],
      ["guide", vocals === GUIDE_DB],
      ["solo", solo],
      ["original", original],
    ]) {
      element(id).setAttribute("aria-pressed", String(pressed));
    }
    for (const id of ["solo", "key", "volume"]) element(id).disabled = this.captures; // the other player's own
  }

  sayVocals(value) {
    this.say("vocals", value <= OFF ? "off" : `${value} dB`);
  }

  sayKey(value) {
    this.say("key", value === 0 ? "as it is" : `${value > 0 ? "+" : "−"}${Math.abs(value)} semitones`);
  }

  sayVolume(value) {
    this.say("volume", `${value} dB`);
  }

  say(id, text) {
    say(`${id}-value`, text);
    element(id).setAttribute("aria-valuetext", text);
  }

  renderDevices({ devices, defaults, song_models: models, model, output, singer, virtual, searching }) {
    fill(element("song-model"), [{ options: models.map(({ name }) => [name, name]) }]);
    show(element("song-model"), model);
    const one = models.find(({ name }) => name === model);
    say("song-model-hint", !one || one.live ? "" : "It sees whole stretches of a song; captured sound uses another.");
    const outputs = devices.filter((device) => device.output);
    fillDevices("song-output", outputs, [defaultOption(defaults.output)], output);
    show(element("song-output"), output ?? "");
    fillDevices("singer", devices.filter((device) => device.input), [["", "none"]], singer);
    show(element("singer"), singer ?? "");
    say("capture", this.captures ? "Stop capturing" : "Capture what is playing");
    element("capture").disabled = !virtual && !this.captures;
    element("capture-hint").hidden = !virtual;
    element("no-capture").hidden = virtual || searching;
  }
}
