// A body as a person wants to see it. Everything is text from strangers; it becomes text nodes and nothing else.

import { get } from "./api.js";
import { h, replace, visible } from "./dom.js";
import { bytes } from "./format.js";

export function pairs(rows, empty = "none") {
  if (!rows.length) return h("p", { class: "soft" }, empty);
  return h("table", { class: "pairs" }, h("tbody", {},
    rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, visible(name)), h("td", {}, visible(value))))));
}

const JSON_PART = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b/g;
const COLOURED = 100_000; // characters; more would only be slow

/** Text of several lines, with signs that would rearrange it shown. */
const lines = (text) => visible(text.replace(/\r\n/g, "\n"));

export function json(source) {
  const text = lines(source);
  const box = h("pre", { tabindex: "0" });
  if (text.length > COLOURED) { box.textContent = text; return box; }
  let at = 0;
  for (const match of text.matchAll(JSON_PART)) {
    const style = match[1] ? (match[2] ? "j-key" : "j-str") : match[3] ? "j-num" : "j-lit";
    const word = match[1] ?? match[0];
    box.append(text.slice(at, match.index), h("span", { class: style }, word), match[2] ?? "");
    at = match.index + match[0].length;
  }
  box.append(text.slice(at));
  return box;
}

/** The body of one side. `view` as the API gives it. */
export function body(view, side) {
  const notes = [];
  if (view.note) notes.push(h("div", { class: "note" }, view.note));
  if (view.error) notes.push(h("div", { class: "note bad" }, `not well-formed: ${view.error}`));
  return h("div", {}, notes, shown(view, side));
}

function shown(view, side) {
  switch (view.kind) {
    case "empty": return h("p", { class: "soft" }, view.size ? `${bytes(view.size)}, none of it kept` : "No body");
    case "json": return json(view.text);
    case "form": return pairs(view.pairs);
    case "multipart": return parts(view.parts);
    case "image": return view.image ? h("img", { class: "picture", src: view.image, alt: `The ${side}'s image` }) : h("p", { class: "soft" }, "An image");
    case "binary": return hex(view.hex ?? []);
    default: return h("pre", { tabindex: "0" }, lines(view.text));
  }
}

function parts(list) {
  return h("table", {}, h("thead", {}, h("tr", {}, ["Name", "File", "Type", "Size", "Value"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, list.map((part) => h("tr", {},
      h("td", {}, visible(part.name)), h("td", {}, visible(part.filename)), h("td", {}, visible(part.media)),
      h("td", {}, bytes(part.size)), h("td", { class: "mono" }, part.value === null ? "–" : visible(part.value))))));
}

export function hex(rows) {
  return h("pre", { class: "hex", tabindex: "0" }, rows.map(([offset, data, text]) => `${offset}  ${data.padEnd(47)}  ${text}`).join("\n") || "empty");
}

/** All bytes in hex, piece by piece. */
export function hexPane(id, side) {
  const box = h("div", {}, h("p", { class: "soft" }, "Loading…"));
  let rows = [];
  const more = async (start) => {
    const found = await get(`/api/exchanges/${id}/${side}/body?as=hex&start=${start}`);
    rows = rows.concat(found.rows);
    replace(box, hex(rows), found.next < found.kept && found.next > start
      ? h("button", { onclick: () => more(found.next) }, `More (${bytes(found.kept - found.next)})`) : null);
  };
  more(0).catch((error) => replace(box, h("div", { class: "note bad" }, error.message)));
  return box;
}

/** Head and body as they were received. */
export function rawPane(id, side, reveal) {
  const box = h("div", {}, h("p", { class: "soft" }, "Loading…"));
  get(`/api/exchanges/${id}/${side}/body?as=raw&reveal=${reveal ? 1 : 0}`)
    .then((found) => replace(box, found.whole ? null : h("div", { class: "note" }, "Only the beginning is shown"), h("pre", { tabindex: "0" }, lines(found.text))))
    .catch((error) => replace(box, h("div", { class: "note bad" }, error.message)));
  return box;
}
