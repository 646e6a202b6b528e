//! The configuration: timeouts, limits and worker policy, with their defaults.

use std::time::Duration;

use crate::error::ConfigError;
use crate::matching::SlotMatchingStrategy;

pub(crate) mod config_error;
mod durations;
mod limits;
mod options;
#[cfg(feature = "serde")]
mod serialized;
mod to_options;
pub(crate) mod worker_description;
mod worker_policy;

pub use self::limits::Limit;
pub(crate) use self::limits::{Limits, Measure, Quantity};
pub use self::worker_description::WorkerDescription;
pub use self::worker_policy::WorkerPolicy;

use self::options::keys;

/// The timeouts, limits and worker policy of a manager.
///
/// Set fields with the `with_` methods, or read them from options with
/// [`from_options`](Self::from_options). The fields name their option keys; Flink's keys are used
/// where Flink has one. [`to_options`](Self::to_options) writes the options. With the feature
/// `serde`, the configuration is serialized as the map of these options.
///
/// # Timeouts
///
/// Every duration from zero to [`Duration::MAX`] is legal. A timeout of zero expires the next time
/// the manager is driven. A timeout that ends beyond [`Timestamp::MAX`](crate::Timestamp::MAX)
/// never expires. A timeout that is armed while the manager handles an expiry lasts at least 1 ms.
/// The manager therefore does not loop without a break, even if every timeout is zero.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use slot_manager::SlotManagerConfig;
///
/// let config = SlotManagerConfig::default().with_request_timeout(Duration::from_secs(60));
/// let same = SlotManagerConfig::from_options([("slotmanager.request-timeout", "1 min")])?;
/// assert_eq!(config, same);
/// # Ok::<(), slot_manager::error::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SlotManagerConfig {
    /// The time from the registration of a request to its failure, unless it is granted before.
    ///
    /// Nothing extends this time, neither an attempt nor a promised slot. Choose it longer than the
    /// start of a worker takes. Otherwise the requests that caused the start fail before the worker
    /// registers.
    ///
    /// - Default: 5 min.
    /// - Keys: `slotmanager.request-timeout`, where `-1` is no value, else `slot.request.timeout`.
    /// - Zero: a request that is not granted within its registration fails the next time the
    ///   manager is driven.
    /// - Maximum: requests never time out.
    pub request_timeout: Duration,
    /// The time that a task executor has to answer a slot request or a release check.
    ///
    /// A slot request without an answer counts as a failed attempt, and the task executor is told
    /// to free the slot. A release check without an answer counts as
    /// [`Keep`](crate::message::ReleaseDecision::Keep). Choose it well above the usual round trip,
    /// or attempts fail that would succeed. Choose it well below the request timeout, or no time is
    /// left for another attempt.
    ///
    /// - Default: 10 s.
    /// - Keys: `pekko.ask.timeout`, else `akka.ask.timeout`.
    /// - Zero: an attempt whose answer is not ready within the call fails the next time the manager
    ///   is driven.
    /// - Maximum: an attempt ends with its request at the latest.
    pub rpc_timeout: Duration,
    /// The time that a task manager is idle before it is released.
    ///
    /// A task manager is idle while none of its slots is in flight or allocated. If the release is
    /// declined, the time starts again. It also starts again while a request that its slots fit
    /// backs off, and while it has no slots yet and a request is bound to its promise. Short values
    /// save workers. Long values save starts of workers when the next job comes soon.
    ///
    /// - Default: 30 s.
    /// - Keys: `resourcemanager.taskmanager-timeout`, else `slotmanager.taskmanager-timeout`.
    /// - Zero: idle task managers are released the next time the manager is driven.
    /// - Maximum: task managers are never released.
    pub task_manager_timeout: Duration,
    /// The time that a promised worker has to register.
    ///
    /// After this time its promised slots end, the resource manager is asked to withdraw the
    /// worker, and the requests bound to the slots request another worker. A declined worker
    /// request is made again after the same time.
    ///
    /// Choose it above the slowest start of a worker that you accept. Values that are too short
    /// start workers twice. Choose it below the request timeout, or requests fail before a worker
    /// is requested again. [`start`](crate::SlotManager::start) logs a warning otherwise.
    ///
    /// - Default: 2 min.
    /// - Key: `resourcemanager.taskmanager-registration.timeout`.
    /// - Zero: promises end the next time the manager is driven. Each counts as a failed start, see
    ///   [`max_start_failure_rate`](Self::max_start_failure_rate).
    /// - Maximum: promises do not expire, and declined worker requests are not made again.
    pub worker_registration_timeout: Duration,
    /// The number of failed starts of workers within a minute that begins a start backoff.
    ///
    /// A start has failed if [`worker_failed`](crate::SlotManager::worker_failed) ended its
    /// promise, if the worker did not register in time, or if the resource manager answered with an
    /// error. The end of a promise that the manager asked to withdraw is no failure.
    ///
    /// During the backoff no worker is requested, and requests wait. From its end until a worker
    /// registers, at most this number of worker requests are open at a time.
    ///
    /// Choose it above the number of starts that fail in a sound cluster.
    ///
    /// - Default: 10.
    /// - Key: `resourcemanager.start-worker.max-failure-rate`. A fraction is rounded up.
    /// - Zero: no start backoff. Worker requests and failures then alternate without a break if
    ///   starts fail fast.
    /// - Maximum: never reached.
    pub max_start_failure_rate: u32,
    /// The first start backoff. Each further backoff is twice as long, up to
    /// [`max_retry_backoff`](Self::max_retry_backoff), until a worker registers.
    ///
    /// Choose it as long as a cluster usually needs to become ready for the next start.
    ///
    /// - Default: 3 s.
    /// - Key: `resourcemanager.start-worker.retry-interval`.
    /// - Zero: workers are requested again the next time the manager is driven.
    /// - Maximum: after the first backoff begins, no worker is ever requested.
    pub start_retry_interval: Duration,
    /// The first backoff after failed attempts. Each further backoff is twice as long.
    ///
    /// - A request is retried at once after its first failed attempt. After each further one it
    ///   backs off before another attempt on a worker that it was tried on. Meanwhile it takes a
    ///   free slot of any other worker.
    /// - A worker backs off with all its free slots if it is unreachable or does not answer, or if
    ///   attempts of two different requests fail on it without an acknowledgement between. After
    ///   the backoff one attempt at a time probes the worker, on one slot after the other. An
    ///   acknowledgement ends the backoff of all slots, a failure begins the next one. A refusal
    ///   may be the fault of the job. So before the end, a request of a job that the worker has not
    ///   refused may probe it; after refusals of many jobs, once in each first backoff.
    /// - A slot backs off by itself if attempts of different allocations fail on it in a row, while
    ///   its worker acknowledges others. A request of a job that it has not refused may still use
    ///   it.
    ///
    /// Short values notice early that a task executor has recovered. Long values spare a broken
    /// one.
    ///
    /// - Default: 50 ms.
    /// - Key: `slotmanager.retry-backoff.initial`.
    /// - Zero: the first backoff ends the next time the manager is driven, the second lasts 1 ms.
    /// - Maximum: a request that backs off waits for a worker that it was not tried on, or for its
    ///   timeout. A worker that was unreachable is not used until it registers again.
    pub retry_backoff: Duration,
    /// The longest backoff. It must be at least [`retry_backoff`](Self::retry_backoff).
    ///
    /// Choose it well below the request timeout, so that a request has several attempts. A worker
    /// that recovers is used again after this time at the latest.
    ///
    /// - Default: 10 s.
    /// - Key: `slotmanager.retry-backoff.max`.
    /// - Zero: only legal if `retry_backoff` is zero too. Then a retry follows each failed attempt
    ///   after at least 1 ms.
    /// - Maximum: backoffs double without a bound.
    pub max_retry_backoff: Duration,
    /// The number of requests that may be ungranted at one time. `None` is without a limit.
    ///
    /// A request beyond it is refused with
    /// [`TooManyPendingRequests`](crate::error::SlotRequestError::TooManyPendingRequests), and so is
    /// a declaration of requirements that would make more. Not refused are slots that replace lost or
    /// freed ones, and a declaration after which its job lacks no more slots than before.
    ///
    /// The limit bounds the memory that a misbehaving client can take. Choose it well above the
    /// largest burst of requests that you expect.
    ///
    /// - Default: `None`.
    /// - Key: `slotmanager.pending-requests.max`, where `inf` is `None`.
    /// - Zero: refused by [`validate`](Self::validate).
    /// - Maximum: the same as `None`.
    pub max_pending_requests: Option<usize>,
    /// The time after which a freed slot of a job that declares its requirements is replaced.
    ///
    /// A job that needs less usually frees a slot first and declares less then. Within this time no
    /// slot is requested in place of the freed one, so it does not come back to the job
    /// (FLINK-21751). The time begins with the first freed slot of the job. A slot that is lost is
    /// replaced at once.
    ///
    /// Choose it longer than the time between the two messages of a job.
    ///
    /// - Default: 50 ms.
    /// - Key: `slotmanager.requirement-check.delay`.
    /// - Zero: freed slots are replaced the next time the manager is driven.
    /// - Maximum: freed slots are replaced with the next declaration of their job.
    pub requirement_check_delay: Duration,
    /// The time from the registration of a request until a dynamic worker may be set aside for it.
    ///
    /// Small requests can take all that becomes free on dynamic workers, so that a large one waits
    /// for ever. After this time, one worker is set aside for the oldest waiting request that it could
    /// serve without cuts: what becomes free there goes to the request or to older ones.
    ///
    /// - One worker is set aside at a time; all others serve as before. Workers that the request was
    ///   not tried on are preferred, then the one with the smallest
    ///   [used share](SlotMatchingStrategy#dynamic-workers).
    /// - It ends with the next attempt of the request, or with the request. It also ends when the
    ///   worker goes, is blocked, backs off, or says that it has too little. Then a worker is set
    ///   aside anew, for the request that is the oldest then.
    /// - Nothing bounds the time until the cuts of the worker end. Meanwhile younger requests do not
    ///   use what is free of this worker.
    /// - Requests of suspect jobs get no worker.
    ///
    /// Choose 30 s if you have dynamic workers and requests of different sizes. Choose it shorter
    /// than the request timeout.
    ///
    /// - Default: the maximum.
    /// - Key: `slotmanager.reservation.delay`.
    /// - Zero: a worker is set aside the next time the manager is driven.
    /// - Maximum: no worker is set aside.
    pub reservation_delay: Duration,
    /// The choice among several free slots that fit a request.
    ///
    /// - Default: [`SlotMatchingStrategy::FirstFit`].
    /// - Key: `slotmanager.matching-strategy`, with `first-fit`, `best-fit`, `least-utilization` or
    ///   `most-utilization`.
    /// - Else the key `taskmanager.load-balance.mode`: `NONE` is first fit, `SLOTS` is least
    ///   utilization, `MIN_RESOURCES` is most utilization.
    /// - Else the key `cluster.evenly-spread-out-slots`: `true` is least utilization, `false` is
    ///   first fit.
    pub slot_matching_strategy: SlotMatchingStrategy,
    /// The workers that the resource manager starts, with their limits and reserves. `None` if they
    /// are not known.
    ///
    /// Describe the workers if they are all alike. Without a description there are no limits and no
    /// reserves, and a worker is requested for every request that no slot fits.
    ///
    /// - Default: `None`.
    /// - Keys: those of the fields of [`WorkerPolicy`]. The workers are described if a key of
    ///   [`description`](WorkerPolicy::description) is given.
    pub workers: Option<WorkerPolicy>,
    /// Set if requests fail at once that no slot and no worker could serve. Otherwise they fail at
    /// their timeout.
    ///
    /// Change it later with
    /// [`set_fail_unfulfillable_requests`](crate::SlotManager::set_fail_unfulfillable_requests),
    /// which has the rule. Choose `true` if no unknown workers can register, so that jobs hear of a
    /// wrong profile early.
    ///
    /// - Default: `false`.
    /// - Key: `slotmanager.fail-unfulfillable-requests`.
    pub fail_unfulfillable_requests: bool,
    /// The time after each start in which no request fails as unfulfillable.
    ///
    /// It gives task managers time to register again after a change of leadership (FLINK-13555).
    /// Choose it as long as that takes.
    ///
    /// - Default: 0 s.
    /// - Key: `resourcemanager.standalone.start-up-time`, where `-1` is the request timeout.
    /// - Zero: requests can fail as unfulfillable from the start on.
    /// - Maximum: no request ever fails as unfulfillable.
    pub unfulfillable_grace_period: Duration,
    /// The time after each start in which no worker is requested.
    ///
    /// It gives workers of the former leader time to register. After it, workers for the slots that
    /// are still missing are requested (FLINK-24713). Choose it shorter than the request timeout.
    ///
    /// - Default: 0 s.
    /// - Key: `resourcemanager.previous-worker.recovery.timeout`.
    /// - Zero: workers are requested from the start on.
    /// - Maximum: no worker is ever requested.
    pub recovery_timeout: Duration,
    /// The number of entries for which a leadership reserves memory when it begins.
    ///
    /// - Default: zero for all tables, which grow as needed.
    /// - Keys: `slotmanager.initial-capacity.task-managers`, `slotmanager.initial-capacity.slots`
    ///   and `slotmanager.initial-capacity.pending-requests`.
    /// - Maximum: [`Capacity::MAX`] for each.
    pub initial_capacity: Capacity,
    /// The seed of the hashes of ids. `None` is a random seed for each manager.
    ///
    /// Jobs choose their ids. With a seed that they do not know, they cannot choose many ids that
    /// are slow to look up together. The seed changes neither outcomes nor effects nor their order.
    /// Set it only in tests.
    ///
    /// - Default: `None`.
    /// - Key: `slotmanager.hash-seed`, where `random` is `None`.
    pub hash_seed: Option<u64>,
}

/// The number of entries that a manager can hold before its tables grow.
///
/// The capacity is a hint and no limit. Tables grow in steps, so no call moves all entries. But the
/// operating system maps and unmaps their memory, and for a million slots some calls then take up
/// to a millisecond. With the hint, [`start`](crate::SlotManager::start) reserves the memory once.
/// Reserved memory is kept until [`suspend`](crate::SlotManager::suspend). Tables that grew without the hint give their memory
/// back once they are empty. The memory of distinct profiles is given back as they go.
///
/// ```
/// use slot_manager::config::Capacity;
/// use slot_manager::SlotManagerConfig;
///
/// let config = SlotManagerConfig::default().with_initial_capacity(Capacity {
///     task_managers: 10_000,
///     slots: 100_000,
///     ..Capacity::default()
/// });
/// assert_eq!(config.validate(), Ok(()));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Capacity {
    /// Registered task managers.
    pub task_managers: usize,
    /// Slots of registered task managers.
    pub slots: usize,
    /// Requests that are not granted.
    pub pending_requests: usize,
}

impl Capacity {
    /// The largest legal value of each field, 2³⁰.
    ///
    /// It also bounds the slots of the minima of a [`WorkerPolicy`] and of its
    /// [`redundant_task_managers`](WorkerPolicy::redundant_task_managers).
    pub const MAX: usize = 1 << 30;
}

impl Default for SlotManagerConfig {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(300),
            rpc_timeout: Duration::from_secs(10),
            task_manager_timeout: Duration::from_secs(30),
            worker_registration_timeout: Duration::from_secs(120),
            max_start_failure_rate: 10,
            start_retry_interval: Duration::from_secs(3),
            retry_backoff: Duration::from_millis(50),
            max_retry_backoff: Duration::from_secs(10),
            max_pending_requests: None,
            requirement_check_delay: Duration::from_millis(50),
            reservation_delay: Duration::MAX,
            slot_matching_strategy: SlotMatchingStrategy::FirstFit,
            workers: None,
            fail_unfulfillable_requests: false,
            unfulfillable_grace_period: Duration::ZERO,
            recovery_timeout: Duration::ZERO,
            initial_capacity: Capacity::default(),
            hash_seed: None,
        }
    }
}

impl SlotManagerConfig {
    /// Checks the fields together.
    ///
    /// [`SlotManager::new`](crate::SlotManager::new) and [`from_options`](Self::from_options) check
    /// them too. Call it to check a configuration without a manager.
    ///
    /// # Errors
    /// The first that applies; the configuration does not change:
    ///
    /// - [`MaxRetryBackoffTooShort`](ConfigError::MaxRetryBackoffTooShort): the longest backoff is
    ///   shorter than the first.
    /// - [`NoPendingRequests`](ConfigError::NoPendingRequests): the limit of ungranted requests is
    ///   zero.
    /// - [`CapacityTooLarge`](ConfigError::CapacityTooLarge): a capacity, or the slots for a
    ///   minimum or the redundancy, are more than [`Capacity::MAX`].
    /// - [`InvalidValue`](ConfigError::InvalidValue): the limit or the minimum of cores is
    ///   negative, not a number or too large.
    /// - [`UnreachableMinimum`](ConfigError::UnreachableMinimum): a minimum asks for a resource
    ///   that the described workers do not have.
    /// - [`ContradictoryLimits`](ConfigError::ContradictoryLimits): a minimum or the redundancy
    ///   needs more than a limit allows.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::error::ConfigError;
    /// use slot_manager::SlotManagerConfig;
    ///
    /// let config = SlotManagerConfig::default().with_max_pending_requests(Some(0));
    /// assert_eq!(config.validate(), Err(ConfigError::NoPendingRequests));
    /// ```
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.max_retry_backoff < self.retry_backoff {
            return Err(ConfigError::MaxRetryBackoffTooShort {
                max: self.max_retry_backoff,
                initial: self.retry_backoff,
            });
        }
        if self.max_pending_requests == Some(0) {
            return Err(ConfigError::NoPendingRequests);
        }
        let capacity = self.initial_capacity;
        for (key, capacity) in [
            (keys::CAPACITY_TASK_MANAGERS, capacity.task_managers),
            (keys::CAPACITY_SLOTS, capacity.slots),
            (keys::CAPACITY_PENDING_REQUESTS, capacity.pending_requests),
        ] {
            if capacity > Capacity::MAX {
                return Err(ConfigError::CapacityTooLarge {
                    key,
                    value: capacity.to_string(),
                    capacity,
                });
            }
        }
        self.workers.as_ref().map_or(Ok(()), WorkerPolicy::validate)
    }

    /// Logs a warning if requests fail before a worker that did not come is requested again.
    pub(crate) fn warn_if_workers_are_late(&self) {
        let (registration, request) = (self.worker_registration_timeout, self.request_timeout);
        if registration >= request && request < Duration::MAX {
            tracing::warn!(
                ?registration,
                ?request,
                "the worker registration timeout is not below the request timeout: if a worker does not come, \
                 requests fail before another is requested"
            );
        }
    }

    /// Sets [`request_timeout`](Self::request_timeout).
    #[must_use]
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets [`rpc_timeout`](Self::rpc_timeout).
    #[must_use]
    pub fn with_rpc_timeout(mut self, timeout: Duration) -> Self {
        self.rpc_timeout = timeout;
        self
    }

    /// Sets [`task_manager_timeout`](Self::task_manager_timeout).
    #[must_use]
    pub fn with_task_manager_timeout(mut self, timeout: Duration) -> Self {
        self.task_manager_timeout = timeout;
        self
    }

    /// Sets [`worker_registration_timeout`](Self::worker_registration_timeout).
    #[must_use]
    pub fn with_worker_registration_timeout(mut self, timeout: Duration) -> Self {
        self.worker_registration_timeout = timeout;
        self
    }

    /// Sets [`max_start_failure_rate`](Self::max_start_failure_rate).
    #[must_use]
    pub fn with_max_start_failure_rate(mut self, failures: u32) -> Self {
        self.max_start_failure_rate = failures;
        self
    }

    /// Sets [`start_retry_interval`](Self::start_retry_interval).
    #[must_use]
    pub fn with_start_retry_interval(mut self, interval: Duration) -> Self {
        self.start_retry_interval = interval;
        self
    }

    /// Sets [`retry_backoff`](Self::retry_backoff) and
    /// [`max_retry_backoff`](Self::max_retry_backoff).
    #[must_use]
    pub fn with_retry_backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.retry_backoff = initial;
        self.max_retry_backoff = max;
        self
    }

    /// Sets [`max_pending_requests`](Self::max_pending_requests).
    #[must_use]
    pub fn with_max_pending_requests(mut self, limit: Option<usize>) -> Self {
        self.max_pending_requests = limit;
        self
    }

    /// Sets [`requirement_check_delay`](Self::requirement_check_delay).
    #[must_use]
    pub fn with_requirement_check_delay(mut self, delay: Duration) -> Self {
        self.requirement_check_delay = delay;
        self
    }

    /// Sets [`reservation_delay`](Self::reservation_delay).
    #[must_use]
    pub fn with_reservation_delay(mut self, delay: Duration) -> Self {
        self.reservation_delay = delay;
        self
    }

    /// Sets [`initial_capacity`](Self::initial_capacity).
    #[must_use]
    pub fn with_initial_capacity(mut self, capacity: Capacity) -> Self {
        self.initial_capacity = capacity;
        self
    }

    /// Sets [`slot_matching_strategy`](Self::slot_matching_strategy).
    #[must_use]
    pub fn with_slot_matching_strategy(mut self, strategy: SlotMatchingStrategy) -> Self {
        self.slot_matching_strategy = strategy;
        self
    }

    /// Sets [`workers`](Self::workers): to a policy, to a description alone, or to `None`.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::config::{WorkerDescription, WorkerPolicy};
    /// use slot_manager::{ResourceProfile, SlotManagerConfig};
    ///
    /// let description = WorkerDescription::new(4, ResourceProfile::ANY)?;
    /// let config = SlotManagerConfig::default().with_workers(description.clone());
    /// assert_eq!(config.workers, Some(WorkerPolicy::new(description.clone())));
    ///
    /// let policy = WorkerPolicy::new(description).with_max_slots(Some(100));
    /// let config = config.with_workers(policy.clone());
    /// assert_eq!(config.workers, Some(policy));
    /// # Ok::<(), slot_manager::error::WorkerDescriptionError>(())
    /// ```
    #[must_use]
    pub fn with_workers(mut self, workers: impl Into<Option<WorkerPolicy>>) -> Self {
        self.workers = workers.into();
        self
    }

    /// Sets [`fail_unfulfillable_requests`](Self::fail_unfulfillable_requests).
    #[must_use]
    pub fn with_fail_unfulfillable_requests(mut self, fail: bool) -> Self {
        self.fail_unfulfillable_requests = fail;
        self
    }

    /// Sets [`unfulfillable_grace_period`](Self::unfulfillable_grace_period).
    #[must_use]
    pub fn with_unfulfillable_grace_period(mut self, period: Duration) -> Self {
        self.unfulfillable_grace_period = period;
        self
    }

    /// Sets [`recovery_timeout`](Self::recovery_timeout).
    #[must_use]
    pub fn with_recovery_timeout(mut self, timeout: Duration) -> Self {
        self.recovery_timeout = timeout;
        self
    }

    /// Sets [`hash_seed`](Self::hash_seed).
    #[must_use]
    pub fn with_hash_seed(mut self, seed: Option<u64>) -> Self {
        self.hash_seed = seed;
        self
    }
}
