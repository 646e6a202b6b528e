//! What falls due, in which order, and what happens then.

use crate::Timestamp;

use crate::slot_manager::core::Core;

/// The kinds of deadlines; of several that fall due at one time, the first kind is handled first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    RequestTimeout,
    RpcTimeout,
    RetryPause { step: u8 },
    SlotPause { step: u8 },
    WorkerRegistration,
    AskRepeat,
    TaskManagerIdle,
}

impl Core {
    /// The earliest of all deadlines; `MAX` if nothing falls due.
    #[inline]
    pub(crate) fn earliest_deadline(&self) -> Timestamp {
        // Asked after every input: bare times are compared much faster than times with their kinds.
        let (retry, _) = self.requests.pauses.earliest();
        let (slot, _) = self.withheld.earliest();
        (self.requests.deadlines.earliest())
            .min(self.requests.rpc_timeouts.earliest())
            .min(retry)
            .min(slot)
            .min(self.promised_slots.expiries.earliest())
            .min(self.requests.ask_repeats.earliest())
            .min(self.task_managers.idle.earliest())
    }

    fn earliest(&self) -> (Timestamp, Kind) {
        let (retry, retry_step) = self.requests.pauses.earliest();
        let (slot, slot_step) = self.withheld.earliest();
        let candidates = [
            (self.requests.deadlines.earliest(), Kind::RequestTimeout),
            (self.requests.rpc_timeouts.earliest(), Kind::RpcTimeout),
            (retry, Kind::RetryPause { step: retry_step }),
            (slot, Kind::SlotPause { step: slot_step }),
            (self.promised_slots.expiries.earliest(), Kind::WorkerRegistration),
            (self.requests.ask_repeats.earliest(), Kind::AskRepeat),
            (self.task_managers.idle.earliest(), Kind::TaskManagerIdle),
        ];
        candidates
            .into_iter()
            .min()
            .unwrap_or((Timestamp::MAX, Kind::RequestTimeout))
    }

    /// Handles the earliest deadline if it is due by `time`. Returns whether it was.
    pub(crate) fn handle_earliest_due(&mut self, time: Timestamp) -> bool {
        let deadline = self.earliest_deadline();
        if deadline > time || deadline == Timestamp::MAX {
            return false;
        }
        let (_, kind) = self.earliest();
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
            Kind::RetryPause { step } => {
                let request = self.requests.pauses.head(step)?;
                self.resume(request);
            }
            Kind::SlotPause { step } => {
                let slot = self.withheld.head(step)?;
                self.make_unplaced(slot);
                self.changes.free.push(slot);
            }
            Kind::WorkerRegistration => {
                let worker_request = self.promised_slots.expiries.head()?;
                self.end_worker_request(worker_request, &"it did not register in time".into());
            }
            Kind::AskRepeat => {
                let request = self.requests.ask_repeats.head()?;
                self.repeat_ask(request);
            }
            Kind::TaskManagerIdle => {
                let task_manager = self.task_managers.idle.head()?;
                self.note_idle_timeout(task_manager);
            }
        }
        self.settle();
        Some(())
    }
}
