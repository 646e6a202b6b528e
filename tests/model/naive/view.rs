//! The state as the queries show it.

use slot_manager::view::SlotState;
use slot_manager::{AllocationId, Timestamp};

use super::{NaiveSlotManager, Slot, Stage, State};
use crate::observation::{PromiseView, PromisedWorkerView, RequestView, SlotView, Snapshot, TaskManagerView};

impl NaiveSlotManager {
    /// Returns the state, with the status of allocations `1..=allocations`.
    pub(crate) fn snapshot(&self, allocations: u128) -> Snapshot {
        let count = |is: fn(&State) -> bool| self.slots().filter(|slot| is(&slot.state)).count();
        let bound = self.promises.iter().filter(|it| it.bound_to.is_some()).count();
        let cuts: usize = self.promised_workers.iter().map(|it| it.cuts.len()).sum();
        Snapshot {
            leader_id: self.leader,
            is_leading: self.is_leading(),
            slots: [
                self.slots().count(),
                count(|state| {
                    matches!(
                        state,
                        State::Detached | State::Offered(_) | State::BackingOff(_) | State::WorkerBacksOff
                    )
                }),
                count(|state| *state == State::Blocked),
                count(|state| matches!(state, State::InFlight(_))),
                count(|state| matches!(state, State::Allocated { .. })),
            ],
            promised: [bound + cuts, self.promises.len() - bound],
            task_managers: self
                .task_managers
                .iter()
                .map(|it| TaskManagerView {
                    resource_id: it.resource_id.clone(),
                    instance_id: it.instance_id,
                    worker_request: it.worker_request,
                    idle_since: it.idle_since,
                    revision: it.highest_revision,
                    total: it.resources.as_ref().map(|resources| resources.total.clone()),
                    remaining: it.remaining(),
                    slots: it.slots.iter().map(|slot| self.view_of(slot)).collect(),
                })
                .collect(),
            requests: self
                .requests
                .iter()
                .map(|it| RequestView {
                    allocation_id: it.allocation_id,
                    job_id: it.job_id,
                    profile: it.profile.clone(),
                    deadline: it.deadline,
                    failed_attempts: it.failed_attempts,
                    in_flight_to: match &it.stage {
                        Stage::InFlight { slot, .. } => Some(slot.clone()),
                        _ => None,
                    },
                    backs_off_until: match it.stage {
                        Stage::BackingOff((until, _)) => Some(until),
                        _ => None,
                    },
                    bound_to: self
                        .views_of_promises()
                        .into_iter()
                        .find(|promise| promise.bound_to == Some(it.allocation_id))
                        .map(|promise| promise.worker_request),
                })
                .collect(),
            requirements: self.view_of_requirements(),
            promises: self.views_of_promises(),
            promised_workers: self
                .promised_workers
                .iter()
                .map(|it| PromisedWorkerView {
                    worker_request: it.worker_request,
                    total: it.resources.total.clone(),
                    remaining: it.remaining(),
                    expires_at: it.expires.0,
                })
                .collect(),
            allocations: (1..=allocations)
                .map(|id| self.status(AllocationId::from_u128(id)))
                .collect(),
            next_deadline: self.timers().map(|(at, _, _)| at).min().filter(|_| self.is_leading()),
        }
    }

    /// Returns the promised slots and the cuts of promised workers, oldest first.
    fn views_of_promises(&self) -> Vec<PromiseView> {
        let slots = self.promises.iter().map(|it| {
            let view = PromiseView {
                worker_request: it.worker_request,
                profile: it.profile.clone(),
                bound_to: it.bound_to,
                expires_at: it.expires.0,
            };
            (it.order, view)
        });
        let cuts = self.promised_workers.iter().flat_map(|it| {
            it.cuts.iter().map(|cut| {
                let view = PromiseView {
                    worker_request: it.worker_request,
                    profile: cut.profile.clone(),
                    bound_to: Some(cut.bound_to),
                    expires_at: it.expires.0,
                };
                (cut.order, view)
            })
        });
        let mut all: Vec<_> = slots.chain(cuts).collect();
        all.sort_by_key(|(order, _)| *order);
        all.into_iter().map(|(_, view)| view).collect()
    }

    /// Returns the end of the backoff of the worker of a slot.
    fn worker_backoff_until(&self, slot: &Slot) -> Timestamp {
        let owner = self.owner(&slot.id).expect("a registered slot");
        owner.failures.backoff.as_ref().expect("a failing worker").until
    }

    fn view_of(&self, slot: &Slot) -> SlotView {
        let state = match slot.state {
            State::Detached | State::Offered(_) => SlotState::Free,
            State::BackingOff((until, _)) => SlotState::BackingOff { until },
            State::WorkerBacksOff => SlotState::BackingOff {
                until: self.worker_backoff_until(slot),
            },
            State::Blocked => SlotState::Blocked,
            State::InFlight(allocation_id) => SlotState::InFlight {
                allocation_id,
                job_id: self.find_request(allocation_id).expect("a pending request").job_id,
            },
            State::Allocated { allocation, .. } => SlotState::Allocated {
                allocation_id: allocation.id,
                job_id: allocation.job,
            },
        };
        SlotView {
            slot_id: slot.id.clone(),
            profile: slot.profile.clone(),
            state,
        }
    }
}
