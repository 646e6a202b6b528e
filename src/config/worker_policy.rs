//! The policy about the workers that the resource manager starts.

use super::{Capacity, ConfigError, Limit, WorkerDescription, keys};
use crate::ResourceProfile;

/// The workers that the resource manager starts, their limits and the reserves to keep.
///
/// Limits, minimum and redundancy count in workers as described. Set them with the `with_` methods,
/// and give the policy to [`with_workers`](super::SlotManagerConfig::with_workers). The fields name
/// their option keys.
///
/// ```
/// use slot_manager::config::{WorkerDescription, WorkerPolicy};
/// use slot_manager::{ResourceProfile, SlotManagerConfig};
///
/// let slot = ResourceProfile::builder().cpu_cores(2.0).build()?;
/// let policy = WorkerPolicy::new(WorkerDescription::new(4, slot)?)
///     .with_min_slots(8)
///     .with_max_slots(Some(1000))
///     .with_redundant_task_managers(1);
/// let config = SlotManagerConfig::default().with_workers(policy);
/// assert_eq!(config.validate(), Ok(()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct WorkerPolicy {
    /// The workers: they are all alike.
    ///
    /// No worker is requested for a request that their slots, or their total, do not fit. The keys give the
    /// resources of all slots of a worker together:
    ///
    /// | key | resource |
    /// |---|---|
    /// | `taskmanager.numberOfTaskSlots` | number of slots, 1 if absent |
    /// | `cluster.fine-grained-resource-management.enabled` | slots are cut from the total, see [`dynamic`](WorkerDescription::dynamic) |
    /// | `taskmanager.cpu.cores` | cores |
    /// | `taskmanager.memory.task.heap.size` | task heap memory |
    /// | `taskmanager.memory.task.off-heap.size` | task off-heap memory |
    /// | `taskmanager.memory.managed.size` | managed memory |
    /// | `taskmanager.memory.network.max` | network memory |
    /// | `external-resources` | names of extended resources, separated by `;` or `,` |
    /// | `external-resource.<name>.amount` | amount of one extended resource, also with a fraction |
    ///
    /// - One key is enough to describe the worker. Resources without a key are zero.
    /// - If only the number of slots is given, the slots have the profile
    ///   [`ResourceProfile::ANY`](crate::ResourceProfile::ANY).
    /// - Each resource in `external-resources` needs an amount, and each amount needs its resource
    ///   in that list. The list `none` is empty.
    /// - Sizes of whole processes, such as `taskmanager.memory.process.size`, are ignored.
    pub description: WorkerDescription,
    /// The number of slots that the manager keeps up, registered or promised, even without any job.
    ///
    /// Workers are requested until the minimum is reached, and idle task managers that it needs are
    /// kept. While a limit defers a worker request, a task manager that fits no waiting request is
    /// not kept: a worker of another shape takes its room. Slots of blocked task managers do not
    /// count. Whole workers are requested, so a few slots more can result. The minimum must fit
    /// within the limits. Choose it so that the first job does not have to wait for the start of
    /// workers.
    ///
    /// - Default: 0.
    /// - Key: `slotmanager.number-of-slots.min`.
    /// - Zero: no minimum.
    /// - Maximum: [`Capacity::MAX`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub min_slots: usize,
    /// The number of cores that the manager keeps up, registered or promised, even without any job.
    ///
    /// It is a minimum of slots: the slots of as many workers as described as have these cores
    /// together. The minimum that needs the most slots counts, see
    /// [`min_slots`](Self::min_slots).
    ///
    /// - Default: 0.
    /// - Key: `slotmanager.min-total-resource.cpu`.
    /// - Zero: no minimum. More is refused by [`validate`](super::SlotManagerConfig::validate) if
    ///   the described workers have no cores.
    /// - Maximum: the slots of the workers may be at most [`Capacity::MAX`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub min_total_cpu_cores: f64,
    /// The bytes of memory, of all kinds, that the manager keeps up, registered or promised, even
    /// without any job.
    ///
    /// Works as [`min_total_cpu_cores`](Self::min_total_cpu_cores).
    ///
    /// - Default: 0.
    /// - Key: `slotmanager.min-total-resource.memory`.
    /// - Zero: no minimum. More is refused by [`validate`](super::SlotManagerConfig::validate) if
    ///   the described workers have no memory.
    /// - Maximum: the slots of the workers may be at most [`Capacity::MAX`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub min_total_memory_bytes: u64,
    /// The number of slots that may be registered or promised. `None` is without a limit.
    ///
    /// - Worker requests beyond the limit are deferred.
    /// - New task managers beyond the limit are refused. Those that fulfil a promise, hold an
    ///   allocation or register again are admitted. Those that would serve a waiting request take
    ///   the room of promised workers. See
    ///   [`register_task_manager`](crate::SlotManager::register_task_manager).
    /// - Later reports of registered task managers are always applied.
    ///
    /// Choose it for the number of workers that you are ready to pay for.
    ///
    /// - Default: `None`.
    /// - Key: `slotmanager.number-of-slots.max`, where `inf` is `None`.
    /// - Zero, or less than one worker: no worker is requested.
    /// - Maximum: never exceeded.
    #[cfg_attr(feature = "serde", serde(default))]
    pub max_slots: Option<usize>,
    /// The number of cores that all slots may have together. `None` is without a limit.
    ///
    /// Works as [`max_slots`](Self::max_slots). Slots with the profile `ANY` or `UNKNOWN` count as
    /// zero cores.
    ///
    /// - Default: `None`.
    /// - Key: `slotmanager.max-total-resource.cpu`, where `inf` is `None`.
    /// - Zero: no worker with cores is requested.
    /// - Maximum: 184467440737 cores. More, negative numbers and NaN are refused by
    ///   [`validate`](super::SlotManagerConfig::validate).
    #[cfg_attr(feature = "serde", serde(default))]
    pub max_total_cpu_cores: Option<f64>,
    /// The bytes of memory, of all kinds, that all slots may have together. `None` is without a
    /// limit.
    ///
    /// Works as [`max_slots`](Self::max_slots). Slots with the profile `ANY` or `UNKNOWN` count as
    /// zero bytes.
    ///
    /// - Default: `None`.
    /// - Key: `slotmanager.max-total-resource.memory`, where `inf` is `None`.
    /// - Zero: no worker with memory is requested.
    /// - Maximum: [`u64::MAX`] bytes, which is still a limit.
    #[cfg_attr(feature = "serde", serde(default))]
    pub max_total_memory_bytes: Option<u64>,
    /// The number of workers whose slots are kept free while at least one slot is used.
    ///
    /// If a task manager fails, its jobs can go on at once in these slots. While no slot is used,
    /// there is no redundancy (FLINK-18625). As with the [minimum](Self::min_slots), it keeps no
    /// task manager whose room a worker of another shape needs. The redundancy must fit within the
    /// limits. Choose it for the number of task managers that may fail at one time.
    ///
    /// - Default: 0.
    /// - Key: `slotmanager.redundant-taskmanager-num`.
    /// - Zero: no redundancy.
    /// - Maximum: the slots of these workers may be at most [`Capacity::MAX`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub redundant_task_managers: usize,
}

impl WorkerPolicy {
    /// Returns a policy for workers without limits and reserves.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::config::{WorkerDescription, WorkerPolicy};
    /// use slot_manager::ResourceProfile;
    ///
    /// let policy = WorkerPolicy::new(WorkerDescription::new(4, ResourceProfile::ANY)?);
    /// assert_eq!((policy.min_slots, policy.max_slots), (0, None));
    /// # Ok::<(), slot_manager::error::WorkerDescriptionError>(())
    /// ```
    pub fn new(description: WorkerDescription) -> Self {
        Self {
            description,
            min_slots: 0,
            min_total_cpu_cores: 0.0,
            min_total_memory_bytes: 0,
            max_slots: None,
            max_total_cpu_cores: None,
            max_total_memory_bytes: None,
            redundant_task_managers: 0,
        }
    }

    /// Sets [`min_slots`](Self::min_slots).
    #[must_use]
    pub fn with_min_slots(mut self, slots: usize) -> Self {
        self.min_slots = slots;
        self
    }

    /// Sets [`min_total_cpu_cores`](Self::min_total_cpu_cores).
    #[must_use]
    pub fn with_min_total_cpu_cores(mut self, cores: f64) -> Self {
        self.min_total_cpu_cores = cores;
        self
    }

    /// Sets [`min_total_memory_bytes`](Self::min_total_memory_bytes).
    #[must_use]
    pub fn with_min_total_memory_bytes(mut self, bytes: u64) -> Self {
        self.min_total_memory_bytes = bytes;
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

    /// Checks the fields together, as [`validate`](super::SlotManagerConfig::validate) says.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let cores = [
            (keys::MIN_TOTAL_CPU, Some(self.min_total_cpu_cores)),
            (keys::MAX_TOTAL_CPU, self.max_total_cpu_cores),
        ];
        for (key, cores) in cores.into_iter().filter_map(|(key, cores)| Some((key, cores?))) {
            if ResourceProfile::units_of_cores(cores).is_none() {
                return Err(ConfigError::InvalidValue {
                    key: key.to_owned(),
                    value: cores.to_string(),
                    expected: "a number of cores",
                });
            }
        }
        let limits = self.all_limits();
        for reserve in self.reserves() {
            let Reserve { key, value, .. } = &reserve;
            let Some(workers) = reserve.workers else {
                let (key, value) = (*key, value.clone());
                return Err(ConfigError::UnreachableMinimum { key, value });
            };
            let capacity = reserve.slots;
            if capacity > Capacity::MAX {
                let (key, value) = (*key, value.clone());
                return Err(ConfigError::CapacityTooLarge { key, value, capacity });
            }
            let needed = self.measure().of_worker().times(workers);
            if let Some(limit) = limits.exceeded_by(needed).filter(|_| workers > 0) {
                return Err(ConfigError::ContradictoryLimits {
                    wanted: key,
                    value: value.clone(),
                    workers,
                    limit,
                    limit_value: self.value_of(limit),
                });
            }
        }
        Ok(())
    }

    /// Returns the number of slots to keep up: the most that a minimum of a valid policy needs.
    pub(crate) fn slots_to_keep_up(&self) -> usize {
        let [min_slots, min_cpu, min_memory, _] = self.reserves();
        min_slots.slots.max(min_cpu.slots).max(min_memory.slots)
    }

    /// Returns the minima and the redundancy.
    fn reserves(&self) -> [Reserve; 4] {
        let (worker, slots_per_worker) = (self.description.total(), self.description.slots());
        let of_workers = |key, value: String, workers: Option<usize>| Reserve {
            key,
            value,
            slots: workers.unwrap_or_default().saturating_mul(slots_per_worker),
            workers,
        };
        let workers_with = |wanted: u64, of_one: u64| match (wanted, of_one) {
            (0, _) => Some(0),
            (_, 0) => None,
            _ => Some(usize::try_from(wanted.div_ceil(of_one)).unwrap_or(usize::MAX)),
        };
        let cpu = ResourceProfile::units_of_cores(self.min_total_cpu_cores).unwrap_or_default();
        let cpu = workers_with(cpu, worker.cpu_units());
        let memory = workers_with(self.min_total_memory_bytes, worker.memory_bytes_or_zero());
        [
            Reserve {
                key: keys::MIN_SLOTS,
                value: self.min_slots.to_string(),
                slots: self.min_slots,
                workers: Some(self.min_slots.div_ceil(slots_per_worker)),
            },
            of_workers(keys::MIN_TOTAL_CPU, self.min_total_cpu_cores.to_string(), cpu),
            of_workers(keys::MIN_TOTAL_MEMORY, self.min_total_memory_bytes.to_string(), memory),
            of_workers(
                keys::REDUNDANT_TASK_MANAGERS,
                self.redundant_task_managers.to_string(),
                Some(self.redundant_task_managers),
            ),
        ]
    }

    /// Returns the value of a limit as a text.
    fn value_of(&self, limit: Limit) -> String {
        let value = match limit {
            Limit::Slots => self.max_slots.map(|slots| slots.to_string()),
            Limit::CpuCores => self.max_total_cpu_cores.map(|cores| cores.to_string()),
            Limit::Memory => self.max_total_memory_bytes.map(|bytes| bytes.to_string()),
        };
        value.unwrap_or_default()
    }
}

/// The workers that a minimum or the redundancy needs.
struct Reserve {
    key: &'static str,
    value: String,
    slots: usize,
    /// `None` if no number of workers is enough.
    workers: Option<usize>,
}

/// Describes workers without limits and reserves.
impl From<WorkerDescription> for WorkerPolicy {
    fn from(description: WorkerDescription) -> Self {
        Self::new(description)
    }
}

/// Describes workers without limits and reserves, for
/// [`with_workers`](super::SlotManagerConfig::with_workers).
impl From<WorkerDescription> for Option<WorkerPolicy> {
    fn from(description: WorkerDescription) -> Self {
        Some(WorkerPolicy::new(description))
    }
}
