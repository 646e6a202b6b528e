//! Promised workers from which slots will be cut, and the requests bound to their cuts.

use slot_manager::{AllocationId, InstanceId, ResourceProfile, WorkerRequestId};

use super::dynamic_workers::Resources;
use super::promises::Fulfilled;
use super::{NaiveSlotManager, Promise, Stage, Timer};

/// The largest number of cuts of one worker.
const MOST_CUTS: usize = 1 << 16;

/// A promised worker from which slots will be cut.
#[derive(Debug, Clone)]
pub(super) struct PromisedWorker {
    pub(super) worker_request: WorkerRequestId,
    pub(super) resources: Resources,
    pub(super) expires: Timer,
    /// The slots bound to requests, oldest first.
    pub(super) cuts: Vec<Cut>,
    /// A withdrawal was too late, and no request was bound since.
    pub(super) withdrawal_tried: bool,
}

/// A slot of a promised worker, bound to a request.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    pub(super) bound_to: AllocationId,
    pub(super) profile: ResourceProfile,
    /// Older promised slots have a smaller number.
    pub(super) order: u64,
}

/// What a worker request has promised.
#[derive(Debug, Clone)]
pub(super) enum Promised {
    Slots(Vec<ResourceProfile>),
    Worker(Box<Resources>),
}

impl PromisedWorker {
    pub(super) fn remaining(&self) -> ResourceProfile {
        let cuts: Vec<_> = self.cuts.iter().map(|cut| &cut.profile).collect();
        self.resources.remaining(&cuts)
    }

    fn fits(&self, required: &ResourceProfile) -> bool {
        let cut = self.resources.cut_for(required);
        self.cuts.len() < MOST_CUTS && cut.is_some_and(|cut| self.remaining().is_matching(&cut))
    }

    /// Returns how many default slots remain.
    pub(super) fn free_slots(&self) -> usize {
        self.resources.default_slots_in(&self.remaining())
    }
}

impl NaiveSlotManager {
    /// Records a promised worker, with or without a request that caused it.
    pub(super) fn promise_worker(
        &mut self,
        worker_request: WorkerRequestId,
        resources: Resources,
        cause: Option<AllocationId>,
    ) {
        let expires = self.timer(self.config.worker_registration_timeout);
        self.promised_workers.push(PromisedWorker {
            worker_request,
            resources,
            expires,
            cuts: Vec::new(),
            withdrawal_tried: false,
        });
        let worker = self.promised_workers.len() - 1;
        let cause = cause.map(|id| self.request_mut(id).clone());
        if let Some(request) = cause.filter(|it| self.promised_workers[worker].fits(&it.profile)) {
            self.bind_to_cut(worker, request.allocation_id);
        }
        self.bind_rest(worker_request);
    }

    /// Binds requests to cuts of a promised worker as long as one fits, oldest first.
    pub(super) fn bind_rest(&mut self, worker_request: WorkerRequestId) {
        let mut all = self.promised_workers.iter();
        let Some(worker) = all.position(|it| it.worker_request == worker_request) else {
            return;
        };
        loop {
            let unbound = self.requests.iter().filter(|it| it.is_unbound());
            let fitting = unbound.filter(|it| self.promised_workers[worker].fits(&it.profile));
            match fitting.min_by_key(|it| it.order).map(|it| it.allocation_id) {
                Some(id) => self.bind_to_cut(worker, id),
                None => return,
            }
        }
    }

    /// Returns the oldest promised worker of which enough remains for a request.
    pub(super) fn promised_worker_for(&self, required: &ResourceProfile) -> Option<usize> {
        self.promised_workers.iter().position(|it| it.fits(required))
    }

    pub(super) fn bind_to_cut(&mut self, worker: usize, id: AllocationId) {
        let order = self.next();
        let request = self.request_mut(id);
        request.stage = Stage::Bound;
        let required = request.profile.clone();
        let worker = &mut self.promised_workers[worker];
        let profile = worker.resources.cut_for(&required).expect("a worker that fits");
        worker.withdrawal_tried = false;
        worker.cuts.push(Cut {
            bound_to: id,
            profile,
            order,
        });
    }

    /// Ends the cut of a request, if it is bound to one. Returns `false` if it is not.
    pub(super) fn free_cut(&mut self, id: AllocationId) -> bool {
        let is_its = |cut: &Cut| cut.bound_to == id;
        let mut all = self.promised_workers.iter_mut();
        let Some(worker) = all.find(|it| it.cuts.iter().any(is_its)) else {
            return false;
        };
        worker.cuts.retain(|cut| !is_its(cut));
        let worker_request = worker.worker_request;
        self.transaction.grown_promises.push(worker_request);
        true
    }

    /// Returns the promised worker for which a dynamic worker with this total stands.
    fn promised_worker_like(&self, total: &ResourceProfile) -> Option<&PromisedWorker> {
        let oldest = |is: &dyn Fn(&ResourceProfile) -> bool| {
            let mut all = self.promised_workers.iter();
            all.find(|it| is(&it.resources.total))
        };
        oldest(&|promised| promised == total)
            .or_else(|| oldest(&|promised| total.is_matching(promised)))
            .or_else(|| oldest(&|promised| *promised == ResourceProfile::ANY))
    }

    fn oldest_worker_without_cuts(&self) -> Option<&PromisedWorker> {
        self.promised_workers.iter().find(|it| it.cuts.is_empty())
    }

    /// Returns `true` if a dynamic newcomer with this total would keep a promise.
    pub(super) fn would_keep_a_promise(&self, total: &ResourceProfile) -> bool {
        self.promised_worker_like(total).is_some()
            || self.fulfilled_by(total).is_some()
            || self.oldest_worker_without_cuts().is_some()
    }

    /// Ends the promise that a dynamic newcomer keeps as a whole: that of the open worker request that
    /// it names, else that of the promised worker most like it, else that of the promised slot most
    /// like its total.
    pub(super) fn fulfil_promise_by_total(&mut self, id: InstanceId, is_newcomer: bool) {
        self.fulfil_promises(id, &[]);
        let task_manager = self.task_manager(id).expect("a registered task manager");
        if task_manager.has_fulfilled || !is_newcomer {
            return;
        }
        let total = task_manager.resources.as_ref().expect("a dynamic worker").total.clone();
        let of_worker = |it: &PromisedWorker| (it.worker_request, Fulfilled::Total(it.resources.total.clone()));
        let of_slot = |it: &Promise| (it.worker_request, Fulfilled::Slot(it.profile.clone()));
        let kept = (self.promised_worker_like(&total).map(of_worker))
            .or_else(|| self.fulfilled_by(&total).map(of_slot))
            .or_else(|| self.oldest_worker_without_cuts().map(of_worker));
        if let Some((worker_request, fulfilled)) = kept {
            self.remember_fulfilled(worker_request, fulfilled);
            self.end_worker_request(worker_request);
        }
    }

    /// Ends promised workers. The requests bound to their cuts look for others at the commit. Returns
    /// the number of slots as which they counted.
    pub(super) fn end_promised_workers(&mut self, ends: impl Fn(&PromisedWorker) -> bool) -> usize {
        let (ended, kept) = std::mem::take(&mut self.promised_workers)
            .into_iter()
            .partition::<Vec<_>, _>(ends);
        self.promised_workers = kept;
        let mut slots = 0;
        for worker in ended {
            slots += worker.resources.counted_slots();
            for cut in worker.cuts {
                self.unbind(cut.bound_to);
            }
        }
        slots
    }
}
