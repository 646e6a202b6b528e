// The start of the page.

import { renderChart } from "./chart.js";
import { $, toast } from "./dom.js";
import { connect, loadHistory, poll } from "./live.js";
import { lastRefresh, loadMoreTaskManagers, refreshSoon } from "./refresh.js";
import { state } from "./state.js";
import { render, renderEvents } from "./view.js";

/** The time after which the reasons of waiting requests, which tell times from now, are told again. */
const REASONS_MS = 5_000;

$("close-details").addEventListener("click", () => $("details").close());
$("details").addEventListener("close", () => {
  // The button that opened the dialog may have been made anew meanwhile.
  const isLost = document.activeElement === document.body || $("details").contains(document.activeElement);
  if (isLost) [...document.querySelectorAll(".name")].find((name) => name.title === state.shown)?.focus();
  state.shown = null;
});
$("details").addEventListener("click", (event) => { if (event.target === $("details")) $("details").close(); });
$("more-task-managers").addEventListener("click", () => loadMoreTaskManagers().catch((error) => toast(error.message)));
$("more-requests").addEventListener("click", () => { state.pagesOfRequests += 1; refreshSoon(0); });
document.querySelector(".filter").addEventListener("submit", (event) => event.preventDefault());
for (const id of ["search", "troubled"]) {
  $(id).addEventListener("input", () => { state.pagesOfTaskManagers = 1; refreshSoon(150); });
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
  if (state.requests.items.length > 0 && performance.now() - lastRefresh > REASONS_MS) refreshSoon(0);
}, 1_000);
renderEvents();
if (new URLSearchParams(location.search).has("poll")) {
  loadHistory();
  poll();
} else {
  connect();
}
