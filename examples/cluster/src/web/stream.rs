//! The stream of a page: the numbers on each change, and new events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt, stream};
use tokio::sync::OwnedSemaphorePermit;

use super::cluster::Cluster;
use super::error::ApiError;
use super::numbers::Numbers;
use super::{SharedWeb, Web};

/// The least time between two messages: at most five a second.
const PAUSE: Duration = Duration::from_millis(200);

/// The place of a page in the stream.
struct Place<C> {
    web: Web<C>,
    /// The numbers that the page has.
    numbers: String,
    /// The last event that the page has.
    event: u64,
    _permit: OwnedSemaphorePermit,
}

/// `GET /api/stream`: messages `numbers` as in `/api/overview`, and `events` as in `/api/events`.
///
/// The first messages come at once. A process that does not lead streams too, to tell when it does.
pub async fn stream<C: Cluster>(
    State(web): SharedWeb<C>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let permit = web.streams.clone().try_acquire_owned();
    let stop = web.stop.clone();
    let place = Place {
        web,
        numbers: String::new(),
        event: 0,
        _permit: permit.map_err(|_| ApiError::TooManyStreams)?,
    };
    let messages = stream::unfold(place, async |mut place| Some((place.next().await, place)));
    let messages = messages.flat_map(stream::iter).map(Ok);
    // An open stream would delay the shutdown.
    let messages = messages.take_until(stop.cancelled_owned());
    Ok(Sse::new(messages).keep_alive(KeepAlive::default()))
}

impl<C: Cluster> Place<C> {
    /// Waits for news, and returns the messages.
    async fn next(&mut self) -> Vec<Event> {
        loop {
            // Before it looks, so that it misses nothing.
            let mut changed = self.web.cluster.watch();
            let mut happened = self.web.events.watch();
            changed.mark_unchanged();
            happened.mark_unchanged();
            let messages = self.news();
            if !messages.is_empty() {
                return messages;
            }
            tokio::select! {
                // The owner has gone, or goes: the stream ends with the server.
                changed = changed.changed() => if changed.is_err() { std::future::pending().await },
                _ = happened.changed() => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn news(&mut self) -> Vec<Event> {
        let mut messages = Vec::new();
        let numbers = serde_json::to_string(&Numbers::of(&self.web.cluster));
        if let Ok(numbers) = numbers
            && numbers != self.numbers
        {
            messages.push(Event::default().event("numbers").data(&numbers));
            self.numbers = numbers;
        }
        let events = self.web.events.after(self.event);
        if let Some(last) = events.last() {
            self.event = last.number;
            messages.extend(Event::default().event("events").json_data(&events));
        }
        messages
    }
}
