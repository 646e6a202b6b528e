//! Workers: their slots, their answers, and the way in which they register.

use std::time::Duration;

use slot_manager::error::SlotAllocationError;
use slot_manager::message::{AllocateSlot, SlotResult};
use slot_manager::task_executor::TaskSlotTable;
use slot_manager::{InstanceId, ResourceProfile, Timestamp, WorkerRequestId};

/// The way in which a worker treats slot requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// Refuses only the requests of poisoned jobs.
    Healthy,
    /// Refuses every request.
    Refusing,
    /// Cannot be reached: the connection fails at once.
    Unreachable,
    /// Never answers.
    Hanging,
    /// Says to every request that it has nothing left, and reports its whole total as free.
    Lying,
}

/// The path of an answer to the manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    InCall,
    ByFuture,
    Later,
}

/// The worker request that a worker names when it registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    Request,
    Unnamed,
    /// Names a request of another leadership.
    OtherLeader,
    /// Names a request that does not exist or has ended.
    ClosedRequest,
}

/// The properties of one worker process.
#[derive(Debug, Clone)]
pub(crate) struct WorkerSpec {
    pub(crate) slots: Vec<ResourceProfile>,
    /// The total of a dynamic worker, from which slots are cut.
    pub(crate) total: Option<ResourceProfile>,
    pub(crate) conduct: Conduct,
    /// Later changes of the conduct, each after the time since the start: a flapping worker.
    pub(crate) changes: Vec<(Duration, Conduct)>,
    pub(crate) answers: Answers,
    /// The time that a message takes in one direction.
    pub(crate) latency: Duration,
    pub(crate) naming: Naming,
    /// The worker registers without slots, and reports them after this time.
    pub(crate) slots_after: Option<Duration>,
}

impl WorkerSpec {
    /// Returns a healthy worker with these slots.
    pub(crate) fn healthy(slots: Vec<ResourceProfile>) -> Self {
        Self {
            slots,
            total: None,
            conduct: Conduct::Healthy,
            changes: Vec::new(),
            answers: Answers::Later,
            latency: Duration::from_millis(10),
            naming: Naming::Unnamed,
            slots_after: None,
        }
    }

    /// Returns a healthy dynamic worker.
    pub(crate) fn dynamic(total: ResourceProfile) -> Self {
        Self {
            total: Some(total),
            ..Self::healthy(Vec::new())
        }
    }

    /// Returns the slot table of a process with these slots, or with the total.
    fn table(&self, number: usize, slots: &[ResourceProfile]) -> TaskSlotTable {
        let name = Worker::name(number);
        let table = match &self.total {
            Some(total) => TaskSlotTable::dynamic(name, total.clone()),
            None => TaskSlotTable::new(name, slots.to_vec()),
        };
        table.with_slot_timeout(Duration::MAX)
    }

    /// Returns a worker with another conduct.
    pub(crate) fn with_conduct(mut self, conduct: Conduct) -> Self {
        self.conduct = conduct;
        self
    }
}

/// A worker process.
pub(crate) struct Worker {
    pub(crate) spec: WorkerSpec,
    pub(crate) table: TaskSlotTable,
    pub(crate) conduct: Conduct,
    /// The present registration. `None` before the first, and after the end of the process.
    pub(crate) instance: Option<InstanceId>,
    /// The worker request that the process was started for.
    pub(crate) started_for: Option<WorkerRequestId>,
    /// The worker registered before. A process that starts again in place does not come for a
    /// worker request.
    pub(crate) has_registered: bool,
}

impl Worker {
    /// Returns the name of the worker process with this number.
    pub(crate) fn name(number: usize) -> String {
        format!("w{number}")
    }

    /// Starts a process. It has its slots at once unless they come later.
    pub(crate) fn new(number: usize, spec: WorkerSpec, started_for: Option<WorkerRequestId>) -> Self {
        let at_first = if spec.slots_after.is_some() {
            &[]
        } else {
            &spec.slots[..]
        };
        Self {
            table: spec.table(number, at_first),
            conduct: spec.conduct,
            instance: None,
            started_for,
            has_registered: false,
            spec,
        }
    }

    /// Adds the slots that were not there at first.
    pub(crate) fn add_slots(&mut self) {
        for (profile, number) in self.spec.slots.iter().zip(0..) {
            self.table.set_slot(number, profile.clone());
        }
    }

    /// Starts the process again with empty slots.
    pub(crate) fn restart(&mut self, number: usize) {
        self.table = self.spec.table(number, &self.spec.slots);
    }

    /// Returns the answer to a slot request; `None` if the worker hangs.
    pub(crate) fn answer(&mut self, request: &AllocateSlot, is_poisoned: bool, now: Timestamp) -> Option<SlotResult> {
        match self.conduct {
            Conduct::Hanging => None,
            Conduct::Lying => Some(Err(SlotAllocationError::insufficient(ResourceProfile::ZERO))),
            Conduct::Unreachable => Some(Err(SlotAllocationError::unreachable("no route"))),
            Conduct::Healthy if !is_poisoned => Some(self.table.request_slot(request, now)),
            Conduct::Refusing | Conduct::Healthy => Some(Err(SlotAllocationError::rejected("no"))),
        }
    }
}
