// One exchange: request and answer side by side, times, messages, and what can be done with it.

import { get, post } from "./api.js";
import { body, hexPane, pairs, rawPane } from "./bodies.js";
import { byId, copyText, h, replace, svg, toast, visible } from "./dom.js";
import { openEdit } from "./edit.js";
import { bytes, clock, ip, iso, millis, tag } from "./format.js";

/** Arrows go round within a row of tabs, as its role promises; Tab leaves it. */
function moveTab(event) {
  const tabs = [...event.currentTarget.children];
  const at = tabs.indexOf(event.target);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1 + tabs.length, Home: 0, End: tabs.length - 1 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  tabs[to % tabs.length].focus();
  tabs[to % tabs.length].click();
}

/** Texts that scroll take the focus, too. */
function keyed(box, key) {
  for (const text of box.querySelectorAll("pre")) text.dataset.key = key;
  return box;
}

export class Detail {
  constructor(pane, go) {
    this.pane = pane;
    this.go = go;
    this.id = "";
    this.data = null;
    this.reveal = false;
    this.tabs = { request: "body", answer: "body" };
    this.stale = false;
    this.focus = ""; // the key of the element that had it, through redraws and while another exchange loads
  }

  async open(id) {
    if (id !== this.id) { this.keepFocus(); this.reveal = false; this.data = null; replace(this.pane, h("p", { class: "soft" }, "Loading…")); this.pane.scrollTop = 0; }
    this.id = id;
    await this.load();
  }

  close() { this.id = ""; this.data = null; this.focus = ""; }

  keepFocus() {
    if (this.pane.contains(document.activeElement)) this.focus = document.activeElement.dataset.key ?? "none";
  }

  /** To where it was, unless somebody has moved it meanwhile. The pane has it when its place is gone or disabled now. */
  giveFocus() {
    if (!this.focus || (document.activeElement && document.activeElement !== document.body)) return;
    const wanted = this.pane.querySelector(`[data-key="${this.focus}"]:not(:disabled)`) ?? this.pane;
    wanted.focus();
    this.focus = "";
  }

  /** The list heard of a change; reload at most twice a second. */
  changed() {
    if (!this.id || this.stale) return;
    this.stale = true;
    setTimeout(() => { this.stale = false; this.load(); }, 500);
  }

  async load() {
    const id = this.id;
    if (!id) return;
    try {
      const data = await get(`/api/exchanges/${id}?reveal=${this.reveal ? 1 : 0}`);
      if (id !== this.id) return;
      this.data = data;
      this.draw();
    } catch (error) {
      if (id === this.id) replace(this.pane, this.back(), h("div", { class: "note" }, error.message));
    }
  }

  draw() {
    const it = this.data;
    if (!it.request) { this.drawConnection(it); return; }
    this.keepFocus();
    const scrolls = [...this.pane.querySelectorAll("[data-scroll]")].map((box) => [box.dataset.scroll, box.scrollTop, box.scrollTop + box.clientHeight >= box.scrollHeight - 4]);
    replace(this.pane, this.title(it), this.actions(it), this.facts(it), this.timing(it),
      it.notes.map((note) => h("div", { class: "note" }, note)),
      it.failure ? h("div", { class: "note bad" }, visible(it.failure)) : null,
      it.messages.length || it.kind === "websocket" || it.kind === "sse" ? this.messages(it) : null,
      h("div", { class: "sides" }, this.side("request", "Request", it.request), this.side("answer", "Answer", it.answer)));
    for (const [name, top, atEnd] of scrolls) {
      const box = this.pane.querySelector(`[data-scroll="${name}"]`);
      if (box) box.scrollTop = atEnd ? box.scrollHeight : top;
    }
    this.giveFocus();
  }

  /** A tcp connection, or a visitor whom no upstream took: counts and times, no bytes. */
  drawConnection(it) {
    const [text, style] = tag(it);
    const what = it.kind === "tcp" ? "TCP connection" : "No upstream took this visitor";
    replace(this.pane, h("div", { class: "title" }, this.back(), h("span", { class: `tag ${style}` }, text), h("h1", {}, what)),
      it.failure ? h("div", { class: "note bad" }, visible(it.failure)) : null,
      pairs([["Tunnel", it.tunnel], ["URL", it.url], ["From", it.ip], ["Began", iso(it.at)],
        ["Lasted", it.ms === null ? "still open" : millis(it.ms)], ["From the visitor", bytes(it.up)], ["To the visitor", bytes(it.down)]]));
  }

  back() {
    return h("button", { class: "back", data: { key: "back" }, onclick: () => this.go("") }, "← List");
  }

  title(it) {
    const [text, style] = tag(it);
    return h("div", { class: "title" }, this.back(), h("span", { class: `tag ${style}` }, text), h("h1", {}, `${visible(it.method)} ${visible(it.target)}`));
  }

  actions(it) {
    const secrets = it.request.secrets.length + (it.answer ? it.answer.secrets.length : 0);
    const button = (key, text, run, more = {}) => h("button", { data: { key }, onclick: run, ...more }, text);
    const imported = it.connection === "imported";
    return h("div", { class: "actions" }, h("span", { class: "group" },
      button("replay", "Replay", () => this.replay(1), { class: "main", disabled: Boolean(it.obstacle), title: it.obstacle || "Send it again (r)" }),
      button("times", "Replay n times", () => this.replayMany(), { disabled: Boolean(it.obstacle), title: it.obstacle }),
      button("edit", "Edit and replay", () => this.edit(), { disabled: imported, title: imported ? it.obstacle : "e" }),
      it.replay_of ? button("diff", "Compare with original", () => this.diff(it.replay_of, it.id)) : null),
    h("span", { class: "group" },
      button("curl", "Copy as curl", () => this.copy("curl")),
      button("http", "HTTP", () => this.copy("http"), { title: "Copy as HTTP file" }),
      button("python", "Python", () => this.copy("python"), { title: "Copy as Python (httpx)" }),
      h("a", { class: "button", data: { key: "har" }, href: `/api/har?id=${it.id}&reveal=${this.reveal ? 1 : 0}`, download: `${it.id}.har` }, "HAR"),
      secrets ? button("reveal", this.reveal ? "Hide secrets" : "Show secrets", () => { this.reveal = !this.reveal; this.load(); }, { "aria-pressed": String(this.reveal) }) : null));
  }

  facts(it) {
    const fact = (name, value, title) => h("span", { title }, `${name} `, h("b", {}, value));
    return h("div", { class: "facts" },
      fact("at", clock(it.at), iso(it.at)), fact("from", it.replay_of ? "replay" : visible(ip(it.ip)) || "–", visible(it.ip)),
      fact("tunnel", visible(it.tunnel)), fact("took", it.ms === null ? "still running" : millis(it.ms)),
      fact("up", bytes(it.up)), fact("down", bytes(it.down)),
      it.replay_of ? h("a", { href: `#/x/${it.replay_of}` }, "original") : null);
  }

  timing(it) {
    const { head, first, end } = it.times;
    if (first === null) return null;
    const whole = Math.max(end ?? first, 0.001);
    const spans = [["send", "request", 0, head], ["wait", "waiting", head, first], ["receive", "answer", first, end ?? first]];
    return h("div", { class: "timing" },
      svg("svg", { viewBox: "0 0 1000 10", preserveAspectRatio: "none", role: "img", "aria-label": "Times" },
        spans.map(([style, , from, to]) => svg("rect", { class: `t-${style}`, x: (from / whole) * 1000, y: 0, width: Math.max(((to - from) / whole) * 1000, 2), height: 10 }))),
      h("ul", {}, spans.map(([style, name, from, to]) => h("li", { class: style }, `${name} ${millis(to - from)}`))));
  }

  side(key, name, half) {
    if (!half) return h("section", { class: "side card" }, h("h2", {}, name), h("p", { class: "soft" }, this.data.state === "pending" ? "No answer yet" : "There was no answer"));
    const tabs = [["body", "Body"], ["headers", `Headers ${half.fields.length}`], ["raw", "Raw"], ["hex", "Hex"]];
    if (half.query?.length) tabs.splice(1, 0, ["query", `Query ${half.query.length}`]);
    if (half.cookies.length) tabs.splice(-2, 0, ["cookies", `Cookies ${half.cookies.length}`]);
    const chosen = tabs.some(([id]) => id === this.tabs[key]) ? this.tabs[key] : "body";
    const size = half.size ? `${bytes(half.size)}${half.view.media ? `, ${half.view.media}` : ""}` : "no body";
    return h("section", { class: "side card", "aria-label": name }, h("h2", {}, name, h("span", { class: "soft mono" }, visible(size))),
      h("div", { class: "line" }, visible(half.line)),
      h("div", { class: "tabs", role: "tablist", "aria-label": name, onkeydown: moveTab }, tabs.map(([id, text]) => h("button", {
        role: "tab", "aria-selected": String(id === chosen), tabindex: id === chosen ? "0" : "-1", data: { key: `${key}-${id}` },
        onclick: () => { this.tabs[key] = id; this.draw(); },
      }, text))),
      h("div", { role: "tabpanel", "aria-label": `${name}: ${tabs.find(([id]) => id === chosen)[1]}` }, this.tab(chosen, key, half)));
  }

  tab(chosen, key, half) {
    switch (chosen) {
      case "headers": return h("div", {}, pairs(half.fields),
        half.trailers.length ? [h("h3", {}, "Trailers"), pairs(half.trailers)] : null,
        key === "answer" && this.data.interim.length ? [h("h3", {}, "Before it"), this.data.interim.map((one) => h("pre", {}, `after ${millis(one.ms)}\n${one.head.trim()}`))] : null);
      case "query": return pairs(half.query);
      case "cookies": return pairs(half.cookies);
      case "raw": return rawPane(this.id, key, this.reveal);
      case "hex": return hexPane(this.id, key);
      default: return h("div", {}, keyed(body(half.view, key), `${key}-text`), half.kept ? h("p", {}, h("a", { data: { key: `${key}-download` }, href: `/api/exchanges/${this.id}/${key}/body`, download: "" }, "Download the body")) : null);
    }
  }

  messages(it) {
    const what = it.kind === "sse" ? "Events" : "Messages";
    return h("section", { class: "card", "aria-label": what }, h("h2", {}, `${what} ${it.messages.length + it.messages_lost}`),
      it.messages_lost ? h("div", { class: "note" }, `The first ${it.messages_lost} made room for newer ones`) : null,
      h("ol", { class: "messages", data: { scroll: "messages", key: "messages" }, tabindex: "0" }, it.messages.map((one) => h("li", { class: one.up ? "up" : "down" },
        h("span", { class: "arrow", title: one.up ? "from the visitor" : "from the upstream" }, one.up ? "↑" : "↓"),
        h("span", { class: "soft" }, visible(one.name || one.kind)),
        h("span", { class: "text" }, one.text === null ? one.hex : visible(one.text), one.cut ? " …" : ""),
        h("span", { class: "soft" }, `${millis(one.ms)} · ${bytes(one.size)}`)))));
  }

  async copy(kind) {
    try {
      const { text } = await get(`/api/exchanges/${this.id}/copy?as=${kind}&reveal=${this.reveal ? 1 : 0}`);
      await copyText(text, this.reveal || !this.data.request.secrets.length ? "Copied" : "Copied, secrets masked");
    } catch (error) { toast(error.message); }
  }

  async replay(times, edit = {}) {
    if (!this.data) return;
    try {
      const { id } = await post(`/api/exchanges/${this.id}/replay`, { times, ...edit });
      toast(times > 1 ? `Sending ${times} times` : "Sent again");
      this.go(id);
    } catch (error) { toast(error.message); throw error; }
  }

  replayMany() {
    const box = byId("edit");
    const count = h("input", { type: "number", min: "1", max: "100", value: "5", required: true });
    replace(box, h("form", { class: "form", method: "dialog", onsubmit: (event) => {
      event.preventDefault();
      box.close();
      this.replay(Number(count.value)).catch(() => {});
    } }, h("h2", {}, "Replay n times"), h("div", { class: "end" }, h("label", {}, "Times", count),
      h("button", { type: "button", onclick: () => box.close() }, "Cancel"), h("button", { class: "main", type: "submit" }, "Send"))));
    box.showModal();
  }

  edit() { if (this.data && this.data.connection !== "imported") openEdit(this.id, (times, edit) => this.replay(times, edit)); }

  async diff(old, fresh) {
    try {
      const found = await get(`/api/exchanges/${old}/diff/${fresh}?reveal=${this.reveal ? 1 : 0}`);
      const rows = (list) => h("div", { class: "diff" }, list.map(([sign, text]) => h("div", { class: { "+": "plus", "-": "minus", "@": "skip" }[sign] ?? "" }, sign === "@" ? "⋯" : `${sign === "=" ? " " : sign} ${visible(text)}`)));
      const box = byId("edit");
      replace(box, h("h2", {}, found.same ? "Same status and body" : "What changed"),
        h("p", { class: "soft" }, `${found.old.status || "no answer"} → ${found.new.status || "no answer"}`),
        h("h3", {}, "Head"), rows(found.head), h("h3", {}, "Body"), found.body.length ? rows(found.body) : h("p", { class: "soft" }, "empty"),
        h("div", { class: "actions" }, h("span", { class: "gap" }), h("button", { class: "main", onclick: () => box.close() }, "Close")));
      box.showModal();
    } catch (error) { toast(error.message); }
  }
}
