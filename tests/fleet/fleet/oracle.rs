//! The liveness oracle: checks the promises L1 to L7 from its own record.
//!
//! It hears each input of the manager and each call that the manager makes, and keeps a [`Record`]
//! of workers, slots, jobs, requests and worker requests. It never reads the manager's state.
//! Between two events nothing changes, so a condition that holds after an event holds until the
//! next event. Each promise with a time is a clock: it starts when a condition begins, and stops
//! when the condition ends. A clock that runs longer than its bound is a violation.
//!
//! | rule | condition | bound | file |
//! |---|---|---|---|
//! | L1 | a good request waits, and one worker that was never bad has a slot for it | 1 s + answer time + RPC timeout for each hanging worker tried | `served` |
//! | L2 | attempts of a bad worker after its failures are known | logarithm of the time, then one for each longest backoff | `attempts` |
//! | L3 | as L1, for a worker that was bad and is good again | that of L1 + longest backoff + RPC timeout | `served` |
//! | L4, L6, L7 | waiting requests outnumber the slots that can still come, and no worker request may be deferred | 1 s | `promises` |
//! | L5 | a worker is turned away although the limit holds without promises, and a request waits for it | at once | `limits` |
//! | L7 | registered and promised slots are below the minimum or the redundancy | 1 s | `promises` |
//! | room | a request is deferred by the limit, and an idle worker fits no request | idle timeout + 1 s | `limits` |
//! | starts | worker requests in one minute of failed starts | 12 times the failure rate | `starts` |
//! | superseded | a late registration of a replaced instance is accepted | at once | `limits` |
//!
//! A slot counts as free for L1 while it is in flight for a poisoned request: others must not make
//! a good request wait. The header of each file says how the check follows from the promise, and
//! where it asks for less.

pub(crate) mod attempts;
pub(crate) mod limits;
pub(crate) mod promises;
pub(crate) mod record;
pub(crate) mod served;
pub(crate) mod starts;

use std::collections::BTreeMap;
use std::time::Duration;

use slot_manager::{SlotManagerConfig, Timestamp};

use self::attempts::Attempts;
use self::limits::Limits;
use self::promises::Promises;
use self::record::{Observed, Record};
use self::starts::Starts;

/// The slack of each promise that has to hold "in that call" or "within 1 s".
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A promise or rule that the oracle checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    L1,
    L2,
    L3,
    L4,
    L5,
    L6,
    L7,
    /// An idle worker of another shape makes room.
    Room,
    /// Failed starts slow down worker requests.
    Starts,
    /// A late registration of a replaced instance is refused.
    Superseded,
    /// The invariants of the manager.
    Invariants,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) rule: Rule,
    pub(crate) at: Timestamp,
    pub(crate) text: String,
}

/// The parts of the configuration that promises depend on.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) rpc_timeout: Duration,
    pub(crate) first_backoff: Duration,
    pub(crate) longest_backoff: Duration,
    pub(crate) idle_timeout: Duration,
    /// The time after which a promise must have ended if its worker silently does not come.
    pub(crate) promise_time: Duration,
    pub(crate) decline_time: Duration,
    pub(crate) description: Option<(usize, slot_manager::ResourceProfile)>,
    pub(crate) max_slots: usize,
    pub(crate) min_slots: usize,
    pub(crate) redundant_slots: usize,
    /// The number of failed starts in a minute that defers worker requests.
    pub(crate) failure_rate: usize,
}

impl Settings {
    /// Reads the settings from a configuration.
    pub(crate) fn of(config: &SlotManagerConfig) -> Self {
        let workers = config.workers.as_ref();
        let is_default = config.request_timeout == SlotManagerConfig::default().request_timeout;
        // L6: with defaults, the request that caused a worker request must not fail before it is
        // made again.
        let before_failure = if is_default {
            config.request_timeout - Duration::from_secs(5)
        } else {
            Duration::MAX
        };
        Self {
            rpc_timeout: config.rpc_timeout,
            first_backoff: config.retry_backoff,
            longest_backoff: config.max_retry_backoff,
            idle_timeout: config.task_manager_timeout,
            promise_time: config.worker_registration_timeout.min(before_failure),
            decline_time: config.worker_registration_timeout,
            description: workers.map(|policy| {
                let worker = &policy.description;
                (worker.slots(), worker.slot_profile().clone())
            }),
            max_slots: workers.and_then(|policy| policy.max_slots).unwrap_or(usize::MAX),
            min_slots: workers.map_or(0, |policy| policy.min_slots),
            redundant_slots: workers.map_or(0, |policy| policy.redundant_task_managers * policy.description.slots()),
            failure_rate: 10,
        }
    }
}

/// The oracle of one run.
pub(crate) struct Oracle {
    record: Record,
    attempts: Attempts,
    promises: Promises,
    limits: Limits,
    starts: Starts,
    /// The first violation of each rule.
    broken: BTreeMap<Rule, Broken>,
}

impl Oracle {
    /// Creates the oracle of a manager that has just started.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            record: Record::new(settings),
            attempts: Attempts::default(),
            promises: Promises::default(),
            limits: Limits::default(),
            starts: Starts::default(),
            broken: BTreeMap::new(),
        }
    }

    /// Notes an input or a call. Calls of one input come after it, in their order.
    pub(crate) fn observe(&mut self, observed: &Observed) {
        let mut broken = Vec::new();
        // These look at the state before the event.
        broken.extend(self.limits.observe(&self.record, observed));
        self.promises.observe(&self.record, observed);
        self.starts.observe(&self.record, observed, &mut broken);
        for _ in 0..self.promises.take_expired() {
            self.starts.promise_expired(&self.record, self.record.now, true);
        }
        self.record.observe(observed);
        self.attempts.observe(&self.record, observed, &mut broken);
        broken.into_iter().for_each(|broken| self.note(broken));
    }

    /// Ends a call of the manager: all its effects are observed.
    pub(crate) fn call_ended(&mut self) {
        self.record.refresh();
        self.attempts.call_ended(&self.record);
        self.look();
    }

    /// Checks all clocks up to `time`. Nothing is observed until then.
    pub(crate) fn advance(&mut self, time: Timestamp) {
        // Promises expire, and requests stop to cool down, at times of their own.
        while let Some(next) = self
            .promises
            .next_expiry()
            .into_iter()
            .chain(self.record.next_cooled())
            .min()
        {
            if next >= time {
                break;
            }
            self.move_to(next.max(self.record.now));
        }
        self.move_to(time);
    }

    fn move_to(&mut self, time: Timestamp) {
        let late = [
            served::check(&self.record, time),
            self.promises.check(time),
            self.limits.check(&self.record, time),
        ];
        late.into_iter().flatten().for_each(|broken| self.note(broken));
        self.record.move_to(time);
        for is_certain in self.promises.expire(time) {
            self.starts.promise_expired(&self.record, time, is_certain);
        }
        self.look();
    }

    /// Starts and stops the clocks.
    fn look(&mut self) {
        let open = self.promises.open_requests();
        let deferral = self.promises.look(&self.record, self.starts.may_defer(open));
        self.limits.look(&self.record, deferral);
    }

    /// Notes a violation. Only the first of each rule counts.
    pub(crate) fn note(&mut self, broken: Broken) {
        self.broken.entry(broken.rule).or_insert(broken);
    }

    /// Returns the number of registered slots.
    pub(crate) fn registered_slots(&self) -> usize {
        self.record.slot_counts().registered
    }

    /// Returns whether a rule is broken.
    pub(crate) fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    /// Returns the first violation of each rule, the earliest first.
    pub(crate) fn broken(&self) -> Vec<Broken> {
        let mut broken: Vec<Broken> = self.broken.values().cloned().collect();
        broken.sort_by_key(|broken| broken.at);
        broken
    }
}
