//! Backoffs that grow from try to try.

use std::time::Duration;

use crate::Timestamp;

use super::arena::{Arena, Key};
use super::deadline_list::{DeadlineList, SHORTEST_REARM, Timed};

/// Records that back off: one deadline list for each length of backoff.
#[derive(Debug)]
pub(crate) struct BackoffQueues<L, K> {
    /// All lengths in ascending order, at least one. A step is an index of this list, taken from
    /// `step`.
    steps: Vec<(Duration, DeadlineList<L, K>)>,
    backing_off: usize,
    armed: u64,
}

impl<L, K: Key> BackoffQueues<L, K> {
    /// Creates the queues for backoffs that begin with `initial` and double up to `max`.
    pub(crate) fn new(initial: Duration, max: Duration) -> Self {
        let doubled =
            |length: &Duration| (*length < max).then(|| length.saturating_mul(2).max(SHORTEST_REARM).min(max));
        Self {
            steps: std::iter::successors(Some(initial), doubled)
                .map(|length| (length, DeadlineList::default()))
                .collect(),
            backing_off: 0,
            armed: 0,
        }
    }

    /// Returns the step of the `n`th backoff in a row, counted from zero. The last step repeats.
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

    /// Returns the number of the next backoff to arm.
    pub(crate) fn next_armed(&mut self) -> u64 {
        self.armed += 1;
        self.armed
    }

    #[cold]
    pub(crate) fn arm<R: Timed<L, K>>(&mut self, records: &mut Arena<K, R>, step: u8, key: K) {
        self.steps[usize::from(step)].1.arm(records, key);
        self.backing_off += 1;
    }

    #[cold]
    pub(crate) fn disarm<R: Timed<L, K>>(&mut self, records: &mut Arena<K, R>, step: u8, key: K) {
        self.steps[usize::from(step)].1.disarm(records, key);
        self.backing_off -= 1;
    }

    /// Returns `true` if nothing backs off.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.backing_off == 0
    }

    /// Returns the earliest deadline; `MAX` if none is armed.
    ///
    /// Cost: O(lengths).
    #[inline]
    pub(crate) fn earliest(&self) -> Timestamp {
        if self.backing_off == 0 {
            return Timestamp::MAX;
        }
        let deadlines = self.steps.iter().map(|(_, list)| list.earliest());
        deadlines.min().unwrap_or(Timestamp::MAX)
    }

    /// Returns the record with the earliest deadline; among equal deadlines, the record armed
    /// first.
    ///
    /// Cost: O(lengths).
    pub(crate) fn first(&self) -> Option<K> {
        let (_, list) = self.steps.iter().min_by_key(|(_, list)| list.earliest)?;
        list.head()
    }

    /// Returns `true` if each list is in order and the count is right; for the check of invariants.
    pub(crate) fn is_in_order<R: Timed<L, K>>(&self, records: &Arena<K, R>) -> bool {
        self.steps.iter().all(|(_, list)| list.is_in_order(records)) && self.iter(records).count() == self.backing_off
    }

    /// Returns all records that back off, with their steps.
    pub(crate) fn iter<R: Timed<L, K>>(&self, records: &Arena<K, R>) -> impl Iterator<Item = (u8, K)> {
        self.steps
            .iter()
            .zip(0..)
            .flat_map(move |((_, list), step)| list.iter(records).map(move |key| (step, key)))
    }

    pub(crate) fn clear(&mut self) {
        for (_, list) in &mut self.steps {
            *list = DeadlineList::default();
        }
        self.backing_off = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot_manager::collections::arena::key;

    key! {
        TestKey
    }

    #[derive(Debug)]
    enum Alarm {}

    fn lengths(initial: Duration, max: Duration) -> Vec<Duration> {
        let backoffs = BackoffQueues::<Alarm, TestKey>::new(initial, max);
        (0..backoffs.steps.len() as u8)
            .map(|step| backoffs.length(step))
            .collect()
    }

    #[test]
    fn backoffs_double_up_to_the_longest() {
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
    fn last_backoff_is_repeated() {
        let backoffs = BackoffQueues::<Alarm, TestKey>::new(Duration::from_millis(50), Duration::from_millis(200));
        assert_eq!([backoffs.step(0), backoffs.step(2), backoffs.step(u32::MAX)], [0, 2, 2]);
    }
}
