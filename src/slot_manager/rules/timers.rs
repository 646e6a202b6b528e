//! What falls due, in which order, and what happens then.

use crate::Timestamp;

use crate::slot_manager::state::core::Core;

/// The kinds of deadlines; of several that fall due at one time, the first kind is handled first.
#[derive(Debug, Clone, Copy)]
enum Kind {
    RequestTimeout,
    RpcTimeout,
    RetryBackoff {
        step: u8,
    },
    SlotBackoff {
        step: u8,
    },
    WorkerRegistration,
    AskRetry,
    /// Before the idle timeout, which it lets begin anew.
    ReleaseCheck,
    TaskManagerIdle,
    /// One of the times of which at most one of each kind is running.
    Ending,
}

impl Core {
    /// The earliest of all deadlines; `MAX` if nothing falls due.
    #[inline]
    pub(crate) fn earliest_deadline(&self) -> Timestamp {
        // Asked after every input: bare times are compared much faster than times with their kinds.
        let (retry, _) = self.requests.backoffs.earliest();
        let (slot, _) = self.slot_backoffs.earliest();
        (self.requests.deadlines.earliest())
            .min(self.requests.rpc_timeouts.earliest())
            .min(retry)
            .min(slot)
            .min(self.promised_slots.expiries.earliest())
            .min(self.requests.ask_retries.earliest())
            .min(self.task_managers.idle.earliest())
            .min(self.releases.deadlines.earliest())
            .min(self.worker_policy.earliest())
    }

    /// The first of the kinds of which one falls due at the earliest of all deadlines.
    fn first_kind_due_at(&self, deadline: Timestamp) -> Kind {
        let (retry, retry_step) = self.requests.backoffs.earliest();
        let (slot, slot_step) = self.slot_backoffs.earliest();
        if self.requests.deadlines.earliest() == deadline {
            Kind::RequestTimeout
        } else if self.requests.rpc_timeouts.earliest() == deadline {
            Kind::RpcTimeout
        } else if retry == deadline {
            Kind::RetryBackoff { step: retry_step }
        } else if slot == deadline {
            Kind::SlotBackoff { step: slot_step }
        } else if self.promised_slots.expiries.earliest() == deadline {
            Kind::WorkerRegistration
        } else if self.requests.ask_retries.earliest() == deadline {
            Kind::AskRetry
        } else if self.releases.deadlines.earliest() == deadline {
            Kind::ReleaseCheck
        } else if self.task_managers.idle.earliest() == deadline {
            Kind::TaskManagerIdle
        } else {
            Kind::Ending
        }
    }

    /// Handles the earliest deadline if it is due by `time`. Returns whether it was.
    pub(crate) fn handle_earliest_due(&mut self, time: Timestamp) -> bool {
        let deadline = self.earliest_deadline();
        if deadline > time || deadline == Timestamp::MAX {
            return false;
        }
        let kind = self.first_kind_due_at(deadline);
        self.handle_due(kind).is_some()
    }

    fn handle_due(&mut self, kind: Kind) -> Option<()> {
        match kind {
            Kind::RequestTimeout => {
                let request = self.requests.deadlines.head()?;
                self.expire(request);
            }
            Kind::RpcTimeout => {
                let request = self.requests.rpc_timeouts.head()?;
                self.attempt_timed_out(request);
            }
            Kind::RetryBackoff { step } => {
                let request = self.requests.backoffs.head(step)?;
                self.end_backoff(request);
            }
            Kind::SlotBackoff { step } => {
                let slot = self.slot_backoffs.head(step)?;
                self.detach_slot(slot);
                self.transaction.free.push(slot);
            }
            Kind::WorkerRegistration => {
                let worker_request = self.promised_slots.expiries.head()?;
                self.end_worker_request(worker_request, &"it did not register in time".into());
            }
            Kind::AskRetry => {
                let request = self.requests.ask_retries.head()?;
                self.retry_ask(request);
            }
            Kind::ReleaseCheck => {
                let task_manager = self.releases.first_due()?;
                self.release_refused(task_manager);
            }
            Kind::TaskManagerIdle => {
                let task_manager = self.task_managers.idle.head()?;
                self.note_idle_timeout(task_manager);
            }
            Kind::Ending => {
                let ending = self.worker_policy.first_ending()?;
                self.worker_policy.end(ending);
            }
        }
        self.commit();
        Some(())
    }
}
