//! The failed attempts of one request.

use crate::InstanceId;
use crate::error::SlotAllocationError;

/// The failed attempts of one request.
#[derive(Debug)]
pub(crate) struct RequestFailures {
    /// The number of failed attempts. An occupied slot is no failure, unless it is a cut.
    pub(crate) attempts: u32,
    /// The answer to the last attempt that failed or found its slot occupied.
    pub(crate) last: SlotAllocationError,
    pub(crate) tried: TriedWorkers,
    /// Set until the backoff ends that the last failed attempt caused.
    pub(crate) must_back_off: bool,
}

impl RequestFailures {
    pub(crate) fn new(last: SlotAllocationError) -> Self {
        Self {
            attempts: 0,
            last,
            tried: TriedWorkers::default(),
            must_back_off: false,
        }
    }

    /// Counts a failed attempt on a worker.
    pub(crate) fn count(&mut self, worker: InstanceId) {
        self.attempts = self.attempts.saturating_add(1);
        self.tried.add(worker);
        // The first retry is immediate.
        self.must_back_off = self.attempts > 1;
    }
}

/// The number of workers that a request remembers.
const MAX_TRIED: usize = 64;

/// The registrations on which attempts of a request have failed.
///
/// A request that failed on more workers than it remembers counts as tried on every worker. Then
/// each further attempt waits for a backoff.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TriedWorkers {
    /// In ascending order. Instance ids are never used again, so those of ended registrations do no
    /// harm.
    workers: Vec<InstanceId>,
    is_everywhere: bool,
}

impl TriedWorkers {
    fn add(&mut self, worker: InstanceId) {
        let Err(place) = self.workers.binary_search(&worker) else {
            return;
        };
        if self.workers.len() < MAX_TRIED {
            self.workers.insert(place, worker);
        } else {
            self.forget();
        }
    }

    /// Counts every worker as tried, if any was. Returns the result.
    pub(super) fn forget(&mut self) -> Self {
        self.is_everywhere |= !self.workers.is_empty();
        self.workers = Vec::new();
        self.clone()
    }

    pub(crate) fn contains(&self, worker: InstanceId) -> bool {
        self.is_everywhere || self.workers.binary_search(&worker).is_ok()
    }

    /// Returns the workers in ascending order; `None` if every worker counts as tried.
    pub(crate) fn workers(&self) -> Option<&[InstanceId]> {
        (!self.is_everywhere).then_some(&self.workers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_remembers_64_workers_and_counts_then_as_tried_everywhere() {
        let mut tried = TriedWorkers::default();
        for worker in (0..MAX_TRIED as u128).rev() {
            tried.add(InstanceId::from_u128(worker));
            tried.add(InstanceId::from_u128(worker));
        }
        let unknown = InstanceId::from_u128(1000);
        assert_eq!(tried.workers().map(<[_]>::len), Some(MAX_TRIED));
        assert!(tried.contains(InstanceId::from_u128(7)) && !tried.contains(unknown));
        tried.add(InstanceId::from_u128(999));
        assert_eq!(tried.workers(), None);
        assert!(tried.contains(unknown));
    }
}
