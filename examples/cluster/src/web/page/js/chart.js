// The chart of the last minutes.

import { $, h, setText, svg, sync } from "./dom.js";
import { state } from "./state.js";
import { number } from "./text.js";

const LINES = [
  ["used", "used"],
  ["free", "free or backing off"],
  ["promised", "promised"],
  ["waiting", "waiting requests"],
];

/** The chart shows the shortest of these times that has all samples. */
const CHART_MINUTES = [1, 2, 5, 10];
const CHART_MS = 10 * 60_000;

export function addSample() {
  const { slots, promised, pending_requests: waiting } = state.numbers.overview;
  const sample = {
    at_ms: Date.now(),
    used: slots.allocated.slots + slots.in_flight.slots,
    free: slots.free.slots,
    promised: promised.slots,
    waiting,
  };
  const last = state.samples.at(-1);
  if (last && sample.at_ms - last.at_ms < 500) state.samples[state.samples.length - 1] = sample;
  else state.samples.push(sample);
  state.samples = state.samples.filter((other) => sample.at_ms - other.at_ms <= CHART_MS);
}

export function renderChart() {
  const chart = $("chart");
  const width = chart.clientWidth || 600;
  const height = chart.clientHeight || 150;
  const bottom = height - 18;
  const end = Date.now();
  const age = end - (state.samples[0]?.at_ms ?? end);
  const minutes = CHART_MINUTES.find((minutes) => age <= minutes * 60_000) ?? CHART_MINUTES.at(-1);
  const span = minutes * 60_000;
  const start = end - span;
  setText($("chart-title"), minutes === 1 ? "Last minute" : `Last ${minutes} minutes`);
  const most = Math.max(1, ...state.samples.flatMap((sample) => LINES.map(([line]) => sample[line])));
  const top = niceTop(most);
  const left = 14 + 7 * number(top).length;
  const x = (ms) => left + ((ms - start) / span) * (width - left - 2);
  const y = (value) => bottom - (value / top) * (bottom - 8);
  const parts = [];
  for (const value of [0, top / 2, top]) {
    if (!Number.isInteger(value)) continue;
    parts.push(svg("line", { class: "grid", x1: left, x2: width, y1: y(value), y2: y(value) }));
    parts.push(svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, number(value)));
  }
  for (const [part, anchor] of [[1, "start"], [0.5, "middle"], [0, "end"]]) {
    const ago = part * span / 1000;
    const text = ago === 0 ? "now" : ago < 60 ? `−${ago} s` : `−${ago / 60} min`;
    parts.push(svg("text", { x: x(end - part * span), y: height - 3, "text-anchor": anchor }, text));
  }
  for (const [line] of LINES) {
    // Numbers stay as they are until they change: steps, not slopes.
    let path = "";
    for (const sample of state.samples) {
      if (sample.at_ms < start) continue;
      const place = `${x(sample.at_ms).toFixed(1)}`;
      path += path === "" ? `M${place} ${y(sample[line]).toFixed(1)}` : `H${place}V${y(sample[line]).toFixed(1)}`;
    }
    if (path !== "") parts.push(svg("path", { class: `line ${line}`, d: `${path}H${x(end).toFixed(1)}` }));
  }
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren(...parts);
  const last = state.samples.at(-1);
  if (!last) return;
  chart.setAttribute("aria-label", `Now: ${LINES.map(([line, name]) => `${name} ${last[line]}`).join(", ")}`);
  sync($("chart-legend"), LINES, ([line]) => line, ([line]) => String(last[line]), ([line, name]) => {
    const sample = svg("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" });
    sample.append(svg("path", { class: `line ${line}`, d: "M0 5H26" }));
    return h("li", {}, sample, h("span", {}, `${name} `, h("b", {}, number(last[line]))));
  });
}

/** Returns an even and round number that is at least the given one. */
function niceTop(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [2, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= value) ?? value;
}
