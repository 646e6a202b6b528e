//! Matching: the choice of a free slot for a request.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::ResourceProfile;

/// The rule that chooses one of the free slots that fit a request.
///
/// All strategies compare one candidate for each distinct profile among the free slots, and never
/// look at each slot. A slot that becomes free has no choice: it goes to the oldest waiting request
/// that it fits. Requests that were tried on its worker, and requests of suspect jobs, come after
/// others.
///
/// # Dynamic workers
///
/// A free slot that fits goes before a slot that is cut from a
/// [dynamic worker](crate::SlotReport::of_dynamic). Among dynamic workers that fit, a strategy
/// chooses by their places or by their used shares:
///
/// - The place of a worker is the lowest that was vacant when it registered.
/// - The used share is that of the resource of which the largest share is used. Used are the cuts,
///   and what the worker says it has not left. A resource of which the total has nothing does not
///   count, and nothing is used of [`ANY`](ResourceProfile::ANY).
/// - Shares count in 64ths, rounded down, and a full worker as one with 63. Ties go to the lowest
///   place.
///
/// ```
/// use slot_manager::matching::SlotMatchingStrategy;
/// use slot_manager::SlotManagerConfig;
///
/// let config = SlotManagerConfig::default().with_slot_matching_strategy(SlotMatchingStrategy::BestFit);
/// assert_eq!(config.slot_matching_strategy, SlotMatchingStrategy::BestFit);
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum SlotMatchingStrategy {
    /// Chooses the slot that has been free for the longest time.
    ///
    /// Dynamic workers: the one with the lowest place, so that the first ones fill up and the last ones
    /// become idle.
    ///
    /// Cost: O(distinct profiles among the free slots).
    #[default]
    FirstFit,
    /// Chooses a slot of the profile that exceeds the request by the least.
    ///
    /// The surplus of extended resources counts first (the sum of all), then that of memory (all
    /// kinds), then that of cores. Ties go to the slot that has been free for the longest time.
    /// This keeps large slots, and slots with accelerators, for the requests that need them.
    ///
    /// Dynamic workers: as `MostUtilization`. What remains of a worker after a cut differs from what
    /// remains before it by the same resources for each worker.
    ///
    /// Cost: as `FirstFit`.
    BestFit,
    /// Chooses a slot of the task manager with the smallest share of used slots.
    ///
    /// Ties go to the slot that has been free for the longest time. This spreads the load evenly
    /// over the task managers that are registered at the time (FLINK-12122).
    ///
    /// Dynamic workers: the one with the smallest used share.
    ///
    /// Cost: as `FirstFit`. Each slot that becomes used or unused adds O(log task managers) for
    /// each distinct profile among the free slots of its task manager.
    LeastUtilization,
    /// Chooses a slot of the task manager with the largest share of used slots.
    ///
    /// Ties go to the slot that has been free for the longest time. This packs the load, so that
    /// task managers become idle and can be released (FLINK-37412).
    ///
    /// Dynamic workers: the one with the largest used share.
    ///
    /// Cost: as `LeastUtilization`.
    MostUtilization,
    /// Chooses by a strategy of your own.
    ///
    /// Dynamic workers: the first in its [order](SlotMatching::order), by place for
    /// [`SlotOrder::Free`]. It never compares them.
    Custom(Arc<dyn SlotMatching + Send + Sync>),
}

impl SlotMatchingStrategy {
    /// Returns the order in which slots of one profile are taken. It asks a strategy of the user.
    pub(crate) fn slot_order(&self) -> SlotOrder {
        match self {
            Self::FirstFit | Self::BestFit => SlotOrder::Free,
            Self::LeastUtilization => SlotOrder::LeastUtilized,
            Self::MostUtilization => SlotOrder::MostUtilized,
            Self::Custom(own) => own.order(),
        }
    }
}

/// Compares two strategies. Custom strategies are equal if they share one value.
impl PartialEq for SlotMatchingStrategy {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Custom(own), Self::Custom(other)) => Arc::ptr_eq(own, other),
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl Eq for SlotMatchingStrategy {}

/// A matching strategy of your own, over the index of free slots.
///
/// The index keeps the free slots of each profile in one [order](Self::order). For a request, the
/// first slot of each profile that fits is a [`Candidate`]. The strategy compares two candidates.
///
/// The comparison must be a pure function of its arguments. It must also be an order: if a is
/// better than b and b is better than c, a is better than c. Otherwise the chosen slot may not be
/// the best.
///
/// # Example
///
/// A strategy that chooses the slot with the most cores:
///
/// ```
/// use std::cmp::Ordering;
/// use std::sync::Arc;
///
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// use slot_manager::matching::{Candidate, SlotMatching, SlotMatchingStrategy};
/// use slot_manager::outcome::{AllocationStatus, RegistrationOutcome, SlotRequestOutcome};
/// use slot_manager::{
///     AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig,
///     SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection,
/// };
///
/// #[derive(Debug)]
/// struct MostCores;
///
/// impl SlotMatching for MostCores {
///     fn compare(&self, _: &ResourceProfile, a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
///         let cores = |candidate: &Candidate<'_>| candidate.resource_profile.cpu_cores().unwrap_or(f64::INFINITY);
///         // The better candidate is the lesser one.
///         cores(b).total_cmp(&cores(a))
///     }
/// }
///
/// let strategy = SlotMatchingStrategy::Custom(Arc::new(MostCores));
/// let config = SlotManagerConfig::default().with_slot_matching_strategy(strategy);
/// let mut manager = SlotManager::new(config, ManualScheduledExecutor::new())?;
/// manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
///
/// let small = ResourceProfile::builder().cpu_cores(1.0).build()?;
/// let large = ResourceProfile::builder().cpu_cores(8.0).build()?;
/// let report = SlotReport::new(vec![
///     SlotStatus::free(SlotId::new("worker-1", 0), small.clone()),
///     SlotStatus::free(SlotId::new("worker-1", 1), large),
/// ]);
/// let connection = TaskExecutorConnection::new("worker-1", InstanceId::from_u128(1), ScriptedGateway::new());
/// assert_eq!(manager.register_task_manager(connection, &report)?, RegistrationOutcome::Registered);
///
/// let request = SlotRequest::new(JobId::from_u128(7), AllocationId::from_u128(1), small, "job-master-7");
/// let granted = AllocationStatus::Granted { slot_id: SlotId::new("worker-1", 1) };
/// assert_eq!(manager.register_slot_request(request)?, SlotRequestOutcome::Accepted(granted));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait SlotMatching: fmt::Debug {
    /// Returns the order in which the index keeps the free slots of one profile.
    ///
    /// The manager calls this once, when it is created. The default is the order in which the slots
    /// became free.
    fn order(&self) -> SlotOrder {
        SlotOrder::Free
    }

    /// Compares two candidates of different profiles for a request. The better candidate is the
    /// lesser one.
    ///
    /// Of equal candidates, the manager takes the slot that has been free for longer.
    fn compare(&self, required: &ResourceProfile, a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering;
}

/// The order in which the free slots of one profile are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotOrder {
    /// The order in which the slots became free.
    ///
    /// Cost: O(1) for each slot that becomes used or unused.
    Free,
    /// The order of the share of used slots of their task manager, the smallest first. Slots with
    /// equal shares are in the order in which they became free.
    ///
    /// Cost: O(log task managers) for each slot that becomes used or unused.
    LeastUtilized,
    /// The order of the share of used slots of their task manager, the largest first. Slots with
    /// equal shares are in the order in which they became free.
    ///
    /// Cost: as `LeastUtilized`.
    MostUtilized,
}

/// The first free slot of a profile that fits the request.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// The resources of the slot.
    pub resource_profile: &'a ResourceProfile,
    /// The share of used slots of its task manager, as a fraction of 2³². It is zero if the order
    /// of the index is [`Free`](SlotOrder::Free).
    pub utilization: u64,
    /// A number that grows with every slot that becomes free: the smaller it is, the longer the
    /// slot has been free.
    pub free_order: u64,
}
