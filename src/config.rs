//! Timeouts and limits, their defaults, and how they are read from key/value options.

use std::time::Duration;

use crate::SlotMatchingStrategy;

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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// `slotmanager.retry-pause.initial`.
    pub retry_pause: Duration,
    /// The longest such pause, at least as long as the first. Default: 10 s. Key: `slotmanager.retry-pause.max`.
    pub max_retry_pause: Duration,
    /// How many requests may be ungranted at a time; one more is refused. `None` for no limit.
    ///
    /// A limit bounds the memory that a misbehaving client can take. Default: none. Key:
    /// `slotmanager.pending-requests.max`.
    pub max_pending_requests: Option<usize>,
    /// Which of several fitting free slots is taken. Default: [`SlotMatchingStrategy::FirstFit`]. Key:
    /// `cluster.evenly-spread-out-slots`, where `true` is [`SlotMatchingStrategy::LeastUtilization`].
    pub slot_matching_strategy: SlotMatchingStrategy,
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
    /// The most of each that can be asked for; beyond what most machines hold.
    pub const MAX: usize = 1 << 30;
}

impl Default for SlotManagerConfig {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(300),
            rpc_timeout: Duration::from_secs(10),
            task_manager_timeout: Duration::from_secs(30),
            worker_registration_timeout: Duration::from_secs(300),
            retry_pause: Duration::from_millis(50),
            max_retry_pause: Duration::from_secs(10),
            max_pending_requests: None,
            slot_matching_strategy: SlotMatchingStrategy::FirstFit,
            initial_capacity: Capacity::default(),
        }
    }
}

/// Why a configuration is refused. Names the key and shows the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
        keys::MAX_RETRY_PAUSE,
        keys::RETRY_PAUSE
    )]
    MaxRetryPauseTooShort {
        /// The longest pause.
        max: Duration,
        /// The first pause.
        initial: Duration,
    },
    /// No request could ever be accepted.
    #[error("{}: \"0\" would refuse every request", keys::MAX_PENDING_REQUESTS)]
    NoPendingRequests,
    /// More is to be held than can be counted.
    #[error("{key}: {capacity} is more than {}", Capacity::MAX)]
    CapacityTooLarge {
        /// The key.
        key: &'static str,
        /// The capacity given.
        capacity: usize,
    },
}

/// The options: Flink's keys where Flink has one.
mod keys {
    pub(super) const OWN_PREFIX: &str = "slotmanager.";
    pub(super) const REQUEST_TIMEOUT: [&str; 2] = ["slotmanager.request-timeout", "slot.request.timeout"];
    pub(super) const RPC_TIMEOUT: [&str; 2] = ["pekko.ask.timeout", "akka.ask.timeout"];
    pub(super) const TASK_MANAGER_TIMEOUT: [&str; 2] =
        ["resourcemanager.taskmanager-timeout", "slotmanager.taskmanager-timeout"];
    pub(super) const WORKER_REGISTRATION_TIMEOUT: &str = "resourcemanager.taskmanager-registration.timeout";
    pub(super) const RETRY_PAUSE: &str = "slotmanager.retry-pause.initial";
    pub(super) const MAX_RETRY_PAUSE: &str = "slotmanager.retry-pause.max";
    pub(super) const MAX_PENDING_REQUESTS: &str = "slotmanager.pending-requests.max";
    pub(super) const CAPACITY_TASK_MANAGERS: &str = "slotmanager.initial-capacity.task-managers";
    pub(super) const CAPACITY_SLOTS: &str = "slotmanager.initial-capacity.slots";
    pub(super) const CAPACITY_PENDING_REQUESTS: &str = "slotmanager.initial-capacity.pending-requests";
    pub(super) const EVENLY_SPREAD_OUT: &str = "cluster.evenly-spread-out-slots";
}

impl SlotManagerConfig {
    /// Reads the options; what is not given has its default.
    ///
    /// Durations are written as people do (`"10 s"`, `"5 min"`, `"1h 30m"`), as a plain number of milliseconds, or as
    /// `"inf"` for never. Of two keys for one value the first in the documentation of the field counts, of a key given
    /// twice the last. Keys under `slotmanager.` that are unknown are refused; all other unknown keys belong to
    /// somebody else and are passed over.
    ///
    /// # Errors
    /// The first option, in the order given, whose value cannot be read or whose key is unknown; then what
    /// [`validate`](Self::validate) says.
    pub fn from_options<K, V>(options: impl IntoIterator<Item = (K, V)>) -> Result<Self, ConfigError>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut config = Self::default();
        let (mut request_timeout, mut rpc_timeout, mut task_manager_timeout) = ([None; 2], [None; 2], [None; 2]);
        for (key, value) in options {
            let (key, value) = (key.as_ref(), value.as_ref());
            // The place of the key among two: within the arrays above.
            let place = |keys: [&str; 2]| keys.iter().position(|candidate| *candidate == key);
            if let Some(rank) = place(keys::REQUEST_TIMEOUT) {
                request_timeout[rank] = Some(parse_duration(key, value)?);
            } else if let Some(rank) = place(keys::RPC_TIMEOUT) {
                rpc_timeout[rank] = Some(parse_duration(key, value)?);
            } else if let Some(rank) = place(keys::TASK_MANAGER_TIMEOUT) {
                task_manager_timeout[rank] = Some(parse_duration(key, value)?);
            } else {
                match key {
                    keys::WORKER_REGISTRATION_TIMEOUT => {
                        config.worker_registration_timeout = parse_duration(key, value)?;
                    }
                    keys::RETRY_PAUSE => config.retry_pause = parse_duration(key, value)?,
                    keys::MAX_RETRY_PAUSE => config.max_retry_pause = parse_duration(key, value)?,
                    keys::MAX_PENDING_REQUESTS => config.max_pending_requests = parse_limit(key, value)?,
                    keys::CAPACITY_TASK_MANAGERS => {
                        config.initial_capacity.task_managers = parse_capacity(key, value)?;
                    }
                    keys::CAPACITY_SLOTS => config.initial_capacity.slots = parse_capacity(key, value)?,
                    keys::CAPACITY_PENDING_REQUESTS => {
                        config.initial_capacity.pending_requests = parse_capacity(key, value)?;
                    }
                    keys::EVENLY_SPREAD_OUT => config.slot_matching_strategy = parse_strategy(key, value)?,
                    _ if key.starts_with(keys::OWN_PREFIX) => {
                        return Err(ConfigError::UnknownKey {
                            key: key.to_owned(),
                            value: value.to_owned(),
                        });
                    }
                    _ => {}
                }
            }
        }
        let first = |given: [Option<Duration>; 2]| given.into_iter().flatten().next();
        config.request_timeout = first(request_timeout).unwrap_or(config.request_timeout);
        config.rpc_timeout = first(rpc_timeout).unwrap_or(config.rpc_timeout);
        config.task_manager_timeout = first(task_manager_timeout).unwrap_or(config.task_manager_timeout);
        config.validate()?;
        Ok(config)
    }

    /// Checks what the fields cannot say by themselves. [`SlotManager::new`](crate::SlotManager::new) does so too.
    ///
    /// # Errors
    /// [`MaxRetryPauseTooShort`](ConfigError::MaxRetryPauseTooShort),
    /// [`NoPendingRequests`](ConfigError::NoPendingRequests) or
    /// [`CapacityTooLarge`](ConfigError::CapacityTooLarge).
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.max_retry_pause < self.retry_pause {
            return Err(ConfigError::MaxRetryPauseTooShort {
                max: self.max_retry_pause,
                initial: self.retry_pause,
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
                return Err(ConfigError::CapacityTooLarge { key, capacity });
            }
        }
        Ok(())
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

    /// Sets [`retry_pause`](Self::retry_pause) and [`max_retry_pause`](Self::max_retry_pause).
    #[must_use]
    pub fn with_retry_pause(mut self, initial: Duration, max: Duration) -> Self {
        self.retry_pause = initial;
        self.max_retry_pause = max;
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
}

fn invalid(key: &str, value: &str, expected: &'static str) -> ConfigError {
    ConfigError::InvalidValue {
        key: key.to_owned(),
        value: value.to_owned(),
        expected,
    }
}

fn parse_duration(key: &str, value: &str) -> Result<Duration, ConfigError> {
    let text = value.trim();
    if ["inf", "infinite", "infinity"]
        .iter()
        .any(|never| text.eq_ignore_ascii_case(never))
    {
        return Ok(Duration::MAX);
    }
    if let Ok(milliseconds) = text.parse() {
        return Ok(Duration::from_millis(milliseconds));
    }
    humantime::parse_duration(text)
        .map_err(|_| invalid(key, value, "a duration such as \"10 s\", \"5 min\" or \"inf\""))
}

fn parse_limit(key: &str, value: &str) -> Result<Option<usize>, ConfigError> {
    let text = value.trim();
    if text.eq_ignore_ascii_case("inf") {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| invalid(key, value, "a number of requests or \"inf\""))
}

fn parse_capacity(key: &str, value: &str) -> Result<usize, ConfigError> {
    value.trim().parse().map_err(|_| invalid(key, value, "a number"))
}

fn parse_strategy(key: &str, value: &str) -> Result<SlotMatchingStrategy, ConfigError> {
    match value.trim().parse() {
        Ok(true) => Ok(SlotMatchingStrategy::LeastUtilization),
        Ok(false) => Ok(SlotMatchingStrategy::FirstFit),
        Err(_) => Err(invalid(key, value, "\"true\" or \"false\"")),
    }
}
