//! The last slots that were freed by messages without a revision.
//!
//! A report that is older than such a message gives the slot back to the allocation. Without
//! revisions the manager cannot refuse the report, but it can tell the embedder.

use crate::AllocationId;

use crate::slot_manager::state::slots::SlotKey;

/// The number of remembered slots.
const REMEMBERED: usize = 256;

/// The last freed slots, each with the allocation that held it.
#[derive(Debug, Default)]
pub(crate) struct RecentFrees {
    /// A ring: a new entry replaces the oldest.
    freed: Vec<(SlotKey, AllocationId)>,
    /// The place of the next entry.
    next: usize,
}

impl RecentFrees {
    /// Remembers a freed slot.
    #[inline(always)]
    pub(crate) fn note(&mut self, slot: SlotKey, allocation_id: AllocationId) {
        match self.freed.get_mut(self.next) {
            Some(oldest) => {
                oldest.0 = slot;
                oldest.1 = allocation_id;
            }
            None => self.freed.push((slot, allocation_id)),
        }
        self.next = (self.next + 1) % REMEMBERED;
    }

    /// Returns `true` once if this slot of this allocation was freed recently.
    pub(crate) fn take(&mut self, slot: SlotKey, allocation_id: AllocationId) -> bool {
        let Some(at) = self.freed.iter().position(|freed| *freed == (slot, allocation_id)) else {
            return false;
        };
        // The order is not exact afterwards, which does no harm: any recent entry may go next.
        self.freed.swap_remove(at);
        self.next = self.next.min(self.freed.len());
        true
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot_manager::collections::arena::Key;

    #[test]
    fn the_oldest_of_many_freed_slots_is_forgotten() {
        let mut frees = RecentFrees::default();
        let slot = SlotKey::from_index(0);
        let ids = (0..).map(AllocationId::from_u128);
        for id in ids.take(REMEMBERED + 1) {
            frees.note(slot, id);
        }
        assert!(!frees.take(slot, AllocationId::from_u128(0)));
        assert!(frees.take(slot, AllocationId::from_u128(1)));
    }
}
