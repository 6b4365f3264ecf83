// Talking to the inspector: JSON over fetch, and the live WebSocket that comes back by itself.

export class ApiError extends Error {}

export async function get(path) {
  return answer(await fetch(path, { headers: { accept: "application/json" } }));
}

export async function post(path, value, raw = null) {
  const body = raw ?? JSON.stringify(value);
  return answer(await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body }));
}

async function answer(response) {
  if (response.status === 204) return null;
  let value = null;
  try {
    value = await response.json();
  } catch {
    throw new ApiError(response.status === 401 ? "This page's token is old: open the address from the terminal again" : `The inspector said ${response.status}`);
  }
  if (!response.ok) throw new ApiError(value.msg || `The inspector said ${response.status}`);
  return value;
}

/** The live connection. `onMessage(value)`, `onState(open)`; `filter(text)` changes what the list shows. */
export class Live {
  constructor(onMessage, onState) {
    this.onMessage = onMessage;
    this.onState = onState;
    this.query = "";
    this.wait = 250;
    this.connect();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(`${scheme}//${location.host}/api/live`);
    this.socket.onopen = () => {
      this.wait = 250;
      this.onState(true);
      if (this.query) this.filter(this.query);
    };
    this.socket.onmessage = (event) => this.onMessage(JSON.parse(event.data));
    this.socket.onclose = () => {
      this.onState(false);
      setTimeout(() => this.connect(), this.wait);
      this.wait = Math.min(this.wait * 2, 5000);
    };
  }

  filter(text) {
    this.query = text;
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ q: text }));
  }
}
