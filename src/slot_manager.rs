//! The manager: the struct, and the flow of an input.
//!
//! | module | role |
//! |---|---|
//! | [`life_cycle`] | start, end and suspension of a leadership |
//! | [`inputs`] | the events that callers tell the manager |
//! | [`driving`] | progress: answers and time |
//! | [`queries`] | views, pages, overview and explanations |
//! | [`state`] | the data |
//! | [`rules`] | the transitions of the data |
//! | [`outside`] | the calls of the embedder's traits |
//! | [`collections`] | data structures that know no slot |
//! | [`invariants`] | the conditions between two calls |

use crate::error::NotStarted;
use crate::{LeaderId, ResourceManagerActions, ScheduledExecutor, TaskExecutorGateway};

// In the order in which the documentation lists their methods.
mod life_cycle;

mod inputs;

mod driving;

pub(crate) mod queries;

mod collections;
pub(crate) mod invariants;
mod outside;
mod rules;
mod state;

use self::outside::driver::Driver;
use self::state::core::Core;

/// Decides which slot serves which request.
///
/// It owns the view of all task managers, their slots and all ungranted requests. Call an input for
/// every event, and drive it with [`progress`](Self::progress) in an async task or
/// [`run_until_stalled`](Self::run_until_stalled) without one. The [crate documentation](crate) has
/// the loop.
///
/// Inputs run to completion: when one returns, its effects have left through the traits, in a fixed
/// order. Inputs never act on time.
///
/// # Cost
///
/// Looking up an id is O(1) and not repeated below. *Matching* costs one comparison for each
/// distinct profile among the free slots or the waiting requests. In a steady state the manager
/// allocates no memory for requests, answers, cancellations, freed slots and unchanged reports.
/// Growing a table rehashes it, see [`Capacity`](crate::config::Capacity). The memory of a peak is
/// freed once the table is empty, and that of distinct profiles as they go.
///
/// With limits or reserves, each call that changes something also reconciles:
///
/// - O(1) if there is nothing to do.
/// - O(slots of one task manager + blocked task managers) while idle task managers are kept.
/// - O(log n) for each deferred worker request.
/// - O(distinct profiles of waiting requests x distinct profiles of slots) when the last slot of a
///   profile goes and unfulfillable requests fail.
///
/// # Example
///
/// ```
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
/// use slot_manager::{
///     AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig,
///     SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection,
/// };
///
/// let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
/// manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
///
/// let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
/// let slot_id = SlotId::new("worker-1", 0);
/// manager.register_task_manager(
///     TaskExecutorConnection::new("worker-1", InstanceId::from_u128(1), ScriptedGateway::new()),
///     &SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]),
/// )?;
///
/// let request = SlotRequest::new(JobId::from_u128(7), AllocationId::from_u128(1), profile, "job-master-7");
/// let outcome = manager.register_slot_request(request)?;
/// assert_eq!(outcome, SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SlotManager<A, G: TaskExecutorGateway, E: ScheduledExecutor> {
    core: Core,
    driver: Driver<A, G, E>,
}

impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// Begins an input: takes the time, and refuses to run without a leadership.
    #[inline(always)]
    fn begin_input(&mut self) -> Result<LeaderId, NotStarted> {
        let leader_id = self.core.leader_id.ok_or(NotStarted)?;
        self.core.begin_input(self.driver.now());
        match self.core.holds_lease() {
            true => Ok(leader_id),
            false => Err(NotStarted),
        }
    }

    /// Notes a change, flushes the effects of an input, reconciles, and wakes the driving task if
    /// it has more to do.
    #[inline(always)]
    fn finish_input(&mut self) {
        self.core.changes += 1;
        self.finish_unchanged_input();
    }

    /// Finishes an input that has noted its changes itself, or changed nothing.
    #[inline(always)]
    fn finish_unchanged_input(&mut self) {
        self.driver.flush_and_reconcile(&mut self.core);
        self.driver.wake_after_input(&mut self.core);
    }
}

impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> std::fmt::Debug for SlotManager<A, G, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlotManager")
            .field("leader_id", &self.core.leader_id)
            .field("task_managers", &self.core.task_managers.records.len())
            .field("slots", &self.core.slot_counts())
            .field("pending_slot_requests", &self.core.requests.records.len())
            .field("promised_slots", &self.core.promises.len())
            .finish_non_exhaustive()
    }
}
