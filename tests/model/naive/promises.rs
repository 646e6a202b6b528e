//! Promised slots, and which waiting requests are bound to them.

use std::cmp::Reverse;

use slot_manager::message::{WithdrawResource, WithdrawalCause};
use slot_manager::outcome::WorkerFailedOutcome;
use slot_manager::{AllocationId, InstanceId, ResourceProfile, SlotId, WorkerRequestId};

use super::limits::Quantity;
use super::promised_workers::{Promised, PromisedWorker};

use super::{NaiveSlotManager, Promise, Stage};

/// What another worker has fulfilled of a worker request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fulfilled {
    Slot(ResourceProfile),
    Total(ResourceProfile),
}

impl NaiveSlotManager {
    /// Ends a worker request whose worker failed.
    pub(super) fn worker_failed(&mut self, worker_request: WorkerRequestId) -> WorkerFailedOutcome {
        if self.begin_input().is_err() || !self.is_open(worker_request) {
            return WorkerFailedOutcome::Unknown;
        }
        let promised_slots = self.fail_worker_request(worker_request);
        self.end_input();
        WorkerFailedOutcome::Forgotten { promised_slots }
    }

    /// Binds a promised slot to the oldest unbound request that it fits, or leaves it unbound.
    pub(super) fn bind_to_oldest(&mut self, promise: usize) {
        let profile = self.promises[promise].profile.clone();
        let unbound = self.requests.iter_mut().filter(|it| it.is_unbound());
        let oldest = unbound
            .filter(|it| profile.is_matching(&it.profile))
            .min_by_key(|it| it.order);
        let bound_to = oldest.map(|request| {
            request.stage = Stage::Bound;
            request.allocation_id
        });
        let unbound = self.next();
        self.promises[promise].bound_to = bound_to;
        self.promises[promise].unbound_since = unbound;
        if bound_to.is_some() {
            let worker_request = self.promises[promise].worker_request;
            self.update_promises(worker_request, |it| it.withdrawal_tried = false);
        }
    }

    /// Records promised slots or a promised worker, with or without a request that caused it.
    pub(super) fn promise(&mut self, worker_request: WorkerRequestId, promised: Promised, cause: Option<AllocationId>) {
        match promised {
            Promised::Slots(profiles) => self.promise_slots(worker_request, &profiles, cause),
            Promised::Worker(resources) => self.promise_worker(worker_request, *resources, cause),
        }
    }

    /// Records promised slots. The first fitting slot is bound to the request that caused them.
    fn promise_slots(
        &mut self,
        worker_request: WorkerRequestId,
        profiles: &[ResourceProfile],
        cause: Option<AllocationId>,
    ) {
        let expires = self.timer(self.config.worker_registration_timeout);
        let required = cause.map(|id| self.request_mut(id).profile.clone());
        let own = required.and_then(|required| profiles.iter().position(|profile| profile.is_matching(&required)));
        let first = self.promises.len();
        for (at, profile) in profiles.iter().enumerate() {
            let promise = Promise {
                worker_request,
                profile: profile.clone(),
                expires,
                order: self.next(),
                bound_to: cause.filter(|_| own == Some(at)),
                unbound_since: 0,
                worker_arrived: false,
                withdrawal_tried: false,
            };
            self.promises.push(promise);
        }
        if let (Some(id), Some(_)) = (cause, own) {
            self.request_mut(id).stage = Stage::Bound;
        }
        for at in 0..profiles.len() {
            if own != Some(at) {
                self.bind_to_oldest(first + at);
            }
        }
    }

    /// Sets the promised slot of a request free, or ends the cut.
    pub(super) fn free_promise(&mut self, id: AllocationId) {
        if self.free_cut(id) {
            return;
        }
        let mut all = self.promises.iter_mut();
        let promise = all.find(|it| it.bound_to == Some(id));
        let promise = promise.expect("the promised slot of a bound request");
        promise.bound_to = None;
        self.transaction.freed_promises.push(promise.order);
    }

    /// Detaches a request that takes a slot. A new slot of a worker that named no worker request
    /// replaces the promised slot of the request; any other slot sets it free.
    pub(super) fn consume_or_free_promise(&mut self, slot: &SlotId, id: AllocationId) {
        let is_unfulfilling = self.transaction.unfulfilling.contains(slot);
        let bound = self.promises.iter().find(|it| it.bound_to == Some(id));
        match bound.map(|it| it.order).filter(|_| is_unfulfilling) {
            None => self.detach(id),
            Some(order) => {
                let profile = self.slot_mut(slot).profile.clone();
                self.consume_promise(order, &profile);
                self.request_mut(id).stage = Stage::Detached;
            }
        }
    }

    /// Binds promised slots at the commit: first those that were set free, in this order, then the
    /// ones for requests that need one, oldest first.
    pub(super) fn bind_promises(&mut self) {
        for order in std::mem::take(&mut self.transaction.freed_promises) {
            if let Some(freed) = self.promises.iter().position(|it| it.order == order) {
                self.bind_to_oldest(freed);
            }
        }
        let mut grown = std::mem::take(&mut self.transaction.grown_promises);
        grown.sort_unstable();
        for worker_request in grown {
            self.bind_rest(worker_request);
        }
        let mut unbound = std::mem::take(&mut self.transaction.unbound);
        unbound.sort_by_key(|id| self.find_request(*id).map(|it| it.order));
        for id in unbound {
            if self.find_request(id).is_some_and(|it| it.stage == Stage::Unbound) {
                self.enqueue(id);
            }
        }
    }

    /// Binds a request to the fitting promised slot that has been unbound longest, else to a cut of the
    /// oldest promised worker that fits. Else it needs a worker.
    fn enqueue(&mut self, id: AllocationId) {
        let required = self.request_mut(id).profile.clone();
        let unbound = self.promises.iter_mut().filter(|it| it.bound_to.is_none());
        let fitting = unbound.filter(|it| it.profile.is_matching(&required));
        match fitting.min_by_key(|it| it.unbound_since) {
            Some(promise) => {
                promise.bound_to = Some(id);
                let worker_request = promise.worker_request;
                self.request_mut(id).stage = Stage::Bound;
                self.update_promises(worker_request, |it| it.withdrawal_tried = false);
            }
            None => {
                if let Some(worker) = self.promised_worker_for(&required) {
                    return self.bind_to_cut(worker, id);
                }
                let request = self.request_mut(id);
                request.stage = Stage::NeedsWorker;
                let order = request.order;
                self.outbox.worker_requests.push(order);
            }
        }
    }

    /// Returns `true` if slots or a worker of this worker request are promised.
    pub(super) fn is_open(&self, id: WorkerRequestId) -> bool {
        self.open_worker_requests().contains(&id)
    }

    /// Returns the worker requests with promised slots or a promised worker, oldest first.
    pub(super) fn open_worker_requests(&self) -> Vec<WorkerRequestId> {
        let of_slots = self.promises.iter().map(|it| it.worker_request);
        let of_workers = self.promised_workers.iter().map(|it| it.worker_request);
        let mut open: Vec<_> = of_slots.chain(of_workers).collect();
        open.sort_unstable();
        open.dedup();
        open
    }

    /// Ends the promises that the slots of a worker fulfil.
    ///
    /// The first slots of a worker that names an open worker request end its whole promise, and the
    /// worker fulfils no other. Each free slot of any other worker fulfils one promised slot.
    pub(super) fn fulfil_promises(&mut self, id: InstanceId, brought: &[SlotId]) {
        let task_manager = self.task_manager_mut(id);
        if task_manager.has_fulfilled {
            return;
        }
        if let Some(named) = task_manager.worker_request {
            if let Some(stands_for) = self.stands_for(named) {
                let fulfilled = self.fulfilled_by_others.iter().position(|(it, _)| *it == named);
                let fulfilled = fulfilled.map(|place| self.fulfilled_by_others.remove(place));
                if let Some((_, profile)) = fulfilled.filter(|_| stands_for != named) {
                    self.remember_fulfilled(stands_for, profile);
                }
                self.task_manager_mut(id).has_fulfilled = true;
                self.end_worker_request(stands_for);
                return;
            }
        }
        for slot in brought {
            let profile = self.slot_mut(slot).profile.clone();
            match self.fulfilled_by(&profile).map(|it| it.order) {
                Some(order) => self.consume_promise(order, &profile),
                None => self.transaction.unfulfilling.push(slot.clone()),
            }
        }
    }

    /// Remembers a worker request of which a worker fulfils something that was not requested for it.
    pub(super) fn remember_fulfilled(&mut self, worker_request: WorkerRequestId, fulfilled: Fulfilled) {
        self.fulfilled_by_others.retain(|(it, _)| *it != worker_request);
        self.fulfilled_by_others.push((worker_request, fulfilled));
    }

    /// Returns the open worker request of a worker that names one: that, or, if others have
    /// fulfilled it, the oldest with a promised slot or total like theirs.
    pub(super) fn stands_for(&self, named: WorkerRequestId) -> Option<WorkerRequestId> {
        if self.is_open(named) {
            return Some(named);
        }
        let mut fulfilled = self.fulfilled_by_others.iter();
        match fulfilled.find(|(it, _)| *it == named)? {
            (_, Fulfilled::Slot(slot)) => {
                let oldest = self.promises.iter().find(|it| it.profile == *slot);
                oldest.map(|it| it.worker_request)
            }
            (_, Fulfilled::Total(total)) => {
                let oldest = self.promised_workers.iter().find(|it| it.resources.total == *total);
                oldest.map(|it| it.worker_request)
            }
        }
    }

    /// Returns the promised slot that a new free slot fulfils.
    pub(super) fn fulfilled_by(&self, slot: &ResourceProfile) -> Option<&Promise> {
        let oldest = |is: &dyn Fn(&Promise) -> bool| self.promises.iter().find(|it| is(it));
        oldest(&|it| it.profile == *slot)
            .or_else(|| oldest(&|it| slot.is_matching(&it.profile)))
            .or_else(|| oldest(&|it| it.profile == ResourceProfile::ANY))
            .or_else(|| oldest(&|it| it.bound_to.is_none()))
    }

    /// Ends a promised slot, because a slot with this profile is there in its place.
    fn consume_promise(&mut self, order: u64, slot: &ResourceProfile) {
        let consumed = self.promises.iter().find(|it| it.order == order);
        let Promise {
            worker_request,
            profile,
            ..
        } = consumed.expect("a promised slot");
        let (worker_request, profile) = (*worker_request, profile.clone());
        let is_alike = slot.is_matching(&profile) || profile == *slot || profile == ResourceProfile::ANY;
        let own = self.promises.iter().filter(|it| it.worker_request == worker_request);
        let serves_bound = own.clone().any(|it| it.order == order && it.bound_to.is_some());
        if is_alike || serves_bound || own.clone().all(|it| it.bound_to.is_none()) {
            self.transaction.fulfilled.push(worker_request);
            self.remember_fulfilled(worker_request, Fulfilled::Slot(profile));
        }
        self.update_promises(worker_request, |it| it.worker_arrived = true);
        self.end_promises(|it| it.order == order);
    }

    /// Ends the rest of the promise that an unnamed newcomer has fulfilled in part.
    ///
    /// A newcomer with slots like promised ones is one worker: the one whose promise it completes,
    /// else the one that was requested first.
    pub(super) fn end_rest_of_promise(&mut self) {
        let fulfilled = self.transaction.fulfilled.clone();
        if fulfilled.iter().all(|it| self.is_open(*it)) {
            if let Some(oldest) = fulfilled.iter().min() {
                self.end_worker_request(*oldest);
            }
        }
    }

    /// Ends an open worker request that failed.
    pub(super) fn fail_worker_request(&mut self, id: WorkerRequestId) -> usize {
        // The end of a worker that was to be withdrawn is no failure, unless a part of it came.
        let is_failure = |it: &Promise| it.worker_arrived || !it.withdrawal_tried;
        let mut ended = self.promises.iter().filter(|it| it.worker_request == id);
        let worker_failed = |it: &PromisedWorker| it.worker_request == id && !it.withdrawal_tried;
        if ended.any(is_failure) || self.promised_workers.iter().any(worker_failed) {
            self.start_failed(id);
        }
        self.end_worker_request(id)
    }

    /// Ends promised slots by whole worker requests until a limit holds: first those without bound
    /// requests, then the latest.
    pub(super) fn end_promises_beyond_limits(&mut self) {
        while let Some(limit) = self.limit_exceeded_with(Quantity::default()) {
            let all = self.open_worker_requests().into_iter();
            let is_bound = |id| self.is_bound(id);
            let Some(worker_request) = all.min_by_key(|id| (is_bound(*id), Reverse(*id))) else {
                return;
            };
            let cause = WithdrawalCause::LimitReached { limit };
            self.outbox.withdrawals.push(WithdrawResource { worker_request, cause });
            self.end_worker_request(worker_request);
        }
    }

    /// Ends the promise of a worker request whose worker did not register in time.
    pub(super) fn expire(&mut self, worker_request: WorkerRequestId) {
        let cause = WithdrawalCause::RegistrationTimeout;
        self.outbox.withdrawals.push(WithdrawResource { worker_request, cause });
        self.fail_worker_request(worker_request);
    }

    /// Returns `true` if a request is bound to a promised slot or a cut of a worker request.
    pub(super) fn is_bound(&self, id: WorkerRequestId) -> bool {
        let mut slots = self.promises.iter().filter(|it| it.worker_request == id);
        let mut workers = self.promised_workers.iter().filter(|it| it.worker_request == id);
        slots.any(|it| it.bound_to.is_some()) || workers.any(|it| !it.cuts.is_empty())
    }

    /// Ends the promises of a worker request. Returns the number of slots that were promised.
    pub(super) fn end_worker_request(&mut self, id: WorkerRequestId) -> usize {
        self.end_promises(|it| it.worker_request == id) + self.end_promised_workers(|it| it.worker_request == id)
    }

    /// Ends promised slots. The requests bound to them look for others at the commit.
    fn end_promises(&mut self, ends: impl Fn(&Promise) -> bool) -> usize {
        let (ended, kept) = std::mem::take(&mut self.promises)
            .into_iter()
            .partition::<Vec<_>, _>(ends);
        self.promises = kept;
        for id in ended.iter().filter_map(|it| it.bound_to) {
            self.unbind(id);
        }
        ended.len()
    }
}
