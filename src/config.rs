//! Timeouts, limits and everything else that can be chosen, with the defaults.

use std::time::Duration;

use crate::{SlotMatchingStrategy, WorkerDescription, WorkerDescriptionError};

mod limits;
mod options;

pub use self::limits::Limit;
pub(crate) use self::limits::{Limits, Quantity};

use self::options::keys;

/// The timeouts and limits of a manager.
///
/// Every timeout from zero to [`Duration::MAX`] is legal: zero is due the next time the manager is driven, and what is
/// too long for the clock means never. Whatever is configured, what is armed again while a time is handled falls due at
/// least a millisecond later.
///
/// ```
/// use std::time::Duration;
/// use slot_manager::SlotManagerConfig;
///
/// let config = SlotManagerConfig::default().with_request_timeout(Duration::from_secs(60));
/// let same = SlotManagerConfig::from_options([("slotmanager.request-timeout", "1 min")])?;
/// assert_eq!(config, same);
/// # Ok::<(), slot_manager::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SlotManagerConfig {
    /// How long a request may be ungranted, from its registration on, whatever happens to it meanwhile. Then it fails.
    ///
    /// Choose it longer than a worker takes to start, or the requests that caused the start fail before it registers.
    /// Default: 5 min. Keys: `slotmanager.request-timeout`, else `slot.request.timeout`.
    pub request_timeout: Duration,
    /// How long a task executor may take to answer a slot request. Then the attempt is given up and counts as failed.
    ///
    /// Choose it well above the usual round trip, or slots are asked for twice; well below the request timeout, or
    /// there is no time for another attempt. Default: 10 s. Keys: `pekko.ask.timeout`, else `akka.ask.timeout`.
    pub rpc_timeout: Duration,
    /// How long a task manager may have no used slot before its release is asked for.
    ///
    /// Short saves workers, long saves starts when the next job comes soon. Default: 30 s. Keys:
    /// `resourcemanager.taskmanager-timeout`, else `slotmanager.taskmanager-timeout`.
    pub task_manager_timeout: Duration,
    /// How long a promised worker may take to register. Then its slots are not waited for any more, and requests they
    /// covered ask anew. A declined request asks again after the same time.
    ///
    /// Choose it above the slowest start you want to wait for; too short starts workers twice. Default: 5 min. Key:
    /// `resourcemanager.taskmanager-registration.timeout`.
    pub worker_registration_timeout: Duration,
    /// The first pause of a request whose attempts fail, after one retry at once; and of a slot on which different
    /// allocations failed in a row. Each further pause is twice as long.
    ///
    /// Short finds a recovered task executor soon, long spares a broken one. Default: 50 ms. Key:
    /// `slotmanager.retry-backoff.initial`.
    pub retry_backoff: Duration,
    /// The longest such pause, at least as long as the first. Default: 10 s. Key: `slotmanager.retry-backoff.max`.
    pub max_retry_backoff: Duration,
    /// How many requests may be ungranted at a time; one more is refused. `None` for no limit.
    ///
    /// A limit bounds the memory that a misbehaving client can take. Default: none. Key:
    /// `slotmanager.pending-requests.max`.
    pub max_pending_requests: Option<usize>,
    /// Which of several fitting free slots is taken. Default: [`SlotMatchingStrategy::FirstFit`]. Keys:
    /// `slotmanager.matching-strategy` (`first-fit`, `best-fit`, `least-utilization` or `most-utilization`), else
    /// `taskmanager.load-balance.mode` (`NONE`, `SLOTS` or `MIN_RESOURCES`: first fit, least and most utilization), else
    /// `cluster.evenly-spread-out-slots` (`true` is least utilization).
    pub slot_matching_strategy: SlotMatchingStrategy,
    /// What a worker brings that is asked for. Limits, the fewest slots and redundancy are counted in such workers, and
    /// none is asked for that would not help.
    ///
    /// Default: not known. Keys: `taskmanager.numberOfTaskSlots`, and what all of them have together:
    /// `taskmanager.cpu.cores`, `taskmanager.memory.task.heap.size`, `taskmanager.memory.task.off-heap.size`,
    /// `taskmanager.memory.managed.size`, `taskmanager.memory.network.max`, `external-resources` (names) and
    /// `external-resource.<name>.amount`. Any of them describes the worker; the number of slots is 1 unless given, and
    /// with nothing but that number its slots are [`ResourceProfile::ANY`](crate::ResourceProfile::ANY). Else it has
    /// nothing of what is not given: no worker is asked for a request that needs it. The sizes of whole processes are not
    /// read.
    pub worker_description: Option<WorkerDescription>,
    /// How many slots there are to be at least, promised or registered on task managers that are not blocked, even
    /// without any job: workers are asked for, and idle task managers stay. Whole workers: it may be some slots more. Needs
    /// a worker description.
    ///
    /// Saves the first job the start of workers. Default: 0. Key: `slotmanager.number-of-slots.min`.
    pub min_slots: usize,
    /// How many slots there may be, registered and promised; `None` for no limit. No worker is asked for beyond, and a
    /// task manager that comes beyond is refused, unless it keeps a promise, holds an allocation or was registered before,
    /// see [`register_task_manager`](crate::SlotManager::register_task_manager). What a registered one reports is taken as
    /// it is. Needs a worker description.
    ///
    /// Default: none. Key: `slotmanager.number-of-slots.max`.
    pub max_slots: Option<usize>,
    /// How many cores all slots may have together, likewise; slots that are `ANY` or `UNKNOWN` count none. Default: none. Key: `slotmanager.max-total-resource.cpu`.
    pub max_total_cpu_cores: Option<f64>,
    /// How many bytes of memory, of all kinds, all slots may have together, likewise. Default: none. Key:
    /// `slotmanager.max-total-resource.memory`.
    pub max_total_memory_bytes: Option<u64>,
    /// How many workers' worth of slots are kept free while at least one slot is used, so that the jobs of a task manager
    /// that fails go on at once. While nothing is used there is no redundancy (FLINK-18625). Needs a worker description.
    ///
    /// Default: 0. Key: `slotmanager.redundant-taskmanager-num`.
    pub redundant_task_managers: usize,
    /// Whether requests fail at once that no slot and no worker could serve, instead of at their timeout. It can be
    /// changed later with
    /// [`set_fail_unfulfillable_requests`](crate::SlotManager::set_fail_unfulfillable_requests), where the rule is.
    ///
    /// Default: false. Key: `slotmanager.fail-unfulfillable-requests`.
    pub fail_unfulfillable_requests: bool,
    /// For how long after every start no request fails because nothing could serve it, so that task managers can come back
    /// first.
    ///
    /// Default: none. Key: `resourcemanager.standalone.start-up-time`, where `-1` is the request timeout.
    pub unfulfillable_grace_period: Duration,
    /// For how long after every start no worker is asked for, so that those of the former leader can register first. Then
    /// what is still missing is asked for (FLINK-24713).
    ///
    /// Choose it shorter than the request timeout. Default: none. Key:
    /// `resourcemanager.previous-worker.recovery.timeout`.
    pub recovery_timeout: Duration,
    /// What memory is taken for when a leadership begins. Default: nothing. Keys:
    /// `slotmanager.initial-capacity.task-managers`, `.slots` and `.pending-requests`.
    pub initial_capacity: Capacity,
}

/// How much a manager shall hold without its tables having to grow.
///
/// A hint: nothing is refused beyond it. A table that grows moves all it has, a pause of milliseconds from about
/// 100,000 slots on; with the hint the memory is taken once, by [`start`](crate::SlotManager::start), which fails if
/// there is not so much, and the longest single call stays short. It is kept until
/// [`suspend`](crate::SlotManager::suspend), while tables that grew by themselves give their memory back when nothing is
/// left in them.
///
/// ```
/// use slot_manager::{Capacity, SlotManagerConfig};
///
/// let config = SlotManagerConfig::default().with_initial_capacity(Capacity {
///     task_managers: 10_000,
///     slots: 100_000,
///     ..Capacity::default()
/// });
/// # assert_eq!(config.validate(), Ok(()));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Registered task managers.
    pub task_managers: usize,
    /// Their slots.
    pub slots: usize,
    /// Requests that are not granted.
    pub pending_requests: usize,
}

impl Capacity {
    /// The most of each that can be asked for; beyond what most machines hold. Neither may the fewest slots be more, nor the
    /// slots of redundant task managers.
    pub const MAX: usize = 1 << 30;
}

impl Default for SlotManagerConfig {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(300),
            rpc_timeout: Duration::from_secs(10),
            task_manager_timeout: Duration::from_secs(30),
            worker_registration_timeout: Duration::from_secs(300),
            retry_backoff: Duration::from_millis(50),
            max_retry_backoff: Duration::from_secs(10),
            max_pending_requests: None,
            slot_matching_strategy: SlotMatchingStrategy::FirstFit,
            worker_description: None,
            min_slots: 0,
            max_slots: None,
            max_total_cpu_cores: None,
            max_total_memory_bytes: None,
            redundant_task_managers: 0,
            fail_unfulfillable_requests: false,
            unfulfillable_grace_period: Duration::ZERO,
            recovery_timeout: Duration::ZERO,
            initial_capacity: Capacity::default(),
        }
    }
}

/// Why a configuration is refused. Names the key and shows the value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The value is not what the key needs.
    #[error("{key}: {value:?} is not {expected}")]
    InvalidValue {
        /// The key.
        key: String,
        /// The value given.
        value: String,
        /// What is needed.
        expected: &'static str,
    },
    /// A key under `slotmanager.` that nothing reads.
    #[error("{key}: there is no such option (its value is {value:?})")]
    UnknownKey {
        /// The key.
        key: String,
        /// The value given.
        value: String,
    },
    /// The longest retry pause is shorter than the first.
    #[error(
        "{}: {max:?} is shorter than {} ({initial:?})",
        keys::MAX_RETRY_BACKOFF,
        keys::RETRY_BACKOFF
    )]
    MaxRetryBackoffTooShort {
        /// The longest pause.
        max: Duration,
        /// The first pause.
        initial: Duration,
    },
    /// No request could ever be accepted.
    #[error("{}: \"0\" would refuse every request", keys::MAX_PENDING_REQUESTS)]
    NoPendingRequests,
    /// A number that is counted in workers, and it is not said what a worker is.
    #[error("{key}: needs a worker description, such as taskmanager.numberOfTaskSlots")]
    NoWorkerDescription {
        /// The key.
        key: &'static str,
    },
    /// What the options say of a worker does not describe one.
    #[error("taskmanager.*: {0}")]
    WorkerDescription(#[from] WorkerDescriptionError),
    /// More workers are wanted than a limit allows. Whole workers are counted.
    #[error("{wanted}: {workers} workers are needed, more than {} allows", .limit.key())]
    ContradictoryLimits {
        /// The key of what is wanted.
        wanted: &'static str,
        /// How many workers it needs.
        workers: usize,
        /// The limit.
        limit: Limit,
    },
    /// More is to be held than can be counted.
    #[error("{key}: {capacity} is more than {}", Capacity::MAX)]
    CapacityTooLarge {
        /// The key.
        key: &'static str,
        /// The capacity given.
        capacity: usize,
    },
}

impl SlotManagerConfig {
    /// Checks what the fields cannot say by themselves. [`SlotManager::new`](crate::SlotManager::new) does so too.
    ///
    /// # Errors
    /// [`MaxRetryBackoffTooShort`](ConfigError::MaxRetryBackoffTooShort),
    /// [`NoPendingRequests`](ConfigError::NoPendingRequests),
    /// [`CapacityTooLarge`](ConfigError::CapacityTooLarge),
    /// [`InvalidValue`](ConfigError::InvalidValue) (cores that are no amount),
    /// [`NoWorkerDescription`](ConfigError::NoWorkerDescription) or
    /// [`ContradictoryLimits`](ConfigError::ContradictoryLimits).
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
        let slots_per_worker = self.worker_description.as_ref().map_or(1, WorkerDescription::slots);
        let redundant_slots = self.redundant_task_managers.saturating_mul(slots_per_worker);
        for (key, capacity) in [
            (keys::CAPACITY_TASK_MANAGERS, capacity.task_managers),
            (keys::CAPACITY_SLOTS, capacity.slots),
            (keys::CAPACITY_PENDING_REQUESTS, capacity.pending_requests),
            (keys::MIN_SLOTS, self.min_slots),
            (keys::REDUNDANT_TASK_MANAGERS, redundant_slots),
        ] {
            if capacity > Capacity::MAX {
                return Err(ConfigError::CapacityTooLarge { key, capacity });
            }
        }
        self.validate_limits()
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

    /// Sets [`retry_backoff`](Self::retry_backoff) and [`max_retry_backoff`](Self::max_retry_backoff).
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

    /// Sets [`worker_description`](Self::worker_description).
    #[must_use]
    pub fn with_worker_description(mut self, description: Option<WorkerDescription>) -> Self {
        self.worker_description = description;
        self
    }

    /// Sets [`min_slots`](Self::min_slots).
    #[must_use]
    pub fn with_min_slots(mut self, slots: usize) -> Self {
        self.min_slots = slots;
        self
    }

    /// Sets [`max_slots`](Self::max_slots).
    #[must_use]
    pub fn with_max_slots(mut self, limit: Option<usize>) -> Self {
        self.max_slots = limit;
        self
    }

    /// Sets [`max_total_cpu_cores`](Self::max_total_cpu_cores).
    #[must_use]
    pub fn with_max_total_cpu_cores(mut self, limit: Option<f64>) -> Self {
        self.max_total_cpu_cores = limit;
        self
    }

    /// Sets [`max_total_memory_bytes`](Self::max_total_memory_bytes).
    #[must_use]
    pub fn with_max_total_memory_bytes(mut self, limit: Option<u64>) -> Self {
        self.max_total_memory_bytes = limit;
        self
    }

    /// Sets [`redundant_task_managers`](Self::redundant_task_managers).
    #[must_use]
    pub fn with_redundant_task_managers(mut self, workers: usize) -> Self {
        self.redundant_task_managers = workers;
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
}
