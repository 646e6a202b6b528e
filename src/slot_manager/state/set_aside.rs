//! The worker that is set aside for a request that has waited long.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Timestamp;

use crate::slot_manager::collections::arena::Arena;
use crate::slot_manager::state::requests::{PendingRequest, RequestKey};
use crate::slot_manager::state::task_managers::TaskManagerKey;

/// The worker that is set aside, and the requests that have not waited long yet.
#[derive(Debug)]
pub(crate) struct SetAside {
    is_on: bool,
    current: Option<Earmark>,
    /// The requests that have not waited long, oldest first. The first and the last have not ended.
    young: VecDeque<Young>,
    /// Requests with a smaller sequence number have waited long.
    first_young: u64,
}

/// A dynamic worker that is set aside for a request, and for older ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Earmark {
    pub(crate) task_manager: TaskManagerKey,
    pub(crate) request: RequestKey,
    pub(crate) sequence: u64,
}

/// A request, and the time from which it has waited long.
#[derive(Debug)]
struct Young {
    until: Timestamp,
    sequence: u64,
    request: RequestKey,
}

impl Young {
    fn is_pending(&self, records: &Arena<RequestKey, PendingRequest>) -> bool {
        let record = records.get(self.request);
        record.is_some_and(|record| record.sequence == self.sequence)
    }
}

impl SetAside {
    pub(crate) fn new(delay: Duration) -> Self {
        Self {
            is_on: delay < Duration::MAX,
            current: None,
            young: VecDeque::new(),
            first_young: 0,
        }
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    pub(crate) fn current(&self) -> Option<Earmark> {
        self.current
    }

    pub(crate) fn begin(&mut self, earmark: Earmark) {
        self.current = Some(earmark);
    }

    /// Ends the earmark.
    pub(crate) fn end(&mut self) -> Option<Earmark> {
        self.current.take()
    }

    /// Returns `true` if a worker is set aside for this request.
    #[inline]
    pub(crate) fn is_for(&self, request: RequestKey) -> bool {
        self.current.is_some_and(|earmark| earmark.request == request)
    }

    /// Returns `true` if this worker is set aside.
    #[inline]
    pub(crate) fn is_on_worker(&self, task_manager: TaskManagerKey) -> bool {
        self.current.is_some_and(|earmark| earmark.task_manager == task_manager)
    }

    /// Returns the worker that is set aside for an older request than this one.
    #[inline]
    pub(crate) fn barred_to(&self, sequence: u64) -> Option<TaskManagerKey> {
        let earmark = self.current.filter(|earmark| earmark.sequence < sequence)?;
        Some(earmark.task_manager)
    }

    /// Returns the largest sequence number of the requests that a worker may serve.
    #[inline]
    pub(crate) fn newest_on(&self, task_manager: TaskManagerKey) -> u64 {
        let earmark = self.current.filter(|earmark| earmark.task_manager == task_manager);
        earmark.map_or(u64::MAX, |earmark| earmark.sequence)
    }

    /// Adds the newest request, which has waited long from this time on. Returns that time: it is not
    /// before that of an older request.
    pub(crate) fn add(&mut self, request: RequestKey, sequence: u64, until: Timestamp) -> Timestamp {
        let until = self.young.back().map_or(until, |older| older.until.max(until));
        self.young.push_back(Young {
            until,
            sequence,
            request,
        });
        until
    }

    /// Returns the time from which the next request has waited long; `MAX` if there is none.
    #[inline]
    pub(crate) fn earliest(&self) -> Timestamp {
        self.young.front().map_or(Timestamp::MAX, |young| young.until)
    }

    /// Notes that the oldest young request has waited long.
    pub(crate) fn end_first_wait(&mut self, records: &Arena<RequestKey, PendingRequest>) {
        if let Some(first) = self.young.pop_front() {
            self.first_young = first.sequence + 1;
        }
        self.forget_ended(records);
    }

    /// Forgets the young requests that are not pending any more: the first and last ones, and all if
    /// they are many.
    pub(crate) fn forget_ended(&mut self, records: &Arena<RequestKey, PendingRequest>) {
        while self.young.front().is_some_and(|young| !young.is_pending(records)) {
            self.young.pop_front();
        }
        while self.young.back().is_some_and(|young| !young.is_pending(records)) {
            self.young.pop_back();
        }
        if self.young.len() > 2 * records.len() + 64 {
            self.young.retain(|young| young.is_pending(records));
        }
    }

    /// Returns `true` if a request with this sequence number has waited long.
    #[inline]
    pub(crate) fn has_waited_long(&self, sequence: u64) -> bool {
        sequence < self.first_young
    }

    /// Returns `true` if the young requests are those that are pending, in order; for the check of
    /// invariants.
    pub(crate) fn is_consistent(&self, records: &Arena<RequestKey, PendingRequest>) -> bool {
        let order = |young: &Young| (young.until, young.sequence);
        let pending = self.young.iter().filter(|young| young.is_pending(records));
        let expected = records
            .iter()
            .filter(|(_, record)| !self.has_waited_long(record.sequence));
        self.young.iter().map(order).is_sorted()
            && self.young.front().is_none_or(|young| young.is_pending(records))
            && match self.is_on {
                true => pending.count() == expected.count(),
                false => self.young.is_empty() && self.current.is_none(),
            }
    }

    /// Forgets all requests. Later ones have larger sequence numbers.
    pub(crate) fn clear(&mut self) {
        self.current = None;
        self.young = VecDeque::new();
    }
}
