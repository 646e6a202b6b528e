"use strict";

// ---- State ----------------------------------------------------------------------------------------

/** The states of slots, in the order of bars. */
const STATES = [
  ["allocated", "allocated"],
  ["in-flight", "in flight"],
  ["free", "free"],
  ["backing-off", "backing off"],
  ["blocked", "blocked"],
];
const STATE_NAMES = Object.fromEntries(STATES);
const LINES = [
  ["used", "used"],
  ["free", "free or backing off"],
  ["promised", "promised"],
  ["waiting", "waiting requests"],
];
const PAGE = 100;
/** The chart shows the shortest of these times that has all samples. */
const CHART_MINUTES = [1, 2, 5, 10];
const CHART_MS = 10 * 60_000;
const REFRESH_MS = 1_000;
const MOST_PAGES_REFRESHED = 3;
/** The time after which the reasons of waiting requests, which tell times from now, are told again. */
const REASONS_MS = 5_000;
const NS_PER_MS = 1e6;
/** The address of this page without the password that it may have: requests must not have one. */
const HERE = location.origin + location.pathname;

/** The last numbers of the server, or null before the first. */
let numbers = null;
let events = [];
let samples = [];
/** The lists, each with the server's clock at the time of the answer. */
let requests = { items: [], next: null, now: 0, at: 0 };
let taskManagers = { items: [], next: null, now: 0, at: 0 };
let troubled = { items: [], next: null, now: 0, at: 0 };
let workers = { items: [], is_cut: false, recovery: null, now: 0, at: 0 };
/** The requests that were in flight at the last look. */
let inFlight = new Set();
/** The workers that are blocked for when they come. */
let blockedAbsent = [];
let pagesOfTaskManagers = 1;
let pagesOfRequests = 1;
/** The id of the task manager in the dialog. */
let shown = null;

// ---- Small helpers --------------------------------------------------------------------------------

const $ = (id) => document.getElementById(id);

/** Creates an element. Texts are text, never HTML. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

function svg(tag, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes the children of an element show the items, in their order. An item that shows the same as
 * before keeps its element, and with it the focus.
 */
function sync(parent, items, key, content, create) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    const text = content(item);
    let child = old.get(name);
    old.delete(name);
    if (!child || child.dataset.content !== text) {
      const fresh = create(item);
      fresh.dataset.key = name;
      fresh.dataset.content = text;
      if (child) {
        const focus = child.contains(document.activeElement) && document.activeElement.dataset.focus;
        if (child.open) fresh.open = true;
        if (place === child) place = fresh;
        child.replaceWith(fresh);
        if (focus) fresh.querySelector(`[data-focus="${focus}"]`)?.focus();
      }
      child = fresh;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of old.values()) {
    const hadFocus = child.contains(document.activeElement);
    const neighbour = child.nextElementSibling ?? child.previousElementSibling;
    child.remove();
    if (hadFocus) (neighbour?.querySelector("button, summary") ?? $("task-managers")).focus();
  }
}

const grouped = new Intl.NumberFormat("en");
const number = (value) => grouped.format(value);
const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;
const short = (id) => id.replace(/^0+(?=.{8})/, "").slice(0, 8);
/** Shortens the ids of worker requests in a text. */
const shorten = (text) => text.replace(/\b0+(?=[0-9a-f]+-[0-9]+\b)/g, "");
const byId = new Intl.Collator("en", { numeric: true }).compare;

/** Returns the milliseconds from now to a time of the server. */
function msTo(time, list) {
  return (time - list.now) / NS_PER_MS - (performance.now() - list.at);
}

function duration(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

const bytes = (value) => {
  if (value >= 2 ** 30) return `${+(value / 2 ** 30).toFixed(1)} GiB`;
  return value >= 2 ** 20 ? `${Math.round(value / 2 ** 20)} MiB` : `${value} B`;
};

/** Returns a profile as text for people. */
function profile(resources) {
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

/** Returns the class of a slot in this state. */
const classOf = (slot) => slot.state.replace("_", "-");

/** Counts slots by state, and says so in words. */
function summaryOf(slots) {
  const counts = {};
  for (const slot of slots) counts[classOf(slot)] = (counts[classOf(slot)] ?? 0) + 1;
  const present = STATES.filter(([state]) => counts[state]);
  return { counts, present, text: present.map(([state, name]) => `${number(counts[state])} ${name}`).join(", ") || "no slots" };
}

const isTroubled = (taskManager) => taskManager.is_blocked || taskManager.backoff != null;

/** Says what is wrong with a worker. */
function troubleOf(taskManager, list) {
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

let toastTimer = 0;
function toast(text) {
  setText($("toast"), text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => setText($("toast"), ""), 6_000);
}

// ---- The server -----------------------------------------------------------------------------------

async function ask(path, options) {
  const response = await fetch(new URL(path, HERE), options);
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error), { status: response.status, leader: answer.leader ?? null });
  return answer;
}

/** Loads the first pages of a list. Each page is sorted, so that a further one moves nothing. */
async function load(path, pages, compare = () => 0) {
  const items = [];
  let cursor = null;
  let answer;
  do {
    answer = await ask(cursor === null ? path : `${path}&cursor=${encodeURIComponent(cursor)}`);
    items.push(...answer.items.sort(compare));
    cursor = answer.next;
  } while (cursor !== null && --pages > 0);
  return { items, next: cursor, now: answer.now, at: performance.now() };
}

const byResourceId = (a, b) => byId(a.resource_id, b.resource_id);

function taskManagersPath() {
  const parameters = new URLSearchParams({ limit: PAGE });
  const search = $("search").value.trim();
  if (search) parameters.set("search", search);
  if ($("troubled").checked) parameters.set("troubled", "true");
  return `api/task-managers?${parameters}`;
}

async function order(resourceId, verb) {
  try {
    const done = await ask(`api/task-managers/${encodeURIComponent(resourceId)}/${verb}`, { method: "POST" });
    toast(done.text);
  } catch (error) {
    toast(`Not done: ${error.message}`);
  }
  refreshSoon(0);
}

let refreshing = false;
let isStale = true;
let lastRefresh = -Infinity;
let refreshTimer = 0;

/** Loads the lists again, at most once a second, and not while nobody looks. */
function refreshSoon(delay) {
  isStale = true;
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(refresh, delay ?? Math.max(0, lastRefresh + REFRESH_MS - performance.now()));
}

async function refresh() {
  if (refreshing || document.hidden || !numbers?.is_leading) return;
  refreshing = true;
  isStale = false;
  lastRefresh = performance.now();
  const path = taskManagersPath();
  const overview = numbers.overview;
  const isAnyTroubled = overview.blocked_task_managers + overview.backing_off_task_managers > 0;
  try {
    const nothing = { items: [], next: null, now: 0, at: 0 };
    const loaded = await Promise.all([
      overview.pending_requests ? load(`api/requests?limit=${PAGE}`, pagesOfRequests) : nothing,
      // Of a large cluster, a later page is loaded when it is asked for, not again and again.
      load(path, Math.min(pagesOfTaskManagers, MOST_PAGES_REFRESHED), byResourceId),
      isAnyTroubled ? load("api/task-managers?limit=20&troubled=true", 1, byResourceId) : nothing,
      ask("api/workers"),
      ask("api/blocked"),
    ]);
    const [, fresh] = loaded;
    if (path === taskManagersPath()) {
      const isPart = pagesOfTaskManagers > MOST_PAGES_REFRESHED && fresh.next !== null;
      if (isPart) {
        const known = new Set(fresh.items.map((item) => item.resource_id));
        const rest = taskManagers.items.filter((item, index) => index >= fresh.items.length && !known.has(item.resource_id));
        fresh.items.push(...rest);
        fresh.next = taskManagers.next;
      }
      taskManagers = fresh;
    }
    // Most answers of task executors come at once. Only those that do not are worth a row.
    const before = inFlight;
    inFlight = new Set(loaded[0].items.filter((request) => request.status === "in_flight").map((request) => request.allocation_id));
    requests = { ...loaded[0], items: loaded[0].items.filter(({ status, allocation_id: id }) => status !== "in_flight" || before.has(id)) };
    troubled = loaded[2];
    workers = { ...loaded[3], at: performance.now() };
    blockedAbsent = loaded[4].items.filter((worker) => !worker.is_registered).map((worker) => worker.resource_id);
    render();
    if (shown !== null) updateDetails();
  } catch (error) {
    if (error.status !== 503) console.warn(error);
    isStale = true;
  } finally {
    refreshing = false;
    // News came meanwhile, or the server did not answer.
    if (isStale) refreshSoon(REFRESH_MS);
  }
}

async function loadMoreTaskManagers() {
  const cursor = taskManagers.next;
  if (cursor === null) return;
  const more = await ask(`${taskManagersPath()}&cursor=${encodeURIComponent(cursor)}`);
  pagesOfTaskManagers += 1;
  more.items.sort(byResourceId);
  const first = more.items[0]?.resource_id;
  taskManagers = { ...taskManagers, items: [...taskManagers.items, ...more.items], next: more.next };
  render();
  if (first !== undefined) {
    [...$("cards").children].find((card) => card.dataset.key === first)?.querySelector("button")?.focus();
  }
}

/** Asks again and again instead of waiting for messages: `/?poll`, for where streams do not work. */
async function poll() {
  try {
    [numbers, events] = await Promise.all([ask("api/overview"), ask("api/events")]);
    events.reverse();
    setConnection("live", true);
    addSample();
    render();
    renderEvents();
    await refresh();
  } catch (error) {
    const isFollower = error.status === 503;
    setConnection(isFollower ? "live" : error.message, isFollower);
    if (isFollower) {
      numbers = { is_leading: false, epoch: null, leader: error.leader };
      render();
    }
  }
  setTimeout(poll, REFRESH_MS);
}

function connect() {
  const stream = new EventSource(new URL("api/stream", HERE));
  stream.addEventListener("open", () => setConnection("live", true));
  stream.addEventListener("error", () => setConnection("no answer, trying again", false));
  stream.addEventListener("numbers", (message) => {
    numbers = JSON.parse(message.data);
    if (numbers.is_leading) addSample();
    render();
    refreshSoon();
  });
  stream.addEventListener("events", (message) => {
    const fresh = JSON.parse(message.data);
    // A server that was started again counts from the start.
    const isRestarted = fresh.length > 0 && events.length > 0 && fresh[0].number <= events[0].number;
    const isRepeated = (event) => fresh.some((again) => again.first_at_ms === event.first_at_ms && again.text === event.text);
    const others = isRestarted ? [] : events.filter((event) => !isRepeated(event));
    events = [...fresh.reverse(), ...others].slice(0, 200);
    renderEvents();
  });
  // A connection that was lost may have missed samples.
  stream.addEventListener("open", loadHistory);
}

async function loadHistory() {
  try {
    samples = await ask("api/history");
    renderChart();
  } catch (error) {
    console.warn(error);
  }
}

function setConnection(text, isLive) {
  setText($("connection"), text);
  $("connection").classList.toggle("live", isLive);
  document.querySelector("main").classList.toggle("stale", !isLive);
}

// ---- The page -------------------------------------------------------------------------------------

function render() {
  if (numbers === null) return;
  renderLeader();
  if (!numbers.is_leading) return;
  renderRecovery();
  renderVerdicts();
  renderSlots();
  renderRequests();
  renderTaskManagers();
  renderWorkers();
  renderChart();
}

function renderLeader() {
  const { leader, is_leading: isLeading, epoch } = numbers;
  setText($("leader"), leader ? `${leader.address}${isLeading ? " (this process)" : ""}` : "nobody");
  setText($("epoch"), String(epoch ?? leader?.epoch ?? "–"));
  setText($("job-masters"), isLeading ? number(numbers.job_masters) : "–");
  setText($("inputs"), isLeading ? number(numbers.waiting_inputs) : "–");
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

function renderRecovery() {
  const { recovery } = workers;
  $("recovery").hidden = recovery === null;
  if (recovery === null) return;
  const { until, expected_workers: expected, registered_workers: registered } = recovery;
  const back = expected === null ? `${count(registered, "worker is", "workers are")} registered` : `${number(registered)} of ${number(expected)} are back`;
  const left = until === null ? "it" : `for ${duration(msTo(until, workers))} more it`;
  setText($("recovery"), `This leader is new: ${left} awaits the workers of earlier leaders, and requests no others; ${back}.`);
}

function renderVerdicts() {
  const overview = numbers.overview;
  const waiting = overview.pending_requests;
  const groups = new Map();
  for (const request of requests.items) {
    // Requests that wait for a slot have one reason for each size of slot.
    const isForSlot = request.group.startsWith("a slot");
    const key = isForSlot ? request.reason.replace(/\b\d+ (s|min|h)\b/g, "") : request.group;
    const group = groups.get(key) ?? { key, name: request.group, size: 0, isForSlot, example: request };
    group.size += 1;
    groups.set(key, group);
  }
  const sorted = [...groups.values()].sort((a, b) => b.size - a.size);
  const isPart = requests.next !== null;
  verdict($("waiting-verdict"), waiting === 0 ? "good" : sorted.length > 0 ? "bad" : "none", {
    title: waiting === 0 ? "✓ No request waits" : `${count(waiting, "request waits", "requests wait")}`,
    note: isPart ? `Reasons of ${number(requests.items.length)} of them:` : null,
    items: sorted.slice(0, 5).map((group) => ({
      key: group.key,
      lead: `${number(group.size)} for ${group.name}`,
      text: group.size === 1 || group.isForSlot ? group.example.reason : `For example: ${group.example.reason}`,
    })),
  });

  const blocked = overview.blocked_task_managers + blockedAbsent.length;
  const backingOff = overview.backing_off_task_managers;
  const parts = [
    backingOff > 0 && count(backingOff, "worker backs off", "workers back off"),
    blocked > 0 && (backingOff > 0 ? `${number(blocked)} blocked` : count(blocked, "worker is blocked", "workers are blocked")),
    overview.suspect_jobs > 0 && count(overview.suspect_jobs, "suspect job"),
  ].filter(Boolean);
  const listed = [
    ...troubled.items.map((taskManager) => ({ id: taskManager.resource_id, isBlocked: taskManager.is_blocked, text: troubleOf(taskManager, troubled), show: true })),
    ...blockedAbsent.map((id) => ({ id, isBlocked: true, text: "Blocked by an operator; not registered", show: false })),
  ];
  const first = listed.slice(0, 5);
  const all = overview.task_managers;
  const behave = all === 0 ? "No worker is registered" : all === 1 ? "✓ The worker behaves" : `✓ All ${number(all)} workers behave`;
  verdict($("trouble-verdict"), parts.length > 0 ? "bad" : all > 0 ? "good" : "none", {
    title: parts.length === 0 ? behave : parts.join(", "),
    items: parts.length === 0 ? [] : first.map((worker) => ({
      key: worker.id,
      lead: worker.id,
      show: worker.show ? worker.id : undefined,
      text: worker.text,
      button: worker.isBlocked ? "unblock" : "block",
    })),
    note: listed.length > first.length && parts.length > 0 ? "The first five:" : null,
  });
  // Only what changes seldom is read aloud: not each number, and not each second.
  setText($("announcement"), `${sorted.length === 0 ? "No request waits" : "Requests wait"}. ${parts.length === 0 ? "No worker needs attention" : "Some workers need attention"}.`);
}

function verdict(element, state, { title, items, note }) {
  element.className = `verdict ${state}`;
  sync(element, [
    { key: "title", text: title },
    note && { key: "note", text: note },
    items.length > 0 && { key: "items", text: "" },
  ].filter(Boolean), (part) => part.key, (part) => part.text, (part) => {
    if (part.key === "title") return h("h2", {}, part.text);
    return part.key === "note" ? h("p", {}, part.text) : h("ul");
  });
  const list = element.querySelector("ul");
  if (list === null) return;
  sync(list, items, (item) => item.key, (item) => JSON.stringify(item), (item) => h("li", {},
    h("div", {},
      item.show === undefined ? h("strong", {}, item.lead) : nameButton(item.show),
      h("div", { class: "faint" }, item.text)),
    item.button && h("button", { type: "button", "data-focus": "order", onclick: () => order(item.key, item.button) },
      item.button === "block" ? "Block" : "Unblock", h("span", { class: "hidden" }, ` ${item.key}`))));
}

function nameButton(resourceId) {
  return h("button", {
    type: "button", class: "name", title: resourceId, "data-focus": "name", "aria-haspopup": "dialog",
    onclick: () => showDetails(resourceId),
  }, resourceId);
}

/** Slots that back off count as free in the overview: the loaded pages of troubled workers know them. */
function renderSlots() {
  const slots = numbers.overview.slots;
  const counts = {
    allocated: slots.allocated.slots,
    "in-flight": slots.in_flight.slots,
    free: slots.free.slots,
    blocked: slots.blocked.slots,
  };
  const backingOff = troubled.items.flatMap((taskManager) => taskManager.slots)
    .filter((slot) => slot.state === "backing_off").length;
  counts["backing-off"] = Math.min(backingOff, counts.free);
  counts.free -= counts["backing-off"];
  setText($("used"), number(counts.allocated + counts["in-flight"]));
  setText($("registered"), number(slots.registered.slots));
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

/** Shows how much of each resource is used. */
function renderResources({ registered, allocated, in_flight: inFlight }) {
  const cores = (value) => number(+value.toFixed(2));
  const resources = [
    ["Cores", (slots) => slots.cpu_cores, cores],
    ["Memory", (slots) => slots.memory_bytes, bytes],
    ...Object.keys(registered.extended).map((name) => [name, (slots) => slots.extended[name] ?? 0, cores]),
  ].map(([name, amount, text]) => ({ name, total: amount(registered), used: amount(allocated) + amount(inFlight), text }))
    .filter(({ total }) => total > 0);
  sync($("resources"), resources, ({ name }) => name, ({ used, total, text }) => `${text(used)} of ${text(total)}`, ({ name, used, total, text }) => {
    const meter = h("span", { class: "meter", "aria-hidden": "true" }, h("span"));
    meter.firstElementChild.style.width = `${(100 * used) / total}%`;
    return h("li", {}, h("span", { class: "faint" }, name), meter, h("span", {}, h("b", {}, text(used)), ` of ${text(total)}`));
  });
}

function renderRequests() {
  const waiting = numbers.overview.pending_requests;
  $("requests-section").hidden = waiting === 0 || requests.items.length === 0;
  setText($("requests-count"), requests.next !== null
    ? `${number(requests.items.length)} of ${number(waiting)} shown` : number(waiting));
  sync($("requests"), requests.items, (request) => request.allocation_id, (request) => JSON.stringify([request.reason, request.text, failsIn(request)]),
    (request) => h("details", { class: "row" },
      h("summary", { "data-focus": "summary" },
        h("span", { class: "id", title: `allocation ${request.allocation_id}` }, short(request.allocation_id)),
        h("span", { class: "reason" }, request.reason),
        h("span", { class: "needs faint" }, `needs ${profile(request.explanation.resource_profile)}`),
        h("span", { class: "right" }, failsIn(request))),
      h("pre", {}, `${request.text}\n  job master   ${request.target_address}`)));
  $("more-requests").hidden = requests.next === null;
}

function failsIn(request) {
  const at = request.explanation.fails_at;
  return at === null ? "no deadline" : `fails in ${duration(msTo(at, requests))}`;
}

function renderTaskManagers() {
  const all = numbers.overview.task_managers;
  const isFiltered = $("search").value.trim() !== "" || $("troubled").checked;
  const loaded = taskManagers.items.length;
  setText($("task-managers-count"), isFiltered
    ? `${number(loaded)}${taskManagers.next === null ? "" : " or more"} of ${number(all)} match`
    : loaded < all ? `${number(loaded)} of ${number(all)} shown` : number(all));
  sync($("cards"), taskManagers.items, (item) => item.resource_id, (item) => JSON.stringify([
    item.slots.map((slot) => [slot.state, slot.allocation_id]), isTroubled(item) && troubleOf(item, taskManagers), item.instance_id,
  ]), card);
  $("no-task-managers").hidden = loaded > 0;
  setText($("no-task-managers"), isFiltered ? "No task manager matches."
    : `No task manager is registered. This starts one by hand: cluster task-executor --resource-managers ${numbers.leader?.address ?? "HOST:PORT"}`);
  $("more-task-managers").hidden = taskManagers.next === null;
}

function card(taskManager) {
  const { registered, allocated, in_flight } = taskManager.slot_counts;
  return h("li", { class: `card${isTroubled(taskManager) ? " troubled" : ""}` },
    h("div", { class: "card-head" },
      nameButton(taskManager.resource_id),
      h("span", { class: "faint", title: "slots used and registered" }, `${allocated + in_flight} / ${registered}`)),
    isTroubled(taskManager) && h("p", { class: "why" }, troubleOf(taskManager, taskManagers)),
    cells(taskManager));
}

/** Returns a cell for each slot, or a bar if there are too many to see. */
function cells(taskManager) {
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

function describe(slot) {
  const held = slot.allocation_id ? ` for allocation ${short(slot.allocation_id)} of job ${short(slot.job_id)}` : "";
  return `Slot ${slot.slot_id}: ${STATE_NAMES[classOf(slot)]}${held}`;
}

function renderWorkers() {
  const items = workers.items;
  $("workers-section").hidden = items.length === 0;
  setText($("workers-count"), `${number(items.length)}${workers.is_cut ? " or more" : ""}, ${count(numbers.overview.promised.slots, "slot")}`);
  const text = (worker) => worker.expires_at === null ? "no time limit" : `may register within ${duration(msTo(worker.expires_at, workers))}`;
  sync($("workers"), items, (worker) => worker.worker_request, (worker) => JSON.stringify([worker.slots, worker.bound_slots, text(worker)]),
    (worker) => h("div", { class: "row worker" },
      h("span", {}, h("span", { class: "id", title: worker.worker_request }, shorten(worker.worker_request)), ` · ${count(worker.slots, "slot")} of ${profile(worker.slot_profile)}`),
      h("span", { class: "right" }, text(worker)),
      h("span", { class: "faint" }, worker.bound_slots === 0 ? "No request waits for it." : `${count(worker.bound_slots, "request waits", "requests wait")} for it.`)));
}

function renderEvents() {
  const time = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
  sync($("events"), events.length > 0 ? events : [{ number: 0, text: "Nothing has happened yet." }],
    (event) => event.number, (event) => event.text + (event.times ?? 1), (event) =>
      h("li", { class: event.is_warning ? "warning" : null },
        event.at_ms ? h("time", { datetime: new Date(event.at_ms).toISOString() }, time.format(event.at_ms)) : h("span"),
        h("span", { title: event.text }, shorten(event.text), event.times > 1 && h("span", { class: "faint" }, ` × ${number(event.times)}`))));
}

// ---- The chart ------------------------------------------------------------------------------------

function addSample() {
  const { slots, promised, pending_requests: waiting } = numbers.overview;
  const sample = {
    at_ms: Date.now(),
    used: slots.allocated.slots + slots.in_flight.slots,
    free: slots.free.slots,
    promised: promised.slots,
    waiting,
  };
  const last = samples.at(-1);
  if (last && sample.at_ms - last.at_ms < 500) samples[samples.length - 1] = sample;
  else samples.push(sample);
  samples = samples.filter((other) => sample.at_ms - other.at_ms <= CHART_MS);
}

function renderChart() {
  const chart = $("chart");
  const width = chart.clientWidth || 600;
  const height = chart.clientHeight || 150;
  const bottom = height - 18;
  const end = Date.now();
  const age = end - (samples[0]?.at_ms ?? end);
  const minutes = CHART_MINUTES.find((minutes) => age <= minutes * 60_000) ?? CHART_MINUTES.at(-1);
  const span = minutes * 60_000;
  const start = end - span;
  setText($("chart-title"), minutes === 1 ? "Last minute" : `Last ${minutes} minutes`);
  const most = Math.max(1, ...samples.flatMap((sample) => LINES.map(([line]) => sample[line])));
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
    for (const sample of samples) {
      if (sample.at_ms < start) continue;
      const place = `${x(sample.at_ms).toFixed(1)}`;
      path += path === "" ? `M${place} ${y(sample[line]).toFixed(1)}` : `H${place}V${y(sample[line]).toFixed(1)}`;
    }
    if (path !== "") parts.push(svg("path", { class: `line ${line}`, d: `${path}H${x(end).toFixed(1)}` }));
  }
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren(...parts);
  const last = samples.at(-1);
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

// ---- The dialog -----------------------------------------------------------------------------------

async function showDetails(resourceId) {
  shown = resourceId;
  await updateDetails();
  if (shown === resourceId && !$("details").open) $("details").showModal();
}

async function updateDetails() {
  const resourceId = shown;
  let taskManager;
  try {
    taskManager = await ask(`api/task-managers/${encodeURIComponent(resourceId)}`);
  } catch (error) {
    if (shown !== resourceId) return;
    toast(error.message);
    $("details").close();
    shown = null;
    return;
  }
  // The dialog may have been closed meanwhile.
  if (shown !== resourceId) return;
  const list = { now: taskManager.now, at: performance.now() };
  const facts = [
    ["Instance", h("span", { class: "id" }, taskManager.instance_id)],
    ["Started for", taskManager.worker_request ? `worker request ${shorten(taskManager.worker_request)}` : "no worker request"],
    ["State", isTroubled(taskManager) ? troubleOf(taskManager, list)
      : taskManager.idle_since === null ? "Serves requests" : `Idle for ${duration(-msTo(taskManager.idle_since, list))}`],
  ];
  const verbs = taskManager.is_blocked
    ? [["unblock", "Unblock", "gives its free slots away again"]]
    : [["block", "Block", "gives no more of its slots away"], ["drain", "Drain", "blocks it, and lets it leave when it is idle"]];
  const slots = taskManager.slots.slice(0, 500);
  const focus = $("details").contains(document.activeElement) && document.activeElement.dataset.focus;
  setText($("details-title"), taskManager.resource_id);
  $("details-body").replaceChildren(
    h("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    h("ul", { class: "orders" }, ...verbs.map(([verb, name, effect]) => h("li", {},
      h("button", { type: "button", "data-focus": "order", "aria-describedby": `effect-${verb}`, onclick: () => order(resourceId, verb) }, name),
      h("span", { id: `effect-${verb}`, class: "faint" }, ` ${effect}`)))),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Slots", "data-focus": "slots" }, h("table", {},
      h("thead", {}, h("tr", {}, ...["Slot", "State", "Size", "Job", "Allocation"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...slots.map((slot) => {
        const state = classOf(slot);
        const until = slot.until ? ` for ${duration(msTo(slot.until, list))}` : "";
        return h("tr", {},
          h("td", {}, slot.slot_id.slice(slot.slot_id.lastIndexOf("_") + 1)),
          h("td", {}, h("span", { class: `slot ${state}`, "aria-hidden": "true" }), STATE_NAMES[state] + until),
          h("td", {}, profile(slot.resource_profile)),
          h("td", { class: "id", title: slot.job_id }, slot.job_id ? short(slot.job_id) : ""),
          h("td", { class: "id", title: slot.allocation_id }, slot.allocation_id ? short(slot.allocation_id) : ""));
      })))),
    taskManager.slots.length > slots.length ? h("p", { class: "faint" }, `The first ${slots.length} of ${number(taskManager.slots.length)} slots.`) : "");
  if (focus) $("details").querySelector(`[data-focus="${focus}"]`)?.focus();
}

// ---- Start ----------------------------------------------------------------------------------------

$("close-details").addEventListener("click", () => $("details").close());
$("details").addEventListener("close", () => {
  // The button that opened the dialog may have been made anew meanwhile.
  const isLost = document.activeElement === document.body || $("details").contains(document.activeElement);
  if (isLost) [...document.querySelectorAll(".name")].find((name) => name.title === shown)?.focus();
  shown = null;
});
$("details").addEventListener("click", (event) => { if (event.target === $("details")) $("details").close(); });
$("more-task-managers").addEventListener("click", () => loadMoreTaskManagers().catch((error) => toast(error.message)));
$("more-requests").addEventListener("click", () => { pagesOfRequests += 1; refreshSoon(0); });
document.querySelector(".filter").addEventListener("submit", (event) => event.preventDefault());
for (const id of ["search", "troubled"]) {
  $(id).addEventListener("input", () => { pagesOfTaskManagers = 1; refreshSoon(150); });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.ctrlKey && !event.metaKey && !$("details").open && document.activeElement.type !== "search") {
    event.preventDefault();
    $("search").focus();
  }
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) refreshSoon(0); });
new ResizeObserver(renderChart).observe($("chart"));
// Times run on between two changes.
setInterval(() => {
  if (document.hidden) return;
  render();
  if (requests.items.length > 0 && performance.now() - lastRefresh > REASONS_MS) refreshSoon(0);
}, 1_000);
renderEvents();
if (new URLSearchParams(location.search).has("poll")) {
  loadHistory();
  poll();
} else {
  connect();
}
