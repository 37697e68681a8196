// The page: one connection, the tabs, and keys that work wherever one is.

import { Connection } from "./connection.mjs";
import { element } from "./controls.mjs";
import { Files } from "./files.mjs";
import { Karaoke } from "./karaoke.mjs";
import { Microphone } from "./microphone.mjs";
import { Report } from "./report.mjs";
import { TabStrip } from "./tab_strip.mjs";

const tabs = {};
const connection = new Connection({
  state: ({ heard, devices, ...news }) => {
    if (devices) Object.values(tabs).forEach((tab) => tab.update(devices, heard));
    Object.entries(news).forEach(([name, values]) => tabs[name].update(values, heard));
  },
  frame: (view) => tabs.microphone.frame(view),
  refused: (sentence) => {
    Object.values(tabs).forEach((tab) => tab.refused());
    tabs[strip.shown].log.tell(sentence, "problem");
  },
  there: (on) => {
    element("offline").hidden = on;
    if (!on) [tabs.microphone, tabs.karaoke].forEach((tab) => tab.forget());
  },
});
tabs.microphone = new Microphone(connection);
tabs.files = new Files(connection);
tabs.karaoke = new Karaoke(connection);
tabs.report = new Report(connection);
const strip = new TabStrip(element("tabs"), [...document.querySelectorAll(".tab")]);

// Single keys are for those who want them (they get in the way of speech input, for one).

const singleKeys = element("single-keys");
try {
  singleKeys.checked = localStorage.getItem("single-keys") !== "off";
} catch {
  // a browser that keeps nothing
}
singleKeys.addEventListener("change", () => {
  try {
    localStorage.setItem("single-keys", singleKeys.checked ? "on" : "off");
  } catch {
    // as above
  }
});

document.addEventListener("keydown", (event) => {
  if (!singleKeys.checked || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const typing = event.target.closest("input[type=text], input[type=number], select, textarea");
  const pressing = event.key === " " && event.target.closest("button, summary, input[type=checkbox], input[type=radio], a");
  const moving = event.key.startsWith("Arrow") && event.target.closest("input, [role=tab]");
  if (typing || pressing || moving) return;
  if (tabs[strip.shown].key(event.key.toLowerCase())) event.preventDefault();
});

// After a click of the mouse the space bar is for comparing, not for pressing the same button again.
document.addEventListener("click", (event) => {
  if (event.detail > 0) event.target.closest("button:not([role=tab])")?.blur();
});
