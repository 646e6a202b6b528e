// Questions and orders to the server.

import { toast } from "./dom.js";
import { refreshSoon } from "./refresh.js";

/** The address of this page without the password that it may have: requests must not have one. */
export const HERE = location.origin + location.pathname;

export async function ask(path, options) {
  const response = await fetch(new URL(path, HERE), options);
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error), { status: response.status, leader: answer.leader ?? null });
  return answer;
}

/** Loads the first pages of a list. Each page is sorted, so that a further one moves nothing. */
export async function load(path, pages, compare = () => 0) {
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

export async function order(resourceId, verb) {
  try {
    const done = await ask(`api/task-managers/${encodeURIComponent(resourceId)}/${verb}`, { method: "POST" });
    toast(done.text);
  } catch (error) {
    toast(`Not done: ${error.message}`);
  }
  refreshSoon(0);
}
