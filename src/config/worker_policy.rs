//! The policy about the workers that the resource manager starts.

use super::{Capacity, ConfigError, WorkerDescription, keys};
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
    /// No worker is requested for a request that their slots do not fit. The keys give the
    /// resources of all slots of a worker together:
    ///
    /// | key | resource |
    /// |---|---|
    /// | `taskmanager.numberOfTaskSlots` | number of slots, 1 if absent |
    /// | `taskmanager.cpu.cores` | cores |
    /// | `taskmanager.memory.task.heap.size` | task heap memory |
    /// | `taskmanager.memory.task.off-heap.size` | task off-heap memory |
    /// | `taskmanager.memory.managed.size` | managed memory |
    /// | `taskmanager.memory.network.max` | network memory |
    /// | `external-resources` | names of extended resources, separated by `;` |
    /// | `external-resource.<name>.amount` | amount of one extended resource, also with a fraction |
    ///
    /// - One key is enough to describe the worker. Resources without a key are zero.
    /// - If only the number of slots is given, the slots have the profile
    ///   [`ResourceProfile::ANY`](crate::ResourceProfile::ANY).
    /// - Amounts of extended resources that `external-resources` does not name are ignored.
    /// - Sizes of whole processes, such as `taskmanager.memory.process.size`, are ignored.
    pub description: WorkerDescription,
    /// The number of slots that the manager keeps up, registered or promised, even without any job.
    ///
    /// Workers are requested until the minimum is reached, and idle task managers that it needs are
    /// kept. Slots of blocked task managers do not count. Whole workers are requested, so a few
    /// slots more can result. The minimum must fit within the limits. Choose it so that the first
    /// job does not have to wait for the start of workers.
    ///
    /// - Default: 0.
    /// - Key: `slotmanager.number-of-slots.min`.
    /// - Zero: no minimum.
    /// - Maximum: [`Capacity::MAX`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub min_slots: usize,
    /// The number of slots that may be registered or promised. `None` is without a limit.
    ///
    /// - Worker requests beyond the limit are deferred.
    /// - New task managers beyond the limit are refused. Those that fulfil a promise, hold an
    ///   allocation or register again are admitted, see
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
    /// there is no redundancy (FLINK-18625). The redundancy must fit within the limits. Choose it
    /// for the number of task managers that may fail at one time.
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
        let slots_per_worker = self.description.slots();
        for (key, capacity) in [
            (keys::MIN_SLOTS, self.min_slots),
            (
                keys::REDUNDANT_TASK_MANAGERS,
                self.redundant_task_managers.saturating_mul(slots_per_worker),
            ),
        ] {
            if capacity > Capacity::MAX {
                return Err(ConfigError::CapacityTooLarge { key, capacity });
            }
        }
        if let Some(cores) = self.max_total_cpu_cores {
            if ResourceProfile::units_of_cores(cores).is_none() {
                return Err(ConfigError::InvalidValue {
                    key: keys::MAX_TOTAL_CPU.to_owned(),
                    value: cores.to_string(),
                    expected: "a number of cores",
                });
            }
        }
        let limits = self.all_limits();
        for (wanted, workers) in [
            (keys::MIN_SLOTS, self.min_slots.div_ceil(slots_per_worker)),
            (keys::REDUNDANT_TASK_MANAGERS, self.redundant_task_managers),
        ] {
            if workers == 0 {
                continue;
            }
            if let Some(limit) = limits.exceeded_by(self.description.quantity().times(workers)) {
                return Err(ConfigError::ContradictoryLimits { wanted, workers, limit });
            }
        }
        Ok(())
    }
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
