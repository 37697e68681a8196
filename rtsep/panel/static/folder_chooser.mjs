// Goes through the folders of the machine that runs the panel, until one is taken.

import { element, say } from "./controls.mjs";

export class FolderChooser {
  // add(path): that folder was taken. failed(sentence): one cannot be read.
  constructor(add, failed) {
    this.failed = failed;
    this.found = null;
    element("folder-open").addEventListener("click", () => this.toggle());
    element("folder-up").addEventListener("click", () => this.go(this.found.parent));
    element("folder-add").addEventListener("click", () => {
      add(this.found.path);
      this.toggle();
    });
  }

  toggle() {
    const open = element("folder").hidden;
    element("folder").hidden = !open;
    element("folder-open").setAttribute("aria-expanded", String(open));
    if (open) this.go(this.found?.path ?? "");
    else element("folder-open").focus();
  }

  async go(path) {
    const found = await (await fetch(`karaoke/folder?path=${encodeURIComponent(path)}`)).json();
    if ("refused" in found) return this.failed(found.refused);
    this.found = found;
    say("folder-path", found.path);
    const songs = found.songs === 1 ? "1 song" : `${found.songs} songs`;
    const below = found.folders.length ? ", and those in its folders" : "";
    say("folder-add", found.songs ? `Add this folder (${songs} here${below})` : "Add what is in its folders");
    element("folder-up").disabled = found.parent === null;
    element("folders").replaceChildren(
      ...found.folders.map((name) => {
        const item = document.createElement("li");
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = name;
        button.addEventListener("click", () => this.go(`${found.path}/${name}`));
        item.append(button);
        return item;
      }),
    );
  }
}
