// What happened in a tab, newest first; and, for a while, at the page's edge what happens where nobody sees the list.

import { element } from "./controls.mjs";

const MOST = 8; // sentences
const SHOWN_MS = 10000;
let hiding = 0;

function showNotice(sentence, kind) {
  const notice = element("notice");
  notice.textContent = sentence;
  notice.className = `notice ${kind}`;
  notice.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (notice.hidden = true), SHOWN_MS);
}

export class Log {
  // list: an <ol>. nothing: what is shown while there is nothing.
  constructor(list, nothing) {
    this.list = list;
    this.nothing = nothing;
    this.newest = null; // number of the sentence told last
  }

  // told: what the tab's controller remembers.
  update(told) {
    for (const { number, kind, sentence } of told.slice(-MOST)) {
      if (number > (this.newest ?? 0)) this.tell(sentence, kind, this.newest !== null);
    }
    this.newest = told.at(-1)?.number ?? 0;
  }

  // now: it has just happened, so it is for everybody to see.
  tell(sentence, kind = "note", now = true) {
    const item = document.createElement("li");
    item.textContent = sentence;
    item.className = kind;
    this.list.prepend(item);
    this.nothing.hidden = true;
    while (this.list.children.length > MOST) this.list.lastChild.remove();
    if (now && !this.seen(item)) showNotice(sentence, kind);
  }

  seen(item) {
    const { top, bottom, height } = item.getBoundingClientRect();
    return height > 0 && top >= 0 && bottom <= innerHeight;
  }
}
