// What is so in a tab: what the server says, and in its place what a person has turned that the server has not heard yet.

export class TabState {
  constructor() {
    this.said = {};
    this.turned = new Map(); // name: {value, number}, of the command that tells the server
    this.values = null;
  }

  // News from the server, who has heard the commands up to that number.
  hear(news, heard) {
    Object.assign(this.said, news);
    for (const [name, { number }] of this.turned) if (number <= heard) this.turned.delete(name);
    this.join();
  }

  turn(name, value, number) {
    this.turned.set(name, { value, number });
    this.join();
  }

  // The server will never hear of it.
  forget() {
    this.turned.clear();
    if (this.values) this.join();
  }

  join() {
    this.values = { ...this.said };
    for (const [name, { value }] of this.turned) this.values[name] = value;
  }
}
