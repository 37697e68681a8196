// The Files tab: shows rtsep/panel/files.py's state, and sends what a person does.

import { element, fill, flush, forgetTouches, say, seldom, show, touch } from "./controls.mjs";
import { DropZone } from "./drop_zone.mjs";
import { Listening } from "./listening.mjs";
import { Log } from "./log.mjs";
import { sayStrength, showStrength, strengthText } from "./strength.mjs";
import { clock } from "./waveform.mjs";

const STATES = { waiting: "waits", working: "is cleaned", done: "done", failed: "failed" };

export class Files {
  constructor(connection) {
    this.connection = connection;
    this.state = null;
    this.log = new Log(element("files-told"), element("files-nothing-told"));
    this.listening = new Listening((what, values) => this.send(what, values), (sentence) => this.log.tell(sentence, "problem"));
    this.items = new Map(); // by number of the recording
    new DropZone(element("files-drop"), "files/recording", (sentence) => this.log.tell(sentence, "problem"));
    element("files-model").addEventListener("change", ({ target }) => {
      touch(target);
      this.choose();
    });
    const choose = seldom(() => this.choose());
    element("files-strength").addEventListener("input", ({ target }) => {
      touch(target, () => this.render());
      sayStrength("files-strength", target.valueAsNumber);
      choose();
    });
  }

  send(what, values) {
    flush();
    this.connection.send("files", what, values);
  }

  choose() {
    const strength = strengthText(element("files-strength").valueAsNumber);
    this.connection.send("files", "choose", { model: element("files-model").value, strength });
  }

  key(key) {
    return this.listening.key(key);
  }

  refused() {
    forgetTouches(document.querySelectorAll("#files select, #files input"));
  }

  update(news) {
    this.state = { ...this.state, ...news };
    this.render();
  }

  render() {
    const { state } = this;
    if (!state?.recordings) return;
    fill(element("files-model"), [{ options: state.models.map(({ name }) => [name, name]) }]);
    show(element("files-model"), state.model);
    showStrength("files-strength", state.strength);
    this.renderRecordings(state.recordings);
    this.listening.update(state.recordings, state.blind);
    this.log.update(state.told);
  }

  renderRecordings(recordings) {
    element("no-recordings").hidden = recordings.length > 0;
    for (const [number, item] of this.items) {
      if (recordings.some((recording) => recording.number === number)) continue;
      item.remove();
      this.items.delete(number);
    }
    for (const recording of recordings) {
      if (!this.items.has(recording.number)) {
        this.items.set(recording.number, this.item(recording));
        element("recordings").append(this.items.get(recording.number));
      }
      this.renderRecording(this.items.get(recording.number), recording);
    }
  }

  item({ number, name }) {
    const item = document.createElement("li");
    const head = document.createElement("div");
    const title = document.createElement("h3");
    const length = document.createElement("span");
    const versions = document.createElement("ul");
    const buttons = document.createElement("div");
    title.textContent = name;
    head.className = "head";
    length.className = "level";
    buttons.className = "buttons";
    for (const [text, act] of [
      ["Listen", () => this.listening.open(number)],
      ["Clean again", () => this.send("clean", { recording: number })],
      ["Remove", () => this.send("remove", { recording: number })],
    ]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.setAttribute("aria-label", `${text}: ${name}`);
      button.addEventListener("click", act);
      buttons.append(button);
    }
    head.append(title, length);
    item.append(head, versions, buttons);
    return item;
  }

  renderRecording(item, { number, name, size, arrived, seconds, versions }) {
    const here = seconds !== null;
    item.querySelector(".level").textContent = here ? clock(seconds) : "";
    for (const button of item.querySelectorAll("button")) button.disabled = !here;
    const coming = { number: 0, label: arrived < size ? "on its way" : "is looked at", state: "working", share: arrived / size };
    const rows = here ? versions.slice(1) : [coming];
    const list = item.querySelector("ul");
    while (list.children.length > rows.length) list.lastChild.remove();
    rows.forEach((version, k) => {
      const row = list.children[k] ?? list.appendChild(document.createElement("li"));
      const text = JSON.stringify(version);
      if (row.dataset.shown === text) return;
      row.dataset.shown = text;
      row.className = version.state;
      row.replaceChildren(...this.row(number, name, version));
    });
  }

  row(recording, name, { number, label, state, share, sentence, file }) {
    const what = document.createElement("span");
    what.textContent = number ? `${label}: ${STATES[state]}` : label;
    if (sentence) what.title = sentence;
    if (state === "working") {
      const bar = document.createElement("progress");
      bar.value = share;
      bar.setAttribute("aria-label", `${name}, ${label}`);
      return [what, bar];
    }
    if (state !== "done") return [what];
    const link = document.createElement("a");
    link.href = `files/${recording}/${number}/file`;
    link.download = file;
    link.textContent = "Download";
    link.setAttribute("aria-label", `Download ${file}, ${label}`);
    return [what, link];
  }
}
