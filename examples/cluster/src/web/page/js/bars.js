// Dynamic workers: a bar for each resource, filled by the slots that are cut from it.

import { h } from "./dom.js";
import { STATE_NAMES, classOf, describe, summaryOf } from "./slots.js";
import { bytes, number, profile } from "./text.js";

/** The most slots that have a segment each: narrower ones are not seen. */
const MOST_SEGMENTS = 40;

const MEMORY = ["task_heap_memory_bytes", "task_off_heap_memory_bytes", "managed_memory_bytes", "network_memory_bytes"];

const memoryOf = (resources) => MEMORY.reduce((sum, kind) => sum + Number(resources[kind] ?? 0), 0);
const decimal = (value) => number(+value.toFixed(2));

/** Returns the resources of a total, each with a function that finds its amount in other profiles. */
function resourcesOf(total) {
  return [
    { name: "cpu", of: (resources) => Number(resources.cpu_cores ?? 0), text: decimal },
    { name: "memory", of: memoryOf, text: bytes },
    ...Object.keys(total.extended_resources ?? {}).map((name) => (
      { name, of: (resources) => Number(resources.extended_resources?.[name] ?? 0), text: decimal })),
  ].filter(({ of }) => of(total) > 0);
}

/** Returns the resources of task managers: those of the slots of static workers, and the totals of dynamic ones. */
export function sumOf(taskManagers) {
  const sum = { cpu_cores: 0, memory_bytes: 0, extended: {} };
  for (const { total_resources: total, slots } of taskManagers) {
    for (const resources of total === null ? slots.map((slot) => slot.resource_profile) : [total]) {
      sum.cpu_cores += Number(resources.cpu_cores ?? 0);
      sum.memory_bytes += memoryOf(resources);
      for (const [name, amount] of Object.entries(resources.extended_resources ?? {})) {
        sum.extended[name] = (sum.extended[name] ?? 0) + Number(amount);
      }
    }
  }
  return sum;
}

/** Returns the parts of a dynamic worker that the bars show: its slots, the rest, and what it holds back. */
function partsOf(taskManager) {
  const { slots, total_resources: total, remaining_resources: remaining } = taskManager;
  const state = taskManager.is_blocked ? "blocked" : taskManager.backoff ? "backing-off" : "free";
  const held = slots.length <= MOST_SEGMENTS ? slots.map((slot) => ({
    state: classOf(slot),
    text: `${describe(slot)}: ${profile(slot.resource_profile)}`,
    amount: (of) => of(slot.resource_profile),
  })) : summaryOf(slots).present.map(([state]) => {
    const alike = slots.filter((slot) => classOf(slot) === state);
    return {
      state,
      text: `${number(alike.length)} slots ${STATE_NAMES[state]}`,
      amount: (of) => alike.reduce((sum, slot) => sum + of(slot.resource_profile), 0),
    };
  });
  const used = (of) => slots.reduce((sum, slot) => sum + of(slot.resource_profile), 0);
  return [
    ...held,
    { state, text: `Remaining: ${profile(remaining)}${state === "free" ? "" : `, ${STATE_NAMES[state]}`}`, amount: (of) => of(remaining) },
    { state: "withheld", text: "Not free, as the worker says", amount: (of) => of(total) - used(of) - of(remaining) },
  ];
}

/** Returns a bar for each resource of a dynamic worker; `null` for a static one, and for a total without amounts. */
export function bars(taskManager) {
  const total = taskManager.total_resources;
  if (total === null || typeof total === "string") return null;
  const parts = partsOf(taskManager);
  const resources = resourcesOf(total).map((resource) => {
    const all = resource.of(total);
    return { ...resource, all, used: all - resource.of(taskManager.remaining_resources) };
  });
  const words = resources.map(({ name, used, all, text }) => `${name} ${text(used)} of ${text(all)} used`);
  const label = [summaryOf(taskManager.slots).text, ...words].join(", ");
  return h("div", { class: "resource-bars", role: "img", "aria-label": label }, ...resources.flatMap((resource) => [
    h("span", { class: "faint resource", title: resource.name }, resource.name),
    h("span", {}, h("b", {}, resource.text(resource.used)), ` of ${resource.text(resource.all)}`),
    bar(resource, parts),
  ]));
}

function bar({ name, of, text, all }, parts) {
  const shown = parts.map((part) => ({ ...part, share: part.amount(of) / all }))
    .filter(({ share }) => share > 1e-9);
  const element = h("div", { class: "bar", "data-resource": name }, ...shown.map(({ state, text: title, share }) =>
    h("span", { class: `slot ${state}`, title: `${title}\n${name}: ${text(share * all)} of ${text(all)}` })));
  shown.forEach(({ share }, index) => { element.children[index].style.flexGrow = +(100 * share).toFixed(4); });
  return element;
}
