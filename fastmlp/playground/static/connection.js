// The WebSocket: frames in, messages out, and a new connection when one is lost.

const LONGEST_PAUSE = 5000;

export class Connection {
  // handlers: hello, problem, status, error (each gets a message), frame, lost (gets a text).
  constructor(handlers) {
    this.handlers = handlers;
    this.pause = 500;
    this.unacknowledged = 0;
    this.header = null;
    document.addEventListener("visibilitychange", () => this.acknowledge());
    window.addEventListener("online", () => this.retryNow());
    this.open();
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`);
    this.socket = socket;
    this.unacknowledged = 0;
    let refusal = "";
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => {
      if (typeof data !== "string") {
        this.unacknowledged++;
        this.acknowledge();
        this.handlers.frame(this.parse(data));
        return;
      }
      const message = JSON.parse(data);
      if (message.type === "hello") {
        this.header = message;
        this.pause = 500;
      }
      if (message.type === "error") refusal = message.message;
      this.handlers[message.type]?.(message);
    });
    socket.addEventListener("close", ({ code }) => {
      const full = code === 1013;
      this.handlers.lost(full ? refusal : "The connection is lost. Trying again …");
      if (full) this.pause = LONGEST_PAUSE;
      this.timer = setTimeout(() => this.open(), this.pause);
      this.pause = Math.min(2 * this.pause, LONGEST_PAUSE);
    });
  }

  retryNow() {
    if (this.socket.readyState !== WebSocket.CLOSED) return;
    clearTimeout(this.timer);
    this.open();
  }

  send(type, content = {}) {
    if (this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify({ type, ...content }));
    return true;
  }

  // A page that nobody sees does not acknowledge, and so its training waits.
  acknowledge() {
    if (document.hidden) return;
    for (; this.unacknowledged > 0; this.unacknowledged--) this.send("ack");
  }

  parse(buffer) {
    const { header, fine, coarse } = this.header;
    const view = new DataView(buffer);
    const frame = {};
    header.fields.forEach((name, i) => {
      frame[name] = i < 5 ? view.getUint32(4 * i, true) : view.getFloat32(4 * i, true);
    });
    let offset = header.bytes;
    frame.params = new Float32Array(buffer, offset, frame.n_params);
    offset += 4 * frame.n_params;
    frame.peaks = new Float32Array(buffer, offset, frame.n_hidden);
    offset += 4 * frame.n_hidden;
    frame.output = new Int16Array(buffer, offset, fine * fine);
    offset += 2 * fine * fine;
    frame.hidden = Array.from({ length: frame.n_hidden }, (_, i) => {
      return new Int8Array(buffer, offset + i * coarse * coarse, coarse * coarse);
    });
    return frame;
  }
}
