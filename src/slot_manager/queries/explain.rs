//! Explanations: the reasons why a request waits.

use std::collections::{BTreeMap, BTreeSet};

use crate::view::{
    Explanation, FittingSlots, FittingWorkers, RequestExplanation, SetAsideWorker, TooSmallSlots, WaitReason,
};
use crate::{AllocationId, ResourceProfile, ScheduledExecutor, SlotManager, TaskExecutorGateway};

use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::profile_queues::ProfileKey;
use crate::slot_manager::state::requests::{RequestKey, RequestPhase, WorkerAsk};
use crate::slot_manager::state::slot_totals::SlotUsage;

/// Explanations.
impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> SlotManager<A, G, E> {
    /// Explains the status of an allocation, and why a pending request waits; `None` if it is
    /// unknown.
    ///
    /// The `Display` text of the explanation is meant for operators.
    ///
    /// Cost: O(distinct profiles of slots + slots of workers that back off + dynamic workers).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::view::WaitReason;
    ///
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
    /// # use slot_manager::{
    /// #     AllocationId, JobId, LeaderId, ResourceProfile, SlotManager, SlotManagerConfig, SlotRequest,
    /// # };
    /// # let time = ManualScheduledExecutor::new();
    /// # let config = SlotManagerConfig::default();
    /// # let mut manager = SlotManager::<_, ScriptedGateway, _>::new(config, time.clone())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (job_id, allocation_id) = (JobId::from_u128(7), AllocationId::from_u128(1));
    /// # let request = SlotRequest::new(job_id, allocation_id, profile, "job-master-7");
    /// # let outcome = manager.register_slot_request(request)?;
    /// # assert_eq!(outcome, SlotRequestOutcome::Accepted(AllocationStatus::Waiting));
    /// let explanation = manager.explain(allocation_id).ok_or("the request is unknown")?;
    /// let request = explanation.request.as_ref().ok_or("the request is granted")?;
    /// // The recording resource manager declined the worker request, and no slot is registered.
    /// assert!(matches!(request.waits_for, WaitReason::WorkerDeclined { .. }));
    /// assert_eq!(request.too_small.slots, 0);
    /// println!("{explanation}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain(&self, allocation_id: AllocationId) -> Option<Explanation> {
        let core = &self.core;
        let entry = core.find_allocation(allocation_id)?;
        let (job_id, request) = match entry {
            AllocationEntry::Pending(request) => (
                core.requests.records[request].job_id,
                Some(core.explain_request(request)),
            ),
            AllocationEntry::Granted(slot) => (core.slots[slot].allocation()?.job, None),
        };
        Some(Explanation {
            allocation_id,
            job_id,
            status: core.status_of(entry),
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
            is_declared: record.is_declared,
            fails_at: record.deadline,
            failed_attempts: record.failed_attempts(),
            last_failure: record.last_failure().cloned(),
            is_job_suspect: self.requests.failing_jobs.is_suspect(record.job_id),
            backing_off_workers: self.num_backing_off_for(record.profile),
            waits_for: self.waits_for(request),
            fitting: FittingSlots::default(),
            too_small: TooSmallSlots::default(),
            dynamic_workers: self.count_dynamic_workers(required),
            set_aside: self.set_aside_worker(request),
            fitting_promised_slots: 0,
            too_small_promised_slots: 0,
            promised_dynamic_workers: self.count_promised_workers(required),
        };
        self.count_slots(required, &mut explanation);
        explanation
    }

    /// Returns the number of workers that back off and have a free slot that fits.
    fn num_backing_off_for(&self, required: ProfileKey) -> usize {
        let workers = self.failing_workers.backing_off();
        workers
            .filter(|worker| self.probe_placement(*worker, required).is_some())
            .count()
    }

    /// Counts the fitting and the too small slots, registered and promised.
    fn count_slots(&self, required: &ResourceProfile, explanation: &mut RequestExplanation) {
        let mut slots_without = BTreeMap::new();
        for (key, totals) in self.slot_totals.profiles() {
            let profile = &self.profiles[key];
            if profile.is_matching(required) {
                let fitting = &mut explanation.fitting;
                fitting.allocated += totals.slots(SlotUsage::Allocated);
                fitting.in_flight += totals.slots(SlotUsage::InFlight);
                fitting.blocked += totals.slots(SlotUsage::Blocked);
                fitting.backing_off += totals.slots(SlotUsage::BackingOff);
                fitting.free += totals.slots(SlotUsage::Free);
                explanation.fitting_promised_slots += totals.promised();
                continue;
            }
            let registered = totals.registered();
            explanation.too_small.slots += registered;
            explanation.too_small_promised_slots += totals.promised();
            // Two extended resources may have equal names. A slot counts once for each name.
            let shortages: BTreeSet<_> = profile.shortages(required).filter(|_| registered > 0).collect();
            for resource in shortages {
                *slots_without.entry(resource.to_owned()).or_insert(0) += registered;
            }
        }
        explanation.too_small.shortages = largest_first(slots_without);
    }

    /// Counts the dynamic workers whose total fits, and those whose remainder fits.
    fn count_dynamic_workers(&self, required: &ResourceProfile) -> FittingWorkers {
        let workers = self.dynamic_workers.iter().map(|(_, worker)| WorkerFit {
            total: worker.shape.fitting(&self.profiles).fits(required),
            remainder: worker.fits(required),
            left: worker.remainder().as_slot(),
        });
        count_workers(required, workers)
    }

    /// Counts the promised dynamic workers in the same way.
    fn count_promised_workers(&self, required: &ResourceProfile) -> FittingWorkers {
        let workers = self.promises.promised_workers().map(|(key, worker)| WorkerFit {
            total: worker.shape.fitting(&self.profiles).fits(required),
            remainder: (self.promises.fitting_of(key)).is_some_and(|fitting| fitting.fits(required)),
            left: worker.remainder().as_slot(),
        });
        count_workers(required, workers)
    }

    /// Returns the worker that is set aside for a request, or that fits it and is set aside for an older
    /// one.
    fn set_aside_worker(&self, request: RequestKey) -> Option<SetAsideWorker> {
        let earmark = self.set_aside.current()?;
        let record = &self.requests.records[request];
        let resource_id = self.task_managers.records[earmark.task_manager].resource_id.clone();
        if earmark.request == request {
            return Some(SetAsideWorker::ForIt { resource_id });
        }
        let worker = self.dynamic_workers.get(earmark.task_manager)?;
        let is_passed_over = record.sequence > earmark.sequence && worker.fits(&self.profiles[record.profile]);
        is_passed_over.then(|| SetAsideWorker::ForAnother {
            resource_id,
            allocation_id: self.requests.records[earmark.request].allocation_id,
        })
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
                    worker_request: self.worker_request_id(worker.number),
                    until: worker.expires_at,
                }
            }
            RequestPhase::Unbound(WorkerAsk::Declined) => WaitReason::WorkerDeclined { at: record.timer },
            RequestPhase::Unbound(WorkerAsk::Deferred) => self.reason_of_deferral(),
            RequestPhase::Unbound(WorkerAsk::Useless | WorkerAsk::Due) | RequestPhase::Detached => {
                WaitReason::NothingElse
            }
        }
    }

    /// Returns the reason why worker requests are deferred.
    fn reason_of_deferral(&self) -> WaitReason {
        let policy = &self.worker_policy;
        if let Some(until) = policy.recovers_until() {
            WaitReason::Recovery { until }
        } else if let Some(until) = policy.start_backoff.until() {
            WaitReason::StartBackoff { until }
        } else if let Some(limit) = self.limit_of_next_worker() {
            WaitReason::Limit { limit }
        } else if !policy.start_backoff.allows(self.promises.num_recent()) {
            WaitReason::EarlierWorkers {
                requested: self.promises.num_recent(),
            }
        } else {
            // Only within a call: its end makes all worker requests that are possible.
            WaitReason::NothingElse
        }
    }
}

/// What a dynamic worker has for a request.
struct WorkerFit<'a> {
    /// The total fits.
    total: bool,
    /// What remains fits.
    remainder: bool,
    left: &'a ResourceProfile,
}

fn count_workers<'a>(required: &ResourceProfile, workers: impl Iterator<Item = WorkerFit<'a>>) -> FittingWorkers {
    let mut counts = FittingWorkers::default();
    let mut workers_without = BTreeMap::new();
    for worker in workers {
        counts.workers += 1;
        counts.total_fits += usize::from(worker.total);
        if worker.remainder {
            counts.remainder_fits += 1;
            continue;
        }
        let shortages: BTreeSet<_> = worker.left.shortages(required).collect();
        for resource in shortages {
            *workers_without.entry(resource.to_owned()).or_insert(0) += 1;
        }
    }
    counts.shortages = largest_first(workers_without);
    counts
}

/// Returns how many slots or workers are short of each resource, the largest number first.
fn largest_first(shortages: BTreeMap<String, usize>) -> Vec<(String, usize)> {
    let mut shortages: Vec<_> = shortages.into_iter().collect();
    // A stable sort: equal numbers stay in the order of names.
    shortages.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
    shortages
}
