//! The attempts that the manager has given up.

use std::collections::BTreeMap;

use crate::LeaderId;

/// The number of slots for which a dynamic table remembers attempts one by one.
///
/// In a long leadership it is reached again and again. Those of its older half are old by then, so
/// their requests have usually arrived.
const MAX_REMEMBERED: usize = 1024;

/// The last attempt that was given up on each slot, within one leadership.
///
/// A static table has few slots, and remembers the attempt of each. A dynamic table has a new
/// number for nearly every slot, so it must [forget](Self::forget_oldest). It remembers only the
/// slots of the newest attempts. All attempts up to the newest forgotten one then count as given up,
/// on every slot. So no attempt that was given up is ever taken for a good one.
///
/// The reverse happens to a request only after frees of at least [`MAX_REMEMBERED`] / 2 slots with
/// attempts that are not older than its own. In order, these come after the request. It is refused,
/// and the manager makes another attempt.
#[derive(Debug, Default)]
pub(super) struct EndedAttempts {
    leader_id: Option<LeaderId>,
    last_freed: BTreeMap<u32, u64>,
    /// This attempt and all older ones are given up on every slot. All of `last_freed` are newer.
    forgotten: Option<u64>,
}

impl EndedAttempts {
    /// Returns no attempts of a leadership that begins.
    pub(super) fn of_leader(leader_id: LeaderId) -> Self {
        Self {
            leader_id: Some(leader_id),
            ..Self::default()
        }
    }

    /// Returns the leadership of the attempts.
    pub(super) fn leader_id(&self) -> Option<LeaderId> {
        self.leader_id
    }

    /// Notes that this attempt and all older ones are given up on a slot.
    pub(super) fn note(&mut self, slot_number: u32, attempt: u64) {
        if Some(attempt) <= self.forgotten {
            return;
        }
        let last_freed = self.last_freed.entry(slot_number).or_default();
        *last_freed = attempt.max(*last_freed);
    }

    /// Returns `true` if the attempt is given up on the slot.
    pub(super) fn contains(&self, slot_number: u32, attempt: u64) -> bool {
        let last_freed = self.last_freed.get(&slot_number).copied();
        Some(attempt) <= last_freed.max(self.forgotten)
    }

    /// Forgets the slots of the older half of the attempts, if there are too many.
    ///
    /// Cost: O(1) per noted attempt, on average.
    pub(super) fn forget_oldest(&mut self) {
        if self.last_freed.len() <= MAX_REMEMBERED {
            return;
        }
        let mut attempts: Vec<_> = self.last_freed.values().copied().collect();
        let (_, median, _) = attempts.select_nth_unstable(MAX_REMEMBERED / 2);
        self.forgotten = Some(*median);
        self.last_freed.retain(|_, attempt| Some(*attempt) > self.forgotten);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn newest_attempts_are_remembered_by_their_slots() {
        // given
        let mut ended = EndedAttempts::default();
        let num_slots = 10 * MAX_REMEMBERED as u32;

        // when
        for slot in 0..num_slots {
            ended.note(slot, u64::from(slot));
            ended.forget_oldest();
            assert!(ended.last_freed.len() <= MAX_REMEMBERED);

            // then
            let oldest_exact = slot.saturating_sub(MAX_REMEMBERED as u32 / 2 - 1);
            assert!(ended.contains(oldest_exact, u64::from(oldest_exact)));
            assert!(
                !ended.contains(oldest_exact, u64::from(oldest_exact) + 1),
                "a newer attempt"
            );
            assert!(!ended.contains(num_slots, u64::from(oldest_exact)), "another slot");
        }
        assert!(ended.contains(0, 0) && ended.contains(num_slots, 0), "on every slot");
    }

    #[test]
    fn all_are_remembered_up_to_the_bound() {
        let mut ended = EndedAttempts::default();
        for slot in 0..MAX_REMEMBERED as u32 {
            ended.note(slot, 7);
            ended.forget_oldest();
        }
        assert!(!ended.contains(u32::MAX, 7));
        ended.note(u32::MAX, 6);
        ended.forget_oldest();
        assert!(ended.contains(0, 7) && ended.contains(1, 7) && ended.contains(u32::MAX, 6));
        assert!(!ended.contains(0, 8));
    }

    #[test]
    fn equal_attempts_are_forgotten_together() {
        let mut ended = EndedAttempts::default();
        for slot in 0..5 * MAX_REMEMBERED as u32 {
            ended.note(slot, 7);
            ended.forget_oldest();
            assert!(ended.last_freed.len() <= MAX_REMEMBERED);
            assert!(ended.contains(slot, 7) && ended.contains(0, 7));
        }
        assert!(!ended.contains(0, 8));
    }

    #[test]
    fn late_old_attempts_bring_back_nothing_forgotten() {
        // given
        let mut ended = EndedAttempts::default();
        for slot in 0..=MAX_REMEMBERED as u32 {
            ended.note(slot, 1000 + u64::from(slot));
            ended.forget_oldest();
        }
        assert!(ended.contains(0, 1000) && ended.contains(u32::MAX, 1000));

        // when
        for slot in 10_000..10_000 + 2 * MAX_REMEMBERED as u32 {
            ended.note(slot, 1);
            ended.forget_oldest();
        }

        // then
        assert!(ended.contains(0, 1000));
        assert!(!ended.contains(u32::MAX, 1000 + MAX_REMEMBERED as u64));
        assert!(ended.contains(MAX_REMEMBERED as u32, 1000 + MAX_REMEMBERED as u64));
    }

    proptest! {
        /// Slots are reused, and messages come in any order.
        #[test]
        fn no_attempt_that_was_given_up_is_forgotten(
            notes in vec((0..3000_u32, 0..1000_u64), 0..2500),
            asked in vec((0..3000_u32, 0..1001_u64), 100),
        ) {
            let (mut ended, mut naive) = (EndedAttempts::default(), BTreeMap::new());
            for (slot, attempt) in notes {
                ended.note(slot, attempt);
                ended.forget_oldest();
                let last = naive.entry(slot).or_insert(attempt);
                *last = attempt.max(*last);
                prop_assert!(ended.last_freed.len() <= MAX_REMEMBERED);
            }
            for (slot, attempt) in asked {
                let is_ended = naive.get(&slot).is_some_and(|last| attempt <= *last);
                prop_assert!(!is_ended || ended.contains(slot, attempt));
                // Nothing else is refused, but attempts not newer than a forgotten one.
                let is_forgotten = Some(attempt) <= ended.forgotten;
                prop_assert_eq!(ended.contains(slot, attempt), is_ended || is_forgotten);
            }
        }
    }
}
