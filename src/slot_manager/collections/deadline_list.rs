//! Deadlines of one kind, in the order in which they fall due.
//!
//! All deadlines of one kind have the same length, so a new deadline nearly always falls due last.
//! The list is threaded through the records: arming and disarming cost O(1) and allocate nothing.
//!
//! **Why not `BTreeSet`?** With it, in alternating runs of the bench `operations`, a request that
//! waits takes 2.0 times as long, a cancelled one 1.8 to 3.9 times, and one in flight 1.4 to 1.6
//! times.

use std::time::Duration;

use crate::Timestamp;

use crate::slot_manager::collections::arena::{Arena, Key};
use crate::slot_manager::collections::linked_list::{Linked, Links, List};

/// A deadline that is armed while time t is handled falls due at least this long after t.
///
/// Without it the manager would spin where a length of zero is configured.
pub(crate) const SHORTEST_REARM: Duration = Duration::from_millis(1);

const NEVER: (Timestamp, u64) = (Timestamp::MAX, 0);

/// A record with a deadline of kind `L`; [`Timestamp::MAX`] means never.
pub(crate) trait Timed<L, K>: Linked<L, K> {
    fn due_at(&self) -> Timestamp;

    /// Returns the number of the arming, which grows with each deadline of kind `L`.
    ///
    /// It orders equal deadlines of different lists. Kinds with a single list keep the default.
    fn armed_as(&self) -> u64 {
        0
    }
}

/// The deadlines of one kind, earliest first. Equal deadlines stay in the order of arming.
#[derive(Debug)]
pub(crate) struct DeadlineList<L, K> {
    list: List<L, K>,
    /// A copy of the head's deadline. Finding the earliest of all kinds then reads no record.
    pub(crate) earliest: (Timestamp, u64),
}

impl<L, K> Default for DeadlineList<L, K> {
    fn default() -> Self {
        Self {
            list: List::default(),
            earliest: NEVER,
        }
    }
}

impl<L, K: Key> DeadlineList<L, K> {
    /// Arms the deadline of a record.
    ///
    /// Cost: O(1), or O(later deadlines) if the clock stands still and the length is below a
    /// millisecond.
    #[inline(always)]
    pub(crate) fn arm<R: Timed<L, K>>(&mut self, records: &mut Arena<K, R>, key: K) {
        let record = &records[key];
        let (deadline, armed_as) = (record.due_at(), record.armed_as());
        *records[key].links_mut() = self.link(records, key, deadline, armed_as);
    }

    /// Arms a deadline, up to the links of its record: the caller sets them to those returned.
    ///
    /// Cost: as of [`arm`](Self::arm).
    #[inline(always)]
    pub(crate) fn link<R: Timed<L, K>>(
        &mut self,
        records: &mut Arena<K, R>,
        key: K,
        deadline: Timestamp,
        armed_as: u64,
    ) -> Links<K> {
        match self.list.tail() {
            Some(tail) if records[tail].due_at() <= deadline => self.list.append(records, key),
            Some(tail) => self.link_before(records, tail, key, deadline, armed_as),
            None => {
                self.earliest = (deadline, armed_as);
                self.list.append(records, key)
            }
        }
    }

    /// Links a record that falls due before the tail.
    #[cold]
    fn link_before<R: Timed<L, K>>(
        &mut self,
        records: &mut Arena<K, R>,
        tail: K,
        key: K,
        deadline: Timestamp,
        armed_as: u64,
    ) -> Links<K> {
        let mut previous = List::before(records, tail);
        while let Some(at) = previous.filter(|at| records[*at].due_at() > deadline) {
            previous = List::before(records, at);
        }
        if previous.is_none() {
            self.earliest = (deadline, armed_as);
        }
        self.list.link_after(records, previous, key)
    }

    /// Disarms the deadline of a record.
    #[inline(always)]
    pub(crate) fn disarm<R: Timed<L, K>>(&mut self, records: &mut Arena<K, R>, key: K) {
        let links = std::mem::take(records[key].links_mut());
        self.unlink(records, key, links);
    }

    /// Disarms the deadline of a record with these links. The record is gone, or goes next.
    #[inline(always)]
    pub(crate) fn unlink<R: Timed<L, K>>(&mut self, records: &mut Arena<K, R>, key: K, links: Links<K>) {
        let was_first = self.list.head() == Some(key);
        self.list.unlink(records, links);
        if was_first {
            let head = self.list.head().map(|head| &records[head]);
            self.earliest = head.map_or(NEVER, |head| (head.due_at(), head.armed_as()));
        }
    }

    /// Returns the record whose deadline falls due first.
    pub(crate) fn head(&self) -> Option<K> {
        self.list.head()
    }

    /// Returns `true` if the deadlines are in order and `earliest` is right; for the check of
    /// invariants.
    pub(crate) fn is_in_order<R: Timed<L, K>>(&self, records: &Arena<K, R>) -> bool {
        let deadline_of = |key: K| (records[key].due_at(), records[key].armed_as());
        self.list.iter(records).map(deadline_of).is_sorted()
            && self.earliest == self.list.head().map_or(NEVER, deadline_of)
    }

    /// Returns the earliest deadline; `MAX` if none is armed.
    pub(crate) fn earliest(&self) -> Timestamp {
        self.earliest.0
    }

    pub(crate) fn iter<R: Timed<L, K>>(&self, records: &Arena<K, R>) -> impl Iterator<Item = K> {
        self.list.iter(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot_manager::collections::arena::key;
    use crate::slot_manager::collections::linked_list::{Links, linked};

    key! {
        TestKey
    }

    #[derive(Debug)]
    enum Alarm {}

    struct Record {
        at: Timestamp,
        links: Links<TestKey>,
    }

    linked!(Record, TestKey, Alarm => links);

    impl Timed<Alarm, TestKey> for Record {
        fn due_at(&self) -> Timestamp {
            self.at
        }
    }

    #[test]
    fn deadlines_are_in_order_for_any_order_of_arming() {
        let mut records = Arena::new();
        let mut list = DeadlineList::<Alarm, TestKey>::default();
        let mut arm = |milliseconds| {
            let key = records.insert(Record {
                at: Timestamp::from_millis(milliseconds),
                links: Links::default(),
            });
            list.arm(&mut records, key);
            key
        };
        let (late, early, also_late, between) = (arm(5), arm(3), arm(5), arm(4));
        assert_eq!(list.earliest(), Timestamp::from_millis(3));
        assert_eq!(
            list.iter(&records).collect::<Vec<_>>(),
            [early, between, late, also_late]
        );
        list.disarm(&mut records, between);
        list.disarm(&mut records, early);
        assert_eq!((list.head(), list.earliest()), (Some(late), Timestamp::from_millis(5)));
        list.disarm(&mut records, also_late);
        list.disarm(&mut records, late);
        assert_eq!((list.head(), list.earliest()), (None, Timestamp::MAX));
    }
}
