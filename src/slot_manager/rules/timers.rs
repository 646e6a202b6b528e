//! Timers: which falls due first, and what happens then.

use crate::Timestamp;

use crate::slot_manager::state::core::Core;

/// The kinds of timers. Those due at one time are handled in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A request fails.
    RequestTimeout,
    /// An attempt fails.
    RpcTimeout,
    /// A request looks for a slot again.
    RequestBackoff,
    /// A slot is offered again.
    SlotBackoff,
    /// A worker may be probed.
    WorkerBackoff,
    /// A worker request fails.
    WorkerRegistration,
    /// A declined worker request is made again.
    WorkerRequestRetry,
    /// A release check counts as declined. Before the idle timeout, which it restarts.
    ReleaseCheck,
    /// An idle task manager is released.
    IdleTimeout,
    /// A period of the worker policy ends.
    WorkerPolicy,
    /// Units are made for declared requirements, or a shortage of slots is told.
    Requirements,
    /// A worker may be set aside for a request.
    SetAside,
}

impl Timer {
    pub(crate) const ALL: [Self; 12] = [
        Self::RequestTimeout,
        Self::RpcTimeout,
        Self::RequestBackoff,
        Self::SlotBackoff,
        Self::WorkerBackoff,
        Self::WorkerRegistration,
        Self::WorkerRequestRetry,
        Self::ReleaseCheck,
        Self::IdleTimeout,
        Self::WorkerPolicy,
        Self::Requirements,
        Self::SetAside,
    ];
}

impl Core {
    /// Returns the earliest deadline of each timer, in the order of [`Timer::ALL`]; `MAX` if none
    /// is armed.
    #[inline]
    fn deadlines(&self) -> [Timestamp; Timer::ALL.len()] {
        [
            self.requests.deadlines.earliest(),
            self.requests.rpc_timeouts.earliest(),
            self.requests.backoffs.earliest(),
            self.slot_backoffs.earliest(),
            self.failing_workers.earliest(),
            self.promises.expiries.earliest(),
            self.requests.ask_retries.earliest(),
            self.releases.deadlines.earliest(),
            self.task_managers.idle.earliest(),
            self.worker_policy.earliest(),
            self.ledger.earliest(),
            self.set_aside.earliest(),
        ]
    }

    /// Handles the earliest deadline of one kind.
    fn handle(&mut self, timer: Timer) -> Option<()> {
        match timer {
            Timer::RequestTimeout => self.expire(self.requests.deadlines.head()?),
            Timer::RpcTimeout => self.attempt_timed_out(self.requests.rpc_timeouts.head()?),
            Timer::RequestBackoff => self.end_backoff(self.requests.backoffs.first()?),
            Timer::SlotBackoff => {
                let slot = self.slot_backoffs.first()?;
                self.detach_slot(slot);
                self.transaction.free.push(slot);
            }
            Timer::WorkerBackoff => {
                let task_manager = self.failing_workers.take_first_end()?;
                self.note_probe(task_manager);
            }
            Timer::WorkerRegistration => {
                let worker_request = self.promises.expiries.head()?;
                self.expire_worker_request(worker_request);
            }
            Timer::WorkerRequestRetry => self.retry_ask(self.requests.ask_retries.head()?),
            Timer::ReleaseCheck => self.release_declined(self.releases.first_due()?),
            Timer::IdleTimeout => self.note_idle_timeout(self.task_managers.idle.head()?),
            Timer::WorkerPolicy => {
                let period = self.worker_policy.first_period()?;
                self.worker_policy.end(period);
            }
            Timer::Requirements => self.handle_account_timer()?,
            Timer::SetAside => self.note_long_wait(),
        }
        Some(())
    }

    /// Returns `true` if the deadlines of one kind are in order; for the check of invariants.
    pub(crate) fn is_in_order(&self, timer: Timer) -> bool {
        let (requests, promises) = (&self.requests, &self.promises);
        match timer {
            Timer::RequestTimeout => requests.deadlines.is_in_order(&requests.records),
            Timer::RpcTimeout => requests.rpc_timeouts.is_in_order(&requests.records),
            Timer::RequestBackoff => requests.backoffs.is_in_order(&requests.records),
            Timer::SlotBackoff => self.slot_backoffs.is_in_order(&self.slots),
            Timer::WorkerBackoff => self.failing_workers.is_consistent(),
            Timer::WorkerRegistration => promises.expiries.is_in_order(&promises.worker_requests),
            Timer::WorkerRequestRetry => requests.ask_retries.is_in_order(&requests.records),
            Timer::ReleaseCheck => self.releases.are_checks_in_order(),
            Timer::IdleTimeout => self.task_managers.idle.is_in_order(&self.task_managers.records),
            Timer::WorkerPolicy => self.worker_policy.is_earliest_known(),
            Timer::Requirements => self.ledger.are_deadlines_in_order(),
            Timer::SetAside => self.set_aside.is_consistent(&requests.records),
        }
    }

    /// Returns the earliest of all deadlines; `MAX` if none is armed.
    #[inline]
    pub(crate) fn earliest_deadline(&self) -> Timestamp {
        self.deadlines().into_iter().fold(Timestamp::MAX, Timestamp::min)
    }

    /// Handles the earliest deadline if it is due by `time`. Returns `false` if none is.
    pub(crate) fn handle_earliest_due(&mut self, time: Timestamp) -> bool {
        let earliest = self.earliest_deadline();
        if earliest > time || earliest == Timestamp::MAX {
            return false;
        }
        let mut timers = Timer::ALL.into_iter().zip(self.deadlines());
        let first = timers.find(|(_, deadline)| *deadline == earliest);
        let handled = first.and_then(|(timer, _)| self.handle(timer));
        self.commit();
        handled.is_some()
    }
}
