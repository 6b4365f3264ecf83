// The operator's page: asks the API every two seconds and shows what it says. All text goes in as text, never as markup.

import { count, limits, milliseconds, moment, points, size, span } from "./format.js";

const EVERY = 2000;
const HISTORY = 120;
const $ = (id) => document.getElementById(id);
const history = { up: [], down: [] };
let timer = 0;

class Refused extends Error {
  constructor(status, answer) {
    super([answer.message, answer.hint].filter(Boolean).join("; ") || `the server answered ${status}`);
    this.status = status;
  }
}

async function call(method, path, body) {
  const options = { method, headers: {} };
  if (method !== "GET") {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body ?? {});
  }
  const answer = await fetch(path, options);
  if (answer.status === 204) return null;
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, found);
  return found;
}

// -- building
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") made.addEventListener("click", value);
    else made.setAttribute(key, value);
  }
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

function button(text, act, label, style = "danger") {
  return element("button", { type: "button", "aria-label": label, class: style, on: act }, text);
}

// What has the focus may be made anew meanwhile: its label tells the one that stands for it.
function refocus(label) {
  if (label && document.activeElement === document.body) document.querySelector(`[aria-label="${CSS.escape(label)}"]`)?.focus();
}

// Rows are made anew only when they changed, so that a button does not vanish under the pointer.
function table(id, heads, rows, none) {
  const place = $(id);
  const shown = JSON.stringify(rows.map((row) => row.map((cell) => (cell instanceof Node ? cell.getAttribute("aria-label") : cell))));
  if (place.dataset.shown === shown) return;
  place.dataset.shown = shown;
  const focus = place.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : "";
  if (!rows.length) {
    place.replaceChildren(element("caption", { class: "none" }, none));
    return;
  }
  const kind = (head) => ({ class: head.startsWith("#") ? "number" : head === "" ? "actions" : "" });
  const top = element("tr", {}, ...heads.map((head) => element("th", { scope: "col", ...kind(head) }, head.replace("#", ""))));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell, index) => element("td", kind(heads[index]), cell))));
  place.replaceChildren(element("thead", {}, top), element("tbody", {}, ...body));
  refocus(focus);
}

function bars(id, entries, none) {
  const most = Math.max(1, ...entries.map(([, value]) => value));
  const rows = entries.map(([name, value, text]) =>
    element("li", {}, element("span", {}, name), element("span", { class: "number" }, text),
      element("meter", { min: 0, max: most, value, "aria-label": `${name}: ${text}` })));
  $(id).replaceChildren(...(rows.length ? rows : [element("li", { class: "none" }, none)]));
}

function link(url) {
  return url.startsWith("http") ? element("a", { href: url, rel: "noreferrer", target: "_blank", "aria-label": url }, url) : url;
}

// -- showing
function showStatus(found) {
  $("domain").textContent = found.domain;
  $("state").textContent = found.state === "running" ? `running for ${span(Date.now() / 1000 - found.started)}` : found.state;
  $("state").dataset.state = found.state;
  $("build").textContent = `version ${found.version}, process ${found.pid}, certificate until ${moment(found.certificate_expires, "–").slice(0, 10)}`;
  const visitors = Object.values(found.visitors).reduce((sum, count) => sum + count, 0);
  const errors = found.statuses["5xx"];
  const tiles = [
    ["Sessions", found.sessions], ["Tunnels", found.tunnels], ["Visitors", visitors],
    ["To agents", `${size(found.rates.up)}/s`], ["To visitors", `${size(found.rates.down)}/s`],
    ["Median answer", milliseconds(found.latency_ms.p50)], ["99 of 100 in", milliseconds(found.latency_ms.p99)],
    ["Server errors", errors],
  ];
  $("tiles").replaceChildren(...tiles.map(([name, value]) => element("div", { class: "tile" }, element("b", {}, value), element("span", { class: "soft" }, name))));
  const refused = [...Object.entries(found.refusals), ...Object.entries(found.refused_logins).map(([code, count]) => [`login: ${code}`, count])];
  refused.sort((a, b) => b[1] - a[1]);
  bars("refusals", refused.slice(0, 12).map(([code, count]) => [code, count, String(count)]), "Nothing and nobody was refused.");
  bars("talkers", found.talkers.map((row) => [row.url, row.rates.up + row.rates.down, `${size(row.rates.up + row.rates.down)}/s`]), "It is quiet.");
  chart(found.rates);
}

function chart(rates) {
  for (const way of ["up", "down"]) {
    history[way].push(rates[way]);
    if (history[way].length > HISTORY) history[way].shift();
  }
  const most = Math.max(1024, ...history.up, ...history.down);
  const lines = ["up", "down"].map((way) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("class", way);
    line.setAttribute("points", points(history[way], most, 600, 86));
    return line;
  });
  $("chart").replaceChildren(...lines);
}

function showTunnels(rows) {
  table("tunnels", ["Address", "Session", "#Live", "#Visitors", "#To agent", "#To visitors", "#Now"], rows.map((row) => [
    link(row.url), row.session, row.live, row.connections, size(row.up), size(row.down), `${size(row.rates.up + row.rates.down)}/s`,
  ]), "No tunnel is online.");
}

function showSessions(rows) {
  table("sessions", ["Agent", "From", "Speaks", "Links", "#Since", "#Tunnels", "#Live", ""], rows.map((row) => [
    [row.agent.version, row.agent.os].filter(Boolean).join(" ") || row.client, row.address, row.dialect,
    `${row.links.count} ${row.links.count === 1 ? row.links.kind.slice(0, -1) : row.links.kind}${row.links.rtt_ms === null ? "" : `, ${row.links.rtt_ms} ms`}`,
    moment(row.since, "").slice(5), row.tunnels.length, row.live, button("Kick", () => kick(row), `Kick ${row.id}`),
  ]), "No agent is logged in.");
}

function showTokens(rows) {
  table("tokens", ["Name", "Id", "State", "Last used", "Limits", ""], rows.map((row) => {
    const now = Date.now() / 1000;
    const state = row.revoked !== null ? "revoked" : row.expires !== null && row.expires < now ? "expired" : `until ${moment(row.expires, "revoked")}`;
    const act = document.createElement("span");
    if (row.revoked === null) act.append(button("Limits", () => changeLimits(row), `Limits of ${row.name}`, ""), " ", button("Revoke", () => revoke(row), `Revoke ${row.name}`));
    return [row.name, row.id, state, [moment(row.last_used, "never"), row.last_source].filter(Boolean).join(" from "), limits(row.scope), act];
  }), "No token yet: only agents on this machine may log in.");
  const living = rows.filter((row) => row.revoked === null);
  const choice = $("name-form").elements.token;
  const before = choice.value;
  if (choice.dataset.shown !== JSON.stringify(living.map((row) => row.id))) {
    choice.dataset.shown = JSON.stringify(living.map((row) => row.id));
    choice.replaceChildren(...living.map((row) => element("option", { value: row.id }, row.name)));
    if (!living.length) choice.append(element("option", { value: "" }, "make a token first"));
    if (before) choice.value = before;
  }
  return Object.fromEntries(rows.map((row) => [row.id, row.name]));
}

function showNames(rows, names) {
  table("reservations", ["Name", "For", ""], rows.map((row) => [
    row.kind === "port" ? `tcp port ${row.name}` : row.name, names[row.token] ?? row.token,
    button("Give up", () => unreserve(row), `Give up ${row.name}`),
  ]), "Nothing is reserved.");
}

function showBans(rows) {
  table("bans", ["Who", "#Left", ""], rows.map((row) => [
    `${row.kind} ${row.value.length > 20 ? `${row.value.slice(0, 8)}…` : row.value}`, span(row.seconds), button("Let in", () => act("DELETE", `/api/bans/${encodeURIComponent(row.id)}`), `Let in ${row.id}`, ""),
  ]), "Nobody is kept out.");
}

// -- doing
function ask(title, text, yes, withTime = false) {
  $("ask-title").textContent = title;
  $("ask-text").textContent = text;
  $("ask-yes").textContent = yes;
  $("ask-time-label").hidden = !withTime;
  return answer($("ask"));
}

// Whether the dialog was answered with yes. The button that led here may have been made anew while it was open.
function answer(dialog) {
  const label = document.activeElement.getAttribute("aria-label");
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      refocus(label);
      resolve(dialog.returnValue === "yes");
    }, { once: true });
  });
}
for (const cancel of document.querySelectorAll("dialog .cancel")) cancel.addEventListener("click", () => cancel.closest("dialog").close("no"));

function notice(text, good = false) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
  $("notice").classList.toggle("good", good);
}

async function act(method, path, body) {
  try {
    const answer = await call(method, path, body);
    notice("");
    await refresh();
    return answer ?? true;
  } catch (error) {
    notice(error.message);
    return null;
  }
}

async function kick(row) {
  if (await ask("End this session?", `${row.address} is there with ${count(row.tunnels.length, "tunnel")} and ${count(row.live, "visitor")}.`, "End it", true)) {
    await act("POST", `/api/sessions/${row.id}/kick`, { seconds: Number($("ask-time").value), ban: "client" });
  }
}

async function revoke(row) {
  if (await ask(`Revoke ${row.name}?`, "Its sessions end, and it can't be used again.", "Revoke it")) await act("DELETE", `/api/tokens/${row.id}`);
}

const KEPT = "as it is";

async function changeLimits(row) {
  const dialog = $("limits");
  const fields = dialog.querySelector("form").elements;
  const scope = row.scope;
  $("limits-title").textContent = `Limits of ${row.name}`;
  const texts = {
    allow_hosts: scope.allow_hosts.join(","),
    allow_ports: scope.allow_ports.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(","),
    max_bandwidth: scope.max_bandwidth === null ? "" : `${scope.max_bandwidth}`,
  };
  const numbers = ["max_tunnels", "max_sessions", "max_connections", "max_requests"];
  for (const [name, text] of Object.entries(texts)) fields[name].value = text;
  for (const name of numbers) fields[name].value = scope[name] ?? "";
  fields.lifetime.replaceChildren(...[KEPT, "1d", "7d", "30d", "90d", "365d", "for ever"].map((text) => new Option(text, text)));
  if (!await answer(dialog)) return;
  const wish = {};
  for (const name of Object.keys(texts)) wish[name] = fields[name].value.trim() || null;
  for (const name of numbers) wish[name] = fields[name].value ? Number(fields[name].value) : null;
  const lifetime = fields.lifetime.value;
  if (lifetime !== KEPT) wish.lifetime = lifetime === "for ever" ? null : lifetime;
  await act("PATCH", `/api/tokens/${row.id}`, wish);
}

async function unreserve(row) {
  if (await ask(`Give ${row.name} up?`, "Anybody may have the name then.", "Give it up")) {
    await act("DELETE", `/api/reservations/${row.kind}/${encodeURIComponent(row.name)}`);
  }
}

$("token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const wish = Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
  const made = await act("POST", "/api/tokens", wish);
  if (made) {
    $("secret-text").textContent = made.text;
    $("secret").hidden = false;
    form.reset();
    $("secret-copy").focus();
  }
});
$("secret-copy").addEventListener("click", () => navigator.clipboard.writeText($("secret-text").textContent).catch(() => notice("the browser does not allow copying")));
$("secret-close").addEventListener("click", () => {
  $("secret-text").textContent = "";
  $("secret").hidden = true;
  $("token-form").elements.name.focus();
});
$("name-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const wish = Object.fromEntries(new FormData(event.target));
  const made = await act("POST", "/api/reservations", { ...wish, kind: /^[0-9]+$/.test(wish.name) ? "port" : "host" });
  if (made) event.target.elements.name.value = "";
});
$("reload").addEventListener("click", async () => {
  const found = await act("POST", "/api/reload");
  if (!found) return;
  const said = [];
  if (found.changed.length) said.push(`Changed: ${found.changed.join(", ")}.`);
  if (found.restart.length) said.push(`Only with a restart: ${found.restart.join(", ")}.`);
  notice(said.join(" ") || "Nothing has changed.", true);
});
$("drain").addEventListener("click", async () => {
  if (await ask("Stop the server?", "No new visitors; what runs may finish, then the process ends.", "Stop it")) await act("POST", "/api/drain");
});
$("logout").addEventListener("click", async () => {
  await call("POST", "/logout").catch(() => null);
  show(false);
});
$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await call("POST", "/login", { token: $("token").value });
    $("token").value = $("login-error").textContent = "";
    await refresh();
    $("desk").focus();
  } catch (error) {
    $("login-error").textContent = error.message;
  }
});

// -- going round
function show(loggedIn) {
  $("login").hidden = loggedIn;
  $("desk").hidden = !loggedIn;
  document.querySelector("nav").hidden = !loggedIn;
  if (!loggedIn) {
    $("state").textContent = "logged out";
    $("state").dataset.state = "";
    $("token").focus();
  }
}

async function refresh() {
  clearTimeout(timer);
  try {
    const optional = (path, key) => call("GET", path).then((found) => found[key]).catch((error) => {
      if (error.status === 404) return [];
      throw error;
    });
    const [status, tunnels, sessions, bans, tokens, names] = await Promise.all([
      call("GET", "/api/status"), call("GET", "/api/tunnels"), call("GET", "/api/sessions"), call("GET", "/api/bans"),
      optional("/api/tokens", "tokens"), optional("/api/reservations", "reservations"),
    ]);
    show(true);
    showStatus(status);
    showTunnels(tunnels.tunnels);
    showSessions(sessions.sessions);
    showBans(bans.bans);
    showNames(names, showTokens(tokens));
  } catch (error) {
    if (error.status === 401) {
      show(false);
      return;
    }
    $("state").textContent = "the server does not answer";
    $("state").dataset.state = "away";
  }
  timer = setTimeout(refresh, document.hidden ? EVERY * 5 : EVERY);
}

refresh();
