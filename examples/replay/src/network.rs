//! The way between the manager and the task executors: how long messages take, and which are lost.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::oneshot;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use slot_manager::{Acknowledge, FreeSlot, RequestSlot, SlotAllocationError, TaskExecutorGateway};

use crate::effects::{Effect, Outbox};

/// The manager's side of a connection: every message goes to the simulation, which delivers it later or not at all.
#[derive(Debug, Clone)]
pub(crate) struct ReplayGateway {
    outbox: Outbox,
}

impl ReplayGateway {
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self { outbox }
    }
}

impl TaskExecutorGateway for ReplayGateway {
    type RequestSlotFuture = RemoteAnswer;

    fn request_slot(&mut self, request: &RequestSlot) -> RemoteAnswer {
        let (answer, receiver) = oneshot::channel();
        self.outbox.put(Effect::RequestSlot {
            request: request.clone(),
            answer,
        });
        RemoteAnswer(receiver)
    }

    fn free_slot(&mut self, request: FreeSlot) {
        self.outbox.put(Effect::FreeSlot(request));
    }
}

/// The answer of a task executor. If it was lost it never comes, and the manager's own timeout ends the attempt.
#[derive(Debug)]
pub(crate) struct RemoteAnswer(oneshot::Receiver<Result<Acknowledge, SlotAllocationError>>);

impl Future for RemoteAnswer {
    type Output = Result<Acknowledge, SlotAllocationError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.0).poll(cx) {
            Poll::Ready(Ok(answer)) => Poll::Ready(answer),
            Poll::Ready(Err(oneshot::Canceled)) | Poll::Pending => Poll::Pending,
        }
    }
}

/// All randomness of a run: delays, and what fails. Two streams of one seed, so that the delays do not depend on the
/// failures asked for.
///
/// Only basic arithmetic is applied to what is drawn, so that a seed means the same on every machine.
pub(crate) struct Chance {
    delays: ChaCha8Rng,
    failures: ChaCha8Rng,
    rate: f64,
    /// An answer that is late comes up to this much later.
    lateness: Duration,
}

/// How a node fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outage {
    /// Its process dies with all its slots; otherwise only the connection to the manager breaks.
    pub(crate) crash: bool,
    /// Whether the broken connection shows; otherwise nobody answers any more.
    pub(crate) noticed_at_once: bool,
    /// When the manager hears that the connection is gone. A node that is back earlier registers again unannounced.
    pub(crate) noticed_after: Duration,
    pub(crate) back_after: Duration,
}

impl Chance {
    pub(crate) fn new(seed: u64, rate: f64, rpc_timeout: Duration) -> Self {
        let stream = |number| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(number);
            rng
        };
        Self {
            delays: stream(1),
            failures: stream(2),
            rate,
            lateness: rpc_timeout.saturating_mul(2).min(Duration::from_secs(3600)),
        }
    }

    /// How long a message takes: a few milliseconds.
    pub(crate) fn latency(&mut self) -> Duration {
        Duration::from_micros(self.delays.random_range(500..5_000))
    }

    /// Whether something that can fail does.
    pub(crate) fn fails(&mut self) -> bool {
        self.rate > 0.0 && self.failures.random_bool(self.rate)
    }

    /// How long an answer takes: no longer than a message, or more than the manager may be willing to wait.
    pub(crate) fn answer_latency(&mut self) -> Duration {
        let latency = self.latency();
        if self.fails() {
            latency + self.up_to(self.lateness)
        } else {
            latency
        }
    }

    /// How long until the next of `nodes` nodes fails, and which one; `None` if none ever does.
    pub(crate) fn next_outage(&mut self, nodes: usize) -> Option<(Duration, usize)> {
        if self.rate <= 0.0 || nodes == 0 {
            return None;
        }
        let mean_seconds = 3600.0 / (self.rate * nodes as f64);
        let twice_the_mean = Duration::try_from_secs_f64(2.0 * mean_seconds).unwrap_or(Duration::MAX);
        let gap = self.up_to(twice_the_mean);
        Some((gap, self.failures.random_range(0..nodes as u64) as usize))
    }

    /// In which way a node fails.
    pub(crate) fn outage(&mut self) -> Outage {
        const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(50);
        let noticed_at_once = self.failures.random_bool(0.5);
        Outage {
            noticed_at_once,
            crash: self.failures.random_bool(0.7),
            noticed_after: if noticed_at_once {
                self.latency()
            } else {
                HEARTBEAT_TIMEOUT
            },
            back_after: Duration::from_secs(5) + self.up_to(Duration::from_secs(115)),
        }
    }

    /// Whether the manager is told that a node does not start, or must find out.
    pub(crate) fn is_told(&mut self) -> bool {
        self.failures.random_bool(0.5)
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        let nanoseconds = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.failures.random_range(0..=nanoseconds))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn drawn(seed: u64, rate: f64) -> String {
        let mut chance = Chance::new(seed, rate, Duration::from_secs(10));
        let delays: Vec<_> = (0..5).map(|_| chance.answer_latency()).collect();
        format!("{delays:?} {:?} {:?}", chance.next_outage(7), chance.outage())
    }

    #[test]
    fn a_seed_decides_everything() {
        assert_eq!(drawn(1, 0.5), drawn(1, 0.5));
        assert_ne!(drawn(1, 0.5), drawn(2, 0.5));
    }

    #[test]
    fn nothing_fails_at_rate_zero_and_everything_at_one() {
        let mut never = Chance::new(1, 0.0, Duration::MAX);
        assert!((0..100).all(|_| !never.fails()));
        assert!(never.answer_latency() < Duration::from_millis(5));
        assert_eq!(never.next_outage(9), None);
        let mut always = Chance::new(1, 1.0, Duration::MAX);
        assert!((0..100).all(|_| always.fails()));
    }

    #[test]
    fn nodes_fail_as_often_as_asked_for() {
        let mut chance = Chance::new(1, 0.01, Duration::MAX);
        let outages = 10_000;
        let time: Duration = (0..outages).filter_map(|_| Some(chance.next_outage(50)?.0)).sum();
        let expected = 2.0 * 3600.0 * f64::from(outages);
        assert!((time.as_secs_f64() / expected - 1.0).abs() < 0.05, "{time:?}");
    }

    #[test]
    fn a_lost_answer_never_comes() {
        let (sender, receiver) = oneshot::channel();
        let mut answer = RemoteAnswer(receiver);
        drop(sender);
        assert_eq!((&mut answer).now_or_never(), None);
        assert_eq!((&mut answer).now_or_never(), None);
    }
}
