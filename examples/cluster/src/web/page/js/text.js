// Numbers, times and ids as text for people.

const NS_PER_MS = 1e6;

const grouped = new Intl.NumberFormat("en");
export const number = (value) => grouped.format(value);
export const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;
export const short = (id) => id.replace(/^0+(?=.{8})/, "").slice(0, 8);
/** Shortens the ids of worker requests in a text. */
export const shorten = (text) => text.replace(/\b0+(?=[0-9a-f]+-[0-9]+\b)/g, "");
export const byId = new Intl.Collator("en", { numeric: true }).compare;

/** Returns the milliseconds from now to a time of the server. */
export function msTo(time, list) {
  return (time - list.now) / NS_PER_MS - (performance.now() - list.at);
}

export function duration(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

export const bytes = (value) => {
  if (value >= 2 ** 30) return `${+(value / 2 ** 30).toFixed(1)} GiB`;
  return value >= 2 ** 20 ? `${Math.round(value / 2 ** 20)} MiB` : `${value} B`;
};

/** Returns a profile as text for people. */
export function profile(resources) {
  if (typeof resources === "string") return resources === "any" ? "any slot" : resources;
  const memory = Object.entries(resources)
    .filter(([name, value]) => name.endsWith("memory_bytes") && value > 0)
    .reduce((sum, [, value]) => sum + value, 0);
  const extended = resources.extended_resources ?? resources.extended ?? {};
  const parts = [];
  if (resources.cpu_cores > 0) parts.push(count(resources.cpu_cores, "core"));
  if (memory > 0) parts.push(bytes(memory));
  for (const [name, amount] of Object.entries(extended)) parts.push(`${amount} ${name}`);
  return parts.join(", ") || "nothing";
}
