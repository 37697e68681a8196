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

// The option for the system's default; name: what that is called, if it has a name.
export function defaultOption(name) {
  return ["", name ? `System default: ${name}` : "System default"];
}
