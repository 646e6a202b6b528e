//! Driving: the manager applies ready answers and due deadlines.

use std::task::{Context, Poll};

use crate::{ResourceManagerActions, ScheduledExecutor, SlotManager, TaskExecutorGateway, Timestamp};

/// Driving.
impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// Applies ready answers and due deadlines, and returns their number; pending if there were
    /// none.
    ///
    /// Before `start` and after `suspend` the poll is always pending. A pending manager wakes the
    /// last polling task when an answer may be ready, when a deadline is due, and when an input
    /// leaves work.
    ///
    /// A poll handles a limited number of events and then wakes its task, so that other futures of
    /// the task can run.
    ///
    /// Each round applies answers in the order of attempts, then deadlines by time, kind and order
    /// of arming. Then it flushes the effects.
    ///
    /// Cost: O(1) without events.
    ///
    /// # Example
    ///
    /// ```
    /// use std::task::{Context, Poll, Waker};
    ///
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{LeaderId, SlotManager, SlotManagerConfig};
    /// # let config = SlotManagerConfig::default();
    /// # let time = ManualScheduledExecutor::new();
    /// # let mut manager = SlotManager::<_, ScriptedGateway, _>::new(config, time)?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// let mut context = Context::from_waker(Waker::noop());
    /// assert_eq!(manager.poll_progress(&mut context), Poll::Pending);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_progress(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        self.driver.pending_answers.keep_waker(context.waker());
        match self.driver.advance(&mut self.core, Timestamp::MAX).events {
            0 => Poll::Pending,
            events => Poll::Ready(events),
        }
    }

    /// Waits until answers or deadlines were applied, and returns their number.
    ///
    /// The future is cancel-safe: dropping it between two polls loses nothing. In a biased
    /// `select!` it comes first, because a busy mailbox would starve time.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
    /// # use slot_manager::{
    /// #     AllocationId, JobId, LeaderId, ResourceProfile, SlotManager, SlotManagerConfig, SlotRequest,
    /// # };
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let time = ManualScheduledExecutor::new();
    /// # let config = SlotManagerConfig::default();
    /// # let request_timeout = config.request_timeout;
    /// # let mut manager = SlotManager::<_, ScriptedGateway, _>::new(config, time.clone())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (job_id, allocation_id) = (JobId::from_u128(7), AllocationId::from_u128(1));
    /// # let request = SlotRequest::new(job_id, allocation_id, profile, "job-master-7");
    /// # let outcome = manager.register_slot_request(request)?;
    /// # assert_eq!(outcome, SlotRequestOutcome::Accepted(AllocationStatus::Waiting));
    /// time.advance(request_timeout);
    /// let events = manager.progress().await;
    /// // The only request has timed out.
    /// assert!(events >= 1);
    /// assert!(manager.pending_slot_requests().next().is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn progress(&mut self) -> usize {
        std::future::poll_fn(|context| self.poll_progress(context)).await
    }

    /// Applies all ready answers and all deadlines due at the time of the call. Returns their
    /// number.
    ///
    /// It drives the manager without an async task, and in tests. The waker of an earlier
    /// [`poll_progress`](Self::poll_progress) stays.
    ///
    /// The call ends even if futures wake themselves for ever: it stops after a round that polled
    /// each woken future without an answer.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
    /// # use slot_manager::{
    /// #     AllocationId, JobId, LeaderId, ResourceProfile, SlotManager, SlotManagerConfig, SlotRequest,
    /// # };
    /// # let time = ManualScheduledExecutor::new();
    /// # let config = SlotManagerConfig::default();
    /// # let mut manager = SlotManager::<_, ScriptedGateway, _>::new(config, time.clone())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (job_id, allocation_id) = (JobId::from_u128(7), AllocationId::from_u128(1));
    /// # let request = SlotRequest::new(job_id, allocation_id, profile, "job-master-7");
    /// # let outcome = manager.register_slot_request(request)?;
    /// # assert_eq!(outcome, SlotRequestOutcome::Accepted(AllocationStatus::Waiting));
    /// let deadline = manager.next_deadline().ok_or("no deadline is armed")?;
    /// time.advance_to(deadline);
    /// assert_eq!(manager.run_until_stalled(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_until_stalled(&mut self) -> usize {
        // Deadlines that fall due meanwhile are left to the next call; else this call might never
        // end.
        let until = self.driver.now().max(self.core.now);
        let mut events = 0;
        loop {
            let advance = self.driver.advance(&mut self.core, until);
            events += advance.events;
            if !advance.is_unfinished || advance.is_stalled {
                return events;
            }
        }
    }

    /// Returns the earliest armed deadline; `None` if none is armed, or without a leadership.
    ///
    /// A service without an async task calls [`run_until_stalled`](Self::run_until_stalled) at this
    /// time.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
    /// # use slot_manager::{
    /// #     AllocationId, JobId, LeaderId, ResourceProfile, SlotManager, SlotManagerConfig, SlotRequest,
    /// #     Timestamp,
    /// # };
    /// # let time = ManualScheduledExecutor::new();
    /// # let config = SlotManagerConfig::default();
    /// # let mut manager = SlotManager::<_, ScriptedGateway, _>::new(config, time.clone())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (job_id, allocation_id) = (JobId::from_u128(7), AllocationId::from_u128(1));
    /// # let request = SlotRequest::new(job_id, allocation_id, profile, "job-master-7");
    /// # let outcome = manager.register_slot_request(request)?;
    /// # assert_eq!(outcome, SlotRequestOutcome::Accepted(AllocationStatus::Waiting));
    /// let deadline = manager.next_deadline().ok_or("no deadline is armed")?;
    /// // The worker request is repeated, or the pending request fails.
    /// assert!(deadline > Timestamp::ZERO);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let deadline = self.core.earliest_deadline();
        (deadline != Timestamp::MAX && self.is_leading()).then_some(deadline)
    }
}

impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> SlotManager<A, G, E> {
    /// Returns the number of futures that are awaited.
    pub(crate) fn num_futures(&self) -> usize {
        self.driver.pending_answers.len()
    }

    /// Returns the deadline for which the delay is armed; `MAX` if it is not armed.
    pub(crate) fn armed_for(&self) -> Timestamp {
        self.driver.armed_for
    }
}
