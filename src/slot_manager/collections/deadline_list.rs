//! Deadlines. All of one kind have one length, so each kind is a list in the order in which they fall due, threaded
//! through the records: arming and disarming are O(1) and leave nothing behind.

use std::time::Duration;

use crate::Timestamp;

use crate::slot_manager::collections::arena::{Key, Linked, List, Records};

/// What is armed again while time t is handled falls due at least this much after t: nothing spins, whatever is
/// configured.
pub(crate) const SHORTEST_REARM: Duration = Duration::from_millis(1);

const NEVER: (Timestamp, u64) = (Timestamp::MAX, 0);

/// A record with a deadline of kind `L`; [`Timestamp::MAX`] is never.
pub(crate) trait Timed<L, K>: Linked<L, K> {
    fn due_at(&self) -> Timestamp;

    /// Grows with every deadline of kind `L` that is armed, where it matters: among lists of one kind.
    fn armed_as(&self) -> u64 {
        0
    }
}

/// The deadlines of one kind, in the order in which they fall due; equal ones in the order in which they were armed.
#[derive(Debug)]
pub(crate) struct DeadlineList<L, K> {
    list: List<L, K>,
    /// What the head says of itself, so that looking for the earliest of all kinds touches no record.
    earliest: (Timestamp, u64),
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
    /// O(1) when the deadline is not before that of the last one armed: always, unless the clock stands still and the
    /// length is below a millisecond.
    #[inline]
    pub(crate) fn arm<R: Timed<L, K>>(&mut self, records: &mut Records<K, R>, key: K) {
        let deadline = records[key].due_at();
        let mut previous = self.list.tail();
        while let Some(at) = previous.filter(|at| records[*at].due_at() > deadline) {
            previous = List::before(records, at);
        }
        self.list.insert_after(records, previous, key);
        if previous.is_none() {
            self.earliest = (deadline, records[key].armed_as());
        }
    }

    #[inline]
    pub(crate) fn disarm<R: Timed<L, K>>(&mut self, records: &mut Records<K, R>, key: K) {
        let was_first = self.list.head() == Some(key);
        self.list.remove(records, key);
        if was_first {
            self.earliest = self
                .list
                .head()
                .map_or(NEVER, |head| (records[head].due_at(), records[head].armed_as()));
        }
    }

    pub(crate) fn head(&self) -> Option<K> {
        self.list.head()
    }

    /// Whether the deadlines are in order, and the earliest is known; for the check of invariants.
    pub(crate) fn is_in_order<R: Timed<L, K>>(&self, records: &Records<K, R>) -> bool {
        let says = |key: K| (records[key].due_at(), records[key].armed_as());
        self.list.iter(records).map(says).is_sorted() && self.earliest == self.list.head().map_or(NEVER, says)
    }

    pub(crate) fn earliest(&self) -> Timestamp {
        self.earliest.0
    }

    pub(crate) fn iter<R: Timed<L, K>>(&self, records: &Records<K, R>) -> impl Iterator<Item = K> {
        self.list.iter(records)
    }
}

/// Growing pauses: one list for each length.
#[derive(Debug)]
pub(crate) struct Pauses<L, K> {
    /// One at least, and as many as there ever are: whoever has a step has it from here.
    steps: Vec<(Duration, DeadlineList<L, K>)>,
    paused: usize,
    armed: u64,
}

impl<L, K: Key> Pauses<L, K> {
    /// Pauses that begin with `initial` and double up to `max`.
    pub(crate) fn new(initial: Duration, max: Duration) -> Self {
        let doubled =
            |length: &Duration| (*length < max).then(|| length.saturating_mul(2).max(SHORTEST_REARM).min(max));
        Self {
            steps: std::iter::successors(Some(initial), doubled)
                .map(|length| (length, DeadlineList::default()))
                .collect(),
            paused: 0,
            armed: 0,
        }
    }

    /// The step of the `n`th pause in a row, counted from zero: the last step is repeated.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "there are at most about 80 steps: from a millisecond to `Duration::MAX` are 74 doublings"
    )]
    pub(crate) fn step(&self, n: u32) -> u8 {
        (n as usize).min(self.steps.len() - 1) as u8
    }

    pub(crate) fn length(&self, step: u8) -> Duration {
        self.steps[usize::from(step)].0
    }

    /// The number of the next pause that is armed.
    pub(crate) fn next_armed(&mut self) -> u64 {
        self.armed += 1;
        self.armed
    }

    #[inline]
    pub(crate) fn arm<R: Timed<L, K>>(&mut self, records: &mut Records<K, R>, step: u8, key: K) {
        self.steps[usize::from(step)].1.arm(records, key);
        self.paused += 1;
    }

    #[inline]
    pub(crate) fn disarm<R: Timed<L, K>>(&mut self, records: &mut Records<K, R>, step: u8, key: K) {
        self.steps[usize::from(step)].1.disarm(records, key);
        self.paused -= 1;
    }

    /// The earliest deadline and the step it is in; of equal ones, that which was armed first.
    pub(crate) fn earliest(&self) -> (Timestamp, u8) {
        if self.paused == 0 {
            return (Timestamp::MAX, 0);
        }
        self.steps
            .iter()
            .zip(0..)
            .map(|((_, list), step)| (list.earliest, step))
            .min()
            .map_or((Timestamp::MAX, 0), |((deadline, _), step)| (deadline, step))
    }

    /// Whether each list is in order, and none is forgotten; for the check of invariants.
    pub(crate) fn is_in_order<R: Timed<L, K>>(&self, records: &Records<K, R>) -> bool {
        self.steps.iter().all(|(_, list)| list.is_in_order(records)) && self.iter(records).count() == self.paused
    }

    pub(crate) fn head(&self, step: u8) -> Option<K> {
        self.steps[usize::from(step)].1.head()
    }

    pub(crate) fn iter<R: Timed<L, K>>(&self, records: &Records<K, R>) -> impl Iterator<Item = (u8, K)> {
        self.steps
            .iter()
            .zip(0..)
            .flat_map(move |((_, list), step)| list.iter(records).map(move |key| (step, key)))
    }

    pub(crate) fn clear(&mut self) {
        for (_, list) in &mut self.steps {
            *list = DeadlineList::default();
        }
        self.paused = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot_manager::collections::arena::{Links, key, linked};

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

    fn lengths(initial: Duration, max: Duration) -> Vec<Duration> {
        let pauses = Pauses::<Alarm, TestKey>::new(initial, max);
        (0..pauses.steps.len() as u8).map(|step| pauses.length(step)).collect()
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let ms = Duration::from_millis;
        assert_eq!(lengths(ms(50), ms(300)), [ms(50), ms(100), ms(200), ms(300)]);
        assert_eq!(lengths(ms(50), ms(50)), [ms(50)]);
        assert_eq!(lengths(ms(0), ms(3)), [ms(0), ms(1), ms(2), ms(3)]);
        assert_eq!(lengths(ms(0), ms(0)), [ms(0)]);
        assert_eq!(lengths(Duration::MAX, Duration::MAX), [Duration::MAX]);
        assert_eq!(
            lengths(Duration::from_nanos(1), Duration::MAX).last(),
            Some(&Duration::MAX)
        );
    }

    #[test]
    fn the_last_pause_is_repeated() {
        let pauses = Pauses::<Alarm, TestKey>::new(Duration::from_millis(50), Duration::from_millis(200));
        assert_eq!([pauses.step(0), pauses.step(2), pauses.step(u32::MAX)], [0, 2, 2]);
    }

    #[test]
    fn deadlines_are_in_order_whatever_the_order_of_arming() {
        let mut records = Records::new();
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
