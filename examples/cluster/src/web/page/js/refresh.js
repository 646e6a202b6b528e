// The lists, which are loaded again when something has changed.

import { updateDetails } from "./details.js";
import { $ } from "./dom.js";
import { ask, load } from "./server.js";
import { nothing, state } from "./state.js";
import { byId } from "./text.js";
import { render } from "./view.js";

const PAGE = 100;
export const REFRESH_MS = 1_000;
const MOST_PAGES_REFRESHED = 3;

const byResourceId = (a, b) => byId(a.resource_id, b.resource_id);

function taskManagersPath() {
  const parameters = new URLSearchParams({ limit: PAGE });
  const search = $("search").value.trim();
  if (search) parameters.set("search", search);
  if ($("troubled").checked) parameters.set("troubled", "true");
  return `api/task-managers?${parameters}`;
}

let refreshing = false;
let isStale = true;
export let lastRefresh = -Infinity;
let refreshTimer = 0;

/** Loads the lists again, at most once a second, and not while nobody looks. */
export function refreshSoon(delay) {
  isStale = true;
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(refresh, delay ?? Math.max(0, lastRefresh + REFRESH_MS - performance.now()));
}

export async function refresh() {
  if (refreshing || document.hidden || !state.numbers?.is_leading) return;
  refreshing = true;
  isStale = false;
  lastRefresh = performance.now();
  const path = taskManagersPath();
  const overview = state.numbers.overview;
  const isAnyTroubled = overview.blocked_task_managers + overview.backing_off_task_managers > 0;
  try {
    const loaded = await Promise.all([
      overview.pending_requests ? load(`api/requests?limit=${PAGE}`, state.pagesOfRequests) : nothing,
      // Of a large cluster, a later page is loaded when it is asked for, not again and again.
      load(path, Math.min(state.pagesOfTaskManagers, MOST_PAGES_REFRESHED), byResourceId),
      isAnyTroubled ? load("api/task-managers?limit=20&troubled=true", 1, byResourceId) : nothing,
      ask("api/workers"),
      ask("api/blocked"),
      overview.declaring_jobs ? ask("api/jobs") : { items: [], is_cut: false },
    ]);
    const [, fresh] = loaded;
    if (path === taskManagersPath()) {
      const isPart = state.pagesOfTaskManagers > MOST_PAGES_REFRESHED && fresh.next !== null;
      if (isPart) {
        const known = new Set(fresh.items.map((item) => item.resource_id));
        const rest = state.taskManagers.items.filter((item, index) => index >= fresh.items.length && !known.has(item.resource_id));
        fresh.items.push(...rest);
        fresh.next = state.taskManagers.next;
      }
      state.taskManagers = fresh;
    }
    // Most answers of task executors come at once. Only those that do not are worth a row.
    const before = state.inFlight;
    state.inFlight = new Set(loaded[0].items.filter((request) => request.status === "in_flight").map((request) => request.allocation_id));
    state.requests = { ...loaded[0], items: loaded[0].items.filter(({ status, allocation_id: id }) => status !== "in_flight" || before.has(id)) };
    state.troubled = loaded[2];
    state.workers = { ...loaded[3], at: performance.now() };
    state.jobs = loaded[5];
    state.blockedAbsent = loaded[4].items.filter((worker) => !worker.is_registered).map((worker) => worker.resource_id);
    render();
    if (state.shown !== null) updateDetails();
  } catch (error) {
    if (error.status !== 503) console.warn(error);
    isStale = true;
  } finally {
    refreshing = false;
    // News came meanwhile, or the server did not answer.
    if (isStale) refreshSoon(REFRESH_MS);
  }
}

export async function loadMoreTaskManagers() {
  const cursor = state.taskManagers.next;
  if (cursor === null) return;
  const more = await ask(`${taskManagersPath()}&cursor=${encodeURIComponent(cursor)}`);
  state.pagesOfTaskManagers += 1;
  more.items.sort(byResourceId);
  const first = more.items[0]?.resource_id;
  state.taskManagers = { ...state.taskManagers, items: [...state.taskManagers.items, ...more.items], next: more.next };
  render();
  if (first !== undefined) {
    [...$("cards").children].find((card) => card.dataset.key === first)?.querySelector("button")?.focus();
  }
}
