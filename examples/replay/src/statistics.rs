//! The counters of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use slot_manager::Timestamp;

/// Counters and distributions of one run.
#[derive(Debug)]
pub(crate) struct Statistics {
    pub(crate) events: u64,
    pub(crate) pods_served: u64,
    pub(crate) pods_withdrawn: u64,
    pub(crate) pods_failed: u64,
    pub(crate) granted_at_once: u64,
    pub(crate) granted_after_waiting: u64,
    pub(crate) withdrawn: u64,
    pub(crate) failed: BTreeMap<FailureKind, u64>,
    /// Grants that ended although their job still used the slot. The job requested another slot.
    pub(crate) grants_lost: u64,
    pub(crate) all_waits: Waits,
    pub(crate) waits_of_waiting: Waits,
    /// The times from the creation of pods until they had all their slots.
    pub(crate) waits_of_pods: Waits,
    pub(crate) peak_waiting: Peak,
    pub(crate) peak_used: Peak,
    pub(crate) workers_asked: u64,
    pub(crate) workers_declined: u64,
    pub(crate) workers_started: u64,
    pub(crate) workers_failed: u64,
    pub(crate) workers_released: u64,
    pub(crate) releases_declined: u64,
    pub(crate) crashes: u64,
    pub(crate) disconnections: u64,
    pub(crate) replaced_registrations: u64,
    pub(crate) messages_lost: u64,
    /// Attempts that a dynamic worker refused, because it had not enough left.
    pub(crate) cuts_refused: u64,
}

/// The reason why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FailureKind {
    NoSlotInTime,
    FitsNoSlot,
    NoWorker,
    Other,
}

/// The largest number so far, and the first time it was reached.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Peak {
    pub(crate) count: usize,
    pub(crate) at: Timestamp,
}

/// The times from the registration of requests to their grants.
#[derive(Debug)]
pub(crate) struct Waits(Histogram<u64>);

impl Statistics {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            events: 0,
            pods_served: 0,
            pods_withdrawn: 0,
            pods_failed: 0,
            granted_at_once: 0,
            granted_after_waiting: 0,
            withdrawn: 0,
            failed: BTreeMap::new(),
            grants_lost: 0,
            all_waits: Waits::new()?,
            waits_of_waiting: Waits::new()?,
            waits_of_pods: Waits::new()?,
            peak_waiting: Peak::default(),
            peak_used: Peak::default(),
            workers_asked: 0,
            workers_declined: 0,
            workers_started: 0,
            workers_failed: 0,
            workers_released: 0,
            releases_declined: 0,
            crashes: 0,
            disconnections: 0,
            replaced_registrations: 0,
            messages_lost: 0,
            cuts_refused: 0,
        })
    }

    pub(crate) fn granted(&mut self, at_once: bool, wait: Duration) {
        self.all_waits.record(wait);
        if at_once {
            self.granted_at_once += 1;
        } else {
            self.granted_after_waiting += 1;
            self.waits_of_waiting.record(wait);
        }
    }

    pub(crate) fn request_failed(&mut self, kind: FailureKind) {
        *self.failed.entry(kind).or_default() += 1;
    }

    pub(crate) fn pod_complete(&mut self, wait: Duration) {
        self.waits_of_pods.record(wait);
    }

    /// Returns the number of requests that failed.
    pub(crate) fn all_failed(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Returns the number of requests that were granted, were cancelled or failed.
    pub(crate) fn ended(&self) -> u64 {
        self.granted_at_once + self.granted_after_waiting + self.withdrawn + self.all_failed()
    }
}

impl FailureKind {
    /// All kinds, in their order.
    pub(crate) const ALL: [Self; 4] = [Self::NoSlotInTime, Self::FitsNoSlot, Self::NoWorker, Self::Other];

    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::NoSlotInTime => "no slot within the request timeout",
            Self::FitsNoSlot => "no node has such a slot",
            Self::NoWorker => "no node can be started for it",
            Self::Other => "other",
        }
    }
}

impl Peak {
    pub(crate) fn update(&mut self, count: usize, now: Timestamp) {
        if count > self.count {
            *self = Self { count, at: now };
        }
    }
}

impl Waits {
    fn new() -> Result<Self> {
        // In microseconds, with three digits. A longer wait counts as a year.
        const YEAR: u64 = 366 * 24 * 3600 * 1_000_000;
        Ok(Self(Histogram::new_with_bounds(1, YEAR, 3)?))
    }

    fn record(&mut self, wait: Duration) {
        let microseconds = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(microseconds);
    }

    /// Returns the wait that `quantile` of the requests did not exceed. `None` without requests.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_micros(self.0.value_at_quantile(quantile)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_waits() {
        let mut statistics = Statistics::new().unwrap();
        assert_eq!(statistics.all_waits.quantile(0.5), None);
        for seconds in 1..=100 {
            statistics.granted(seconds % 2 == 0, Duration::from_secs(seconds));
        }
        let p99 = statistics.all_waits.quantile(0.99).unwrap();
        assert!((p99.as_secs_f64() - 99.0).abs() < 0.2, "{p99:?}");
        assert_eq!((statistics.granted_at_once, statistics.granted_after_waiting), (50, 50));
        assert_eq!(statistics.ended(), 100);
    }

    #[test]
    fn a_peak_remembers_when_it_was_first_reached() {
        let mut peak = Peak::default();
        for (count, at) in [(1, 1), (5, 2), (5, 3), (2, 4)] {
            peak.update(count, Timestamp::from_secs(at));
        }
        assert_eq!((peak.count, peak.at), (5, Timestamp::from_secs(2)));
    }
}
