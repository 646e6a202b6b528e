// The numbers and events, as they change.

import { addSample, renderChart } from "./chart.js";
import { $, setText } from "./dom.js";
import { REFRESH_MS, refresh, refreshSoon } from "./refresh.js";
import { HERE, ask } from "./server.js";
import { state } from "./state.js";
import { render, renderEvents } from "./view.js";

export function connect() {
  const stream = new EventSource(new URL("api/stream", HERE));
  stream.addEventListener("open", () => setConnection("live", true));
  stream.addEventListener("error", () => setConnection("no answer, trying again", false));
  stream.addEventListener("numbers", (message) => {
    state.numbers = JSON.parse(message.data);
    if (state.numbers.is_leading) addSample();
    render();
    refreshSoon();
  });
  stream.addEventListener("events", (message) => {
    const fresh = JSON.parse(message.data);
    // A server that was started again counts from the start.
    const isRestarted = fresh.length > 0 && state.events.length > 0 && fresh[0].number <= state.events[0].number;
    const isRepeated = (event) => fresh.some((again) => again.first_at_ms === event.first_at_ms && again.text === event.text);
    const others = isRestarted ? [] : state.events.filter((event) => !isRepeated(event));
    state.events = [...fresh.reverse(), ...others].slice(0, 200);
    renderEvents();
  });
  // A connection that was lost may have missed samples.
  stream.addEventListener("open", loadHistory);
}

/** Asks again and again instead of waiting for messages: `/?poll`, for where streams do not work. */
export async function poll() {
  try {
    [state.numbers, state.events] = await Promise.all([ask("api/overview"), ask("api/events")]);
    state.events.reverse();
    setConnection("live", true);
    addSample();
    render();
    renderEvents();
    await refresh();
  } catch (error) {
    const isFollower = error.status === 503;
    setConnection(isFollower ? "live" : error.message, isFollower);
    if (isFollower) {
      state.numbers = { is_leading: false, epoch: null, leader: error.leader };
      render();
    }
  }
  setTimeout(poll, REFRESH_MS);
}

export async function loadHistory() {
  try {
    state.samples = await ask("api/history");
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
