// The form for an edited replay. What is sent goes to the tunnel's own upstream, whatever stands in it.

import { get } from "./api.js";
import { byId, h, replace, toast } from "./dom.js";

/** `send(times, edit)` is a promise; the form closes when it is kept. */
export async function openEdit(id, send) {
  let it;
  try {
    it = await get(`/api/exchanges/${id}/request/body?as=edit`);
  } catch (error) { toast(error.message); return; }
  const box = byId("edit");
  const method = h("input", { value: it.method, required: true, maxlength: "40", spellcheck: "false", "aria-label": "Method" });
  const path = h("input", { value: it.path, required: true, spellcheck: "false", class: "mono", "aria-label": "Path" });
  const headers = h("textarea", { spellcheck: "false", value: it.headers.map(([name, value]) => `${name}: ${value}`).join("\n") });
  const body = h("textarea", { spellcheck: "false", value: it.text ?? "", placeholder: it.text === null ? `${it.size} bytes that are no text stay as they are, unless you write something here` : "" });
  const times = h("input", { type: "number", min: "1", max: "100", value: "1" });
  const problem = h("div", { class: "note bad", role: "alert", hidden: true });
  const submit = async (event) => {
    event.preventDefault();
    const edit = { method: method.value, path: path.value, headers: parse(headers.value) };
    if (it.text !== null || body.value) edit.body = body.value;
    try {
      await send(Number(times.value), edit);
      box.close();
    } catch (error) { problem.textContent = error.message; problem.hidden = false; }
  };
  replace(box, h("form", { class: "form", onsubmit: submit }, h("h2", {}, "Edit and replay"),
    h("p", { class: "soft" }, "It goes to this tunnel's own upstream. Secrets are shown here as they are; Content-Length is set for you."),
    h("div", { class: "two" }, h("label", {}, "Method", method), h("label", {}, "Path", path)),
    h("label", {}, "Headers", headers), h("label", {}, "Body", body), problem,
    h("div", { class: "end" }, h("label", {}, "Times", times),
      h("button", { type: "button", onclick: () => box.close() }, "Cancel"), h("button", { class: "main", type: "submit", id: "edit-send" }, "Send"))));
  box.showModal();
  path.focus();
}

function parse(text) {
  return text.split("\n").map((line) => line.trim()).filter(Boolean).map((line) => {
    const at = line.indexOf(":");
    return at < 0 ? [line, ""] : [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  });
}
