//! Overviews: the numbers of task managers, slots, promised slots and requests.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::view::WorkerBackoff;
use crate::{InstanceId, ResourceId, Timestamp};

mod counters;
mod gauges;
mod metric;

pub use self::counters::{Counters, FailureCounters};
pub use self::metric::Metric;
pub use crate::slot_manager::queries::views::SlotCounts;

/// A number of slots, and the sum of their resources.
///
/// Slots whose profile is `UNKNOWN` or `ANY` add no resources. Sums are exact inside and rounded
/// once.
///
/// ```
/// use slot_manager::overview::Resources;
///
/// assert_eq!(Resources::default().to_string(), "0 slots (0.0 cores, 0.0 GiB)");
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Resources {
    /// The number of slots.
    pub slots: usize,
    /// The number of cores.
    pub cpu_cores: f64,
    /// The memory of all four kinds below in bytes. Each amount saturates at `u64::MAX`.
    pub memory_bytes: u64,
    /// The task heap memory in bytes.
    pub task_heap_memory_bytes: u64,
    /// The task off-heap memory in bytes.
    pub task_off_heap_memory_bytes: u64,
    /// The managed memory in bytes.
    pub managed_memory_bytes: u64,
    /// The network memory in bytes.
    pub network_memory_bytes: u64,
    /// The extended resources by name, such as `gpu`. A resource that no slot has is absent.
    pub extended: BTreeMap<Arc<str>, f64>,
}

impl Resources {
    /// Returns each kind of memory in bytes, with its name for operators.
    fn kinds_of_memory(&self) -> [(&'static str, u64); 4] {
        [
            ("task heap", self.task_heap_memory_bytes),
            ("task off-heap", self.task_off_heap_memory_bytes),
            ("managed", self.managed_memory_bytes),
            ("network", self.network_memory_bytes),
        ]
    }
}

/// Converts bytes to gibibytes.
fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// Writes the slots, cores, total memory and extended resources.
impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = if self.slots == 1 { "slot" } else { "slots" };
        write!(
            f,
            "{} {slots} ({:.1} cores, {:.1} GiB",
            self.slots,
            self.cpu_cores,
            gibibytes(self.memory_bytes)
        )?;
        for (name, amount) in &self.extended {
            write!(f, ", {name} {amount}")?;
        }
        f.write_str(")")
    }
}

/// The registered slots by state.
///
/// ```
/// use slot_manager::overview::SlotOverview;
///
/// let slots = SlotOverview::default();
/// assert_eq!(slots.counts().registered, 0);
/// assert!(slots.to_string().starts_with("registered  0 slots"));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SlotOverview {
    /// All registered slots: the sum of the four below.
    pub registered: Resources,
    /// Free slots, including slots that back off after failed attempts, by themselves or with their
    /// worker. Those of blocked task managers are not included.
    pub free: Resources,
    /// Free slots of blocked task managers.
    pub blocked: Resources,
    /// Slots in flight: their task executors have not answered yet.
    pub in_flight: Resources,
    /// Slots that an allocation holds.
    pub allocated: Resources,
}

impl SlotOverview {
    /// Returns the numbers of slots without their resources.
    pub fn counts(&self) -> SlotCounts {
        SlotCounts {
            registered: self.registered.slots,
            free: self.free.slots,
            blocked: self.blocked.slots,
            in_flight: self.in_flight.slots,
            allocated: self.allocated.slots,
        }
    }
}

/// The numbers of task managers, slots, requests and events of a manager.
///
/// [`SlotManager::overview`](crate::SlotManager::overview) returns it. Its `Display` is for
/// operators. [`gauges`](Self::gauges) and [`Counters::iter`] are for metrics.
///
/// ```
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// # use slot_manager::outcome::RegistrationOutcome;
/// # use slot_manager::{
/// #     InstanceId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig, SlotReport, SlotStatus,
/// #     TaskExecutorConnection,
/// # };
///
/// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
/// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
/// let profile = ResourceProfile::builder().cpu_cores(4.0).task_heap_memory_bytes(1 << 30).build()?;
/// let report = SlotReport::new(vec![SlotStatus::free(SlotId::new("worker-1", 0), profile)]);
/// let connection = TaskExecutorConnection::new("worker-1", InstanceId::from_u128(1), ScriptedGateway::new());
/// assert_eq!(manager.register_task_manager(connection, &report)?, RegistrationOutcome::Registered);
///
/// let overview = manager.overview();
/// assert_eq!(overview.task_managers, 1);
/// assert_eq!(overview.slots.free.to_string(), "1 slot (4.0 cores, 1.0 GiB)");
/// assert!(overview.to_string().starts_with("task managers 1 (0 blocked)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Overview {
    /// The number of registered task managers.
    pub task_managers: usize,
    /// The number of registered task managers that are blocked.
    pub blocked_task_managers: usize,
    /// The number of registered task managers that back off after failed attempts, or wait for a
    /// probe.
    pub backing_off_task_managers: usize,
    /// The slots of all registered task managers. Those of dynamic workers are in flight or allocated.
    pub slots: SlotOverview,
    /// The number of dynamic workers, from which slots are cut.
    pub dynamic_workers: usize,
    /// The total resources of dynamic workers, with the number of slots as which they count.
    pub dynamic_total: Resources,
    /// The promised slots, bound and unbound.
    pub promised: Resources,
    /// The number of promised slots that a request is bound to, and of bound cuts of promised dynamic
    /// workers.
    pub bound_promised_slots: usize,
    /// The number of promised slots that no request is bound to.
    pub unbound_promised_slots: usize,
    /// The number of promised dynamic workers. Their cuts are not among the promised slots.
    pub promised_dynamic_workers: usize,
    /// The total resources of promised dynamic workers, with the number of slots as which they count.
    pub promised_dynamic_total: Resources,
    /// The number of requests that are not granted: waiting, backing off or in flight.
    pub pending_requests: usize,
    /// The number of jobs of which attempts for two requests failed in a row, without a grant
    /// since.
    pub suspect_jobs: usize,
    /// The number of jobs that declare their requirements.
    pub declaring_jobs: usize,
    /// The numbers of events so far.
    pub counters: Counters,
}

/// The numbers of one task manager.
///
/// [`TaskManagerRegistration::overview`](crate::view::TaskManagerRegistration::overview) returns
/// it.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TaskManagerOverview {
    /// The id of the worker process.
    pub resource_id: ResourceId,
    /// The id of the registration.
    pub instance_id: InstanceId,
    /// `true` if the task manager is blocked.
    pub is_blocked: bool,
    /// The backoff of the worker; `None` while its slots are offered.
    pub backoff: Option<WorkerBackoff>,
    /// The time since when none of its slots is used; `None` while one is used.
    pub idle_since: Option<Timestamp>,
    /// The slots of the task manager.
    pub slots: SlotOverview,
}

impl SlotOverview {
    /// Writes the free part of each kind of memory, if the slots have more than one kind.
    fn write_kinds_of_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.registered.kinds_of_memory().into_iter();
        let kinds = kinds.zip(self.free.kinds_of_memory());
        let kinds: Vec<_> = kinds.filter(|((_, bytes), _)| *bytes > 0).collect();
        if kinds.len() < 2 {
            return Ok(());
        }
        f.write_str("free memory ")?;
        for (index, ((kind, registered), (_, free))) in kinds.into_iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let (free, registered) = (gibibytes(free), gibibytes(registered));
            write!(f, "{separator}{kind} {free:.1} of {registered:.1} GiB")?;
        }
        writeln!(f)
    }
}

impl fmt::Display for SlotOverview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "registered  {}", self.registered)?;
        self.write_kinds_of_memory(f)?;
        writeln!(f, "free        {}", self.free)?;
        writeln!(f, "blocked     {}", self.blocked)?;
        writeln!(f, "in flight   {}", self.in_flight)?;
        write!(f, "allocated   {}", self.allocated)
    }
}

impl Overview {
    /// Returns `true` if there is no task manager, no request that is not granted, and no promised
    /// slot or worker. A service that shuts down waits for it.
    ///
    /// ```
    /// use slot_manager::overview::Overview;
    ///
    /// assert!(Overview::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.task_managers + self.pending_requests + self.promised.slots + self.promised_dynamic_workers == 0
    }
}

impl fmt::Display for Overview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counters = &self.counters;
        let failed = &counters.requests_failed;
        write!(
            f,
            "task managers {} ({} blocked",
            self.task_managers, self.blocked_task_managers
        )?;
        if self.backing_off_task_managers > 0 {
            write!(f, ", {} backing off", self.backing_off_task_managers)?;
        }
        writeln!(f, ")")?;
        writeln!(f, "{}", self.slots)?;
        if self.dynamic_workers > 0 {
            writeln!(
                f,
                "dynamic     {} workers as {}",
                self.dynamic_workers, self.dynamic_total
            )?;
        }
        writeln!(
            f,
            "promised    {}, {} unbound",
            self.promised, self.unbound_promised_slots
        )?;
        if self.promised_dynamic_workers > 0 {
            writeln!(
                f,
                "promised    {} dynamic workers as {}",
                self.promised_dynamic_workers, self.promised_dynamic_total
            )?;
        }
        write!(f, "requests    pending {}", self.pending_requests)?;
        if self.suspect_jobs > 0 {
            write!(f, ", suspect jobs {}", self.suspect_jobs)?;
        }
        if self.declaring_jobs > 0 {
            write!(f, ", declaring jobs {}", self.declaring_jobs)?;
        }
        writeln!(
            f,
            "; so far accepted {}, served {}, cancelled {}, retried {}",
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
            "workers     requested {}, declined {}, withdrawn {}, failed {}; task managers released {}, refused {}",
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
