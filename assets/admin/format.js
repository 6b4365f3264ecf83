// Numbers, sizes and times as people say them. Pure: no page, no network.

const SIZES = [[1e9, "GB"], [1e6, "MB"], [1e3, "KB"]];
const SPANS = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];

export function size(count) {
  for (const [unit, name] of SIZES) {
    if (count >= unit) return `${(count / unit).toFixed(1)} ${name}`;
  }
  return `${Math.round(count)} B`;
}

export function span(seconds) {
  let left = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [unit, name] of SPANS) {
    const count = Math.floor(left / unit);
    left -= count * unit;
    if (count || (unit === 1 && !parts.length)) parts.push(`${count}${name}`);
  }
  return parts.slice(0, 2).join(" ");
}

export function moment(seconds, otherwise) {
  return seconds === null ? otherwise : new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");
}

export function milliseconds(value) {
  return value === null ? "–" : value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

// The points of a line through `values` in a box of `width` x `height`, the largest value at the top.
export function points(values, most, width, height) {
  const step = width / Math.max(1, values.length - 1);
  return values.map((value, index) => `${(index * step).toFixed(1)},${(height - (value / most) * height).toFixed(1)}`).join(" ");
}

export function limits(scope) {
  const found = [];
  if (scope.allow_hosts.length) found.push(scope.allow_hosts.join(", "));
  if (scope.allow_ports.length) found.push(`ports ${scope.allow_ports.map(([a, b]) => (a === b ? a : `${a}-${b}`)).join(", ")}`);
  for (const what of ["tunnels", "sessions", "connections"]) {
    if (scope[`max_${what}`]) found.push(`${scope[`max_${what}`]} ${what}`);
  }
  if (scope.max_requests) found.push(`${scope.max_requests} requests/s`);
  if (scope.max_bandwidth) found.push(`${size(scope.max_bandwidth)}/s`);
  return found.join("; ") || "none";
}

export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
