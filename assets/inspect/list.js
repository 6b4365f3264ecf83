// The list: any number of rows, of which only those in view exist as elements, so ten thousand a minute cost what twenty do.

import { h, visible } from "./dom.js";
import { bytes, ip, iso, clock, millis, tag } from "./format.js";

const MAX = 2000;
const OVERSCAN = 6;

export class List {
  /** `box` scrolls, `spacer` within it is as high as all rows together; `onOpen(id)` when one is chosen. */
  constructor(box, spacer, onOpen) {
    this.box = box;
    this.spacer = spacer;
    this.onOpen = onOpen;
    this.rows = new Map(); // id -> row
    this.order = []; // ids, newest first
    this.elements = new Map();
    this.paused = false;
    this.held = [];
    this.selected = "";
    this.scheduled = false;
    this.tunnels = 1;
    box.addEventListener("scroll", () => this.schedule(), { passive: true });
    box.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.onOpen(row.dataset.id);
    });
    new ResizeObserver(() => this.schedule()).observe(box);
  }

  get height() {
    return parseFloat(getComputedStyle(document.documentElement).fontSize) * 2.75;
  }

  set(rows) {
    this.rows = new Map(rows.map((row) => [row.id, row]));
    this.order = rows.toSorted((a, b) => b.at - a.at).map((row) => row.id); // they come as they were kept: imports first
    this.held = [];
    this.schedule();
  }

  /** Changed and new rows, and ids that are gone. While paused they wait. */
  change(rows, gone, cleared) {
    if (this.paused) {
      this.held.push([rows, gone, cleared]);
      if (this.held.length > 200) this.held.shift();
      return;
    }
    if (cleared) { this.rows.clear(); this.order = []; }
    const away = new Set(gone.filter((id) => this.rows.has(id)));
    for (const id of away) this.rows.delete(id);
    if (away.size) this.order = this.order.filter((id) => !away.has(id));
    const fresh = rows.filter((row) => !this.rows.has(row.id));
    for (const row of rows) this.rows.set(row.id, row);
    if (fresh.length) this.insert(fresh);
    this.schedule();
  }

  insert(fresh) {
    const away = this.box.scrollTop > 4; // somebody reads further down: keep what they see where it is
    fresh.reverse().sort((a, b) => b.at - a.at); // the last to come is above its equals, as in `set`
    const newest = this.order.length ? this.rows.get(this.order[0]).at : 0;
    this.order.unshift(...fresh.map((row) => row.id));
    if (fresh.at(-1).at < newest) this.order.sort((a, b) => this.rows.get(b).at - this.rows.get(a).at);
    while (this.order.length > MAX) this.rows.delete(this.order.pop());
    if (away) { this.size(); this.box.scrollTop += fresh.length * this.height; }
  }

  pause(on) {
    this.paused = on;
    if (!on) {
      const held = this.held;
      this.held = [];
      for (const [rows, gone, cleared] of held) this.change(rows, gone, cleared);
    }
  }

  select(id) {
    this.selected = id;
    const at = this.order.indexOf(id);
    if (at >= 0) {
      const top = at * this.height;
      if (top < this.box.scrollTop) this.box.scrollTop = top;
      else if (top + this.height > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + this.height - this.box.clientHeight;
    }
    this.schedule();
  }

  /** The id `step` rows below (or above) the selected one. */
  near(step) {
    if (!this.order.length) return "";
    const at = this.order.indexOf(this.selected);
    return this.order[Math.max(0, Math.min(this.order.length - 1, at < 0 ? 0 : at + step))];
  }

  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => { this.scheduled = false; this.draw(); });
  }

  size() {
    this.spacer.style.height = `${this.order.length * this.height}px`;
  }

  draw() {
    this.size();
    const high = this.height;
    const first = Math.max(0, Math.floor(this.box.scrollTop / high) - OVERSCAN);
    const last = Math.min(this.order.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / high) + OVERSCAN);
    const wanted = new Set(this.order.slice(first, last));
    for (const [id, element] of this.elements) {
      if (!wanted.has(id)) { element.remove(); this.elements.delete(id); }
    }
    for (let at = first; at < last; at += 1) this.place(this.order[at], at * high, at);
    this.box.setAttribute("aria-activedescendant", this.elements.has(this.selected) ? `row-${this.selected}` : "");
  }

  place(id, top, at) {
    const row = this.rows.get(id);
    let element = this.elements.get(id);
    if (!element || element.row !== row) {
      const fresh = this.build(row);
      if (element) element.replaceWith(fresh); else this.spacer.append(fresh);
      element = fresh;
      element.row = row;
      this.elements.set(id, element);
    }
    element.style.transform = `translateY(${top}px)`;
    element.setAttribute("aria-selected", String(id === this.selected));
    element.setAttribute("aria-posinset", String(at + 1));
    element.setAttribute("aria-setsize", String(this.order.length));
  }

  build(row) {
    const [text, style] = tag(row);
    const from = [clock(row.at), row.replay_of ? "replay" : ip(row.ip), row.tunnel];
    if (row.kind === "websocket") from.push(`WebSocket, ${row.messages} messages`);
    if (row.kind === "sse") from.push(`${row.messages} events`);
    if (row.failure) from.push(row.failure);
    const running = row.ms === null;
    return h("div", { class: "row", role: "option", id: `row-${row.id}`, data: { id: row.id } },
      h("span", {}, h("span", { class: `tag ${style}` }, text)),
      h("span", { class: "method" }, visible(row.method)),
      h("span", { class: "what" },
        h("div", { class: "path", title: visible(row.path) }, visible(row.path)),
        h("div", { class: "from", title: iso(row.at) }, visible(from.filter(Boolean).join(" · ")))),
      h("span", { class: "num" }, running ? (row.state === "pending" ? "" : "live") : millis(row.ms)),
      h("span", { class: "num size" }, bytes(row.down)));
  }
}
