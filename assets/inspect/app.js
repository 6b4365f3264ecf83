// The page: routes by the part behind #, keys, and who hears of what. Views know nothing of each other.

import { Live, post } from "./api.js";
import { Detail } from "./detail.js";
import { byId, h, replace, toast } from "./dom.js";
import { bytes } from "./format.js";
import { List } from "./list.js";
import { drawStatus, welcome } from "./status.js";

const pane = byId("detail-pane");
const go = (id) => { location.hash = id ? `#/x/${id}` : "#/"; };
const list = new List(byId("rows"), byId("spacer"), go);
const detail = new Detail(pane, (id) => (id ? go(id) : back()));
let session = null;
let view = "list";
let counts = null;

const live = new Live(onMessage, (open) => {
  byId("offline").hidden = open;
  if (open) return; // what it says first is the session's state
  byId("state").dataset.state = "unknown";
  byId("state").title = "";
  replace(byId("state").querySelector(".word"), "no answer");
});

function onMessage(message) {
  if (message.type === "session") {
    session = message;
    byId("state").dataset.state = session.state;
    const latency = session.state === "online" && session.latency !== null ? `, ${(session.latency * 1000).toFixed(0)} ms` : "";
    replace(byId("state").querySelector(".word"), session.state, h("span", { class: "latency" }, latency));
    byId("state").title = session.reason || session.server;
    if (view === "status") drawStatus(byId("status-pane"), session);
    settle();
    return;
  }
  if (message.type === "list") list.set(message.rows);
  else {
    list.change(message.rows, message.gone, message.cleared);
    if (detail.id && message.rows.some((row) => row.id === detail.id)) detail.changed();
    if (message.cleared && detail.id) go("");
  }
  counts = message.counts;
  footer();
  settle();
}

function footer() {
  if (!counts) return;
  const held = list.paused && list.held.length ? " · paused, more came" : list.paused ? " · paused" : "";
  const shown = list.order.length < counts.kept ? `${list.order.length} of ${counts.kept} shown` : `${counts.kept} shown`;
  const lost = [];
  if (counts.missed) lost.push(`${counts.missed} passed unseen under load`);
  if (counts.cut) lost.push(`${counts.cut} connections not followed to their end`);
  if (counts.forgotten) lost.push(`${counts.forgotten} older ones made room`);
  if (counts.trouble) lost.push(counts.trouble);
  byId("none").hidden = !counts.kept || list.order.length > 0;
  replace(byId("counts"), `${shown} · ${bytes(counts.memory + counts.disk)}${held}`, lost.length ? h("span", { class: "lost" }, ` · ${lost.join(" · ")}`) : null);
}

/** What stands where the detail would be when none is open. */
function settle() {
  const first = view === "list" && !detail.id && (!counts || counts.kept === 0);
  pane.classList.toggle("welcome", first);
  if (view !== "list" || detail.id) return;
  if (first) welcome(pane, session);
  else if (!pane.querySelector(".pick")) replace(pane, h("p", { class: "soft pick" }, "Choose a request: j and k move, ? shows all keys."));
}

async function route() {
  const [, name, id] = location.hash.replace(/^#/, "").split("/");
  view = name === "status" ? "status" : "list";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  byId("main").hidden = view !== "list";
  byId("status-pane").hidden = view !== "status";
  if (view === "status") { if (session) drawStatus(byId("status-pane"), session); return; }
  const wanted = name === "x" && /^[0-9a-f]{16}$/.test(id ?? "") ? id : "";
  if (wanted) document.body.dataset.open = "detail"; else delete document.body.dataset.open;
  list.select(wanted || list.selected);
  if (wanted) { pane.classList.remove("welcome"); await detail.open(wanted); } else { detail.close(); replace(pane); delete pane.dataset.shown; settle(); }
}

// -- tools
let filterTimer = 0;
byId("filter").addEventListener("input", (event) => {
  clearTimeout(filterTimer);
  filterTimer = setTimeout(() => live.filter(event.target.value), 150);
});
function pause() {
  list.pause(!list.paused);
  byId("pause").setAttribute("aria-pressed", String(list.paused));
  footer();
}
byId("pause").addEventListener("click", pause);
byId("clear").addEventListener("click", () => post("/api/clear", {}).catch((error) => toast(error.message)));
byId("menu").addEventListener("click", () => menu(byId("har-menu").hidden));
function menu(open) {
  if (!open && byId("har-menu").contains(document.activeElement)) byId("menu").focus(); // what is hidden can't keep it
  byId("har-menu").hidden = !open;
  byId("menu").setAttribute("aria-expanded", String(open));
}
function leave(target) {
  if (target && !byId("har-menu").hidden && !target.closest("#har-menu, #menu")) menu(false);
}
document.addEventListener("pointerdown", (event) => leave(event.target));
document.addEventListener("focusin", (event) => leave(event.target));
function download(reveal) {
  menu(false);
  const link = h("a", { href: `/api/har?q=${encodeURIComponent(byId("filter").value)}&reveal=${reveal}`, download: "ngrokc.har" });
  document.body.append(link);
  link.click();
  link.remove();
}
byId("har-export").addEventListener("click", () => download(0));
byId("har-secrets").addEventListener("click", () => download(1));
byId("har-import").addEventListener("change", async (event) => {
  const file = event.target.files[0];
  menu(false);
  event.target.value = "";
  if (!file) return;
  try {
    const { imported } = await post("/api/har", null, await file.arrayBuffer());
    toast(`${imported} imported`);
  } catch (error) { toast(error.message); }
});

// -- keys
const KEYS = [["j / k", "next, previous"], ["Enter", "open"], ["Esc", "back to the list"], ["r", "replay"], ["e", "edit and replay"], ["/", "filter"], ["p", "pause"], ["s", "status"], ["?", "these keys"]];
const FILTERS = "status:5xx  status:>=400  method:POST  path:/hook  body:text  header:name  type:json  tunnel:x  ip:203.0  is:failed  is:replay  is:ws  min:250  -path:/health  \"two words\"";
function help() {
  const box = byId("help");
  replace(box, h("h2", {}, "Keys"), h("dl", { class: "keys" }, KEYS.flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
    h("h3", {}, "Filter"), h("p", { class: "mono" }, FILTERS), h("p", { class: "soft" }, "All terms must fit; a minus turns one round. ", h("a", { href: "/api/openapi.json" }, "The API"), " does the same."),
    h("div", { class: "actions" }, h("span", { class: "gap" }), h("button", { class: "main", autofocus: true, onclick: () => box.close() }, "Close")));
  box.showModal();
}
byId("help-button").addEventListener("click", help);

const ACTIONS = {
  j: () => go(list.near(1)), k: () => go(list.near(-1)), ArrowDown: () => go(list.near(1)), ArrowUp: () => go(list.near(-1)),
  Enter: () => list.selected && go(list.selected), Escape: back, r: () => detail.data?.request && !detail.data.obstacle && detail.replay(1).catch(() => {}),
  e: () => detail.data?.request && detail.edit(), p: pause, s: () => { location.hash = view === "status" ? "#/" : "#/status"; }, "?": help, "/": search,
};
function search() {
  if (view === "status") { location.hash = "#/"; route(); } // a hidden box takes no focus
  byId("filter").focus();
}
/** One step back: out of the menu, else out of the detail, whose keys go on in the list. */
function back() {
  if (!byId("har-menu").hidden) { menu(false); return; }
  const within = pane.contains(document.activeElement);
  go("");
  if (within) { route(); byId("rows").focus(); }
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.closest("input, textarea, select");
  if (typing && typing.type !== "file") {
    if (event.key === "Escape") typing.blur();
    if (typing.id === "filter" && ["Enter", "ArrowDown"].includes(event.key)) { event.preventDefault(); byId("rows").focus(); }
    return;
  }
  if (event.key === "Enter" && event.target.closest("button, a, .button, input")) return;
  if (event.key.startsWith("Arrow") && !event.target.closest("#rows, body > *:not(main)") && event.target !== document.body) return;
  const action = ACTIONS[event.key];
  if (action) { event.preventDefault(); action(); }
});

window.addEventListener("hashchange", route);
route();
