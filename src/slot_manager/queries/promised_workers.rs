//! Read-only views of promised workers from which slots will be cut.

use crate::slot_manager::SlotManager;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::promises::WorkerRequestKey;
use crate::view::PromisedWorkerSnapshot;
use crate::{ResourceProfile, ScheduledExecutor, TaskExecutorGateway, Timestamp, WorkerRequestId};

impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> SlotManager<A, G, E> {
    /// Returns all promised workers from which slots will be cut, oldest first.
    ///
    /// Cost: O(n log n) for n promised workers.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::message::WorkerPromise;
    /// # use slot_manager::outcome::SlotRequestOutcome;
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{AllocationId, JobId, LeaderId, ResourceProfile, SlotManager, SlotManagerConfig, SlotRequest};
    /// # let time = ManualScheduledExecutor::new();
    /// # let mut manager = SlotManager::<_, ScriptedGateway, _>::new(SlotManagerConfig::default(), time)?;
    /// # let actions = RecordingActions::new();
    /// # let cores = |cores| ResourceProfile::builder().cpu_cores(cores).build();
    /// actions.answer_allocations(Ok(WorkerPromise::Total(cores(8.0)?.into())));
    /// manager.start(LeaderId::from_u128(1), actions)?;
    /// # let request = SlotRequest::new(JobId::from_u128(1), AllocationId::from_u128(1), cores(3.0)?, "job-1:6123");
    /// # let _: SlotRequestOutcome = manager.register_slot_request(request)?;
    ///
    /// // A request for three cores is bound to the worker.
    /// let worker = manager.promised_workers().next().expect("a promised worker");
    /// assert_eq!(worker.total().cpu_cores(), Some(8.0));
    /// assert_eq!(worker.remaining_resources().cpu_cores(), Some(5.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn promised_workers(&self) -> impl Iterator<Item = PromisedWorker<'_>> {
        let core = &self.core;
        let mut workers: Vec<_> = core.promises.promised_workers().map(|(key, _)| key).collect();
        workers.sort_unstable_by_key(|key| core.promises.worker_requests[*key].number);
        workers.into_iter().map(move |key| PromisedWorker { core, key })
    }
}

/// A promised worker from which slots will be cut.
///
/// Its cuts, the slots to which requests are bound, are among the
/// [promised slots](SlotManager::promised_slots).
#[derive(Clone, Copy)]
pub struct PromisedWorker<'a> {
    core: &'a Core,
    key: WorkerRequestKey,
}

impl<'a> PromisedWorker<'a> {
    /// Returns the worker request that the promise answers.
    pub fn worker_request(&self) -> WorkerRequestId {
        let worker_request = &self.core.promises.worker_requests[self.key];
        self.core.worker_request_id(worker_request.number)
    }

    /// Returns the promised resources of the whole worker.
    pub fn total(&self) -> &'a ResourceProfile {
        let shape = self.core.promises.shape_of(self.key);
        shape.map_or(&ResourceProfile::ZERO, |shape| &self.core.profiles[shape.total])
    }

    /// Returns the slot that is promised for a request for [`ResourceProfile::UNKNOWN`].
    pub fn default_slot(&self) -> Option<&'a ResourceProfile> {
        let default_slot = self.core.promises.shape_of(self.key)?.default_slot?;
        Some(&self.core.profiles[default_slot])
    }

    /// Returns the promised resources that are bound to no request.
    pub fn remaining_resources(&self) -> ResourceProfile {
        self.core.promises.remaining_of(self.key)
    }

    /// Returns the time at which the promise expires; [`Timestamp::MAX`] means never.
    pub fn expires_at(&self) -> Timestamp {
        self.core.promises.worker_requests[self.key].expires_at
    }

    /// Returns a copy of everything this view shows.
    pub fn snapshot(&self) -> PromisedWorkerSnapshot {
        PromisedWorkerSnapshot {
            worker_request: self.worker_request(),
            total: self.total().clone(),
            default_slot: self.default_slot().cloned(),
            remaining_resources: self.remaining_resources(),
            expires_at: self.expires_at(),
        }
    }
}

impl std::fmt::Debug for PromisedWorker<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PromisedWorker")
            .field("worker_request", &self.worker_request())
            .field("total", self.total())
            .field("remaining_resources", &self.remaining_resources())
            .finish()
    }
}
