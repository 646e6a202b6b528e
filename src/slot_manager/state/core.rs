//! The state of the manager. The [rules](crate::slot_manager::rules) change it.

use std::collections::BTreeMap;

use crate::config::{Capacity, Measure};
use crate::outcome::AllocationStatus;
use crate::overview::Counters;
use crate::{AllocationId, LeaderId, SlotId, SlotManagerConfig, Timestamp, WorkerRequestId};

use crate::slot_manager::collections::arena::Arena;
use crate::slot_manager::collections::backoff_queues::BackoffQueues;
use crate::slot_manager::collections::deadline_list::SHORTEST_REARM;
use crate::slot_manager::collections::fingerprint_table::{Fingerprint, IdHasher};
use crate::slot_manager::state::allocations::{AllocationEntry, Allocations};
use crate::slot_manager::state::blocked::Blocking;
use crate::slot_manager::state::dynamic_workers::DynamicWorkers;
use crate::slot_manager::state::effects::Effects;
use crate::slot_manager::state::failing_workers::FailingWorkers;
use crate::slot_manager::state::free_slots::FreeSlotIndex;
use crate::slot_manager::state::profile_queues::Profiles;
use crate::slot_manager::state::promises::{Promises, WorkerRequestNumber};
use crate::slot_manager::state::recent_frees::RecentFrees;
use crate::slot_manager::state::releases::Releases;
use crate::slot_manager::state::requests::{PendingRequests, RequestPhase};
use crate::slot_manager::state::requirements::Ledger;
use crate::slot_manager::state::set_aside::SetAside;
use crate::slot_manager::state::slot_totals::SlotTotals;
use crate::slot_manager::state::slots::{SlotBackoff, SlotFailures, SlotKey, Slots};
use crate::slot_manager::state::superseded::SupersededInstances;
use crate::slot_manager::state::task_managers::TaskManagers;
use crate::slot_manager::state::transaction::Transaction;
use crate::slot_manager::state::worker_policy::WorkerPolicyState;

/// The state of the manager, without its collaborators.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: SlotManagerConfig,
    pub(crate) leader_id: Option<LeaderId>,
    /// The time when the leadership ends by itself.
    pub(crate) leads_until: Timestamp,
    /// The time of the present call.
    pub(crate) now: Timestamp,
    /// The earliest time at which a deadline armed in the present call may fall due.
    pub(crate) earliest_rearm: Timestamp,
    /// The earliest of the deadlines computed since the delay of the driving task was armed; `MAX` if
    /// there were none. Some may be over by now.
    pub(crate) earliest_new_deadline: Timestamp,
    pub(crate) profiles: Profiles,
    pub(crate) slots: Slots,
    pub(crate) free_slots: FreeSlotIndex,
    /// The slots whose last attempt failed: usually few.
    pub(crate) slot_failures: BTreeMap<SlotKey, SlotFailures>,
    pub(crate) slot_backoffs: BackoffQueues<SlotBackoff, SlotKey>,
    pub(crate) failing_workers: FailingWorkers,
    pub(crate) requests: PendingRequests,
    pub(crate) ledger: Ledger,
    pub(crate) allocations: Allocations,
    pub(crate) task_managers: TaskManagers,
    pub(crate) dynamic_workers: DynamicWorkers,
    pub(crate) set_aside: SetAside,
    pub(crate) superseded: SupersededInstances,
    pub(crate) promises: Promises,
    pub(crate) recent_frees: RecentFrees,
    pub(crate) slot_totals: SlotTotals,
    pub(crate) blocking: Blocking,
    pub(crate) releases: Releases,
    pub(crate) worker_policy: WorkerPolicyState,
    pub(crate) counters: Counters,
    /// A number that grows when the queries may show something else.
    pub(crate) changes: u64,
    pub(crate) effects: Effects,
    /// Work that the present transaction leaves for its commit; empty between transactions.
    pub(crate) transaction: Transaction,
    /// The number of the last attempt.
    ///
    /// Counters of 64 bits do not overflow: at a billion steps a second that takes 584 years.
    /// Counters of 32 bits saturate, or count records.
    pub(crate) attempts: u64,
    /// The number of the last worker request; not reset by a new leadership.
    pub(crate) worker_requests: u64,
    /// The number of the last unit of declared requirements; not reset by a new leadership.
    pub(crate) units: u64,
}

impl Core {
    pub(crate) fn new(config: SlotManagerConfig) -> Self {
        let hasher = IdHasher::new(config.hash_seed);
        let slot_order = config.slot_matching_strategy.slot_order();
        Self {
            leader_id: None,
            leads_until: Timestamp::MAX,
            now: Timestamp::ZERO,
            earliest_rearm: Timestamp::ZERO,
            earliest_new_deadline: Timestamp::MAX,
            profiles: Profiles::with_hasher(hasher.clone()),
            slots: Arena::new(),
            free_slots: FreeSlotIndex::new(&config.slot_matching_strategy, slot_order),
            slot_failures: BTreeMap::new(),
            slot_backoffs: BackoffQueues::new(config.retry_backoff, config.max_retry_backoff),
            failing_workers: FailingWorkers::default(),
            requests: PendingRequests::new(&config, &hasher),
            ledger: Ledger::new(&hasher),
            allocations: Allocations::new(hasher.clone()),
            task_managers: TaskManagers::new(&hasher),
            dynamic_workers: DynamicWorkers::new(&config.slot_matching_strategy, slot_order),
            set_aside: SetAside::new(config.reservation_delay),
            superseded: SupersededInstances::default(),
            promises: Promises::new(),
            recent_frees: RecentFrees::default(),
            slot_totals: SlotTotals::new(Measure::new(
                config.workers.as_ref().map(|workers| &workers.description),
            )),
            blocking: Blocking::default(),
            releases: Releases::new(),
            worker_policy: WorkerPolicyState::new(&config),
            counters: Counters::default(),
            changes: 0,
            effects: Effects::default(),
            transaction: Transaction::default(),
            attempts: 0,
            worker_requests: 0,
            units: 0,
            config,
        }
    }

    /// Reserves the memory that the configuration asks for.
    pub(crate) fn reserve(&mut self) {
        let Capacity {
            task_managers,
            slots,
            pending_requests,
        } = self.config.initial_capacity;
        self.task_managers.reserve(task_managers);
        self.slots.reserve(slots);
        self.requests.records.reserve(pending_requests);
        self.allocations.reserve(slots + pending_requests);
    }

    /// Ends a leadership. The configuration, later changes to it, blocked workers, the time, the
    /// counters and the last numbers used stay.
    pub(crate) fn clear(&mut self) {
        self.changes += 1;
        self.leader_id = None;
        self.leads_until = Timestamp::MAX;
        self.profiles.clear();
        self.slots.clear();
        self.free_slots.clear();
        self.slot_failures.clear();
        self.slot_backoffs.clear();
        self.failing_workers.clear();
        self.requests.clear();
        self.ledger.clear();
        self.allocations.clear();
        self.task_managers.clear();
        self.dynamic_workers.clear();
        self.set_aside.clear();
        self.superseded.clear();
        self.promises.clear();
        self.recent_frees.clear();
        self.slot_totals.clear();
        self.blocking.clear();
        self.releases.clear();
        self.worker_policy.clear();
        self.effects.clear();
        self.transaction = Transaction::default();
    }

    /// Returns `true` from the start to the end of a leadership, as of the time of the present
    /// call.
    #[inline]
    pub(crate) fn is_leading(&self) -> bool {
        self.leader_id.is_some() && self.holds_lease()
    }

    /// Returns `true` until the lease ends, as of the time of the present call. It does not look for a
    /// leader.
    #[inline]
    pub(crate) fn holds_lease(&self) -> bool {
        self.now < self.leads_until || self.leads_until == Timestamp::MAX
    }

    /// Begins an input. It handles no due deadlines, and arms new ones exactly as configured.
    #[inline]
    pub(crate) fn begin_input(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.earliest_rearm = Timestamp::ZERO;
    }

    /// Begins a round of progress, which handles the deadlines due at `now`.
    pub(crate) fn begin_round(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.earliest_rearm = self.now + SHORTEST_REARM;
    }

    /// Returns the deadline of a timer that is armed now for `length`.
    #[inline]
    pub(crate) fn deadline_in(&mut self, length: std::time::Duration) -> Timestamp {
        let deadline = (self.now + length).max(self.earliest_rearm);
        self.note_new_deadline(deadline);
        deadline
    }

    /// Notes a deadline for which the driving task may have to be woken.
    #[inline]
    pub(crate) fn note_new_deadline(&mut self, deadline: Timestamp) {
        self.earliest_new_deadline = self.earliest_new_deadline.min(deadline);
    }

    #[inline]
    pub(crate) fn slot_id(&self, slot: SlotKey) -> SlotId {
        let slot = &self.slots[slot];
        SlotId::new(
            self.task_managers.records[slot.task_manager].resource_id.clone(),
            slot.number,
        )
    }

    /// Returns the id of a worker request of this leadership.
    pub(crate) fn worker_request_id(&self, number: WorkerRequestNumber) -> WorkerRequestId {
        // Worker requests exist only while there is a leader.
        let leader_id = self.leader_id.unwrap_or(LeaderId::from_u128(0));
        WorkerRequestId::new(leader_id, number)
    }

    /// Returns the number of a worker request; `None` if it is of another leadership.
    pub(crate) fn number_of(&self, worker_request: WorkerRequestId) -> Option<WorkerRequestNumber> {
        (self.leader_id == Some(worker_request.leader_id())).then_some(worker_request.number())
    }

    pub(crate) fn find_slot(&self, slot_id: &SlotId) -> Option<SlotKey> {
        let task_manager = self.task_managers.by_resource(slot_id.resource_id())?;
        self.task_managers.records[task_manager].slot(slot_id.slot_number())
    }

    #[inline]
    pub(crate) fn find_allocation(&self, id: AllocationId) -> Option<AllocationEntry> {
        self.find_allocation_by(self.allocations.fingerprint(id), &id)
    }

    /// Finds an allocation that the present call is about to change or remove.
    #[inline(always)]
    pub(crate) fn locate_allocation(&mut self, id: AllocationId) -> Option<AllocationEntry> {
        self.allocations.locate(id, &self.requests.records, &self.slots)
    }

    #[inline(always)]
    pub(crate) fn find_allocation_by(&self, fingerprint: Fingerprint, id: &AllocationId) -> Option<AllocationEntry> {
        self.allocations
            .find(fingerprint, id, &self.requests.records, &self.slots)
    }

    pub(crate) fn status_of(&self, entry: AllocationEntry) -> AllocationStatus {
        match entry {
            AllocationEntry::Granted(slot) => AllocationStatus::Granted {
                slot_id: self.slot_id(slot),
            },
            AllocationEntry::Pending(request) => match self.requests.records[request].phase {
                RequestPhase::InFlight(slot) => AllocationStatus::InFlight {
                    slot_id: self.slot_id(slot),
                },
                _ => AllocationStatus::Waiting,
            },
        }
    }
}
