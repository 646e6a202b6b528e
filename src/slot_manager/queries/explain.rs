//! Why a request waits.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    AllocationId, Explanation, FittingSlots, RequestExplanation, ResourceProfile, ScheduledExecutor, SlotManager,
    TaskExecutorGateway, TooSmallSlots, WaitReason,
};

use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::requests::{RequestKey, RequestPhase, WorkerAsk};
use crate::slot_manager::state::slot_totals::SlotUsage;

/// Explanations.
impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> SlotManager<A, G, E> {
    /// What an allocation is doing, and if it waits, why; `None` if it is not known. O(distinct profiles of slots).
    pub fn explain(&self, allocation_id: AllocationId) -> Option<Explanation> {
        let core = &self.core;
        let holder = core.find_allocation(allocation_id)?;
        let (job_id, request) = match holder {
            AllocationEntry::Pending(request) => (
                core.requests.records[request].job_id,
                Some(core.explain_request(request)),
            ),
            AllocationEntry::Granted(slot) => (core.slots[slot].allocation()?.job, None),
        };
        Some(Explanation {
            allocation_id,
            job_id,
            status: core.status_of(holder),
            request,
        })
    }
}

impl Core {
    fn explain_request(&self, request: RequestKey) -> RequestExplanation {
        let record = &self.requests.records[request];
        let required = &self.profiles[record.profile];
        let mut explanation = RequestExplanation {
            resource_profile: required.clone(),
            fails_at: record.deadline,
            failed_attempts: record.failed_attempts,
            last_failure: record.last_failure.as_deref().cloned(),
            waits_for: self.waits_for(request),
            fitting: FittingSlots::default(),
            too_small: TooSmallSlots::default(),
            fitting_promised_slots: 0,
            too_small_promised_slots: 0,
        };
        self.count_slots(required, &mut explanation);
        explanation
    }

    /// Counts the slots that fit, and those that do not.
    fn count_slots(&self, required: &ResourceProfile, explanation: &mut RequestExplanation) {
        let mut slots_short_of = BTreeMap::new();
        for (key, counts) in self.slot_totals.profiles() {
            let profile = &self.profiles[key];
            if profile.is_matching(required) {
                let fitting = &mut explanation.fitting;
                fitting.allocated += counts.slots(SlotUsage::Allocated);
                fitting.in_flight += counts.slots(SlotUsage::InFlight);
                fitting.blocked += counts.slots(SlotUsage::Blocked);
                fitting.backing_off += counts.slots(SlotUsage::BackingOff);
                fitting.free += counts.slots(SlotUsage::Free);
                explanation.fitting_promised_slots += counts.promised();
                continue;
            }
            let registered = counts.registered();
            explanation.too_small.slots += registered;
            explanation.too_small_promised_slots += counts.promised();
            // An extended resource may have the name of another one: a slot counts once for each name.
            let shortages: BTreeSet<_> = profile.shortages(required).filter(|_| registered > 0).collect();
            for resource in shortages {
                *slots_short_of.entry(resource).or_insert(0) += registered;
            }
        }
        let slots_short_of = slots_short_of
            .into_iter()
            .map(|(resource, slots)| (resource.to_owned(), slots));
        explanation.too_small.shortages = slots_short_of.collect();
        // Stable: equal numbers stay in the order of names.
        explanation
            .too_small
            .shortages
            .sort_by_key(|(_, slots)| std::cmp::Reverse(*slots));
    }

    fn waits_for(&self, request: RequestKey) -> WaitReason {
        let record = &self.requests.records[request];
        match record.phase {
            RequestPhase::InFlight(slot) => WaitReason::Answer {
                slot_id: self.slot_id(slot),
                until: record.timer,
            },
            RequestPhase::BackingOff { .. } => WaitReason::Backoff { until: record.timer },
            RequestPhase::Bound(promise) => {
                let promise = &self.promises.records[promise];
                let worker = &self.promises.worker_requests[promise.worker_request];
                WaitReason::PromisedWorker {
                    worker_request: worker.id,
                    until: worker.expires_at,
                }
            }
            RequestPhase::Unbound(WorkerAsk::Declined) => WaitReason::WorkerDeclined { at: record.timer },
            RequestPhase::Unbound(WorkerAsk::Deferred) => {
                match (self.worker_policy.recovers_until(), self.limit_of_next_worker()) {
                    (Some(until), _) => WaitReason::Recovery { until },
                    (None, Some(limit)) => WaitReason::Limit { limit },
                    // Only within a call: whoever may be asked for is, when it ends.
                    (None, None) => WaitReason::NothingElse,
                }
            }
            RequestPhase::Unbound(WorkerAsk::Useless | WorkerAsk::Due) | RequestPhase::Detached => {
                WaitReason::NothingElse
            }
        }
    }
}
