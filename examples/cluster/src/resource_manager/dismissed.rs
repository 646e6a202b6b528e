//! The workers that were told to go in this leadership. They must not register again.

use std::collections::VecDeque;

use slot_manager::{ResourceId, WorkerRequestId};

/// The most workers of a kind that are remembered. A provisioner ends them within seconds.
const CAPACITY: usize = 4_096;

/// The workers that a provisioner stops.
///
/// A worker that lost its order to stop would register again, get a slot and be killed with a task.
#[derive(Default)]
pub struct Dismissed {
    released: Recent<ResourceId>,
    withdrawn: Recent<WorkerRequestId>,
}

impl Dismissed {
    /// Remembers a worker that was told to stop.
    pub fn release(&mut self, resource_id: ResourceId) {
        self.released.insert(resource_id);
    }

    /// Remembers a worker that was given up before it came.
    pub fn withdraw(&mut self, worker_request: WorkerRequestId) {
        self.withdrawn.insert(worker_request);
    }

    /// Forgets the withdrawal of a worker that could not be stopped any more.
    pub fn admit(&mut self, worker_request: WorkerRequestId) {
        self.withdrawn.remove(&worker_request);
    }

    /// Returns `true` if a worker was given up before it came.
    pub fn is_withdrawn(&self, worker_request: WorkerRequestId) -> bool {
        self.withdrawn.contains(&worker_request)
    }

    /// Returns `true` if the worker of this worker request must go.
    pub fn has(&self, resource_id: &ResourceId, worker_request: WorkerRequestId) -> bool {
        self.is_withdrawn(worker_request) || self.released.contains(resource_id)
    }
}

/// The last items, each once.
struct Recent<T>(VecDeque<T>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: PartialEq> Recent<T> {
    fn insert(&mut self, item: T) {
        if self.contains(&item) {
            return;
        }
        if self.0.len() == CAPACITY {
            self.0.pop_front();
        }
        self.0.push_back(item);
    }

    fn remove(&mut self, item: &T) {
        self.0.retain(|other| other != item);
    }

    fn contains(&self, item: &T) -> bool {
        self.0.contains(item)
    }
}

#[cfg(test)]
mod tests {
    use slot_manager::LeaderId;

    use super::*;

    fn worker_request(number: u64) -> WorkerRequestId {
        WorkerRequestId::new(LeaderId::from_u128(1), number)
    }

    #[test]
    fn a_worker_is_remembered_by_its_name_or_its_worker_request() {
        let mut dismissed = Dismissed::default();
        dismissed.release("worker-1".into());
        dismissed.withdraw(worker_request(2));
        assert!(dismissed.has(&"worker-1".into(), worker_request(1)));
        assert!(dismissed.has(&"worker-2".into(), worker_request(2)));
        assert!(!dismissed.has(&"worker-3".into(), worker_request(3)));
        dismissed.admit(worker_request(2));
        assert!(!dismissed.has(&"worker-2".into(), worker_request(2)));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut dismissed = Dismissed::default();
        for number in 0..=CAPACITY as u64 {
            dismissed.withdraw(worker_request(number));
            dismissed.withdraw(worker_request(number));
        }
        assert!(!dismissed.has(&"worker".into(), worker_request(0)));
        assert!(dismissed.has(&"worker".into(), worker_request(1)));
        assert_eq!(dismissed.withdrawn.0.len(), CAPACITY);
    }
}
