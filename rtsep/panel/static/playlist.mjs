// The playlist: a button a song, which plays it, and one that removes it.

import { element } from "./controls.mjs";

export class Playlist {
  // send(what, values): a command to the controller.
  constructor(send) {
    this.send = send;
    this.items = new Map(); // by number of the song
  }

  render(songs, current) {
    element("no-songs").hidden = songs.length > 0;
    for (const [number, item] of this.items) {
      if (songs.some((song) => song.number === number)) continue;
      item.remove();
      this.items.delete(number);
    }
    for (const song of songs) {
      if (!this.items.has(song.number)) this.add(song.number);
      this.renderSong(this.items.get(song.number), song, song.number === current);
    }
  }

  add(number) {
    const item = document.createElement("li");
    const play = document.createElement("button");
    const remove = document.createElement("button");
    play.type = remove.type = "button";
    play.className = "song";
    remove.className = "plain";
    remove.textContent = "Remove";
    play.addEventListener("click", () => this.send("play", { song: number }));
    remove.addEventListener("click", () => this.send("remove", { song: number }));
    item.append(play, remove);
    this.items.set(number, item);
    element("playlist").append(item);
  }

  renderSong(item, { name, share, sentence }, plays) {
    const [play, remove] = item.children;
    const coming = share === null ? "" : ` (on its way, ${Math.round(100 * share)} %)`;
    const text = `${name}${coming}${sentence ? ` – ${sentence}` : ""}`;
    if (play.textContent !== text) play.textContent = text;
    play.disabled = share !== null;
    remove.setAttribute("aria-label", `Remove: ${name}`);
    item.classList.toggle("bad", Boolean(sentence));
    if (plays) play.setAttribute("aria-current", "true");
    else play.removeAttribute("aria-current");
  }
}
