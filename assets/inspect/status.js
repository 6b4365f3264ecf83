// The status view and the first visit: how the session fares, where the tunnels are, what 1.x showed as metrics.

import { copyText, h, replace, svg, visible } from "./dom.js";
import { bytes, clock, iso, millis } from "./format.js";

const nano = (value, count) => (count ? millis(value / 1e6) : "–");

/** Each second, but only the parts that changed: codes are not fetched anew, selections and scroll positions stay. */
export function drawStatus(pane, it) {
  if (!pane.firstChild) {
    replace(pane, h("div", { class: "grid" }, h("section", { class: "card" }), h("section", { class: "card" })),
      h("section", { class: "card" }), h("section", { class: "card" }));
  }
  const [first, second, third, fourth] = pane.querySelectorAll(".card");
  part(first, { ...it, history: 0, tunnels: 0, latencies: 0 }, () => session(it));
  part(second, [it.latency, it.latencies], () => latency(it));
  part(third, it.tunnels, () => [h("h2", {}, "Tunnels"), tunnels(it)]);
  part(fourth, it.history, () => [h("h2", {}, "History"), history(it)]);
}

function part(box, value, build) {
  const sign = JSON.stringify(value);
  if (box.sign === sign) return;
  box.sign = sign;
  const focus = box.contains(document.activeElement) ? document.activeElement.dataset.key : "";
  const [left, top] = [box.querySelector(".wide")?.scrollLeft ?? 0, box.querySelector(".history")?.scrollTop ?? 0];
  replace(box, build());
  if (left) box.querySelector(".wide").scrollLeft = left;
  if (top) box.querySelector(".history").scrollTop = top;
  if (focus) box.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus();
}

const codes = new Map(); // url -> its picture, made once
function code(one) {
  if (!codes.has(one.public_url)) {
    codes.set(one.public_url, h("img", { class: "qr", src: `/api/tunnels/${encodeURIComponent(one.name)}/qr`, alt: `QR code of ${one.public_url}` }));
  }
  return codes.get(one.public_url);
}

function table(rows) {
  return h("table", { class: "pairs" }, h("tbody", {}, rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, visible(value))))));
}

function session(it) {
  const lost = it.counts.missed ? `, ${it.counts.missed} passed unseen under load` : "";
  return [h("h2", {}, "Session"), table([
    ["State", it.reason ? `${it.state}: ${it.reason}` : it.state],
    ["Server", it.server], ["Version", `${it.version || "?"} / ${it.server_version || "?"}`],
    ["Reconnects", String(it.reconnects)], ["Running for", millis(it.uptime * 1000)],
    ["Connections", `${it.connections}, ${it.active} open`], ["Traffic", `${bytes(it.up)} up, ${bytes(it.down)} down`],
    ["Inspected", `${it.counts.captured}, ${it.counts.kept} kept in ${bytes(it.counts.memory)} and ${bytes(it.counts.disk)} on disk${lost}`],
    ...(it.counts.trouble ? [["Trouble", it.counts.trouble]] : []),
  ])];
}

function latency(it) {
  const values = it.latencies;
  const now = it.latency === null ? "not measured yet" : millis(it.latency * 1000);
  const most = Math.max(...values, 1e-6);
  const points = values.map((value, at) => `${(at / Math.max(values.length - 1, 1)) * 100},${29 - (value / most) * 27}`).join(" ");
  return [h("h2", {}, "Latency of the link"), h("p", {}, now),
    values.length > 1 ? svg("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", role: "img", "aria-label": `the last ${values.length} round trips, at most ${millis(most * 1000)}` }, svg("polyline", { points }))
      : h("p", { class: "soft" }, "A curve appears after some round trips")];
}

function tunnels(it) {
  if (!it.tunnels.length) return h("p", { class: "soft" }, "No tunnels yet");
  const head = ["", "Name", "Public URL", "Upstream", "Conns", "p50", "p90", "p95", "p99", "Requests", "p50", "p90", "p95", "p99"];
  return h("div", { class: "wide", tabindex: "0" }, h("table", {}, h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, it.tunnels.map((one) => {
      const { conns, http } = one.metrics;
      const state = one.state === "online" ? code(one)
        : h("span", { class: "tag fail", title: one.message }, one.state);
      const cells = [...["p50", "p90", "p95", "p99"].map((p) => nano(conns[p], conns.count)), http.count, ...["p50", "p90", "p95", "p99"].map((p) => nano(http[p], http.count))];
      return h("tr", {}, h("td", {}, state), h("td", {}, visible(one.name)),
        h("td", {}, one.public_url.startsWith("http") ? h("a", { href: one.public_url, target: "_blank", rel: "noopener noreferrer", data: { key: one.name } }, visible(one.public_url)) : visible(one.public_url),
          one.message && one.state !== "online" ? h("div", { class: "soft" }, visible(one.message)) : null),
        h("td", { class: "mono" }, visible(one.config.addr)), h("td", {}, `${conns.count} (${conns.gauge} open)`), cells.map((text) => h("td", {}, String(text))));
    }))));
}

function history(it) {
  if (!it.history.length) return h("p", { class: "soft" }, "Nothing happened yet");
  return h("ol", { class: "history", tabindex: "0" }, [...it.history].reverse().map((one) => h("li", {},
    h("time", { datetime: iso(one.at), title: iso(one.at), class: "soft" }, clock(one.at)), h("span", {}, one.what), h("span", {}, visible(one.text)))));
}

/** Nothing came yet: where to knock. */
export function welcome(pane, it) {
  const open = (it?.tunnels ?? []).filter((one) => one.state === "online");
  const key = open.map((one) => one.public_url).join(" ") + (it?.state ?? "");
  if (pane.dataset.shown === key && pane.querySelector(".welcome-card")) return;
  pane.dataset.shown = key;
  replace(pane, h("div", { class: "welcome-card" }, h("h1", {}, open.length ? "Waiting for the first request" : "No tunnel is online yet"),
    h("p", { class: "soft" }, open.length ? "Whatever comes through these addresses shows up here at once." : visible(it?.reason || "As soon as one is, its address stands here.")),
    open.slice(0, 4).map((one) => {
      const line = one.proto === "tcp" ? `nc ${one.public_url.replace("tcp://", "").replace(":", " ")}` : `curl -i ${one.public_url}/hello`;
      return h("section", { class: "card urlbox" },
        h("img", { class: "qr", src: `/api/tunnels/${encodeURIComponent(one.name)}/qr`, alt: `QR code of ${one.public_url}` }),
        h("div", {}, one.proto === "tcp" ? h("div", { class: "url" }, one.public_url) : h("a", { class: "url", href: one.public_url, target: "_blank", rel: "noopener noreferrer" }, visible(one.public_url)),
          h("div", { class: "soft mono" }, `→ ${visible(one.config.addr)}`),
          h("div", { class: "copyline" }, h("code", {}, visible(line)), h("button", { onclick: () => copyText(line) }, "Copy"))));
    })));
}
