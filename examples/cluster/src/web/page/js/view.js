// The page.

import { bars, sumOf } from "./bars.js";
import { renderChart } from "./chart.js";
import { $, h, setText, sync } from "./dom.js";
import { STATES, cells, isDynamic, isTroubled, troubleOf } from "./slots.js";
import { state } from "./state.js";
import { bytes, count, duration, msTo, number, profile, short, shorten } from "./text.js";
import { nameButton, renderRecovery, renderVerdicts } from "./verdicts.js";

export function render() {
  if (state.numbers === null) return;
  renderLeader();
  if (!state.numbers.is_leading) return;
  renderRecovery();
  renderVerdicts();
  renderSlots();
  renderRequests();
  renderJobs();
  renderTaskManagers();
  renderWorkers();
  renderChart();
}

function renderLeader() {
  const { leader, is_leading: isLeading, epoch } = state.numbers;
  setText($("leader"), leader ? `${leader.address}${isLeading ? " (this process)" : ""}` : "nobody");
  setText($("epoch"), String(epoch ?? leader?.epoch ?? "–"));
  setText($("job-masters"), isLeading ? number(state.numbers.job_masters) : "–");
  setText($("inputs"), isLeading ? number(state.numbers.waiting_inputs) : "–");
  const banner = $("banner");
  banner.hidden = isLeading;
  if (!isLeading) {
    const text = leader === null ? "Nobody leads at present. This page goes on as soon as this process does."
      : `This process does not lead, and knows nothing of the cluster. The leader is ${leader.address}.`;
    const page = leader?.web && `${location.protocol}//${leader.web}/`;
    sync(banner, [{ text, page }], () => "text", ({ text, page }) => `${text} ${page}`, () => h("span", {}, text, " ",
      page && h("a", { href: page }, `Open the dashboard of the leader`)));
  }
  document.querySelector("main").hidden = !isLeading;
}

/** Slots that back off count as free in the overview: the loaded pages of troubled workers know them. */
function renderSlots() {
  const slots = state.numbers.overview.slots;
  const counts = {
    allocated: slots.allocated.slots,
    "in-flight": slots.in_flight.slots,
    free: slots.free.slots,
    blocked: slots.blocked.slots,
  };
  const backingOff = state.troubled.items.flatMap((taskManager) => taskManager.slots)
    .filter((slot) => slot.state === "backing_off").length;
  counts["backing-off"] = Math.min(backingOff, counts.free);
  counts.free -= counts["backing-off"];
  setText($("used"), number(counts.allocated + counts["in-flight"]));
  setText($("registered"), number(slots.registered.slots));
  renderDynamic();
  renderResources(slots);
  const present = STATES.filter(([state]) => counts[state] > 0);
  const text = present.map(([state, name]) => `${number(counts[state])} ${name}`).join(", ") || "No slots";
  $("usage").setAttribute("aria-label", text);
  $("usage").title = text;
  sync($("usage"), present, ([state]) => state, () => "", ([state]) => h("span", { class: `slot ${state}` }));
  for (const child of $("usage").children) child.style.flexGrow = counts[child.dataset.key];
  sync($("legend"), STATES, ([state]) => state, ([state]) => String(counts[state]), ([state, name]) =>
    h("li", {}, h("span", { class: `slot ${state}`, "aria-hidden": "true" }), h("span", {}, `${name} `, h("b", {}, number(counts[state])))));
}

/** Says from which resources slots are cut. */
function renderDynamic() {
  const { dynamic_workers: workers, dynamic_total: total } = state.numbers.overview;
  $("dynamic").hidden = workers === 0;
  // Its sum of all kinds of memory is beside the kinds.
  const resources = profile({ ...total, memory_bytes: 0 });
  setText($("dynamic"), `${count(workers, "dynamic worker")} of ${resources} in total: slots are cut as requests need them.`);
}

/** Shows how much of each resource is used. */
function renderResources({ registered, allocated, in_flight: flying }) {
  const cores = (value) => number(+value.toFixed(2));
  const { dynamic_total: dynamic, dynamic_workers: dynamicWorkers } = state.numbers.overview;
  const names = Object.keys({ ...registered.extended, ...dynamic.extended });
  // Registered slots include those that are cut, but not the rest of their workers. Only a complete
  // list of task managers has the sum.
  const isComplete = state.taskManagers.items.length === state.numbers.overview.task_managers;
  const all = dynamicWorkers === 0 ? registered : isComplete ? sumOf(state.taskManagers.items) : null;
  const resources = [
    ["Cores", (slots) => slots.cpu_cores, cores],
    ["Memory", (slots) => slots.memory_bytes, bytes],
    ...names.map((name) => [name, (slots) => slots.extended[name] ?? 0, cores]),
  ].map(([name, amount, text]) => ({ name, total: all && amount(all), used: amount(allocated) + amount(flying), text }))
    .filter(({ total, used }) => (total ?? used) > 0);
  sync($("resources"), resources, ({ name }) => name, ({ used, total, text }) => `${text(used)} of ${total}`, ({ name, used, total, text }) => {
    if (total === null) return h("li", {}, h("span", { class: "faint" }, name), h("span"), h("span", {}, h("b", {}, text(used)), " used"));
    const meter = h("span", { class: "meter", "aria-hidden": "true" }, h("span"));
    meter.firstElementChild.style.width = `${(100 * used) / total}%`;
    return h("li", {}, h("span", { class: "faint" }, name), meter, h("span", {}, h("b", {}, text(used)), ` of ${text(total)}`));
  });
}

function renderRequests() {
  const waiting = state.numbers.overview.pending_requests;
  $("requests-section").hidden = waiting === 0 || state.requests.items.length === 0;
  setText($("requests-count"), state.requests.next !== null
    ? `${number(state.requests.items.length)} of ${number(waiting)} shown` : number(waiting));
  sync($("requests"), state.requests.items, (request) => request.allocation_id, (request) => JSON.stringify([request.reason, request.text, failsIn(request)]),
    (request) => h("details", { class: "row" },
      h("summary", { "data-focus": "summary" },
        h("span", { class: "id", title: `allocation ${request.allocation_id}` }, short(request.allocation_id)),
        h("span", { class: "reason" }, request.reason),
        h("span", { class: "needs faint" }, `needs ${profile(request.explanation.resource_profile)}`),
        h("span", { class: "right" }, failsIn(request))),
      h("pre", {}, `${request.text}\n  job master   ${request.target_address}`)));
  $("more-requests").hidden = state.requests.next === null;
}

function failsIn(request) {
  const at = request.explanation.fails_at;
  return at === null ? "no deadline" : `fails in ${duration(msTo(at, state.requests))}`;
}

function renderJobs() {
  const items = state.jobs.items;
  $("jobs-section").hidden = items.length === 0;
  setText($("jobs-count"), `${number(items.length)}${state.jobs.is_cut ? " or more" : ""}`);
  sync($("jobs"), items, (job) => job.job_id, (job) => JSON.stringify(job), (job) => h("div", { class: "row worker" },
    h("span", {}, h("span", { class: "id", title: `job ${job.job_id}` }, short(job.job_id)), ` · ${count(job.declared, "slot")} declared`),
    h("span", { class: "right" }, `${number(job.held)} held, ${number(job.missing)} missing${job.excess > 0 ? `, ${number(job.excess)} in excess` : ""}`)));
}

function renderTaskManagers() {
  const all = state.numbers.overview.task_managers;
  const isFiltered = $("search").value.trim() !== "" || $("troubled").checked;
  const loaded = state.taskManagers.items.length;
  setText($("task-managers-count"), isFiltered
    ? `${number(loaded)}${state.taskManagers.next === null ? "" : " or more"} of ${number(all)} match`
    : loaded < all ? `${number(loaded)} of ${number(all)} shown` : number(all));
  sync($("cards"), state.taskManagers.items, (item) => item.resource_id, (item) => JSON.stringify([
    item.slots.map((slot) => [slot.slot_id, slot.state, slot.allocation_id]), item.total_resources, item.remaining_resources, isTroubled(item) && troubleOf(item, state.taskManagers), item.instance_id,
  ]), card);
  $("no-task-managers").hidden = loaded > 0;
  setText($("no-task-managers"), isFiltered ? "No task manager matches."
    : `No task manager is registered. This starts one by hand: cluster task-executor --resource-managers ${state.numbers.leader?.address ?? "HOST:PORT"}`);
  $("more-task-managers").hidden = state.taskManagers.next === null;
}

function card(taskManager) {
  const { registered, allocated, in_flight } = taskManager.slot_counts;
  const slots = isDynamic(taskManager)
    ? h("span", { class: "faint", title: "slots cut from the resources of the worker" }, count(registered, "slot"))
    : h("span", { class: "faint", title: "slots used and registered" }, `${allocated + in_flight} / ${registered}`);
  return h("li", { class: `card${isTroubled(taskManager) ? " troubled" : ""}` },
    h("div", { class: "card-head" }, nameButton(taskManager.resource_id), slots),
    isTroubled(taskManager) && h("p", { class: "why" }, troubleOf(taskManager, state.taskManagers)),
    bars(taskManager) ?? cells(taskManager));
}

function renderWorkers() {
  const items = state.workers.items;
  $("workers-section").hidden = items.length === 0;
  setText($("workers-count"), `${number(items.length)}${state.workers.is_cut ? " or more" : ""}, ${count(state.numbers.overview.promised.slots, "slot")}`);
  const text = (worker) => worker.expires_at === null ? "no time limit" : `may register within ${duration(msTo(worker.expires_at, state.workers))}`;
  sync($("workers"), items, (worker) => worker.worker_request, (worker) => JSON.stringify([worker.slots, worker.bound_slots, text(worker)]),
    (worker) => h("div", { class: "row worker" },
      h("span", {}, h("span", { class: "id", title: worker.worker_request }, shorten(worker.worker_request)), ` · ${count(worker.slots, "slot")} of ${profile(worker.slot_profile)}`),
      h("span", { class: "right" }, text(worker)),
      h("span", { class: "faint" }, worker.bound_slots === 0 ? "No request waits for it." : `${count(worker.bound_slots, "request waits", "requests wait")} for it.`)));
}

export function renderEvents() {
  const time = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
  sync($("events"), state.events.length > 0 ? state.events : [{ number: 0, text: "Nothing has happened yet." }],
    (event) => event.number, (event) => event.text + event.times, (event) =>
      h("li", { class: event.is_warning ? "warning" : null },
        event.at_ms ? h("time", { datetime: new Date(event.at_ms).toISOString() }, time.format(event.at_ms)) : h("span"),
        h("span", { title: event.text }, shorten(event.text), event.times > 1 && h("span", { class: "faint" }, ` × ${number(event.times)}`))));
}
