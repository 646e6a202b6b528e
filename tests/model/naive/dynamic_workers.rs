//! Dynamic workers: which resources remain, and as how many slots a worker counts.

use slot_manager::{DynamicResources, InstanceId, ResourceProfile, SlotStatus};

use super::amounts::Amounts;
use super::{NaiveSlotManager, Request, Slot, State, TaskManager};
use crate::command::{Shape, Total};

/// The largest number of slots as which a worker counts.
const MOST_COUNTED: usize = 1 << 16;

/// The lowest number of a cut.
pub(super) const FIRST_NUMBER: u32 = 1 << 31;

/// The resources of a worker, as it reported them last.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resources {
    pub(super) total: ResourceProfile,
    pub(super) default_slot: Option<ResourceProfile>,
    /// The resources that the worker has not, though no slot holds them.
    withheld: Amounts,
    /// Workers are cut in the order of their places.
    pub(super) place: usize,
    /// The number of the next cut, unless it is in use.
    pub(super) next_number: u32,
}

impl Resources {
    /// Returns the resources of a worker that registers with these slots.
    pub(super) fn reported(place: usize, reported: &DynamicResources, slots: &[&ResourceProfile]) -> Self {
        let mut resources = Self {
            total: reported.total().clone(),
            default_slot: None,
            withheld: Amounts::default(),
            place,
            next_number: FIRST_NUMBER,
        };
        resources.update(reported, slots);
        resources
    }

    /// Takes over the resources of a report that shows these slots.
    pub(super) fn update(&mut self, reported: &DynamicResources, slots: &[&ResourceProfile]) {
        self.total = reported.total().clone();
        self.default_slot = reported.default_slot().cloned();
        self.withheld = Amounts::default();
        if let Some(free) = reported.free() {
            self.withhold_beyond(free, slots);
        }
    }

    /// Withholds resources so that no more than `bound` remain beside these slots.
    pub(super) fn withhold_beyond(&mut self, bound: &ResourceProfile, slots: &[&ResourceProfile]) {
        if let (Some(bound), Some(remaining)) = (Amounts::of(bound), Amounts::of(&self.remaining(slots))) {
            self.withheld = remaining.without(&bound).with(&self.withheld);
        }
    }

    /// Returns the resources that remain beside these slots.
    pub(super) fn remaining(&self, slots: &[&ResourceProfile]) -> ResourceProfile {
        let Some(total) = Amounts::of(&self.total) else {
            return self.total.clone();
        };
        if slots.contains(&&ResourceProfile::ANY) {
            return ResourceProfile::ZERO;
        }
        let slots = slots.iter().filter_map(|slot| Amounts::of(slot));
        let used = slots.fold(self.withheld.clone(), |used, slot| used.with(&slot));
        total.without(&used).profile()
    }

    /// Returns the slot that is cut for a request.
    pub(super) fn cut_for(&self, required: &ResourceProfile) -> Option<ResourceProfile> {
        match *required == ResourceProfile::UNKNOWN {
            true => self.default_slot.clone(),
            false => Some(required.clone()),
        }
    }

    /// Returns `true` if a request could be served with the whole total.
    pub(super) fn could_serve(&self, required: &ResourceProfile) -> bool {
        self.cut_for(required).is_some_and(|cut| self.total.is_matching(&cut))
    }

    /// Returns `true` if a worker without slots serves a request.
    pub(super) fn serves(&self, required: &ResourceProfile) -> bool {
        self.cut_for(required)
            .is_some_and(|cut| self.remaining(&[]).is_matching(&cut))
    }

    /// Returns the number of slots as which the worker counts.
    pub(super) fn counted_slots(&self) -> usize {
        self.default_slots_in(&self.total).max(1)
    }

    /// Returns how many default slots a profile holds.
    pub(super) fn default_slots_in(&self, profile: &ResourceProfile) -> usize {
        let Some(default_slot) = &self.default_slot else {
            return 0;
        };
        match (Amounts::of(profile), Amounts::of(default_slot)) {
            (Some(amounts), Some(needed)) => amounts.times(&needed, MOST_COUNTED),
            _ if profile.is_matching(default_slot) => MOST_COUNTED,
            _ => 0,
        }
    }
}

impl TaskManager {
    /// Returns the resources that remain of a dynamic worker.
    pub(super) fn remaining(&self) -> Option<ResourceProfile> {
        let slots: Vec<_> = self.slots.iter().map(|slot| &slot.profile).collect();
        Some(self.resources.as_ref()?.remaining(&slots))
    }

    /// Returns the number of slots as which it counts.
    pub(super) fn counted_slots(&self) -> usize {
        match &self.resources {
            None => self.slots.len(),
            Some(resources) => resources.counted_slots(),
        }
    }

    /// Returns the profiles that count for limits of cores and memory.
    pub(super) fn counted_profiles(&self) -> Vec<&ResourceProfile> {
        match &self.resources {
            None => self.slots.iter().map(|slot| &slot.profile).collect(),
            Some(resources) => vec![&resources.total],
        }
    }

    /// Returns `true` if it holds other slots than those of a report. A second slot for one allocation
    /// counts as another: the manager frees it.
    pub(super) fn holds_other_slots_than(&self, reported: &[SlotStatus]) -> bool {
        let mut has_second_one = false;
        let mut held = Vec::new();
        for slot in &self.slots {
            if let State::Allocated { allocation, secondary } = slot.state {
                has_second_one |= secondary.is_some();
                held.push((&slot.id, &slot.profile, allocation));
            }
        }
        let is_held = |status: &SlotStatus| {
            held.iter().any(|(id, profile, allocation)| {
                (*id, *profile) == (status.slot_id(), status.resource_profile())
                    && status.allocation() == Some(*allocation)
            })
        };
        has_second_one || held.len() != reported.len() || !reported.iter().all(is_held)
    }

    /// Returns `true` if a slot of it, or its total, fits a request.
    pub(super) fn could_serve(&self, request: &Request) -> bool {
        match &self.resources {
            None => self.slots.iter().any(|it| it.profile.is_matching(&request.profile)),
            Some(resources) => resources.could_serve(&request.profile),
        }
    }
}

impl NaiveSlotManager {
    /// Returns the slots that are not cut.
    pub(super) fn static_slots(&self) -> impl Iterator<Item = &Slot> {
        let all = self.task_managers.iter().filter(|it| it.resources.is_none());
        all.flat_map(|it| &it.slots)
    }

    /// Returns the resources of the dynamic workers, without those that are free.
    pub(crate) fn totals(&self) -> Vec<(InstanceId, Total)> {
        let dynamic = self.task_managers.iter().filter_map(|it| {
            let resources = it.resources.as_ref()?;
            let total = Total {
                total: Shape::of(&resources.total),
                default_slot: resources.default_slot.as_ref().map(Shape::of),
                free: None,
            };
            Some((it.instance_id, total))
        });
        dynamic.collect()
    }

    /// Returns the lowest vacant place of a dynamic worker.
    pub(super) fn vacant_place(&self) -> usize {
        let mut taken = self
            .task_managers
            .iter()
            .filter_map(|it| Some(it.resources.as_ref()?.place));
        let taken: Vec<_> = taken.by_ref().collect();
        (0..).find(|place| !taken.contains(place)).expect("endless")
    }

    /// Returns the number of free slots of a worker that a request could take now.
    pub(super) fn free_slots_of(&self, task_manager: &TaskManager) -> usize {
        match (&task_manager.resources, task_manager.remaining()) {
            (Some(resources), Some(remaining)) if self.may_be_cut(task_manager) => {
                resources.default_slots_in(&remaining)
            }
            (Some(_), _) => 0,
            (None, _) => task_manager.slots.iter().filter(|slot| slot.is_offered()).count(),
        }
    }
}
