// The Microphone tab: shows rtsep/panel/microphone.py's state, and sends what a person does.

import { element, fill, flush, forgetTouches, say, seldom, show, touch } from "./controls.mjs";
import { defaultOption, fillDevices } from "./device_list.mjs";
import { Log } from "./log.mjs";
import { Spectrogram, label } from "./spectrogram.mjs";
import { sayStrength, showStrength, strengthText } from "./strength.mjs";
import { TabState } from "./tab_state.mjs";

const OFF = 0; // the gate's first
const NOWHERE = "-"; // the output's first
const MOST_SLACK = 8;
const SETTLE_MS = 500; // for what starts the session anew
const ASKED_MS = 400; // that what was asked for counts, before the server says that it is so
const BANDS = 128;
const HEADER = 24; // bytes
const QUIET_MS = 500; // between levels where motion is not wanted
const STATES = {
  starting: "Starting …",
  preparing: "Preparing …",
  running: "Running",
  waiting: "Waiting for the device …",
  stopped: "Off",
};
const still = matchMedia("(prefers-reduced-motion: reduce)");
const count = new Intl.NumberFormat("en");
const fixed = (value, digits = 1) => (value ?? NaN).toFixed(digits).replace("-0.0", "0.0").replace("NaN", "–");

export class Microphone {
  constructor(connection) {
    this.connection = connection;
    this.state = null;
    this.chosen = new TabState();
    this.log = new Log(element("told"), element("nothing-told"));
    this.asked = {}; // what a button was last turned to, and when
    this.levels = null;
    this.shownLevels = 0;
    this.pictures = [new Spectrogram(element("before")), new Spectrogram(element("after"))];
    this.listen();
    this.hold(still.matches);
    const draw = (now) => {
      this.pictures.forEach((picture) => picture.draw());
      this.drawLevels(now);
      requestAnimationFrame(draw);
    };
    requestAnimationFrame(draw);
  }

  // Taken for chosen at once, before the server says it.
  choose(values) {
    const number = this.send("choose", { values });
    if (!number) return;
    Object.entries(values).forEach(([key, value]) => this.chosen.turn(key, value, number));
    this.render();
  }

  send(what, values) {
    return this.connection.send("microphone", what, values);
  }

  // What a person does

  listen() {
    const send = (what, values) => {
      flush();
      this.send(what, values);
    };
    const on = (id, event, act) => element(id).addEventListener(event, act);
    on("run", "click", () => send("run", { on: !this.state?.on }));
    on("bypass", "click", () => this.toggle("bypass"));
    on("mute", "click", () => this.toggle("mute"));
    on("record", "click", () => this.toggle("record"));
    on("find", "click", () => {
      this.connection.send("devices", "look_again");
      send("find_presets");
    });
    on("pause", "click", () => this.hold(element("pause").getAttribute("aria-pressed") !== "true"));
    for (const id of ["input", "input-channels", "model"]) {
      on(id, "change", ({ target }) => {
        touch(target);
        this.choose({ [target.dataset.key]: target.value || null });
      });
    }
    on("virtual", "change", ({ target }) => {
      touch(target);
      // One place only; and where it goes instead is for a person to say, as a loudspeaker may feed back.
      this.choose({ monitor: null, output: null, virtual_mic: target.checked || null });
    });
    on("follow", "change", ({ target }) => {
      touch(target);
      this.choose({ follow_default: target.checked || null });
    });
    on("output", "change", ({ target }) => {
      touch(target);
      const somewhere = target.value !== NOWHERE;
      this.choose({ monitor: somewhere || null, output: (somewhere && target.value) || null });
    });
    on("slack", "change", ({ target }) => {
      touch(target);
      this.choose({ slack: target.value ? Number(target.value) : null });
    });
    const strength = seldom((value) => this.choose({ strength: strengthText(value) }));
    on("strength", "input", ({ target }) => {
      touch(target, () => this.render());
      sayStrength("strength", target.valueAsNumber);
      strength(target.valueAsNumber);
    });
    const gate = seldom((value) => this.choose({ gate: value === OFF ? null : String(value) }), SETTLE_MS);
    on("gate", "input", ({ target }) => {
      touch(target, () => this.render());
      this.sayGate(target.valueAsNumber);
      gate(target.valueAsNumber);
    });
    on("load-form", "submit", (event) => {
      event.preventDefault();
      send("load_preset", { name: element("preset").value });
    });
    on("save-form", "submit", (event) => {
      event.preventDefault();
      send("save_preset", { name: element("preset-name").value });
      element("preset-name").value = "";
    });
  }

  // Bypass, mute or record: the other of what it is now.
  toggle(what) {
    const status = this.state?.status;
    if (!status) return;
    const said = { bypass: status.bypass, mute: status.muted, record: status.recording }[what];
    const { value, at } = this.asked[what] ?? { at: -ASKED_MS };
    const now = performance.now() - at < ASKED_MS ? value : said;
    this.asked[what] = { value: !now, at: performance.now() };
    this.send(what, { on: !now });
  }

  key(key) {
    const act = { " ": "bypass", b: "bypass", m: "mute", r: "record" }[key];
    if (act) this.toggle(act);
    return Boolean(act) && Boolean(this.state?.status);
  }

  hold(on) {
    element("pause").setAttribute("aria-pressed", String(on));
    this.pictures.forEach((picture) => picture.hold(on));
  }

  // What the server says

  update(news, heard) {
    this.state = { ...this.state, ...news };
    this.chosen.hear(news.chosen ?? {}, heard);
    this.render();
  }

  forget() {
    this.chosen.forget();
    this.render();
  }

  refused() {
    this.asked = {};
    this.chosen.forget();
    forgetTouches(document.querySelectorAll("#microphone select, #microphone input"));
  }

  render() {
    if (!this.state?.chosen || !this.state.devices) return;
    const state = { ...this.state, chosen: this.chosen.values };
    this.renderChoices(state);
    this.renderSound(state);
    this.renderFigures(state.status);
    this.log.update(state.told);
  }

  renderChoices({ chosen, devices, defaults, models, presets, virtual, searching, gates }) {
    for (const kind of ["input", "output"]) {
      const first = kind === "output" ? [[NOWHERE, "Choose one"]] : [];
      fillDevices(kind, devices.filter((device) => device[kind]), [...first, defaultOption(defaults[kind])], chosen[kind]);
    }
    show(element("input"), chosen.input ?? "");
    show(element("output"), chosen.output ?? (chosen.monitor ? "" : NOWHERE));
    this.fillChannels(chosen.input_channels);
    show(element("input-channels"), chosen.input_channels ?? "");
    show(element("virtual"), Boolean(chosen.virtual_mic));
    show(element("follow"), Boolean(chosen.follow_default));
    element("follow-field").hidden = !(virtual && chosen.virtual_mic && !chosen.input);
    element("virtual-field").hidden = !virtual && !chosen.virtual_mic;
    element("no-virtual").hidden = virtual || Boolean(chosen.virtual_mic) || searching;
    element("output-field").hidden = Boolean(chosen.virtual_mic);
    say("find", searching ? "Looking …" : "Look again");

    const known = models.map(({ name }) => [name, name]);
    const other = known.some(([name]) => name === chosen.model) || chosen.model === "auto" ? [] : [[chosen.model, chosen.model]];
    fill(element("model"), [{ options: [["auto", "what this machine can"], ...known, ...other] }]);
    show(element("model"), chosen.model);
    const model = models.find(({ name }) => name === chosen.model);
    say("model-hint", model ? `${fixed(model.ms, 2)} ms of algorithmic latency at ${model.rate / 1000} kHz.` : "");
    const slacks = Array.from({ length: MOST_SLACK + 1 }, (_, k) => [String(k), String(k)]);
    const slack = chosen.slack === "auto" ? "" : (chosen.slack ?? "");
    if (slack > MOST_SLACK) slacks.push([String(slack), String(slack)]);
    fill(element("slack"), [{ options: [["", "auto"], ...slacks] }]);
    show(element("slack"), slack);

    showStrength("strength", chosen.strength);
    const gate = [null, "off"].includes(chosen.gate) ? OFF : Number(chosen.gate);
    element("gate-field").hidden = !gates;
    if (show(element("gate"), gate)) this.sayGate(gate);

    element("load-form").hidden = presets.length === 0;
    fill(element("preset"), [{ options: presets.map((name) => [name, name]) }]);
    if (!element("preset").value && presets.length) element("preset").value = presets[0];
  }

  fillChannels(chosen) {
    const options = [["", "as many as the model has"], ["left", "left"], ["right", "right"], ["mean", "mean of all"]];
    if (chosen && !options.some(([value]) => value === chosen)) options.push([chosen, `number ${chosen}`]);
    fill(element("input-channels"), [{ options }]);
  }

  sayGate(value) {
    const text = value === OFF ? "off" : `${value} dB`;
    say("gate-value", text);
    element("gate").setAttribute("aria-valuetext", text);
  }

  renderSound({ on, ending, status, chosen, devices }) {
    say("run", on ? "Stop" : "Start");
    element("run").classList.toggle("on", on);
    const here = status && status.rate;
    say("state", on ? STATES[status?.state ?? "starting"] : ending ? "Stopping …" : "Off");
    const called = (name) => devices.find(({ value }) => value === name)?.label ?? name;
    const way = here ? `${called(status.input) ?? "no input"} → ${called(status.output) ?? "no output"}` : "";
    say("way", way || (on ? "" : this.advice(chosen)));
    for (const [id, value] of [["bypass", status?.bypass], ["mute", status?.muted], ["record", status?.recording]]) {
      const button = element(id);
      button.disabled = !status;
      button.setAttribute("aria-pressed", String(Boolean(value)));
    }
    const loud = [];
    if (status?.paused) loud.push("Too slow: the original plays");
    else if (status?.bypass) loud.push("The original plays");
    if (status?.muted) loud.push("Muted: nothing is played");
    if (status?.recording) loud.push(`Recording to ${this.state.folder}`);
    say("loud", loud.join(". "));
    element("loud").hidden = loud.length === 0;
    document.title = on ? `${status?.muted ? "Muted" : "On"} – rtsep` : "rtsep";
  }

  advice(chosen) {
    if (chosen.virtual_mic) return "Start it, then choose the rtsep microphone in the other program.";
    if (chosen.monitor || chosen.output) return "Start it, and listen with headphones.";
    return "Turn the virtual microphone on or choose an output, then start.";
  }

  renderFigures(status) {
    const here = Boolean(status && "added_ms" in status);
    element("figures").hidden = !here;
    element("no-figures").hidden = here;
    if (!here) return;
    const block = (1000 * status.block) / status.rate;
    const slack = (1000 * status.slack * status.period) / status.rate;
    const between = status.clocks ? status.clocks.target_ms : 0;
    const parts = [["the stream", status.added_ms - slack - between]];
    if (slack) parts.push([`slack, ${status.slack} × ${fixed(slack / status.slack, 2)} ms`, slack]);
    if (status.clocks) parts.push(["between two clocks", between]);
    say("delay", `${fixed(status.added_ms, 2)} ms`);
    this.renderParts(parts);
    const share = status.callbacks ? (100 * status.late) / status.callbacks : 0;
    say("late", `${count.format(status.late)} of ${count.format(status.callbacks)} (${fixed(share, 2)} %)`);
    const { p50, p99, max } = status.compute_ms;
    say("cpu", p50 === null ? "–" : `${fixed((100 * p50) / block, 0)} % of a core`);
    say("compute", p50 === null ? "–" : `${fixed(p50, 2)} ms; p99 ${fixed(p99, 2)}, longest ${fixed(max, 2)} of ${fixed(status.budget_ms, 2)} ms`);
    const slackNow = status.slack ? `${status.slack} × ${status.period} samples` : "none: the step runs in the callback";
    const itself = [null, "auto"].includes(this.state.chosen.slack) ? ", chosen by itself" : "";
    say("slack-now", slackNow + itself);
    say("reduction", `${fixed(Math.max(0, status.reduction_db))} dB`);
    say("activity", status.activity === null ? "the model does not say" : `${fixed(100 * status.activity, 0)} %`);
    say("gate-now", status.gate_db === null ? "off" : `${fixed(status.gate_db, 0)} dB`);
    say("device", `${status.host}, ${status.rate} Hz, blocks of ${status.block}`);
    say("xruns", count.format(status.xruns));
    say("clocks", status.clocks ? `${fixed(status.clocks.drift_ppm, 0)} ppm apart, ${status.clocks.slips} slips` : "one clock");
    say("restarts", `device ${status.restarts.device}, worker ${status.restarts.worker}`);
    say("priority", ["ordinary", "real time", "real time, memory locked"][status.realtime]);
    if (this.rate !== status.rate) {
      this.rate = status.rate;
      document.querySelectorAll("#microphone .hertz").forEach((list) => label(list, status.rate));
    }
  }

  renderParts(parts) {
    const bar = element("parts");
    const list = element("parts-list");
    while (bar.children.length < parts.length) bar.append(document.createElement("i"));
    while (list.children.length < parts.length) list.append(document.createElement("li"));
    while (bar.children.length > parts.length) bar.lastChild.remove();
    while (list.children.length > parts.length) list.lastChild.remove();
    parts.forEach(([name, value], k) => {
      bar.children[k].style.flexGrow = Math.max(0, value);
      const text = `${name}: ${fixed(value, 2)} ms`;
      if (list.children[k].textContent !== text) list.children[k].textContent = text;
    });
  }

  // Frames

  frame(view) {
    const columns = view.getUint32(20, true);
    this.levels = [0, 4, 8, 12].map((at) => view.getFloat32(at, true));
    const bytes = new Uint8Array(view.buffer);
    for (let k = 0; k < columns; k += 1) {
      this.pictures.forEach((picture, which) => {
        const at = HEADER + (2 * k + which) * BANDS;
        picture.push(bytes.subarray(at, at + BANDS));
      });
    }
  }

  drawLevels(now) {
    const on = Boolean(this.state?.status);
    if (!on) this.levels = null;
    if (still.matches && now - this.shownLevels < QUIET_MS) return;
    this.shownLevels = now;
    ["heard", "played"].forEach((id, which) => {
      const [level, peak] = this.levels ? this.levels.slice(2 * which, 2 * which + 2) : [-120, -120];
      const share = (decibels) => Math.min(1, Math.max(0, 1 + decibels / 60));
      const meter = element(id);
      meter.querySelector("i").style.transform = `scaleX(${share(level)})`;
      meter.querySelector("b").style.left = `calc(${100 * share(peak)}% - 2px)`;
      const rounded = Math.round(Math.max(-60, Math.min(0, level)));
      if (meter.getAttribute("aria-valuenow") !== String(rounded)) meter.setAttribute("aria-valuenow", rounded);
      say(`${id}-level`, this.levels ? `${level < -99 ? "–∞" : fixed(level, 0)} dB` : "–");
    });
  }
}
