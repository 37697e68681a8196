// The strip of tabs: one is shown, whose name stands behind the #/ of the address; arrow keys go along the strip.

export class TabStrip {
  // strip: the element with role tablist. panels: what the tabs show, each with its name in data-title.
  constructor(strip, panels) {
    this.panels = panels;
    this.buttons = panels.map((panel) => {
      const button = document.createElement("button");
      button.type = "button";
      button.id = `tab-${panel.id}`;
      button.textContent = panel.dataset.title;
      button.setAttribute("role", "tab");
      button.setAttribute("aria-controls", panel.id);
      button.addEventListener("click", () => this.show(panel.id));
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", button.id);
      return button;
    });
    strip.append(...this.buttons);
    strip.addEventListener("keydown", (event) => this.key(event));
    addEventListener("hashchange", () => this.show(location.hash.slice(2)));
    this.show(location.hash.slice(2));
    strip.hidden = false;
  }

  show(name) {
    const panel = this.panels.find(({ id }) => id === name) ?? this.panels[0];
    this.shown = panel.id;
    this.panels.forEach((one, k) => {
      const here = one === panel;
      one.hidden = !here;
      this.buttons[k].setAttribute("aria-selected", String(here));
      this.buttons[k].tabIndex = here ? 0 : -1;
    });
    history.replaceState(null, "", `#/${panel.id}`); // no element's name, to which the browser would go
  }

  key(event) {
    const now = this.panels.findIndex(({ id }) => id === this.shown);
    const last = this.panels.length - 1;
    const next = { ArrowRight: now === last ? 0 : now + 1, ArrowLeft: now === 0 ? last : now - 1, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.show(this.panels[next].id);
    this.buttons[next].focus();
  }
}
