// The options of a select of devices, a group for each audio system.

import { element, fill } from "./controls.mjs";

// none: [value, name] options that stand before all. chosen: is kept even if it is not there.
export function fillDevices(id, devices, none, chosen) {
  const groups = [{ options: [...none] }];
  for (const host of new Set(devices.map((device) => device.host))) {
    const options = devices.filter((device) => device.host === host).map(({ value, label: name }) => [value, name]);
    groups.push({ group: host, options });
  }
  if (chosen && !devices.some((device) => device.value === chosen)) groups[0].options.push([chosen, chosen]);
  fill(element(id), groups);
}

// What the system's default is called. isDefault: default_input or default_output.
export function defaultName(devices, isDefault) {
  const usual = devices.findLast((device) => device[isDefault]); // a sound server's comes last, and has a name
  return usual && usual.label !== "default" ? `System default: ${usual.label}` : "System default";
}
