//! Lookups, each of which searches a list from its beginning.

use slot_manager::message::Allocation;
use slot_manager::outcome::AllocationStatus;
use slot_manager::{AllocationId, InstanceId, JobId, SlotId};

use super::{NaiveSlotManager, Request, Slot, Stage, State, TaskManager};

impl NaiveSlotManager {
    pub(super) fn task_manager(&self, id: InstanceId) -> Option<&TaskManager> {
        self.task_managers.iter().find(|it| it.instance_id == id)
    }

    pub(super) fn task_manager_mut(&mut self, id: InstanceId) -> &mut TaskManager {
        let found = self.task_managers.iter_mut().find(|it| it.instance_id == id);
        found.expect("a registered task manager")
    }

    pub(super) fn owner(&self, slot: &SlotId) -> Option<&TaskManager> {
        self.task_managers
            .iter()
            .find(|it| it.resource_id == *slot.resource_id())
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.task_managers.iter().flat_map(|it| &it.slots)
    }

    pub(super) fn find_slot(&self, id: &SlotId) -> Option<&Slot> {
        self.slots().find(|slot| slot.id == *id)
    }

    pub(super) fn slot_mut(&mut self, id: &SlotId) -> &mut Slot {
        let mut all = self.task_managers.iter_mut().flat_map(|it| &mut it.slots);
        all.find(|slot| slot.id == *id).expect("a registered slot")
    }

    pub(super) fn find_request(&self, id: AllocationId) -> Option<&Request> {
        self.requests.iter().find(|it| it.allocation_id == id)
    }

    pub(super) fn request_mut(&mut self, id: AllocationId) -> &mut Request {
        let found = self.requests.iter_mut().find(|it| it.allocation_id == id);
        found.expect("a pending request")
    }

    /// Returns the slot that is the grant of an allocation, and its job.
    pub(super) fn find_grant(&self, id: AllocationId) -> Option<(SlotId, JobId)> {
        self.slots().find_map(|slot| match slot.state {
            State::Allocated {
                allocation,
                secondary: None,
            } if allocation.id == id => Some((slot.id.clone(), allocation.job)),
            _ => None,
        })
    }

    pub(super) fn status(&self, id: AllocationId) -> Option<AllocationStatus> {
        match self.find_request(id) {
            None => self
                .find_grant(id)
                .map(|(slot_id, _)| AllocationStatus::Granted { slot_id }),
            Some(request) => Some(match &request.stage {
                Stage::InFlight { slot, .. } => AllocationStatus::InFlight { slot_id: slot.clone() },
                _ => AllocationStatus::Waiting,
            }),
        }
    }

    /// Returns the allocation that holds a slot.
    pub(super) fn holder(&self, slot: &SlotId) -> Option<Allocation> {
        match self.find_slot(slot)?.state {
            State::Allocated { allocation, .. } => Some(allocation),
            _ => None,
        }
    }
}
