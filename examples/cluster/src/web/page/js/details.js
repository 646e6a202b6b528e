// The dialog of one task manager.

import { bars } from "./bars.js";
import { $, h, setText, toast } from "./dom.js";
import { ask, order } from "./server.js";
import { STATE_NAMES, classOf, isDynamic, isTroubled, troubleOf } from "./slots.js";
import { state } from "./state.js";
import { duration, msTo, number, profile, short, shorten } from "./text.js";

export async function showDetails(resourceId) {
  state.shown = resourceId;
  await updateDetails();
  if (state.shown === resourceId && !$("details").open) $("details").showModal();
}

export async function updateDetails() {
  const resourceId = state.shown;
  let taskManager;
  try {
    taskManager = await ask(`api/task-managers/${encodeURIComponent(resourceId)}`);
  } catch (error) {
    if (state.shown !== resourceId) return;
    toast(error.message);
    $("details").close();
    state.shown = null;
    return;
  }
  // The dialog may have been closed meanwhile.
  if (state.shown !== resourceId) return;
  const list = { now: taskManager.now, at: performance.now() };
  const facts = [
    ["Instance", h("span", { class: "id" }, taskManager.instance_id)],
    ["Started for", taskManager.worker_request ? `worker request ${shorten(taskManager.worker_request)}` : "no worker request"],
    ["State", isTroubled(taskManager) ? troubleOf(taskManager, list)
      : taskManager.idle_since === null ? "Serves requests" : `Idle for ${duration(-msTo(taskManager.idle_since, list))}`],
  ];
  if (isDynamic(taskManager)) {
    facts.push(["Total", profile(taskManager.total_resources)], ["Remaining", profile(taskManager.remaining_resources)]);
  }
  const verbs = taskManager.is_blocked
    ? [["unblock", "Unblock", "gives its free slots away again"]]
    : [["block", "Block", "gives no more of its slots away"], ["drain", "Drain", "blocks it, and lets it leave when it is idle"]];
  const slots = taskManager.slots.slice(0, 500);
  const focus = $("details").contains(document.activeElement) && document.activeElement.dataset.focus;
  setText($("details-title"), taskManager.resource_id);
  $("details-body").replaceChildren(
    h("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    bars(taskManager) ?? "",
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
