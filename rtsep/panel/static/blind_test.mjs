// The blind test's questions and its result (rtsep/panel/blind_test.py); what A, B and X are, only the server knows.

import { element, say } from "./controls.mjs";

const CHANCE = 0.05;

export class BlindTest {
  // send(what, values): a command to the controller.
  constructor(send) {
    this.state = null;
    this.versions = [];
    element("blind-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const versions = [...element("blind-versions").querySelectorAll(":checked")].map(({ value }) => Number(value));
      send("begin_blind_test", { recording: this.recording, versions, trials: Number(element("blind-trials").value) });
    });
    for (const sound of ["a", "b"]) {
      element(`blind-${sound}`).addEventListener("click", () => send("answer_blind_test", { trial: this.state.at, sound }));
    }
    for (const id of ["blind-end", "blind-again"]) element(id).addEventListener("click", () => send("end_blind_test"));
  }

  // versions: that are there and can be compared.
  update(versions, recording) {
    this.recording = recording;
    const running = Boolean(this.state) && !this.state.over;
    const over = Boolean(this.state?.over);
    if (this.state) element("blind").open = true;
    element("blind-form").hidden = running || over;
    element("blind-running").hidden = !running;
    element("blind-over").hidden = !over;
    this.renderVersions(versions);
    if (running) say("blind-trial", `Trial ${this.state.at + 1} of ${this.state.trials}: listen to A, B and X. Which is X?`);
    if (over) this.renderResults();
  }

  renderVersions(versions) {
    const text = JSON.stringify(versions.map(({ number, label }) => [number, label]));
    const place = element("blind-versions");
    if (place.dataset.shown === text) return;
    place.dataset.shown = text;
    this.versions = versions;
    const legend = place.querySelector("legend");
    place.replaceChildren(
      legend,
      ...versions.map(({ number, label }, k) => {
        const choice = document.createElement("label");
        const box = document.createElement("input");
        box.type = "checkbox";
        box.value = number;
        box.checked = k >= versions.length - 2; // the newest two
        choice.append(box, label);
        return choice;
      }),
    );
    element("blind-begin").disabled = versions.length < 2;
  }

  renderResults() {
    const name = (number) => this.versions.find((version) => version.number === number)?.label ?? `version ${number}`;
    const [all] = this.state.results;
    const sure = all.p <= CHANCE;
    say(
      "blind-verdict",
      `${all.correct} of ${all.trials} right, p = ${all.p.toPrecision(2)}: ` +
        (sure ? "you hear a difference." : "this is no evidence that you hear a difference."),
    );
    element("blind-results").replaceChildren(
      ...this.state.results.map(({ versions, correct, trials, p }) => {
        const row = document.createElement("tr");
        row.append(
          ...[versions.map(name).join(" · "), `${correct} of ${trials}`, p.toPrecision(3)].map((text) => {
            const cell = document.createElement("td");
            cell.textContent = text;
            return cell;
          }),
        );
        return row;
      }),
    );
  }
}
