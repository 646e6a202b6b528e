//! Gauges: the numbers of an overview by name, for metrics.

use super::{Overview, Resources, SlotOverview};

/// The number of gauges of one state of slots.
const GAUGES_OF_SLOTS: usize = 7;

/// Returns the gauges of the slots in one state.
macro_rules! gauges_of_slots {
    ($resources:expr, $state:literal) => {{
        // A new field does not compile without a gauge. Extended resources have their own.
        let Resources {
            slots,
            cpu_cores,
            memory_bytes,
            task_heap_memory_bytes,
            task_off_heap_memory_bytes,
            managed_memory_bytes,
            network_memory_bytes,
            extended: _,
        } = $resources;
        let gauges: [(&'static str, f64); GAUGES_OF_SLOTS] = [
            (concat!("slots_", $state), *slots as f64),
            (concat!("cpu_cores_", $state), *cpu_cores),
            (concat!("memory_bytes_", $state), *memory_bytes as f64),
            (
                concat!("task_heap_memory_bytes_", $state),
                *task_heap_memory_bytes as f64,
            ),
            (
                concat!("task_off_heap_memory_bytes_", $state),
                *task_off_heap_memory_bytes as f64,
            ),
            (concat!("managed_memory_bytes_", $state), *managed_memory_bytes as f64),
            (concat!("network_memory_bytes_", $state), *network_memory_bytes as f64),
        ];
        gauges
    }};
}

impl Overview {
    /// Returns all numbers that rise and fall, with their names, in a fixed order.
    ///
    /// The names fit Prometheus, behind a prefix of your own. Cores may have a fraction, so all
    /// values are `f64`. [`extended_gauges`](Self::extended_gauges) has the extended resources, and
    /// [`Counters::iter`](super::Counters::iter) the numbers that only grow.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{SlotManager, SlotManagerConfig};
    /// # let executor = ManualScheduledExecutor::new();
    /// # let manager = SlotManager::<RecordingActions, ScriptedGateway, _>::new(SlotManagerConfig::default(), executor)?;
    /// let overview = manager.overview();
    /// let mut page = String::new();
    /// for (name, value) in overview.gauges() {
    ///     page.push_str(&format!("slot_manager_{name} {value}\n"));
    /// }
    /// assert!(page.contains("slot_manager_slots_free 0\n"));
    /// assert!(page.contains("slot_manager_memory_bytes_allocated 0\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn gauges(&self) -> impl Iterator<Item = (&'static str, f64)> {
        // A new field does not compile without an entry.
        let Self {
            task_managers,
            blocked_task_managers,
            backing_off_task_managers,
            slots,
            promised,
            bound_promised_slots,
            unbound_promised_slots,
            pending_requests,
            suspect_jobs,
            counters: _,
        } = self;
        let SlotOverview {
            registered,
            free,
            blocked,
            in_flight,
            allocated,
        } = slots;
        let records = [
            ("task_managers", *task_managers),
            ("task_managers_blocked", *blocked_task_managers),
            ("task_managers_backing_off", *backing_off_task_managers),
            ("promised_slots_bound", *bound_promised_slots),
            ("promised_slots_unbound", *unbound_promised_slots),
            ("requests_pending", *pending_requests),
            ("jobs_suspect", *suspect_jobs),
        ];
        let slots = [
            gauges_of_slots!(registered, "registered"),
            gauges_of_slots!(free, "free"),
            gauges_of_slots!(blocked, "blocked"),
            gauges_of_slots!(in_flight, "in_flight"),
            gauges_of_slots!(allocated, "allocated"),
            gauges_of_slots!(promised, "promised"),
        ];
        let records = records.into_iter().map(|(name, number)| (name, number as f64));
        records.chain(slots.into_iter().flatten())
    }

    /// Returns the amounts of extended resources: the name of the gauge, the name of the resource,
    /// and the value.
    ///
    /// The name of a resource can be any text, so it fits a label and not the name of a metric.
    /// Each resource of a registered slot has a value for every state of registered slots, also
    /// zero.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::outcome::RegistrationOutcome;
    /// # use slot_manager::{
    /// #     InstanceId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig, SlotReport, SlotStatus,
    /// #     TaskExecutorConnection,
    /// # };
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// let profile = ResourceProfile::builder().extended_resource("gpu", 2.0).build()?;
    /// let report = SlotReport::new(vec![SlotStatus::free(SlotId::new("worker-1", 0), profile)]);
    /// # let connection = TaskExecutorConnection::new("worker-1", InstanceId::from_u128(1), ScriptedGateway::new());
    /// assert_eq!(manager.register_task_manager(connection, &report)?, RegistrationOutcome::Registered);
    ///
    /// let overview = manager.overview();
    /// let free = overview.extended_gauges().find(|(gauge, ..)| *gauge == "extended_resource_free");
    /// assert_eq!(free, Some(("extended_resource_free", "gpu", 2.0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn extended_gauges(&self) -> impl Iterator<Item = (&'static str, &str, f64)> {
        let SlotOverview {
            registered,
            free,
            blocked,
            in_flight,
            allocated,
        } = &self.slots;
        let of_registered = [
            ("extended_resource_registered", registered),
            ("extended_resource_free", free),
            ("extended_resource_blocked", blocked),
            ("extended_resource_in_flight", in_flight),
            ("extended_resource_allocated", allocated),
        ];
        let of_registered = of_registered.into_iter().flat_map(move |(gauge, resources)| {
            let amount = |name: &str| resources.extended.get(name).copied().unwrap_or_default();
            registered
                .extended
                .keys()
                .map(move |name| (gauge, &**name, amount(name)))
        });
        let of_promised = self.promised.extended.iter();
        of_registered.chain(of_promised.map(|(name, amount)| ("extended_resource_promised", &**name, *amount)))
    }
}
