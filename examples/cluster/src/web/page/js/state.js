// The state of the page.

export const nothing = { items: [], next: null, now: 0, at: 0 };

/** What the page knows. The lists have the server's clock at the time of the answer. */
export const state = {
  /** The last numbers of the server, or null before the first. */
  numbers: null,
  events: [],
  samples: [],
  requests: nothing,
  taskManagers: nothing,
  troubled: nothing,
  workers: { items: [], is_cut: false, recovery: null, now: 0, at: 0 },
  jobs: { items: [], is_cut: false },
  /** The requests that were in flight at the last look. */
  inFlight: new Set(),
  /** The workers that are blocked for when they come. */
  blockedAbsent: [],
  pagesOfTaskManagers: 1,
  pagesOfRequests: 1,
  /** The id of the task manager in the dialog. */
  shown: null,
};
