//! The worker that is set aside for a request that has waited long.

use std::time::Duration;

use slot_manager::{AllocationId, InstanceId, Timestamp};

use super::amounts::Amounts;
use super::{NaiveSlotManager, Request, TaskManager, Timer};

/// A worker that is set aside for a request, and for older ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Earmark {
    worker: InstanceId,
    request: AllocationId,
    /// The place of the request.
    order: u64,
}

impl NaiveSlotManager {
    /// Returns the end of the reservation delay of a request that registers now; `None` if no worker
    /// is ever set aside. It is not before that of an older request.
    pub(super) fn new_wait(&mut self) -> Option<Timer> {
        if self.config.reservation_delay == Duration::MAX {
            return None;
        }
        let (until, order) = self.timer(self.config.reservation_delay);
        let older = self.requests.iter().filter_map(|it| it.young_until);
        let latest = older.map(|(until, _)| until).max().unwrap_or(Timestamp::ZERO);
        Some((until.max(latest), order))
    }

    /// Returns `true` if a worker must not serve a request: it is set aside for an older one.
    pub(super) fn is_set_aside_from(&self, request: &Request, task_manager: &TaskManager) -> bool {
        let earmark = self.earmark.filter(|it| it.worker == task_manager.instance_id);
        earmark.is_some_and(|it| request.order > it.order)
    }

    /// Ends the earmark for a request that gets an attempt or is over.
    pub(super) fn end_earmark_for(&mut self, request: AllocationId) {
        self.end_earmark_if(|it| it.request == request);
    }

    /// Ends the earmark on a worker that does not serve any more.
    pub(super) fn end_earmark_on(&mut self, worker: InstanceId) {
        self.end_earmark_if(|it| it.worker == worker);
    }

    /// Ends the earmark on a worker that could not serve the request even without cuts.
    pub(super) fn end_earmark_if_vain(&mut self, worker: InstanceId) {
        let Some(earmark) = self.earmark else {
            return;
        };
        let request = self.find_request(earmark.request).expect("a pending request");
        if !self.task_manager(worker).is_some_and(|it| could_fit(it, request)) {
            self.end_earmark_on(worker);
        }
    }

    fn end_earmark_if(&mut self, ends: impl Fn(&Earmark) -> bool) {
        if let Some(earmark) = self.earmark.take_if(|it| ends(it)) {
            self.transaction.no_longer_set_aside = Some(earmark.worker);
        }
    }

    /// Offers the rest of a worker that is not set aside any more. Then sets a worker aside, if none
    /// is, for the oldest request that has waited long and could be served.
    pub(super) fn commit_set_aside(&mut self) {
        if let Some(worker) = self.transaction.no_longer_set_aside.take() {
            if self
                .task_manager(worker)
                .is_some_and(|it| it.resources.is_some() && self.may_be_cut(it))
            {
                self.offer_worker(worker);
            }
        }
        if self.config.reservation_delay == Duration::MAX || self.earmark.is_some() {
            return;
        }
        let waiting = |it: &&Request| it.is_waiting() && it.young_until.is_none() && self.turn(it.job_id).is_none();
        self.earmark = self.requests.iter().filter(waiting).find_map(|request| {
            let workers = self.task_managers.iter();
            let able = workers.filter(|it| it.resources.is_some() && self.may_be_cut(it) && could_fit(it, request));
            let place = |it: &TaskManager| it.resources.as_ref().map(|it| it.place);
            let best = able.min_by_key(|it| (request.was_tried_on(it), used_share(it), place(it)))?;
            Some(Earmark {
                worker: best.instance_id,
                request: request.allocation_id,
                order: request.order,
            })
        });
    }
}

/// Returns `true` if a worker could serve a request without its slots.
fn could_fit(task_manager: &TaskManager, request: &Request) -> bool {
    let resources = task_manager.resources.as_ref();
    resources.is_some_and(|it| it.serves(&request.profile))
}

/// Returns the largest share of a resource that is used, in 64ths.
pub(super) fn used_share(task_manager: &TaskManager) -> u128 {
    const MOST: u128 = 63;
    let total = task_manager.resources.as_ref().and_then(|it| Amounts::of(&it.total));
    let left = task_manager.remaining().and_then(|it| Amounts::of(&it));
    total
        .zip(left)
        .map_or(0, |(total, left)| total.used_parts(&left).min(MOST))
}
