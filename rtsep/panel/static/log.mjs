// What happened in a tab, newest first.

const MOST = 8; // sentences

export class Log {
  // list: an <ol>. nothing: what is shown while there is nothing.
  constructor(list, nothing) {
    this.list = list;
    this.nothing = nothing;
    this.newest = 0;
  }

  // told: what the tab's controller remembers.
  update(told) {
    for (const { number, kind, sentence } of told.slice(-MOST)) {
      if (number > this.newest) this.tell(sentence, kind);
    }
    this.newest = told.at(-1)?.number ?? 0;
  }

  tell(sentence, kind = "note") {
    const item = document.createElement("li");
    item.textContent = sentence;
    item.className = kind;
    this.list.prepend(item);
    this.nothing.hidden = true;
    while (this.list.children.length > MOST) this.list.lastChild.remove();
  }
}
