// Controls that show what the server says, and leave alone what a person is just moving.

const ALONE_MS = 600;
const touched = new WeakMap();
export const element = (id) => document.getElementById(id);

export function touch(control) {
  touched.set(control, performance.now());
}

export function forgetTouches(controls) {
  for (const control of controls) touched.delete(control);
}

// Give a control its value, unless somebody has just moved it.
export function show(control, value) {
  if (performance.now() - (touched.get(control) ?? -ALONE_MS) < ALONE_MS) return false;
  if (control.type === "checkbox") control.checked = value;
  else if (control.value !== String(value)) control.value = value;
  return true;
}

export function say(id, text) {
  const place = element(id);
  if (place.textContent !== text) place.textContent = text;
}

// The options of a select, made anew only when they are others: [{group, options: [[value, text], ...]}, ...].
export function fill(select, groups) {
  const text = JSON.stringify(groups);
  if (select.dataset.options === text) return;
  select.dataset.options = text;
  const chosen = select.value;
  select.replaceChildren(
    ...groups.flatMap(({ group, options }) => {
      const made = options.map(([value, name]) => new Option(name, value));
      if (!group) return made;
      const place = document.createElement("optgroup");
      place.label = group;
      place.append(...made);
      return [place];
    }),
  );
  select.value = chosen;
}

// Not more often than that, and always the last one.
export function seldom(send, milliseconds = 60) {
  let timer = 0;
  let last = null;
  return (value) => {
    last = value;
    timer ||= setTimeout(() => {
      timer = 0;
      send(last);
    }, milliseconds);
  };
}
