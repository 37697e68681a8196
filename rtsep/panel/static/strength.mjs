// A slider for the strength: dB, and at its end no limit; the server knows it as text, as the command line does.

import { element, say, show } from "./controls.mjs";

export const NO_LIMIT = 31; // the slider's last step

export const strengthText = (value) => (value >= NO_LIMIT ? "max" : String(value));

export function sayStrength(id, value) {
  const text = value >= NO_LIMIT ? "no limit" : `at most ${value} dB`;
  say(`${id}-value`, text);
  element(id).setAttribute("aria-valuetext", text);
}

export function showStrength(id, text) {
  const value = ["max", "inf", null].includes(text) ? NO_LIMIT : Number(text);
  if (show(element(id), Math.min(NO_LIMIT - 1, value) === value ? value : NO_LIMIT)) sayStrength(id, value);
}
