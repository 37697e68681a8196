// The one way to the server: commands go out, parts of the state and frames come in. Comes back by itself.

const AGAIN_MS = 1000;

export class Connection {
  // state(news), refused(sentence), frame(DataView), there(boolean): what is called when such a thing comes.
  constructor(on) {
    this.on = on;
    this.number = 0; // of the last command
    this.connect();
    document.addEventListener("visibilitychange", () => this.watch());
  }

  connect() {
    const address = new URL("socket", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.on.there(true);
      this.watch();
    };
    this.socket.onmessage = ({ data }) => {
      if (typeof data !== "string") return this.on.frame(new DataView(data));
      const message = JSON.parse(data);
      if ("refused" in message) this.on.refused(message.refused);
      else this.on.state(message);
    };
    this.socket.onclose = () => {
      this.on.there(false);
      setTimeout(() => this.connect(), AGAIN_MS);
    };
  }

  // Frames are for pages that are seen.
  watch() {
    this.send(null, "watch", { on: document.visibilityState === "visible" });
  }

  // A command of rtsep/panel's controller of this name, with its arguments; its number, 0 when it cannot be sent.
  send(tab, what, values = {}) {
    if (this.socket.readyState !== WebSocket.OPEN) return 0;
    this.number += 1;
    this.socket.send(JSON.stringify({ tab, do: what, values, number: this.number }));
    return this.number;
  }
}
