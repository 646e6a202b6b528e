//! The overview: all records in numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::overview::{Counters, Overview, Resources, SlotOverview, TaskManagerOverview};
use crate::{ResourceProfile, ScheduledExecutor, SlotManager, TaskExecutorGateway};

use crate::slot_manager::queries::views::TaskManagerRegistration;
use crate::slot_manager::state::slot_totals::SlotUsage;

/// Overviews.
impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> SlotManager<A, G, E> {
    /// Returns an overview of task managers, slots, promised slots and requests in numbers.
    ///
    /// The `Display` text of the overview is meant for operators.
    ///
    /// A service that publishes it can skip that while [`changes`](Self::changes) stays the same.
    ///
    /// Cost: O(distinct profiles of slots). It does not grow with slots or task managers.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::outcome::RegistrationOutcome;
    /// # use slot_manager::{
    /// #     InstanceId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig, SlotReport,
    /// #     SlotStatus, TaskExecutorConnection,
    /// # };
    /// # let time = ManualScheduledExecutor::new();
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), time.clone())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, gateway) = (InstanceId::from_u128(1), ScriptedGateway::new());
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, gateway);
    /// # let statuses = vec![SlotStatus::free(SlotId::new("worker-1", 0), profile.clone())];
    /// # let registered = manager.register_task_manager(connection, &SlotReport::new(statuses))?;
    /// # assert_eq!(registered, RegistrationOutcome::Registered);
    /// let overview = manager.overview();
    /// assert_eq!((overview.task_managers, overview.pending_requests), (1, 0));
    /// assert_eq!((overview.slots.free.slots, overview.slots.free.cpu_cores), (1, 1.0));
    /// println!("{overview}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn overview(&self) -> Overview {
        let core = &self.core;
        let mut slots = Sums::default();
        let mut promised = Sum::default();
        for (profile, totals) in core.slot_totals.profiles() {
            let profile = &core.profiles[profile];
            for usage in SlotUsage::ALL {
                slots.of(usage).add(totals.slots(usage), profile);
            }
            promised.add(totals.promised(), profile);
        }
        let mut dynamic = Sum::default();
        for (shape, workers) in core.dynamic_workers.shapes() {
            dynamic.add_workers(workers, shape.num_slots(&core.profiles), &core.profiles[shape.total]);
        }
        let mut promised_dynamic = Sum::default();
        for (_, worker) in core.promises.promised_workers() {
            let shape = worker.shape;
            promised_dynamic.add_workers(1, shape.num_slots(&core.profiles), &core.profiles[shape.total]);
        }
        let unbound_promised_slots = core.promises.num_unbound();
        Overview {
            task_managers: core.task_managers.records.len(),
            blocked_task_managers: core.blocking.task_managers.len(),
            backing_off_task_managers: core.failing_workers.num_backing_off(),
            slots: slots.into(),
            dynamic_workers: core.dynamic_workers.len(),
            dynamic_total: dynamic.into(),
            promised: promised.into(),
            bound_promised_slots: core.promises.len() - unbound_promised_slots,
            unbound_promised_slots,
            promised_dynamic_workers: core.promises.workers.len(),
            promised_dynamic_total: promised_dynamic.into(),
            pending_requests: core.requests.records.len(),
            suspect_jobs: core.requests.failing_jobs.num_suspects(),
            declaring_jobs: core.ledger.num_declaring(),
            counters: core.counters,
        }
    }

    /// Returns a number that grows when task managers, slots, requests, promised slots or their
    /// deadlines may have changed.
    ///
    /// While it stays the same, all views, explanations and the overview stay the same, and nothing
    /// needs to be published again. The usual heartbeat, a report that changes nothing, does not
    /// increase it. Neither does a duplicate, a refused or unknown input, a poll without events, or
    /// time alone.
    ///
    /// There are two exceptions. The [counters](Self::counters) of refused and stale inputs grow
    /// without it: they are cheap to read each time. A leadership with an end
    /// [ends](Self::is_leading) without it. A new leadership does not reset the number.
    ///
    /// The number may grow although a view of yours shows the same. Compare two
    /// [overviews](Self::overview) to see whether the numbers in them differ.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::outcome::{RegistrationOutcome, ReportOutcome};
    /// # use slot_manager::{
    /// #     InstanceId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig, SlotReport,
    /// #     SlotStatus, TaskExecutorConnection,
    /// # };
    /// # let time = ManualScheduledExecutor::new();
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), time.clone())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let (instance_id, gateway) = (InstanceId::from_u128(1), ScriptedGateway::new());
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, gateway);
    /// # let statuses = vec![SlotStatus::free(SlotId::new("worker-1", 0), ResourceProfile::ZERO)];
    /// # let report = SlotReport::new(statuses);
    /// let before = manager.changes();
    /// assert_eq!(manager.register_task_manager(connection, &report)?, RegistrationOutcome::Registered);
    /// let registered = manager.changes();
    /// assert!(registered > before);
    ///
    /// // A heartbeat: the report changes nothing.
    /// assert_eq!(manager.report_slot_status(instance_id, &report)?, ReportOutcome::Applied);
    /// assert_eq!(manager.changes(), registered);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn changes(&self) -> u64 {
        self.core.changes
    }

    /// Returns the counters of all events since the manager was created.
    pub fn counters(&self) -> Counters {
        self.core.counters
    }
}

impl TaskManagerRegistration<'_> {
    /// Returns an overview of the task manager and its slots in numbers.
    ///
    /// Cost: O(slots of the task manager).
    pub fn overview(&self) -> TaskManagerOverview {
        let mut slots = Sums::default();
        for (usage, profile) in self.uses() {
            slots.of(usage).add(1, profile);
        }
        TaskManagerOverview {
            resource_id: self.resource_id().clone(),
            instance_id: self.instance_id(),
            is_blocked: self.is_blocked(),
            backoff: self.backoff(),
            idle_since: self.idle_since(),
            slots: slots.into(),
        }
    }
}

/// The sum of the resources of some slots. Sums of 64-bit amounts of fewer than 2³² slots fit.
#[derive(Debug, Default)]
struct Sum<'a> {
    slots: usize,
    /// In units of 10⁻⁸ cores.
    cpu: u128,
    kinds_of_memory: [u128; 4],
    /// In units of 10⁻⁸.
    extended: BTreeMap<&'a Arc<str>, u128>,
}

impl<'a> Sum<'a> {
    /// Adds slots of one profile.
    fn add(&mut self, slots: usize, profile: &'a ResourceProfile) {
        if slots == 0 {
            return;
        }
        let times = slots as u128;
        self.slots += slots;
        self.cpu += u128::from(profile.cpu_units()) * times;
        for (sum, bytes) in self.kinds_of_memory.iter_mut().zip(profile.kinds_of_memory()) {
            *sum += u128::from(bytes) * times;
        }
        for (name, amount) in profile.extended_units() {
            *self.extended.entry(name).or_default() += u128::from(amount) * times;
        }
    }

    /// Adds workers of one total, each of which counts as `slots` slots.
    fn add_workers(&mut self, workers: usize, slots: usize, total: &'a ResourceProfile) {
        self.add(workers, total);
        self.slots = self.slots - workers + workers.saturating_mul(slots);
    }

    /// Adds another sum.
    fn merge(&mut self, other: &Self) {
        self.slots += other.slots;
        self.cpu += other.cpu;
        for (sum, bytes) in self.kinds_of_memory.iter_mut().zip(other.kinds_of_memory) {
            *sum += bytes;
        }
        for (name, amount) in &other.extended {
            *self.extended.entry(name).or_default() += amount;
        }
    }
}

impl From<Sum<'_>> for Resources {
    fn from(sum: Sum<'_>) -> Self {
        let bytes = |sum: u128| u64::try_from(sum).unwrap_or(u64::MAX);
        let [task_heap, task_off_heap, managed, network] = sum.kinds_of_memory;
        // The unit of extended resources is that of cores.
        let amount = ResourceProfile::cores_of_units;
        let extended = sum.extended.into_iter();
        Self {
            slots: sum.slots,
            cpu_cores: ResourceProfile::cores_of_units(sum.cpu),
            memory_bytes: bytes(sum.kinds_of_memory.iter().sum()),
            task_heap_memory_bytes: bytes(task_heap),
            task_off_heap_memory_bytes: bytes(task_off_heap),
            managed_memory_bytes: bytes(managed),
            network_memory_bytes: bytes(network),
            extended: extended
                .map(|(name, units)| (Arc::clone(name), amount(units)))
                .collect(),
        }
    }
}

/// The sums of registered slots by state.
#[derive(Debug, Default)]
struct Sums<'a> {
    free: Sum<'a>,
    blocked: Sum<'a>,
    in_flight: Sum<'a>,
    allocated: Sum<'a>,
}

impl<'a> Sums<'a> {
    fn of(&mut self, usage: SlotUsage) -> &mut Sum<'a> {
        match usage {
            SlotUsage::Free | SlotUsage::BackingOff => &mut self.free,
            SlotUsage::Blocked => &mut self.blocked,
            SlotUsage::InFlight => &mut self.in_flight,
            SlotUsage::Allocated => &mut self.allocated,
        }
    }
}

impl From<Sums<'_>> for SlotOverview {
    fn from(sums: Sums<'_>) -> Self {
        let Sums {
            free,
            blocked,
            in_flight,
            allocated,
        } = sums;
        let mut registered = Sum::default();
        for part in [&free, &blocked, &in_flight, &allocated] {
            registered.merge(part);
        }
        Self {
            registered: registered.into(),
            free: free.into(),
            blocked: blocked.into(),
            in_flight: in_flight.into(),
            allocated: allocated.into(),
        }
    }
}
