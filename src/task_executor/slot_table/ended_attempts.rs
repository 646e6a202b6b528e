//! The attempts that the manager has given up.

use std::collections::BTreeMap;

use crate::LeaderId;

/// The last attempt that was given up on each slot, within one leadership.
#[derive(Debug, Default)]
pub(super) struct EndedAttempts {
    leader_id: Option<LeaderId>,
    last_freed: BTreeMap<u32, u64>,
}

impl EndedAttempts {
    /// Returns no attempts of a leadership that begins.
    pub(super) fn of_leader(leader_id: LeaderId) -> Self {
        Self {
            leader_id: Some(leader_id),
            last_freed: BTreeMap::new(),
        }
    }

    /// Returns the leadership of the attempts.
    pub(super) fn leader_id(&self) -> Option<LeaderId> {
        self.leader_id
    }

    /// Notes that this attempt and all older ones are given up on a slot.
    pub(super) fn note(&mut self, slot_number: u32, attempt: u64) {
        let last_freed = self.last_freed.entry(slot_number).or_default();
        *last_freed = attempt.max(*last_freed);
    }

    /// Returns `true` if the attempt is given up on the slot.
    pub(super) fn contains(&self, slot_number: u32, attempt: u64) -> bool {
        let last_freed = self.last_freed.get(&slot_number);
        last_freed.is_some_and(|last_freed| attempt <= *last_freed)
    }
}
