//! The network between the manager and the task executors: the delay of messages and their loss.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use slot_manager::TaskExecutorGateway;
use slot_manager::message::{AllocateSlot, FreeSlot, NoFuture, SlotAnswer};

use crate::effects::{Effect, Outbox};

/// The manager's side of a connection. Every message goes to the simulation, which delivers it
/// later or loses it. The answer to a slot request comes back as an input. If it is lost, the
/// timeout of the manager ends the attempt.
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
    type RequestSlotFuture = NoFuture;

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<NoFuture> {
        self.outbox.put(Effect::AllocateSlot(request.clone()));
        SlotAnswer::Later
    }

    fn free_slot(&mut self, request: &FreeSlot) {
        self.outbox.put(Effect::FreeSlot(request.clone()));
    }
}

/// All random numbers of a run. Delays and failures are two streams of one seed, so that delays do
/// not depend on the rate of failures.
///
/// Only basic arithmetic follows a draw, so that a seed means the same on every machine.
pub(crate) struct Chance {
    delays: ChaCha8Rng,
    failures: ChaCha8Rng,
    rate: f64,
    /// The longest extra delay of a late answer.
    lateness: Duration,
}

/// A failure of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outage {
    /// Whether its process dies with all its slots. Otherwise only the connection to the manager
    /// breaks.
    pub(crate) crash: bool,
    /// Whether senders see the broken connection. Otherwise messages vanish.
    pub(crate) noticed_at_once: bool,
    /// The time until the manager hears of the loss. A node that is back earlier registers again
    /// before that.
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

    /// Draws the delay of a message: a few milliseconds.
    pub(crate) fn latency(&mut self) -> Duration {
        Duration::from_micros(self.delays.random_range(500..5_000))
    }

    /// Draws whether an operation fails.
    pub(crate) fn fails(&mut self) -> bool {
        self.rate > 0.0 && self.failures.random_bool(self.rate)
    }

    /// Draws the delay of an answer: that of a message, or so late that the manager may have given
    /// up.
    pub(crate) fn answer_latency(&mut self) -> Duration {
        let latency = self.latency();
        if self.fails() {
            latency + self.up_to(self.lateness)
        } else {
            latency
        }
    }

    /// Draws the time until the next of `nodes` nodes fails, and the node. `None` if no node ever
    /// fails.
    pub(crate) fn next_outage(&mut self, nodes: usize) -> Option<(Duration, usize)> {
        if self.rate <= 0.0 || nodes == 0 {
            return None;
        }
        let mean_seconds = 3600.0 / (self.rate * nodes as f64);
        let twice_the_mean = Duration::try_from_secs_f64(2.0 * mean_seconds).unwrap_or(Duration::MAX);
        let gap = self.up_to(twice_the_mean);
        Some((gap, self.failures.random_range(0..nodes as u64) as usize))
    }

    /// Draws the way in which a node fails.
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

    /// Draws whether the manager is notified that a node does not start.
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
    fn nodes_fail_at_the_configured_rate() {
        let mut chance = Chance::new(1, 0.01, Duration::MAX);
        let outages = 10_000;
        let time: Duration = (0..outages).filter_map(|_| Some(chance.next_outage(50)?.0)).sum();
        let expected = 2.0 * 3600.0 * f64::from(outages);
        assert!((time.as_secs_f64() / expected - 1.0).abs() < 0.05, "{time:?}");
    }
}
