// Controls that show what the server says, and leave alone what a person is just moving.

const ALONE_MS = 2000; // at most: until the server says the same
const touched = new WeakMap();
export const element = (id) => document.getElementById(id);

// Somebody moves it; ``after`` is called when the server must have heard of it.
export function touch(control, after) {
  touched.set(control, performance.now());
  if (after) setTimeout(after, ALONE_MS + 50);
}

export function forgetTouches(controls) {
  for (const control of controls) touched.delete(control);
}

// Give a control its value, unless somebody has just moved it and the server does not know yet; whether it has it.
export function show(control, value) {
  const has = control.type === "checkbox" ? control.checked === value : control.value === String(value);
  if (has) touched.delete(control);
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

const waiting = new Set();

// ``send`` not more often than that, and always the last value.
export function seldom(send, milliseconds = 60) {
  let timer = 0;
  let last = null;
  const now = () => {
    clearTimeout(timer);
    timer = 0;
    waiting.delete(now);
    send(last);
  };
  return (value) => {
    last = value;
    waiting.add(now);
    timer ||= setTimeout(now, milliseconds);
  };
}

// Send at once what waits to be sent: something else is about to be, which must come after it.
export function flush() {
  [...waiting].forEach((now) => now());
}
