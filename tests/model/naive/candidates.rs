//! Candidates: which requests a free slot may serve, and in which order.

use slot_manager::{AllocationId, SlotId};

use super::cuts::Room;
use super::failing_workers::MANY_REFUSED_JOBS;
use super::{NaiveSlotManager, Request, Slot, Stage, State, TaskManager};

impl NaiveSlotManager {
    /// Returns the requests that a slot of a worker may serve, if it fits. The best is first.
    ///
    /// Requests of suspect jobs come last. Requests that failed on the worker come after the others
    /// of the same kind. Among suspect jobs, the job whose last failure is the oldest comes first.
    /// A request that backs off takes only slots of workers without its failures.
    pub(super) fn candidates(&self, task_manager: &TaskManager) -> Vec<&Request> {
        let was_tried = |it: &Request| it.was_tried_on(task_manager);
        let all = self.requests.iter();
        let mut candidates: Vec<_> = all
            .filter(|it| it.is_waiting() || (it.backs_off() && !was_tried(it)))
            .collect();
        candidates.sort_by_key(|it| {
            let turn = self.turn(it.job_id);
            (turn.is_some(), was_tried(it), turn, it.order)
        });
        candidates
    }

    /// Returns the room that a request takes: of a worker that it was not tried on, else of another
    /// one. In each case an offered slot comes before a cut, and a cut before a probe.
    pub(super) fn room_for(&self, request: &Request) -> Option<Room> {
        let of = |tried| {
            self.best_room(request, tried)
                .or_else(|| self.probe_for(request, tried))
        };
        let untried = of(false).or_else(|| self.backing_off_slot_for(request).map(Room::Slot));
        untried.or_else(|| match request.must_back_off {
            true => None,
            false => of(true),
        })
    }

    /// Returns the best offered slot that fits a request, else the best cut that does.
    pub(super) fn best_room(&self, request: &Request, tried: bool) -> Option<Room> {
        let offered = self.best_offered(request, tried).map(Room::Slot);
        offered.or_else(|| self.worker_to_cut(request, tried))
    }

    /// Returns `true` if a slot has not refused the job, and few others.
    fn admits_despite_refusals(slot: &Slot, request: &Request) -> bool {
        slot.refused.len() < MANY_REFUSED_JOBS
            && !slot.refused.contains(&request.job_id)
            && slot.profile.is_matching(&request.profile)
    }

    /// Returns the request that takes a slot that is about to back off.
    pub(super) fn candidate_despite_refusals(&self, slot: &SlotId) -> Option<AllocationId> {
        let owner = self.owner(slot).expect("a registered slot");
        let slot = self.find_slot(slot).expect("a registered slot");
        let mut candidates = self.candidates(owner).into_iter();
        let best = candidates.find(|it| {
            !it.was_tried_on(owner) && Self::admits_despite_refusals(slot, it) && !self.is_held_back(it, owner)
        });
        best.map(|it| it.allocation_id)
    }

    /// Returns the slot that backs off by itself, longest of all, and admits a request: its worker
    /// is another than those that the request was tried on, and it has not refused the job.
    pub(super) fn backing_off_slot_for(&self, request: &Request) -> Option<SlotId> {
        let untried = |it: &&TaskManager| !request.was_tried_on(it) && !self.is_held_back(request, it);
        let slots = self.task_managers.iter().filter(untried).flat_map(|it| &it.slots);
        let backing_off = slots.filter_map(|slot| match slot.state {
            State::BackingOff((_, order)) if Self::admits_despite_refusals(slot, request) => Some((order, slot)),
            _ => None,
        });
        let longest = backing_off.min_by_key(|(order, _)| *order);
        longest.map(|(_, slot)| slot.id.clone())
    }

    /// Gives a detached request a slot. Without one it backs off if it must, else it waits.
    pub(super) fn place(&mut self, id: AllocationId) {
        let request = self.find_request(id).expect("a pending request");
        let (must_back_off, failed_attempts) = (request.must_back_off, request.failed_attempts);
        match self.room_for(request) {
            Some(room) => self.assign_in(room, id),
            None if must_back_off => {
                let backoff = self.timer(self.backoff(failed_attempts - 2));
                self.request_mut(id).stage = Stage::BackingOff(backoff);
            }
            None => self.unbind(id),
        }
    }

    /// Lets a request wait. The commit binds it or makes a worker request due.
    pub(super) fn unbind(&mut self, id: AllocationId) {
        self.request_mut(id).stage = Stage::Unbound;
        self.transaction.unbound.push(id);
    }
}
