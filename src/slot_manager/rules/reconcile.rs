//! The end of a call: what to fail, withdraw, release and request once all effects have left.

use super::Outside;
use crate::slot_manager::state::core::Core;

impl Core {
    /// Returns `true` if `reconcile` may have work to do.
    #[inline]
    pub(crate) fn needs_reconcile(&self) -> bool {
        self.promises.may_have_surplus() || (self.worker_policy.is_active() && self.has_capacity_work())
    }

    /// Returns `true` if a request may be unfulfillable, or if a kept, a deferred or a missing
    /// worker has to be looked at.
    fn has_capacity_work(&self) -> bool {
        self.slot_totals.has_lost_profile()
            || self.dynamic_workers.has_lost_shape()
            || self.promises.workers.has_lost_worker()
            || self.worker_policy.must_check_all()
            || self.releases.first_kept().is_some()
            || self.worker_policy.first_deferred().is_some()
            || self.missing_workers() > 0
    }

    /// Compares needs with workers, in this order:
    ///
    /// 1. Unfulfillable requests fail.
    /// 2. Surplus promised workers are withdrawn.
    /// 3. Kept task managers that are not needed any more are released. The last slot that fits a
    ///    request may go with them, so unfulfillable requests fail again.
    /// 4. Deferred worker requests are made, oldest first. If a limit still defers some, another
    ///    kept task manager may have to make room for them: then 3 and 4 follow again.
    /// 5. Workers for the minimum and for redundancy are requested.
    #[inline(never)]
    pub(crate) fn reconcile(&mut self, outside: &mut impl Outside) {
        self.fail_all_unfulfillable();
        outside.flush(self);
        self.withdraw_surplus_workers(outside);
        loop {
            self.release_kept_task_managers(outside);
            self.fail_all_unfulfillable();
            outside.flush(self);
            self.request_deferred_workers(outside);
            if self.next_kept_to_release().is_none() {
                break;
            }
        }
        self.request_reserve_workers(outside);
        outside.flush(self);
    }
}
