//! Writes the configuration as key/value options, as `options` reads them.

use std::fmt::Display;
use std::time::Duration;

use super::options::WorkerOptions;
use super::{ConfigError, SlotManagerConfig, WorkerDescription, WorkerPolicy, durations, keys};
use crate::matching::SlotMatchingStrategy;

/// Options in the order in which they are written.
#[derive(Default)]
struct WrittenOptions(Vec<(String, String)>);

impl SlotManagerConfig {
    /// Writes the configuration as options, such that [`from_options`](Self::from_options) reads an
    /// equal configuration.
    ///
    /// - Every value is written, even if it is the default. So the options keep their meaning when
    ///   a later version has other defaults. Without a worker policy, its keys are left out.
    /// - A value with several keys is written with the first key of its documentation.
    /// - The order is that of the fields.
    /// - A duration is exact to the nanosecond, and [`Duration::MAX`] is `"inf"`. `None` as a limit
    ///   is `"inf"`.
    ///
    /// # Errors
    /// - The errors of [`validate`](Self::validate).
    /// - [`Inexpressible`](ConfigError::Inexpressible) for a value without a written form:
    ///   - a [custom](SlotMatchingStrategy::Custom) matching strategy
    ///   - a name of an extended resource that is empty or `none`, contains `;` or `,`, or begins
    ///     or ends with white space
    ///   - cores or units of an extended resource, above 20 million for the worker, that no `f64`
    ///     equals to the last digit
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use slot_manager::SlotManagerConfig;
    ///
    /// let config = SlotManagerConfig::default().with_rpc_timeout(Duration::from_millis(1500));
    /// let options = config.to_options()?;
    /// assert!(options.contains(&("pekko.ask.timeout".to_owned(), "1500 ms".to_owned())));
    /// assert_eq!(SlotManagerConfig::from_options(options)?, config);
    /// # Ok::<(), slot_manager::error::ConfigError>(())
    /// ```
    pub fn to_options(&self) -> Result<Vec<(String, String)>, ConfigError> {
        self.validate()?;
        let mut options = WrittenOptions::default();
        let [request_timeout, ..] = keys::REQUEST_TIMEOUT;
        let [rpc_timeout, ..] = keys::RPC_TIMEOUT;
        let [task_manager_timeout, ..] = keys::TASK_MANAGER_TIMEOUT;
        options.duration(request_timeout, self.request_timeout);
        options.duration(rpc_timeout, self.rpc_timeout);
        options.duration(task_manager_timeout, self.task_manager_timeout);
        options.duration(keys::WORKER_REGISTRATION_TIMEOUT, self.worker_registration_timeout);
        options.value(keys::MAX_START_FAILURE_RATE, self.max_start_failure_rate);
        options.duration(keys::START_RETRY_INTERVAL, self.start_retry_interval);
        options.duration(keys::RETRY_BACKOFF, self.retry_backoff);
        options.duration(keys::MAX_RETRY_BACKOFF, self.max_retry_backoff);
        options.limit(keys::MAX_PENDING_REQUESTS, self.max_pending_requests);
        options.duration(keys::REQUIREMENT_CHECK_DELAY, self.requirement_check_delay);
        options.duration(keys::RESERVATION_DELAY, self.reservation_delay);
        options.value(keys::MATCHING_STRATEGY, name_of(&self.slot_matching_strategy)?);
        if let Some(workers) = &self.workers {
            options.workers(workers)?;
        }
        options.value(keys::FAIL_UNFULFILLABLE, self.fail_unfulfillable_requests);
        options.duration(keys::GRACE_PERIOD, self.unfulfillable_grace_period);
        options.duration(keys::RECOVERY_TIMEOUT, self.recovery_timeout);
        options.value(keys::CAPACITY_TASK_MANAGERS, self.initial_capacity.task_managers);
        options.value(keys::CAPACITY_SLOTS, self.initial_capacity.slots);
        options.value(keys::CAPACITY_PENDING_REQUESTS, self.initial_capacity.pending_requests);
        match self.hash_seed {
            Some(seed) => options.value(keys::HASH_SEED, seed),
            None => options.value(keys::HASH_SEED, "random"),
        }
        Ok(options.0)
    }
}

impl WrittenOptions {
    fn value(&mut self, key: impl Into<String>, value: impl Display) {
        self.0.push((key.into(), value.to_string()));
    }

    fn limit(&mut self, key: &str, limit: Option<impl Display>) {
        match limit {
            Some(limit) => self.value(key, limit),
            None => self.value(key, "inf"),
        }
    }

    fn duration(&mut self, key: &str, duration: Duration) {
        self.value(key, durations::write(duration));
    }

    fn memory(&mut self, key: &str, bytes: u64) {
        let larger = [("tb", 1 << 40), ("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)];
        self.value(key, durations::in_largest_unit(bytes.into(), larger, "b"));
    }

    fn workers(&mut self, workers: &WorkerPolicy) -> Result<(), ConfigError> {
        self.description(&workers.description)?;
        self.value(keys::MIN_SLOTS, workers.min_slots);
        self.value(keys::MIN_TOTAL_CPU, workers.min_total_cpu_cores);
        self.memory(keys::MIN_TOTAL_MEMORY, workers.min_total_memory_bytes);
        self.limit(keys::MAX_SLOTS, workers.max_slots);
        self.limit(keys::MAX_TOTAL_CPU, workers.max_total_cpu_cores);
        match workers.max_total_memory_bytes {
            Some(bytes) => self.memory(keys::MAX_TOTAL_MEMORY, bytes),
            None => self.value(keys::MAX_TOTAL_MEMORY, "inf"),
        }
        self.value(keys::REDUNDANT_TASK_MANAGERS, workers.redundant_task_managers);
        Ok(())
    }

    /// Writes the total of all slots, because the keys have the resources of a whole worker.
    fn description(&mut self, worker: &WorkerDescription) -> Result<(), ConfigError> {
        let first = self.0.len();
        self.value(keys::SLOTS_PER_WORKER, worker.slots());
        if worker.is_dynamic() {
            self.value(keys::FINE_GRAINED, true);
        }
        let total = worker.total();
        // Without amounts the profile is `ANY`, and with the number of slots alone it is read so.
        if let Some(cores) = total.cpu_cores() {
            self.value(keys::CPU_CORES, cores);
        }
        for (key, bytes) in [
            (keys::TASK_HEAP_MEMORY, total.task_heap_memory_bytes()),
            (keys::TASK_OFF_HEAP_MEMORY, total.task_off_heap_memory_bytes()),
            (keys::MANAGED_MEMORY, total.managed_memory_bytes()),
            (keys::NETWORK_MEMORY, total.network_memory_bytes()),
        ] {
            if let Some(bytes) = bytes {
                self.memory(key, bytes);
            }
        }
        let names: Vec<&str> = total.extended_resources().map(|(name, _)| name).collect();
        if let Some(name) = names.iter().find(|name| !is_expressible(name)) {
            return Err(inexpressible(keys::EXTERNAL_RESOURCES, *name));
        }
        if !names.is_empty() {
            self.value(keys::EXTERNAL_RESOURCES, names.join(";"));
        }
        for (name, amount) in total.extended_resources() {
            self.value(keys::of_amount(name), amount);
        }
        self.check_description(first, worker)
    }

    /// Checks that the options from `first` on are read as this worker.
    ///
    /// Amounts are read as `f64`, which has too few digits for large ones.
    fn check_description(&self, first: usize, worker: &WorkerDescription) -> Result<(), ConfigError> {
        let mut options = WorkerOptions::default();
        for (key, value) in self.0.iter().skip(first) {
            // Rounding may also have made it too large.
            let is_read = options.read(key, value);
            is_read.map_err(|_| inexpressible(key, value))?;
        }
        let Some(read) = options.policy()? else {
            return Ok(());
        };
        let read = &read.description;
        let pairs = [
            (worker.slot_profile(), read.slot_profile()),
            (worker.total(), read.total()),
        ];
        let mut differences = pairs
            .into_iter()
            .flat_map(|(written, read)| written.shortages(read).chain(read.shortages(written)));
        let Some(resource) = differences.next() else {
            return Ok(());
        };
        let key = match resource {
            "cpu" => keys::CPU_CORES.to_owned(),
            name => keys::of_amount(name),
        };
        let value = self.0.iter().find(|(written, _)| *written == key);
        Err(inexpressible(key.clone(), value.map_or("", |(_, value)| value)))
    }
}

/// Returns `true` if a list of names is read with this name in it.
fn is_expressible(name: &str) -> bool {
    !name.is_empty() && name != "none" && !name.contains([';', ',']) && name.trim() == name
}

fn name_of(strategy: &SlotMatchingStrategy) -> Result<&'static str, ConfigError> {
    match strategy {
        SlotMatchingStrategy::FirstFit => Ok("first-fit"),
        SlotMatchingStrategy::BestFit => Ok("best-fit"),
        SlotMatchingStrategy::LeastUtilization => Ok("least-utilization"),
        SlotMatchingStrategy::MostUtilization => Ok("most-utilization"),
        SlotMatchingStrategy::Custom(_) => Err(inexpressible(keys::MATCHING_STRATEGY, format!("{strategy:?}"))),
    }
}

fn inexpressible(key: impl Into<String>, value: impl Into<String>) -> ConfigError {
    ConfigError::Inexpressible {
        key: key.into(),
        value: value.into(),
    }
}
