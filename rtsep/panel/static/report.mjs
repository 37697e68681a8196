// The Report tab: shows rtsep/panel/report.py's state, and sends what a person does.

import { element, fill, forgetTouches, say, show, touch } from "./controls.mjs";
import { Log } from "./log.mjs";

export class Report {
  constructor(connection) {
    this.connection = connection;
    this.state = null;
    this.made = 0; // number of the page that is shown
    this.log = new Log(element("report-told"), element("report-nothing-told"));
    element("measure-form").addEventListener("submit", (event) => {
      event.preventDefault();
      connection.send("report", "measure", {
        model: element("measure-model").value,
        seconds: Number(element("measure-seconds").value),
        quick: element("measure-quick").checked,
      });
    });
    for (const id of ["measure-model", "measure-seconds", "measure-quick"]) {
      element(id).addEventListener("change", ({ target }) => touch(target));
    }
    element("measure-stop").addEventListener("click", () => connection.send("report", "stop"));
    const page = element("report-page");
    page.addEventListener("load", () => (page.style.height = `${page.contentDocument.documentElement.scrollHeight + 20}px`));
  }

  key() {
    return false;
  }

  refused() {
    forgetTouches(document.querySelectorAll("#report select, #report input"));
  }

  update(news) {
    this.state = { ...this.state, ...news };
    const { state } = this;
    if (!state.said) return;
    fill(element("measure-model"), [{ options: state.models.map(({ name }) => [name, name]) }]);
    if ("model" in news) show(element("measure-model"), state.model);
    if ("seconds" in news) show(element("measure-seconds"), state.seconds);
    if ("quick" in news) show(element("measure-quick"), state.quick);
    element("measure-form").hidden = state.on;
    element("measuring").hidden = !state.on;
    say("measure-step", state.said.length ? `${state.said.at(-1)} …` : "Starting …");
    element("measure-progress").value = Math.max(0, state.said.length - 1) / state.steps;
    element("measured").hidden = !state.made;
    if (state.made !== this.made) {
      this.made = state.made;
      element("report-page").src = `report/page?${state.made}`;
    }
    this.log.update(state.told);
  }
}
