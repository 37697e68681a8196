// Where files are dropped or chosen, and their way to the server, one after another.

export class DropZone {
  // zone: an element with an <input type=file> in it. address: to put them to. refused(sentence): one was not taken.
  constructor(zone, address, refused) {
    this.address = address;
    this.refused = refused;
    this.waiting = [];
    const input = zone.querySelector("input");
    input.addEventListener("change", () => {
      this.add([...input.files]);
      input.value = "";
    });
    for (const name of ["dragenter", "dragover"]) {
      zone.addEventListener(name, (event) => {
        event.preventDefault();
        zone.classList.add("over");
      });
    }
    for (const name of ["dragleave", "drop"]) zone.addEventListener(name, () => zone.classList.remove("over"));
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      this.add([...event.dataTransfer.files]);
    });
  }

  async add(files) {
    const first = this.waiting.length === 0;
    this.waiting.push(...files);
    while (first && this.waiting.length) {
      await this.send(this.waiting[0]).catch(() => this.refused(`${this.waiting[0].name} could not be sent.`));
      this.waiting.shift();
    }
  }

  // What the server refuses it tells to all pages itself.
  async send(file) {
    const name = encodeURIComponent(file.name);
    const asked = await (await fetch(`${this.address}/ask?name=${name}&size=${file.size}`)).json();
    if (!("refused" in asked)) await fetch(`${this.address}?name=${name}`, { method: "PUT", body: file });
  }
}

// A file that misses the zone does not replace the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
