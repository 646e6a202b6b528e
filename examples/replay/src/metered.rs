//! The manager with a meter that counts its calls and their real time.

use std::iter::Sum;
use std::time::{Duration, Instant};

use slot_manager::error::{RegistrationError, SlotReportError, SlotRequestError};
use slot_manager::message::{AttemptId, SlotFreed, SlotResult};
use slot_manager::outcome::{
    CancelOutcome, RegistrationOutcome, ReportOutcome, SlotAnswerOutcome, SlotFreedOutcome, SlotRequestOutcome,
    UnregistrationOutcome, WorkerFailedOutcome,
};
use slot_manager::testing::ManualScheduledExecutor;
use slot_manager::{
    AllocationId, InstanceId, JobId, SlotManager, SlotReport, SlotRequest, TaskExecutorConnection, WorkerRequestId,
};

use crate::network::ReplayGateway;
use crate::resource_manager::ReplayResourceManager;

pub(crate) type Manager = SlotManager<ReplayResourceManager, ReplayGateway, ManualScheduledExecutor>;

/// The measured calls, as the summary names them.
pub(crate) const CALLS: [&str; 10] = [
    "register_slot_request",
    "unregister_slot_request",
    "unregister_job",
    "register_task_manager",
    "unregister_task_manager",
    "report_slot_status",
    "slot_freed",
    "worker_failed",
    "run_until_stalled",
    "answer_slot_request",
];

/// The number of calls of one method and their total time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) calls: u64,
    pub(crate) time: Duration,
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(usages: I) -> Self {
        usages.fold(Self::default(), |sum, usage| Self {
            calls: sum.calls + usage.calls,
            time: sum.time + usage.time,
        })
    }
}

/// Passes every call on and measures it. No decision depends on the measured time.
pub(crate) struct MeteredManager {
    manager: Manager,
    usage: [Usage; CALLS.len()],
}

impl MeteredManager {
    pub(crate) fn new(manager: Manager) -> Self {
        Self {
            manager,
            usage: Default::default(),
        }
    }

    /// Returns the manager for queries, which are not measured.
    pub(crate) fn get(&self) -> &Manager {
        &self.manager
    }

    pub(crate) fn resource_manager(&mut self) -> Option<&mut ReplayResourceManager> {
        self.manager.actions_mut()
    }

    /// Returns the usage in the order of [`CALLS`].
    pub(crate) fn usage(&self) -> [Usage; CALLS.len()] {
        self.usage
    }

    pub(crate) fn register_slot_request(
        &mut self,
        request: SlotRequest,
    ) -> Result<SlotRequestOutcome, SlotRequestError> {
        self.measure(0, |manager| manager.register_slot_request(request))
    }

    pub(crate) fn unregister_slot_request(&mut self, allocation_id: AllocationId) -> CancelOutcome {
        self.measure(1, |manager| manager.unregister_slot_request(allocation_id))
    }

    pub(crate) fn unregister_job(&mut self, job_id: JobId) -> usize {
        self.measure(2, |manager| manager.unregister_job(job_id))
    }

    pub(crate) fn register_task_manager(
        &mut self,
        connection: TaskExecutorConnection<ReplayGateway>,
        report: &SlotReport,
    ) -> Result<RegistrationOutcome, RegistrationError> {
        self.measure(3, |manager| manager.register_task_manager(connection, report))
    }

    pub(crate) fn unregister_task_manager(&mut self, instance_id: InstanceId, cause: &str) -> UnregistrationOutcome {
        self.measure(4, |manager| manager.unregister_task_manager(instance_id, cause))
    }

    pub(crate) fn report_slot_status(
        &mut self,
        instance_id: InstanceId,
        report: &SlotReport,
    ) -> Result<ReportOutcome, SlotReportError> {
        self.measure(5, |manager| manager.report_slot_status(instance_id, report))
    }

    pub(crate) fn slot_freed(&mut self, freed: &SlotFreed) -> SlotFreedOutcome {
        self.measure(6, |manager| manager.slot_freed(freed))
    }

    pub(crate) fn worker_failed(&mut self, worker_request: WorkerRequestId, cause: &str) -> WorkerFailedOutcome {
        self.measure(7, |manager| manager.worker_failed(worker_request, cause))
    }

    pub(crate) fn run_until_stalled(&mut self) -> usize {
        self.measure(8, Manager::run_until_stalled)
    }

    pub(crate) fn answer_slot_request(&mut self, attempt_id: AttemptId, result: SlotResult) -> SlotAnswerOutcome {
        self.measure(9, |manager| manager.answer_slot_request(attempt_id, result))
    }

    fn measure<T>(&mut self, call: usize, run: impl FnOnce(&mut Manager) -> T) -> T {
        let (time, result) = timed(|| run(&mut self.manager));
        let usage = &mut self.usage[call];
        usage.calls += 1;
        usage.time += time;
        result
    }
}

/// Returns the time that reading the clock adds to each measured call.
pub(crate) fn time_of_clock() -> Duration {
    const READINGS: u32 = 100_000;
    let total: Duration = (0..READINGS).map(|_| timed(|| ()).0).sum();
    total / READINGS
}

#[expect(
    clippy::disallowed_methods,
    reason = "measures real time, which the replay only prints"
)]
fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let begin = Instant::now();
    let result = run();
    (begin.elapsed(), result)
}
