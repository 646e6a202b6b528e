//! Gauges: the numbers of an overview by name, for metrics.

use super::{Metric, Overview, Resources, SlotOverview};

/// The number of gauges of one state of slots.
const GAUGES_OF_SLOTS: usize = 7;

/// Returns the gauges of the slots in one state, which the last argument describes.
macro_rules! gauges_of_slots {
    ($resources:expr, $state:literal, $slots:literal) => {{
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
        let gauges: [Metric<f64>; GAUGES_OF_SLOTS] = [
            Metric::new(concat!("slots_", $state), $slots, *slots as f64),
            Metric::new(concat!("cpu_cores_", $state), concat!("Cores: ", $slots), *cpu_cores),
            Metric::new(
                concat!("memory_bytes_", $state),
                concat!("Memory of all kinds: ", $slots),
                *memory_bytes as f64,
            ),
            Metric::new(
                concat!("task_heap_memory_bytes_", $state),
                concat!("Task heap memory: ", $slots),
                *task_heap_memory_bytes as f64,
            ),
            Metric::new(
                concat!("task_off_heap_memory_bytes_", $state),
                concat!("Task off-heap memory: ", $slots),
                *task_off_heap_memory_bytes as f64,
            ),
            Metric::new(
                concat!("managed_memory_bytes_", $state),
                concat!("Managed memory: ", $slots),
                *managed_memory_bytes as f64,
            ),
            Metric::new(
                concat!("network_memory_bytes_", $state),
                concat!("Network memory: ", $slots),
                *network_memory_bytes as f64,
            ),
        ];
        gauges
    }};
}

impl Overview {
    /// Returns all numbers that rise and fall, in a fixed order.
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
    /// for gauge in overview.gauges() {
    ///     page.push_str(&format!("slot_manager_{} {}\n", gauge.name, gauge.value));
    /// }
    /// assert!(page.contains("slot_manager_slots_free 0\n"));
    /// assert!(page.contains("slot_manager_memory_bytes_allocated 0\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn gauges(&self) -> impl Iterator<Item = Metric<f64>> {
        // A new field does not compile without an entry.
        let Self {
            task_managers,
            blocked_task_managers,
            backing_off_task_managers,
            slots,
            dynamic_workers,
            dynamic_total,
            promised,
            bound_promised_slots,
            unbound_promised_slots,
            promised_dynamic_workers,
            promised_dynamic_total,
            pending_requests,
            suspect_jobs,
            declaring_jobs,
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
            Metric::new("task_managers", "Registered task managers", *task_managers as f64),
            Metric::new(
                "task_managers_blocked",
                "Registered task managers whose worker is blocked",
                *blocked_task_managers as f64,
            ),
            Metric::new(
                "task_managers_backing_off",
                "Task managers that back off after failed attempts",
                *backing_off_task_managers as f64,
            ),
            Metric::new(
                "dynamic_workers",
                "Task managers from which slots are cut",
                *dynamic_workers as f64,
            ),
            Metric::new(
                "promised_slots_bound",
                "Promised slots with a bound request",
                *bound_promised_slots as f64,
            ),
            Metric::new(
                "promised_slots_unbound",
                "Promised slots without a bound request",
                *unbound_promised_slots as f64,
            ),
            Metric::new(
                "promised_dynamic_workers",
                "Promised workers from which slots will be cut",
                *promised_dynamic_workers as f64,
            ),
            Metric::new(
                "requests_pending",
                "Slot requests that are not granted",
                *pending_requests as f64,
            ),
            Metric::new(
                "jobs_suspect",
                "Jobs of which attempts for two requests failed in a row",
                *suspect_jobs as f64,
            ),
            Metric::new(
                "jobs_declaring",
                "Jobs that declare their requirements",
                *declaring_jobs as f64,
            ),
        ];
        let slots = [
            gauges_of_slots!(registered, "registered", "Registered slots"),
            gauges_of_slots!(free, "free", "Free slots"),
            gauges_of_slots!(blocked, "blocked", "Free slots of blocked task managers"),
            gauges_of_slots!(in_flight, "in_flight", "Slots that were requested and not answered"),
            gauges_of_slots!(allocated, "allocated", "Allocated slots"),
            gauges_of_slots!(promised, "promised", "Promised slots"),
            gauges_of_slots!(dynamic_total, "dynamic", "Dynamic workers in total"),
            gauges_of_slots!(
                promised_dynamic_total,
                "promised_dynamic",
                "Promised dynamic workers in total"
            ),
        ];
        records.into_iter().chain(slots.into_iter().flatten())
    }

    /// Returns the amounts of extended resources, each with the name of the resource.
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
    /// let mut gauges = overview.extended_gauges();
    /// let free = gauges.find(|(_, gauge)| gauge.name == "extended_resource_free");
    /// assert_eq!(free.map(|(resource, gauge)| (resource, gauge.value)), Some(("gpu", 2.0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn extended_gauges(&self) -> impl Iterator<Item = (&str, Metric<f64>)> {
        let SlotOverview {
            registered,
            free,
            blocked,
            in_flight,
            allocated,
        } = &self.slots;
        let of_registered = [
            (
                "extended_resource_registered",
                "An amount in registered slots",
                registered,
            ),
            ("extended_resource_free", "An amount in free slots", free),
            (
                "extended_resource_blocked",
                "An amount in free slots of blocked task managers",
                blocked,
            ),
            (
                "extended_resource_in_flight",
                "An amount in slots that were requested and not answered",
                in_flight,
            ),
            ("extended_resource_allocated", "An amount in allocated slots", allocated),
        ];
        let of_registered = of_registered.into_iter().flat_map(move |(gauge, help, resources)| {
            let amount = |name: &str| resources.extended.get(name).copied().unwrap_or_default();
            let names = registered.extended.keys();
            names.map(move |name| (&**name, Metric::new(gauge, help, amount(name))))
        });
        let of_promised = self.promised.extended.iter().map(|(name, amount)| {
            let gauge = Metric::new("extended_resource_promised", "An amount in promised slots", *amount);
            (&**name, gauge)
        });
        of_registered.chain(of_promised)
    }
}
