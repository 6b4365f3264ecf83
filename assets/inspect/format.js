// Numbers, times and states as short text.

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = count / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function millis(ms) {
  if (ms === null || ms === undefined) return "";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(2)} s`;
  const minutes = Math.floor(ms / 60000);
  return minutes < 60 ? `${minutes} min ${Math.round((ms % 60000) / 1000)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** The time of day; before it the day, as 2026-11-20, when it is not today. */
export function clock(at) {
  const date = new Date(at * 1000);
  const time = date.toLocaleTimeString([], { hour12: false });
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString("sv")} ${time}`;
}

export const iso = (at) => new Date(at * 1000).toISOString();

/** [text, class] of the tag that shows how an exchange stands. */
export function tag(row) {
  if (row.state === "failed") return [row.status ? `${row.status} ✕` : "failed", "fail"];
  if (row.kind === "tcp") return [row.state === "open" ? "open" : "closed", row.state === "open" ? "pend" : "plain"];
  if (row.state === "pending") return ["…", "pend"];
  if (row.state === "cut" && !row.status) return ["cut", "plain"];
  if (row.status) return [String(row.status), `s${String(row.status)[0]}`];
  return ["–", "plain"];
}

export const ip = (address) => address.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
