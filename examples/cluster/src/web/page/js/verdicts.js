// What needs attention.

import { showDetails } from "./details.js";
import { $, h, setText, sync } from "./dom.js";
import { order } from "./server.js";
import { troubleOf } from "./slots.js";
import { state } from "./state.js";
import { count, duration, msTo, number } from "./text.js";

export function renderRecovery() {
  const { recovery } = state.workers;
  $("recovery").hidden = recovery === null;
  if (recovery === null) return;
  const { until, missing_workers: missing } = recovery;
  const rest = missing === null ? "" : `; ${count(missing, "is", "are")} missing`;
  const left = until === null ? "it" : `for ${duration(msTo(until, state.workers))} more it`;
  setText($("recovery"), `This leader is new: ${left} awaits the workers of earlier leaders, and requests no others${rest}.`);
}

export function renderVerdicts() {
  const overview = state.numbers.overview;
  const waiting = overview.pending_requests;
  const groups = new Map();
  for (const request of state.requests.items) {
    // Requests that wait for a slot have one reason for each size of slot.
    const isForSlot = request.group.startsWith("a slot");
    const key = isForSlot ? request.reason.replace(/\b\d+ (s|min|h)\b/g, "") : request.group;
    const group = groups.get(key) ?? { key, name: request.group, size: 0, isForSlot, example: request };
    group.size += 1;
    groups.set(key, group);
  }
  const sorted = [...groups.values()].sort((a, b) => b.size - a.size);
  const isPart = state.requests.next !== null;
  verdict($("waiting-verdict"), waiting === 0 ? "good" : sorted.length > 0 ? "bad" : "none", {
    title: waiting === 0 ? "✓ No request waits" : `${count(waiting, "request waits", "requests wait")}`,
    note: isPart ? `Reasons of ${number(state.requests.items.length)} of them:` : null,
    items: sorted.slice(0, 5).map((group) => ({
      key: group.key,
      lead: `${number(group.size)} for ${group.name}`,
      text: group.size === 1 || group.isForSlot ? group.example.reason : `For example: ${group.example.reason}`,
    })),
  });

  const blocked = overview.blocked_task_managers + state.blockedAbsent.length;
  const backingOff = overview.backing_off_task_managers;
  const parts = [
    backingOff > 0 && count(backingOff, "worker backs off", "workers back off"),
    blocked > 0 && (backingOff > 0 ? `${number(blocked)} blocked` : count(blocked, "worker is blocked", "workers are blocked")),
    overview.suspect_jobs > 0 && count(overview.suspect_jobs, "suspect job"),
  ].filter(Boolean);
  const listed = [
    ...state.troubled.items.map((taskManager) => ({ id: taskManager.resource_id, isBlocked: taskManager.is_blocked, text: troubleOf(taskManager, state.troubled), show: true })),
    ...state.blockedAbsent.map((id) => ({ id, isBlocked: true, text: "Blocked by an operator; not registered", show: false })),
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

export function nameButton(resourceId) {
  return h("button", {
    type: "button", class: "name", title: resourceId, "data-focus": "name", "aria-haspopup": "dialog",
    onclick: () => showDetails(resourceId),
  }, resourceId);
}
