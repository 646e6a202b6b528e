//! The end of a transaction.

use crate::AllocationFailureCause;

use crate::slot_manager::allocations::Holder;
use crate::slot_manager::core::{Changes, Core, DroppedGrant};
use crate::slot_manager::effects::{Notification, NotificationKind};
use crate::slot_manager::pending_requests::RequestState;
use crate::slot_manager::slots::SlotState;

impl Core {
    /// Judges dropped grants on the result, then matches once: requests that look for a slot with the slots offered
    /// before, oldest first; then the slots that became free with the oldest waiting request each.
    pub(crate) fn settle(&mut self) {
        let Changes {
            mut free,
            mut unplaced,
            mut dropped,
        } = std::mem::take(&mut self.changes);
        dropped.sort_by(|a, b| a.slot_id.cmp(&b.slot_id));
        for grant in dropped.drain(..) {
            self.judge(grant);
        }
        unplaced.sort_by_key(|request| self.requests.records.get(*request).map(|record| record.sequence));
        for request in unplaced.drain(..) {
            let state = self.requests.records.get(request).map(|record| record.state);
            if state == Some(RequestState::Unplaced) {
                self.seek(request);
            }
        }
        for slot in free.drain(..) {
            let slot_record = self.slots.get(slot);
            if slot_record.is_some_and(|slot| matches!(slot.state, SlotState::Unplaced)) {
                self.offer(slot);
            }
        }
        // Keeps the memory for the next transaction.
        self.changes = Changes {
            free,
            unplaced,
            dropped,
        };
    }

    /// A dropped grant is lost unless its job holds the allocation elsewhere.
    fn judge(&mut self, grant: DroppedGrant) {
        let DroppedGrant {
            slot_id,
            allocation_id,
            job_id,
            loss,
        } = grant;
        if self.find_allocation(allocation_id).is_none() {
            self.promote_duplicate(allocation_id);
        }
        if let Some(Holder::Granted(slot)) = self.find_allocation(allocation_id) {
            if self.slots[slot].holder() == Some((allocation_id, job_id)) {
                return;
            }
        }
        tracing::warn!(%job_id, %allocation_id, %slot_id, %loss, "granted slot lost");
        self.effects.notifications.push(Notification {
            job_id,
            allocation_id,
            kind: NotificationKind::Failed(AllocationFailureCause::GrantLost { slot_id, loss }),
        });
    }
}
