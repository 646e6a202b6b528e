//! What there is, in numbers.

use std::fmt;

use crate::config::Quantity;
use crate::{Counters, InstanceId, ResourceId, ResourceProfile, Timestamp};

/// Some slots, with what they have together. Slots whose profile is not concrete count without resources.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Resources {
    /// How many they are.
    pub slots: usize,
    /// Cores.
    pub cpu_cores: f64,
    /// Memory of all kinds in bytes; `u64::MAX` if it is more.
    pub memory_bytes: u64,
}

impl From<Quantity> for Resources {
    fn from(quantity: Quantity) -> Self {
        Self {
            slots: quantity.slots,
            cpu_cores: ResourceProfile::cores_of_units(quantity.cpu),
            memory_bytes: u64::try_from(quantity.memory).unwrap_or(u64::MAX),
        }
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gibibytes = self.memory_bytes as f64 / f64::from(1 << 30);
        let slots = if self.slots == 1 { "slot" } else { "slots" };
        write!(
            f,
            "{} {slots} ({:.1} cores, {gibibytes:.1} GiB)",
            self.slots, self.cpu_cores
        )
    }
}

/// Registered slots by what they are doing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SlotOverview {
    /// All: the sum of the four below.
    pub registered: Resources,
    /// Free, also those that pause after failed attempts; without those of blocked task managers.
    pub free: Resources,
    /// Free, on blocked task managers.
    pub blocked: Resources,
    /// A task executor has been asked for them and has not answered.
    pub in_flight: Resources,
    /// Held by an allocation.
    pub allocated: Resources,
}

/// What the manager knows, in numbers; made by [`SlotManager::overview`](crate::SlotManager::overview). Its `Display` is
/// for operators.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Overview {
    /// Registered task managers.
    pub task_managers: usize,
    /// Those of them that are blocked.
    pub blocked_task_managers: usize,
    /// Their slots.
    pub slots: SlotOverview,
    /// Slots that workers will bring that were asked for.
    pub promised: Resources,
    /// How many of them cover no request.
    pub unbound_promised_slots: usize,
    /// Requests that are not granted.
    pub pending_requests: usize,
    /// What has happened so far.
    pub counters: Counters,
}

/// The same of one task manager; made by
/// [`TaskManagerRegistration::overview`](crate::TaskManagerRegistration::overview).
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TaskManagerOverview {
    /// The worker process.
    pub resource_id: ResourceId,
    /// The registration.
    pub instance_id: InstanceId,
    /// Whether it is blocked.
    pub is_blocked: bool,
    /// Since when none of its slots is used; `None` while one is.
    pub idle_since: Option<Timestamp>,
    /// Its slots.
    pub slots: SlotOverview,
}

impl fmt::Display for SlotOverview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "registered  {}", self.registered)?;
        writeln!(f, "free        {}", self.free)?;
        writeln!(f, "blocked     {}", self.blocked)?;
        writeln!(f, "in flight   {}", self.in_flight)?;
        write!(f, "allocated   {}", self.allocated)
    }
}

impl fmt::Display for Overview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counters = &self.counters;
        let failed = &counters.requests_failed;
        writeln!(
            f,
            "task managers {}, of them blocked {}",
            self.task_managers, self.blocked_task_managers
        )?;
        writeln!(f, "{}", self.slots)?;
        writeln!(
            f,
            "promised    {}, of them for nobody {}",
            self.promised, self.unbound_promised_slots
        )?;
        writeln!(
            f,
            "requests    pending {}; so far accepted {}, served {}, cancelled {}, retried {}",
            self.pending_requests,
            counters.requests_accepted,
            counters.requests_served,
            counters.requests_cancelled,
            counters.requests_retried
        )?;
        writeln!(
            f,
            "failed      {}: timeout {}, resource manager {}, unfulfillable {}, held by another job {}; grants lost {}",
            failed.total(),
            failed.timeout,
            failed.resource_manager,
            failed.unfulfillable,
            failed.held_by_another_job,
            counters.grants_lost
        )?;
        writeln!(
            f,
            "workers     requested {}, declined {}, withdrawn {}, did not come {}; released {}, refused {}",
            counters.workers_requested,
            counters.workers_declined,
            counters.workers_withdrawn,
            counters.promises_broken,
            counters.task_managers_released,
            counters.task_managers_refused
        )?;
        write!(
            f,
            "reports     stale {}, refused {}",
            counters.reports_stale, counters.reports_refused
        )
    }
}
