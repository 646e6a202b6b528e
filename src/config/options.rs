//! Reads the configuration from key/value options. The keys are Flink's where Flink has one.
//!
//! `to_options` writes them.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use super::durations::{self, is_infinite};
use super::{ConfigError, SlotManagerConfig, WorkerDescription, WorkerPolicy};
use crate::ResourceProfile;
use crate::error::{ResourceProfileError, WorkerDescriptionError};
use crate::matching::SlotMatchingStrategy;

/// The keys of the options. Of several keys for one value, the first that is given counts.
pub(super) mod keys {
    pub(in crate::config) const OWN_PREFIX: &str = "slotmanager.";
    pub(in crate::config) const REQUEST_TIMEOUT: [&str; 2] = ["slotmanager.request-timeout", "slot.request.timeout"];
    pub(in crate::config) const RPC_TIMEOUT: [&str; 2] = ["pekko.ask.timeout", "akka.ask.timeout"];
    pub(in crate::config) const TASK_MANAGER_TIMEOUT: [&str; 2] =
        ["resourcemanager.taskmanager-timeout", "slotmanager.taskmanager-timeout"];
    pub(in crate::config) const WORKER_REGISTRATION_TIMEOUT: &str = "resourcemanager.taskmanager-registration.timeout";
    pub(in crate::config) const MAX_START_FAILURE_RATE: &str = "resourcemanager.start-worker.max-failure-rate";
    pub(in crate::config) const START_RETRY_INTERVAL: &str = "resourcemanager.start-worker.retry-interval";
    pub(in crate::config) const RETRY_BACKOFF: &str = "slotmanager.retry-backoff.initial";
    pub(in crate::config) const MAX_RETRY_BACKOFF: &str = "slotmanager.retry-backoff.max";
    pub(in crate::config) const MAX_PENDING_REQUESTS: &str = "slotmanager.pending-requests.max";
    pub(in crate::config) const REQUIREMENT_CHECK_DELAY: &str = "slotmanager.requirement-check.delay";
    pub(in crate::config) const RESERVATION_DELAY: &str = "slotmanager.reservation.delay";
    pub(in crate::config) const CAPACITY_TASK_MANAGERS: &str = "slotmanager.initial-capacity.task-managers";
    pub(in crate::config) const CAPACITY_SLOTS: &str = "slotmanager.initial-capacity.slots";
    pub(in crate::config) const CAPACITY_PENDING_REQUESTS: &str = "slotmanager.initial-capacity.pending-requests";
    pub(in crate::config) const HASH_SEED: &str = "slotmanager.hash-seed";
    pub(in crate::config) const MATCHING_STRATEGY: &str = "slotmanager.matching-strategy";
    pub(in crate::config) const LOAD_BALANCE_MODE: &str = "taskmanager.load-balance.mode";
    pub(in crate::config) const EVENLY_SPREAD_OUT: &str = "cluster.evenly-spread-out-slots";
    pub(in crate::config) const MIN_SLOTS: &str = "slotmanager.number-of-slots.min";
    pub(in crate::config) const MIN_TOTAL_CPU: &str = "slotmanager.min-total-resource.cpu";
    pub(in crate::config) const MIN_TOTAL_MEMORY: &str = "slotmanager.min-total-resource.memory";
    pub(in crate::config) const MAX_SLOTS: &str = "slotmanager.number-of-slots.max";
    pub(in crate::config) const MAX_TOTAL_CPU: &str = "slotmanager.max-total-resource.cpu";
    pub(in crate::config) const MAX_TOTAL_MEMORY: &str = "slotmanager.max-total-resource.memory";
    pub(in crate::config) const REDUNDANT_TASK_MANAGERS: &str = "slotmanager.redundant-taskmanager-num";
    pub(in crate::config) const FAIL_UNFULFILLABLE: &str = "slotmanager.fail-unfulfillable-requests";
    pub(in crate::config) const GRACE_PERIOD: &str = "resourcemanager.standalone.start-up-time";
    pub(in crate::config) const RECOVERY_TIMEOUT: &str = "resourcemanager.previous-worker.recovery.timeout";
    pub(in crate::config) const SLOTS_PER_WORKER: &str = "taskmanager.numberOfTaskSlots";
    pub(in crate::config) const FINE_GRAINED: &str = "cluster.fine-grained-resource-management.enabled";
    pub(in crate::config) const CPU_CORES: &str = "taskmanager.cpu.cores";
    pub(in crate::config) const TASK_HEAP_MEMORY: &str = "taskmanager.memory.task.heap.size";
    pub(in crate::config) const TASK_OFF_HEAP_MEMORY: &str = "taskmanager.memory.task.off-heap.size";
    pub(in crate::config) const MANAGED_MEMORY: &str = "taskmanager.memory.managed.size";
    pub(in crate::config) const NETWORK_MEMORY: &str = "taskmanager.memory.network.max";
    pub(in crate::config) const EXTERNAL_RESOURCES: &str = "external-resources";
    pub(in crate::config) const EXTERNAL_RESOURCE_PREFIX: &str = "external-resource.";
    pub(in crate::config) const EXTERNAL_RESOURCE_SUFFIX: &str = ".amount";

    /// Returns the key of the amount of an extended resource.
    pub(in crate::config) fn of_amount(name: &str) -> String {
        format!("{EXTERNAL_RESOURCE_PREFIX}{name}{EXTERNAL_RESOURCE_SUFFIX}")
    }
}

/// Options that are read completely before the configuration takes them.
///
/// These are values with several keys, in the order of the keys, and values that depend on other
/// options.
#[derive(Default)]
struct DelayedOptions {
    request_timeout: [Option<Duration>; 2],
    rpc_timeout: [Option<Duration>; 2],
    task_manager_timeout: [Option<Duration>; 2],
    strategy: [Option<SlotMatchingStrategy>; 3],
    grace_period: Option<GracePeriod>,
    worker: WorkerOptions,
}

/// The given length of the grace period.
#[derive(Clone, Copy)]
enum GracePeriod {
    Length(Duration),
    RequestTimeout,
}

/// The options of the worker policy.
#[derive(Default)]
pub(super) struct WorkerOptions {
    slots: Option<u32>,
    is_dynamic: bool,
    cpu_cores: Option<f64>,
    task_heap_memory: Option<u64>,
    task_off_heap_memory: Option<u64>,
    managed_memory: Option<u64>,
    network_memory: Option<u64>,
    external: Vec<String>,
    external_amounts: BTreeMap<String, f64>,
    min_slots: usize,
    min_total_cpu_cores: f64,
    min_total_memory_bytes: u64,
    max_slots: Option<usize>,
    max_total_cpu_cores: Option<f64>,
    max_total_memory_bytes: Option<u64>,
    redundant_task_managers: usize,
    /// The values as they were given, for errors.
    given: BTreeMap<String, String>,
}

impl SlotManagerConfig {
    /// Reads a configuration from options. Absent options have their defaults.
    ///
    /// - Durations are written with Flink's units in any case (`"10 s"`, `"5 MIN"`, `"1h 30m"`), as
    ///   a plain number of milliseconds, or as `"inf"` for never. `m` is a minute; there are no
    ///   months and years.
    /// - Memory is written in bytes or with a unit (`"512m"`, `"4 gb"`, `"4 GiB"`). Units are
    ///   powers of 1024.
    /// - Limits are written as a number, or as `"inf"` for none.
    /// - Cores and extended resources may have a fraction (`"0.5"`).
    /// - `"true"` and `"false"` are written in any case, and lists with `;` or `,`.
    /// - `"-1"` as `slotmanager.request-timeout` is the same as no value.
    /// - If several keys for one value are given, the first in the documentation of the field
    ///   counts. If one key is given twice, the last value counts.
    /// - Unknown keys are ignored, unless they begin with `slotmanager.`.
    ///   [`from_options_with_unread`](Self::from_options_with_unread) returns them.
    ///
    /// # Errors
    /// In this order:
    ///
    /// - [`InvalidValue`](ConfigError::InvalidValue) or [`UnknownKey`](ConfigError::UnknownKey) for
    ///   the first option, in the given order, that cannot be read.
    /// - [`MissingAmount`](ConfigError::MissingAmount) or
    ///   [`UnlistedResource`](ConfigError::UnlistedResource) if the list and the amounts of
    ///   extended resources do not agree.
    /// - [`WorkerDescription`](ConfigError::WorkerDescription) if the options of the worker do not
    ///   describe a possible worker.
    /// - [`NoWorkerDescription`](ConfigError::NoWorkerDescription) if a limit, the minimum or the
    ///   redundancy is set, but no option describes a worker.
    /// - The errors of [`validate`](Self::validate).
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use slot_manager::SlotManagerConfig;
    ///
    /// let config = SlotManagerConfig::from_options([
    ///     ("pekko.ask.timeout", "5 s"),
    ///     ("slotmanager.number-of-slots.max", "1000"),
    ///     ("taskmanager.numberOfTaskSlots", "4"),
    ///     ("taskmanager.cpu.cores", "8"),
    ///     ("state.backend.type", "rocksdb"), // belongs to another component, ignored
    /// ])?;
    /// assert_eq!(config.rpc_timeout, Duration::from_secs(5));
    /// let workers = config.workers.expect("described by two options");
    /// assert_eq!(workers.max_slots, Some(1000));
    /// assert_eq!(workers.description.slot_profile().cpu_cores(), Some(2.0));
    /// # Ok::<(), slot_manager::error::ConfigError>(())
    /// ```
    pub fn from_options<K, V>(options: impl IntoIterator<Item = (K, V)>) -> Result<Self, ConfigError>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let (config, _) = Self::from_options_with_unread(options)?;
        Ok(config)
    }

    /// Reads a configuration as [`from_options`](Self::from_options) does, and returns the unknown
    /// keys too.
    ///
    /// The keys are in the given order. They belong to other components or are mistyped. A service
    /// that knows the keys of its other components can report the rest.
    ///
    /// # Errors
    /// The same as of [`from_options`](Self::from_options).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::SlotManagerConfig;
    ///
    /// let options = [("pekko.ask.timeout", "5 s"), ("taskmanager.numberOfTaskSlot", "4")];
    /// let (config, unread) = SlotManagerConfig::from_options_with_unread(options)?;
    /// assert_eq!(config.workers, None);
    /// assert_eq!(unread, ["taskmanager.numberOfTaskSlot"]);
    /// # Ok::<(), slot_manager::error::ConfigError>(())
    /// ```
    pub fn from_options_with_unread<K, V>(
        options: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(Self, Vec<String>), ConfigError>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut config = Self::default();
        let mut delayed = DelayedOptions::default();
        let mut unread = Vec::new();
        for (key, value) in options {
            let (key, value) = (key.as_ref(), value.as_ref());
            if delayed.read(key, value)? || config.read(key, value)? {
                continue;
            }
            if key.starts_with(keys::OWN_PREFIX) {
                return Err(ConfigError::UnknownKey {
                    key: key.to_owned(),
                    value: value.to_owned(),
                });
            }
            unread.push(key.to_owned());
        }
        delayed.complete(&mut config)?;
        config.validate()?;
        Ok((config, unread))
    }

    /// Reads an option that sets one field. Returns `false` if the key is another.
    fn read(&mut self, key: &str, value: &str) -> Result<bool, ConfigError> {
        match key {
            keys::WORKER_REGISTRATION_TIMEOUT => self.worker_registration_timeout = parse_duration(key, value)?,
            keys::MAX_START_FAILURE_RATE => self.max_start_failure_rate = parse_rate(key, value)?,
            keys::START_RETRY_INTERVAL => self.start_retry_interval = parse_duration(key, value)?,
            keys::RETRY_BACKOFF => self.retry_backoff = parse_duration(key, value)?,
            keys::MAX_RETRY_BACKOFF => self.max_retry_backoff = parse_duration(key, value)?,
            keys::MAX_PENDING_REQUESTS => self.max_pending_requests = parse_limit(key, value, NUMBER_OF_REQUESTS)?,
            keys::REQUIREMENT_CHECK_DELAY => self.requirement_check_delay = parse_duration(key, value)?,
            keys::RESERVATION_DELAY => self.reservation_delay = parse_duration(key, value)?,
            keys::CAPACITY_TASK_MANAGERS => self.initial_capacity.task_managers = parse_number(key, value)?,
            keys::CAPACITY_SLOTS => self.initial_capacity.slots = parse_number(key, value)?,
            keys::CAPACITY_PENDING_REQUESTS => self.initial_capacity.pending_requests = parse_number(key, value)?,
            keys::HASH_SEED => self.hash_seed = parse_seed(key, value)?,
            keys::FAIL_UNFULFILLABLE => self.fail_unfulfillable_requests = parse_bool(key, value)?,
            keys::RECOVERY_TIMEOUT => self.recovery_timeout = parse_duration(key, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl DelayedOptions {
    /// Reads an option that is delayed. Returns `false` if the key is another.
    fn read(&mut self, key: &str, value: &str) -> Result<bool, ConfigError> {
        let rank_in = |keys: [&str; 2]| keys.iter().position(|candidate| *candidate == key);
        if let Some(rank) = rank_in(keys::REQUEST_TIMEOUT) {
            // The default of Flink's first key, which is of an older version than the second.
            let is_unset = rank == 0 && value.trim() == "-1";
            self.request_timeout[rank] = (!is_unset).then(|| parse_duration(key, value)).transpose()?;
        } else if let Some(rank) = rank_in(keys::RPC_TIMEOUT) {
            self.rpc_timeout[rank] = Some(parse_duration(key, value)?);
        } else if let Some(rank) = rank_in(keys::TASK_MANAGER_TIMEOUT) {
            self.task_manager_timeout[rank] = Some(parse_duration(key, value)?);
        } else {
            let [own, mode, evenly] = &mut self.strategy;
            match key {
                keys::MATCHING_STRATEGY => *own = Some(parse_strategy(key, value)?),
                keys::LOAD_BALANCE_MODE => *mode = Some(parse_load_balance_mode(key, value)?),
                keys::EVENLY_SPREAD_OUT => {
                    *evenly = Some(match parse_bool(key, value)? {
                        true => SlotMatchingStrategy::LeastUtilization,
                        false => SlotMatchingStrategy::FirstFit,
                    });
                }
                keys::GRACE_PERIOD => {
                    self.grace_period = Some(match value.trim() {
                        "-1" => GracePeriod::RequestTimeout,
                        _ => GracePeriod::Length(parse_duration(key, value)?),
                    });
                }
                _ => return self.worker.read(key, value),
            }
        }
        Ok(true)
    }

    /// Sets the delayed fields of a configuration.
    fn complete(self, config: &mut SlotManagerConfig) -> Result<(), ConfigError> {
        config.request_timeout = first(self.request_timeout).unwrap_or(config.request_timeout);
        config.rpc_timeout = first(self.rpc_timeout).unwrap_or(config.rpc_timeout);
        config.task_manager_timeout = first(self.task_manager_timeout).unwrap_or(config.task_manager_timeout);
        if let Some(strategy) = first(self.strategy) {
            config.slot_matching_strategy = strategy;
        }
        match self.grace_period {
            Some(GracePeriod::Length(length)) => config.unfulfillable_grace_period = length,
            Some(GracePeriod::RequestTimeout) => config.unfulfillable_grace_period = config.request_timeout,
            None => {}
        }
        config.workers = self.worker.policy()?;
        Ok(())
    }
}

/// Returns the value of the first key that is given.
fn first<T, const N: usize>(given: [Option<T>; N]) -> Option<T> {
    given.into_iter().flatten().next()
}

impl WorkerOptions {
    /// Reads an option of the worker policy. Returns `false` if the key is another.
    pub(super) fn read(&mut self, key: &str, value: &str) -> Result<bool, ConfigError> {
        match key {
            keys::SLOTS_PER_WORKER => self.slots = Some(parse_number(key, value)?),
            keys::FINE_GRAINED => self.is_dynamic = parse_bool(key, value)?,
            keys::CPU_CORES => self.cpu_cores = Some(parse_amount(key, value, "a number of cores")?),
            keys::TASK_HEAP_MEMORY => self.task_heap_memory = Some(parse_memory(key, value)?),
            keys::TASK_OFF_HEAP_MEMORY => self.task_off_heap_memory = Some(parse_memory(key, value)?),
            keys::MANAGED_MEMORY => self.managed_memory = Some(parse_memory(key, value)?),
            keys::NETWORK_MEMORY => self.network_memory = Some(parse_memory(key, value)?),
            keys::EXTERNAL_RESOURCES => {
                let names = value.split([';', ',']).map(str::trim);
                self.external = names
                    .filter(|name| !name.is_empty() && *name != "none")
                    .map(str::to_owned)
                    .collect();
            }
            keys::MIN_SLOTS => self.min_slots = parse_number(key, value)?,
            keys::MIN_TOTAL_CPU => self.min_total_cpu_cores = parse_amount(key, value, "a number of cores")?,
            keys::MIN_TOTAL_MEMORY => self.min_total_memory_bytes = parse_memory(key, value)?,
            keys::MAX_SLOTS => self.max_slots = parse_limit(key, value, "a number of slots or \"inf\"")?,
            keys::MAX_TOTAL_CPU => {
                self.max_total_cpu_cores = (!is_infinite(value))
                    .then(|| parse_amount(key, value, "a number of cores or \"inf\""))
                    .transpose()?;
            }
            keys::MAX_TOTAL_MEMORY => {
                self.max_total_memory_bytes = (!is_infinite(value)).then(|| parse_memory(key, value)).transpose()?;
            }
            keys::REDUNDANT_TASK_MANAGERS => self.redundant_task_managers = parse_number(key, value)?,
            _ => {
                let name = key.strip_prefix(keys::EXTERNAL_RESOURCE_PREFIX);
                let Some(name) = name.and_then(|rest| rest.strip_suffix(keys::EXTERNAL_RESOURCE_SUFFIX)) else {
                    return Ok(false);
                };
                let amount = parse_amount(key, value, "a number")?;
                self.external_amounts.insert(name.to_owned(), amount);
            }
        }
        self.given.insert(key.to_owned(), value.to_owned());
        Ok(true)
    }

    /// Returns the given value of a key.
    fn given(&self, key: &str) -> String {
        self.given.get(key).cloned().unwrap_or_default()
    }

    /// Returns the worker policy; `None` if no option describes a worker.
    pub(super) fn policy(self) -> Result<Option<WorkerPolicy>, ConfigError> {
        let needs_description = [
            (keys::MIN_SLOTS, self.min_slots > 0),
            (keys::MIN_TOTAL_CPU, self.min_total_cpu_cores > 0.0),
            (keys::MIN_TOTAL_MEMORY, self.min_total_memory_bytes > 0),
            (keys::MAX_SLOTS, self.max_slots.is_some()),
            (keys::MAX_TOTAL_CPU, self.max_total_cpu_cores.is_some()),
            (keys::MAX_TOTAL_MEMORY, self.max_total_memory_bytes.is_some()),
            (keys::REDUNDANT_TASK_MANAGERS, self.redundant_task_managers > 0),
        ];
        if let Some(description) = self.description()? {
            return Ok(Some(WorkerPolicy {
                description,
                min_slots: self.min_slots,
                min_total_cpu_cores: self.min_total_cpu_cores,
                min_total_memory_bytes: self.min_total_memory_bytes,
                max_slots: self.max_slots,
                max_total_cpu_cores: self.max_total_cpu_cores,
                max_total_memory_bytes: self.max_total_memory_bytes,
                redundant_task_managers: self.redundant_task_managers,
            }));
        }
        match needs_description.into_iter().find(|(_, is_set)| *is_set) {
            Some((key, _)) => Err(ConfigError::NoWorkerDescription {
                key,
                value: self.given(key),
            }),
            None => Ok(None),
        }
    }

    /// Returns the described worker; `None` if no option describes it.
    fn description(&self) -> Result<Option<WorkerDescription>, ConfigError> {
        self.check_external_resources()?;
        let memory = [
            self.task_heap_memory,
            self.task_off_heap_memory,
            self.managed_memory,
            self.network_memory,
        ];
        let has_amounts = self.cpu_cores.is_some() || memory.iter().any(Option::is_some) || !self.external.is_empty();
        let slots = self.slots.unwrap_or(1);
        if !has_amounts {
            return match self.slots {
                None => Ok(None),
                Some(_) => {
                    let worker = self.divided(&ResourceProfile::ANY, slots);
                    worker.map(Some).map_err(|error| self.refused(error))
                }
            };
        }
        let [task_heap, task_off_heap, managed, network] = memory.map(Option::unwrap_or_default);
        let mut total = ResourceProfile::builder()
            .cpu_cores(self.cpu_cores.unwrap_or_default())
            .task_heap_memory_bytes(task_heap)
            .task_off_heap_memory_bytes(task_off_heap)
            .managed_memory_bytes(managed)
            .network_memory_bytes(network);
        for name in &self.external {
            let amount = self.external_amounts.get(name).copied().unwrap_or_default();
            total = total.extended_resource(name.as_str(), amount);
        }
        let worker = total
            .build()
            .map_err(WorkerDescriptionError::from)
            .and_then(|total| self.divided(&total, slots));
        worker.map(Some).map_err(|error| self.refused(error))
    }

    /// Returns the worker with this total, divided into slots or to be cut.
    fn divided(&self, total: &ResourceProfile, slots: u32) -> Result<WorkerDescription, WorkerDescriptionError> {
        match self.is_dynamic {
            true => WorkerDescription::dynamic(total, slots),
            false => WorkerDescription::from_total(total, slots),
        }
    }

    /// Checks that each listed resource has an amount, and that each amount belongs to a listed
    /// resource.
    fn check_external_resources(&self) -> Result<(), ConfigError> {
        let mut listed = self.external.iter();
        if let Some(name) = listed.find(|name| !self.external_amounts.contains_key(*name)) {
            return Err(ConfigError::MissingAmount {
                key: keys::EXTERNAL_RESOURCES,
                value: self.given(keys::EXTERNAL_RESOURCES),
                amount_key: keys::of_amount(name),
            });
        }
        let mut amounts = self.external_amounts.keys();
        if let Some(name) = amounts.find(|name| !self.external.contains(*name)) {
            let key = keys::of_amount(name);
            let value = self.given(&key);
            return Err(ConfigError::UnlistedResource { key, value });
        }
        Ok(())
    }

    /// Returns the error for a worker that is not possible, with the option that is at fault.
    fn refused(&self, error: WorkerDescriptionError) -> ConfigError {
        let key = match &error {
            WorkerDescriptionError::ResourceProfile(ResourceProfileError::Duplicate { .. }) => keys::EXTERNAL_RESOURCES,
            // Only the sum of all kinds of memory can be too large.
            WorkerDescriptionError::ResourceProfile(_) => self.largest_memory(),
            WorkerDescriptionError::IndivisibleTotal { .. } => keys::FINE_GRAINED,
            _ => keys::SLOTS_PER_WORKER,
        };
        ConfigError::WorkerDescription {
            key: key.to_owned(),
            value: self.given(key),
            error: Box::new(error),
        }
    }

    /// Returns the key of the kind of memory with the largest amount.
    fn largest_memory(&self) -> &'static str {
        let memory = [
            (self.network_memory, keys::NETWORK_MEMORY),
            (self.managed_memory, keys::MANAGED_MEMORY),
            (self.task_off_heap_memory, keys::TASK_OFF_HEAP_MEMORY),
            (self.task_heap_memory, keys::TASK_HEAP_MEMORY),
        ];
        let largest = memory.into_iter().max_by_key(|(bytes, _)| *bytes);
        largest.map_or(keys::TASK_HEAP_MEMORY, |(_, key)| key)
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
    durations::parse(value).ok_or_else(|| invalid(key, value, "a duration such as \"10 s\", \"5 min\" or \"inf\""))
}

const NUMBER_OF_REQUESTS: &str = "a number of requests or \"inf\"";

fn parse_limit<T: FromStr>(key: &str, value: &str, expected: &'static str) -> Result<Option<T>, ConfigError> {
    if is_infinite(value) {
        return Ok(None);
    }
    value
        .trim()
        .parse()
        .map(Some)
        .map_err(|_| invalid(key, value, expected))
}

fn parse_seed(key: &str, value: &str) -> Result<Option<u64>, ConfigError> {
    if value.trim().eq_ignore_ascii_case("random") {
        return Ok(None);
    }
    let seed = value.trim().parse().map(Some);
    seed.map_err(|_| invalid(key, value, "a number or \"random\""))
}

fn parse_number<T: FromStr>(key: &str, value: &str) -> Result<T, ConfigError> {
    value.trim().parse().map_err(|_| invalid(key, value, "a number"))
}

/// Parses a rate, which is a whole number here. Flink's may have a fraction, which is rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is in the range of the type"
)]
fn parse_rate(key: &str, value: &str) -> Result<u32, ConfigError> {
    let rate = value.trim().parse().ok().map(f64::ceil);
    rate.filter(|rate| (0.0..=f64::from(u32::MAX)).contains(rate))
        .map(|rate| rate as u32)
        .ok_or_else(|| invalid(key, value, "a number of failures per minute"))
}

fn parse_bool(key: &str, value: &str) -> Result<bool, ConfigError> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(key, value, "\"true\" or \"false\"")),
    }
}

fn parse_amount(key: &str, value: &str, expected: &'static str) -> Result<f64, ConfigError> {
    let amount = value.trim().parse().ok();
    amount
        .filter(|amount| ResourceProfile::units_of_cores(*amount).is_some())
        .ok_or_else(|| invalid(key, value, expected))
}

fn parse_memory(key: &str, value: &str) -> Result<u64, ConfigError> {
    let text = value.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let bytes = number.parse::<u64>().ok();
    bytes
        .zip(bytes_of_unit(unit.trim_start()))
        .and_then(|(number, unit)| number.checked_mul(unit))
        .ok_or_else(|| invalid(key, value, "an amount of memory such as \"512 mb\" or \"4 gb\""))
}

/// Returns the bytes of a unit of memory. As in Flink, `kb` and `kib` are both 1024 bytes.
fn bytes_of_unit(unit: &str) -> Option<u64> {
    match unit.to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => Some(1),
        "k" | "kb" | "kib" | "kibibytes" => Some(1 << 10),
        "m" | "mb" | "mib" | "mebibytes" => Some(1 << 20),
        "g" | "gb" | "gib" | "gibibytes" => Some(1 << 30),
        "t" | "tb" | "tib" | "tebibytes" => Some(1 << 40),
        _ => None,
    }
}

fn parse_strategy(key: &str, value: &str) -> Result<SlotMatchingStrategy, ConfigError> {
    match value.trim() {
        "first-fit" => Ok(SlotMatchingStrategy::FirstFit),
        "best-fit" => Ok(SlotMatchingStrategy::BestFit),
        "least-utilization" => Ok(SlotMatchingStrategy::LeastUtilization),
        "most-utilization" => Ok(SlotMatchingStrategy::MostUtilization),
        _ => Err(invalid(
            key,
            value,
            "\"first-fit\", \"best-fit\", \"least-utilization\" or \"most-utilization\"",
        )),
    }
}

fn parse_load_balance_mode(key: &str, value: &str) -> Result<SlotMatchingStrategy, ConfigError> {
    match value.trim().to_ascii_uppercase().as_str() {
        "NONE" => Ok(SlotMatchingStrategy::FirstFit),
        "SLOTS" => Ok(SlotMatchingStrategy::LeastUtilization),
        "MIN_RESOURCES" => Ok(SlotMatchingStrategy::MostUtilization),
        _ => Err(invalid(key, value, "\"NONE\", \"SLOTS\" or \"MIN_RESOURCES\"")),
    }
}
