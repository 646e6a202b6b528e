//! The notifications of one call that are not sent yet.

use std::cmp::Ordering;

use crate::message::{Allocation, AllocationFailureCause, GrantLoss, RequestFailure};
use crate::{ResourceId, SlotId};

use crate::slot_manager::collections::arena::{Key, key};
use crate::slot_manager::state::transaction::DroppedGrant;

key! {
    /// The loss of one or more grants of one worker.
    LossKey
}

key! {
    /// The worker of one or more granted slots.
    WorkerKey
}

key! {
    /// The failure of a request.
    FailureKey
}

/// A slot with a dropped grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostSlot {
    pub(crate) number: u32,
    pub(crate) loss: LossKey,
}

/// A notification, without the values that several notifications share.
#[derive(Debug, Clone, Copy)]
struct Notification {
    allocation: Allocation,
    /// The number of the slot; zero without a slot.
    slot_number: u32,
    event: EventKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventKey {
    Granted(WorkerKey),
    Lost(LossKey),
    Failed(FailureKey),
}

/// The content of a notification.
pub(crate) enum Event<'a> {
    Granted(&'a SlotId),
    Failed(&'a AllocationFailureCause),
}

/// The notifications of one call that are not sent yet, and the values that they share.
///
/// A key of a loss is valid from `add_loss` to `send_all`.
#[derive(Debug, Default)]
pub(crate) struct Notifications {
    list: Vec<Notification>,
    /// A slot of each worker with grants. The number is set before use.
    granted: Vec<SlotId>,
    /// The losses of grants. The grants that one task manager loses at once share one entry. The
    /// number of the slot is set before use.
    losses: Vec<AllocationFailureCause>,
    failures: Vec<AllocationFailureCause>,
}

impl Notifications {
    /// Returns `true` if there are neither notifications nor losses.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.list.len() | self.losses.len() == 0
    }

    /// Adds the loss of grants of one worker and returns its key.
    pub(crate) fn add_loss(&mut self, resource_id: ResourceId, loss: GrantLoss) -> LossKey {
        let slot_id = SlotId::new(resource_id, 0);
        self.losses.push(AllocationFailureCause::GrantLost { slot_id, loss });
        LossKey::from_index(self.losses.len() - 1)
    }

    /// Returns the cause of a loss, with the number of the lost slot.
    pub(crate) fn cause_of(&mut self, lost: LostSlot) -> &AllocationFailureCause {
        let cause = &mut self.losses[lost.loss.index()];
        if let AllocationFailureCause::GrantLost { slot_id, .. } = cause {
            slot_id.set_slot_number(lost.number);
        }
        cause
    }

    /// Sorts dropped grants by worker, then by the number of the slot.
    pub(crate) fn sort(&self, dropped: &mut [DroppedGrant]) {
        // Most are of one worker, and in order already.
        let is_in_order = |a: LostSlot, b: LostSlot| a.loss == b.loss && a.number <= b.number;
        if !dropped.is_sorted_by(|a, b| is_in_order(a.slot, b.slot)) {
            dropped.sort_by(|a, b| self.order(a.slot, b.slot));
        }
    }

    /// Compares two lost slots by worker, then by number.
    fn order(&self, lost: LostSlot, other: LostSlot) -> Ordering {
        if lost.loss == other.loss {
            return lost.number.cmp(&other.number);
        }
        let worker = |lost: LostSlot| worker_of(&self.losses[lost.loss.index()]);
        (worker(lost), lost.number).cmp(&(worker(other), other.number))
    }

    #[inline]
    pub(crate) fn add_granted(&mut self, allocation: Allocation, resource_id: &ResourceId, slot_number: u32) {
        let is_of_last = (self.granted.last()).is_some_and(|last| last.resource_id() == resource_id);
        if !is_of_last {
            self.granted.push(SlotId::new(resource_id.clone(), 0));
        }
        let worker = WorkerKey::from_index(self.granted.len() - 1);
        self.list.push(Notification {
            allocation,
            slot_number,
            event: EventKey::Granted(worker),
        });
    }

    pub(crate) fn add_lost(&mut self, dropped: impl Iterator<Item = DroppedGrant>) {
        self.list
            .extend(dropped.map(|DroppedGrant { slot, allocation }| Notification {
                allocation,
                slot_number: slot.number,
                event: EventKey::Lost(slot.loss),
            }));
    }

    pub(crate) fn add_failed(&mut self, allocation: Allocation, failure: RequestFailure) {
        self.failures.push(AllocationFailureCause::RequestFailed(failure));
        let failure = FailureKey::from_index(self.failures.len() - 1);
        self.list.push(Notification {
            allocation,
            slot_number: 0,
            event: EventKey::Failed(failure),
        });
    }

    /// Passes all notifications to `send`, ordered by slot, and removes them. Those without a slot
    /// come last.
    pub(crate) fn send_all(&mut self, mut send: impl FnMut(Allocation, Event<'_>)) {
        let mut list = std::mem::take(&mut self.list);
        // Most lists are about one worker, and in order already.
        let is_in_order = |a: &Notification, b: &Notification| a.event == b.event && a.slot_number <= b.slot_number;
        if !list.is_sorted_by(is_in_order) {
            // A stable sort: notifications about one slot keep the order of their events.
            list.sort_by(|a, b| self.order_of(a, b));
        }
        for &Notification {
            allocation,
            slot_number,
            event,
        } in &list
        {
            match event {
                EventKey::Granted(worker) => {
                    let slot_id = &mut self.granted[worker.index()];
                    slot_id.set_slot_number(slot_number);
                    send(allocation, Event::Granted(slot_id));
                }
                EventKey::Lost(loss) => {
                    let number = slot_number;
                    send(allocation, Event::Failed(self.cause_of(LostSlot { number, loss })));
                }
                EventKey::Failed(failure) => send(allocation, Event::Failed(&self.failures[failure.index()])),
            }
        }
        list.clear();
        self.list = list;
        self.granted.clear();
        self.losses.clear();
        self.failures.clear();
    }

    /// Ends the keys of losses. Nothing is left to send.
    #[inline]
    pub(crate) fn forget_losses(&mut self) {
        self.losses.clear();
    }

    /// Compares by slot. Notifications without a slot come last.
    #[inline]
    fn order_of(&self, a: &Notification, b: &Notification) -> Ordering {
        if a.event == b.event {
            return a.slot_number.cmp(&b.slot_number);
        }
        let (worker, other) = (self.worker(a.event), self.worker(b.event));
        (worker.is_none(), worker, a.slot_number).cmp(&(other.is_none(), other, b.slot_number))
    }

    fn worker(&self, event: EventKey) -> Option<&ResourceId> {
        match event {
            EventKey::Granted(worker) => Some(self.granted[worker.index()].resource_id()),
            EventKey::Lost(loss) => worker_of(&self.losses[loss.index()]),
            EventKey::Failed(_) => None,
        }
    }
}

/// Returns the worker of a lost grant.
fn worker_of(cause: &AllocationFailureCause) -> Option<&ResourceId> {
    match cause {
        AllocationFailureCause::GrantLost { slot_id, .. } => Some(slot_id.resource_id()),
        AllocationFailureCause::RequestFailed(_) => None,
    }
}
