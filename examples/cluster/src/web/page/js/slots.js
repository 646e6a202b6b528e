// Slots of task managers, as cells and in words.

import { h } from "./dom.js";
import { count, duration, msTo, number, short } from "./text.js";

/** The states of slots, in the order of bars. */
export const STATES = [
  ["allocated", "allocated"],
  ["in-flight", "in flight"],
  ["free", "free"],
  ["backing-off", "backing off"],
  ["blocked", "blocked"],
];
export const STATE_NAMES = Object.fromEntries(STATES);

/** Returns the class of a slot in this state. */
export const classOf = (slot) => slot.state.replace("_", "-");

/** Counts slots by state, and says so in words. */
export function summaryOf(slots) {
  const counts = {};
  for (const slot of slots) counts[classOf(slot)] = (counts[classOf(slot)] ?? 0) + 1;
  const present = STATES.filter(([state]) => counts[state]);
  return { counts, present, text: present.map(([state, name]) => `${number(counts[state])} ${name}`).join(", ") || "no slots" };
}

export const isDynamic = (taskManager) => taskManager.total_resources !== null;
export const isTroubled = (taskManager) => taskManager.is_blocked || taskManager.backoff != null;

/** Says what is wrong with a worker. */
export function troubleOf(taskManager, list) {
  const { allocated, in_flight } = taskManager.slot_counts;
  const reasons = [];
  if (taskManager.backoff) {
    const why = taskManager.backoff.reason === "unreachable" ? "Unreachable" : "Refused several requests";
    const left = msTo(taskManager.backoff.until, list);
    reasons.push(`${why}; ${left > 0 ? `tried again in ${duration(left)}` : "tried again with the next request"}`);
  }
  if (taskManager.is_blocked) {
    const used = allocated + in_flight;
    reasons.push(`Blocked by an operator; ${used ? `${count(used, "slot")} still used` : "idle"}`);
  }
  return reasons.join(". ");
}

/** Returns a cell for each slot, or a bar if there are too many to see. */
export function cells(taskManager) {
  const slots = taskManager.slots;
  const { counts, present, text } = summaryOf(slots);
  if (slots.length <= 256) {
    // One image for screen readers: the dialog has a table with each slot.
    return h("div", { class: `cells${slots.length > 32 ? " many" : ""}`, role: "img", "aria-label": text },
      ...slots.map((slot) => h("span", { class: `slot ${classOf(slot)}`, title: describe(slot) })));
  }
  const bar = h("div", { class: "bar", role: "img", title: text, "aria-label": text },
    ...present.map(([state]) => h("span", { class: `slot ${state}` })));
  present.forEach(([state], index) => { bar.children[index].style.flexGrow = counts[state]; });
  return bar;
}

/** Says in words which state a slot has, and for whom. */
export function describe(slot) {
  const held = slot.allocation_id ? ` for allocation ${short(slot.allocation_id)} of job ${short(slot.job_id)}` : "";
  return `Slot ${slot.slot_id}: ${STATE_NAMES[classOf(slot)]}${held}`;
}
