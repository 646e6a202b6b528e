//! The index of the offered slots.

use std::sync::Arc;

use crate::ResourceProfile;
use crate::matching::{Candidate, SlotMatching, SlotMatchingStrategy, SlotOrder};
use crate::resource_profile::Waste;

use crate::slot_manager::collections::arena::Arena;
use crate::slot_manager::state::profile_queues::{Fitting, ProfileKey, ProfileQueues, Profiles};
use crate::slot_manager::state::slots::{EndedOffer, Offered, SlotKey, SlotPhase, Slots};
use crate::slot_manager::state::task_managers::{TaskManager, TaskManagerKey};

mod by_utilization;

use self::by_utilization::{Prefer, UtilizationIndex};

type TaskManagerRecords = Arena<TaskManagerKey, TaskManager>;

/// The offered slots: exactly the slots in the phase
/// [`Offered`](crate::slot_manager::state::slots::SlotPhase::Offered).
#[derive(Debug)]
pub(crate) struct FreeSlotIndex {
    index: SlotOrdering,
    choice: Choice,
    next_sequence: u64,
}

/// The order of the offered slots.
#[derive(Debug)]
enum SlotOrdering {
    /// The slot that has been free longest comes first.
    Queues(ProfileQueues<Offered, SlotKey>),
    /// The utilization of the task manager comes first.
    ByUtilization(UtilizationIndex),
}

/// The choice among the first slots of all fitting profiles.
#[derive(Debug)]
enum Choice {
    /// The first slot in the order of the index.
    First,
    /// The slot with the least resources beyond the required ones.
    LeastWaste,
    /// The slot that a strategy of the user prefers.
    Custom(Arc<dyn SlotMatching + Send + Sync>),
}

impl FreeSlotIndex {
    /// `order` is that of the strategy.
    pub(crate) fn new(strategy: &SlotMatchingStrategy, order: SlotOrder) -> Self {
        let choice = match strategy {
            SlotMatchingStrategy::BestFit => Choice::LeastWaste,
            SlotMatchingStrategy::Custom(own) => Choice::Custom(Arc::clone(own)),
            _ => Choice::First,
        };
        Self {
            index: match order {
                SlotOrder::Free => SlotOrdering::Queues(ProfileQueues::new()),
                SlotOrder::LeastUtilized => SlotOrdering::ByUtilization(UtilizationIndex::new(Prefer::LeastUtilized)),
                SlotOrder::MostUtilized => SlotOrdering::ByUtilization(UtilizationIndex::new(Prefer::MostUtilized)),
            },
            choice,
            next_sequence: 0,
        }
    }

    /// Offers a slot of this task manager with this profile, which is in no list.
    #[inline(always)]
    pub(crate) fn push(
        &mut self,
        slots: &mut Slots,
        profiles: &Profiles,
        task_managers: &TaskManagerRecords,
        profile: ProfileKey,
        slot: SlotKey,
    ) {
        self.next_sequence += 1;
        let sequence = self.next_sequence;
        match &mut self.index {
            SlotOrdering::Queues(queues) => {
                let links = queues.link_last(slots, profiles, profile, sequence, slot);
                slots[slot].begin_offer(sequence, links);
            }
            SlotOrdering::ByUtilization(index) => {
                slots[slot].phase = SlotPhase::Offered { sequence };
                index.push(slots, profiles, task_managers, slot);
            }
        }
    }

    /// Removes a slot that is offered no more. The caller updates the order of its task manager.
    #[inline(always)]
    pub(crate) fn remove(&mut self, slots: &mut Slots, slot: SlotKey, ended: EndedOffer) {
        match &mut self.index {
            SlotOrdering::Queues(queues) => queues.unlink(slots, ended.profile, ended.sequence, slot, ended.links),
            SlotOrdering::ByUtilization(index) => index.remove(slots, ended),
        }
    }

    /// Returns the slot that the strategy chooses among the fitting ones. It stays in the index.
    #[inline(always)]
    pub(crate) fn find(&self, slots: &Slots, profiles: &Profiles, required: &ResourceProfile) -> Option<SlotKey> {
        match (&self.index, &self.choice) {
            (SlotOrdering::Queues(queues), Choice::First) => {
                let (_, slot) = queues.first_fitting(profiles, Fitting::Request(required))?;
                Some(slot)
            }
            (SlotOrdering::ByUtilization(index), Choice::First) => index.first_fitting(profiles, required),
            (index, Choice::LeastWaste) => index.least_waste(slots, profiles, required),
            (index, Choice::Custom(own)) => index.best(slots, profiles, required, &**own),
        }
    }

    /// Returns the slot that the strategy chooses among the fitting ones of other task managers
    /// than these. It stays in the index.
    ///
    /// Cost: as [`find`](Self::find), and O(offered slots of the excluded task managers).
    pub(crate) fn find_except(
        &mut self,
        slots: &Slots,
        profiles: &Profiles,
        required: &ResourceProfile,
        excluded: &[TaskManagerKey],
    ) -> Option<SlotKey> {
        // Each with the rank of its task manager: the least is preferred.
        let firsts: Vec<(u64, First, SlotKey)> = match &mut self.index {
            SlotOrdering::Queues(queues) => {
                let is_other = |slot: SlotKey| !excluded.contains(&slots[slot].task_manager);
                let fitting = queues.fitting(profiles, Fitting::Request(required));
                let firsts = fitting.filter_map(|(profile, _)| {
                    let (free_order, slot) = queues.first_where(slots, profile, is_other)?;
                    Some((0, First::in_queue(profile, free_order), slot))
                });
                firsts.collect()
            }
            SlotOrdering::ByUtilization(index) => index.fitting_except(profiles, required, excluded),
        };
        let best = match &self.choice {
            Choice::First => firsts.iter().min_by_key(|(rank, first, _)| (*rank, first.free_order)),
            Choice::LeastWaste => firsts
                .iter()
                .min_by_key(|(_, first, _)| (profiles[first.profile].waste(required), first.free_order)),
            Choice::Custom(own) => firsts.iter().min_by(|(_, a, _), (_, b, _)| {
                own.compare(required, &a.as_candidate(profiles), &b.as_candidate(profiles))
                    .then_with(|| a.free_order.cmp(&b.free_order))
            }),
        };
        best.map(|(_, _, slot)| *slot)
    }

    /// Updates the order after a slot of a task manager was removed, or after its share of used
    /// slots changed.
    #[inline]
    pub(crate) fn reorder(&mut self, slots: &Slots, task_managers: &TaskManagerRecords, task_manager: TaskManagerKey) {
        if let SlotOrdering::ByUtilization(index) = &mut self.index {
            index.reorder(slots, task_managers, task_manager);
        }
    }

    pub(crate) fn clear(&mut self) {
        match &mut self.index {
            SlotOrdering::Queues(queues) => queues.clear(),
            SlotOrdering::ByUtilization(index) => index.clear(),
        }
    }

    /// Returns `true` if the slots are in order; for the check of invariants.
    pub(crate) fn is_in_order(&self, slots: &Slots, task_managers: &TaskManagerRecords) -> bool {
        match &self.index {
            SlotOrdering::Queues(queues) => queues.are_in_order(slots),
            SlotOrdering::ByUtilization(index) => index.is_in_order(slots, task_managers),
        }
    }

    /// Returns all offered slots with the profiles of their queues, in no particular order.
    pub(crate) fn iter<'a>(&'a self, slots: &'a Slots) -> Box<dyn Iterator<Item = (ProfileKey, SlotKey)> + 'a> {
        match &self.index {
            SlotOrdering::Queues(queues) => Box::new(queues.iter(slots)),
            SlotOrdering::ByUtilization(index) => Box::new(index.iter(slots)),
        }
    }
}

/// The first slot of a fitting profile.
pub(crate) struct First {
    profile: ProfileKey,
    utilization: u64,
    free_order: u64,
}

impl First {
    #[inline]
    fn in_queue(profile: ProfileKey, free_order: u64) -> Self {
        Self {
            profile,
            utilization: 0,
            free_order,
        }
    }

    fn as_candidate<'a>(&self, profiles: &'a Profiles) -> Candidate<'a> {
        Candidate {
            resource_profile: &profiles[self.profile],
            utilization: self.utilization,
            free_order: self.free_order,
        }
    }
}

impl ProfileQueues<Offered, SlotKey> {
    /// Returns the first slot of each fitting profile.
    #[inline]
    fn firsts(&self, profiles: &Profiles, required: &ResourceProfile) -> impl Iterator<Item = First> {
        let fitting = self.fitting(profiles, Fitting::Request(required));
        fitting.map(|(profile, free_order)| First::in_queue(profile, free_order))
    }
}

impl SlotOrdering {
    /// Returns the slot with the least resources beyond the required ones.
    #[inline(never)]
    fn least_waste(&self, slots: &Slots, profiles: &Profiles, required: &ResourceProfile) -> Option<SlotKey> {
        let mut best: Option<(Waste, u64, ProfileKey)> = None;
        // Not `min_by_key`: it moves the keys around, which takes half as long again.
        let mut compare = |first: First| {
            let waste = profiles[first.profile].waste(required);
            let is_better = |(least, earliest, _): &(Waste, u64, ProfileKey)| {
                waste < *least || (waste == *least && first.free_order < *earliest)
            };
            if best.as_ref().is_none_or(is_better) {
                best = Some((waste, first.free_order, first.profile));
            }
        };
        match self {
            Self::Queues(queues) => queues.firsts(profiles, required).for_each(&mut compare),
            Self::ByUtilization(index) => index.fitting(profiles, required).for_each(&mut compare),
        }
        let (_, _, profile) = best?;
        self.first_of(slots, profile)
    }

    /// Returns the slot that the strategy of the user prefers.
    #[inline(never)]
    fn best(
        &self,
        slots: &Slots,
        profiles: &Profiles,
        required: &ResourceProfile,
        own: &dyn SlotMatching,
    ) -> Option<SlotKey> {
        let order = |a: &First, b: &First| {
            own.compare(required, &a.as_candidate(profiles), &b.as_candidate(profiles))
                .then_with(|| a.free_order.cmp(&b.free_order))
        };
        let best = match self {
            Self::Queues(queues) => queues.firsts(profiles, required).min_by(order),
            Self::ByUtilization(index) => index.fitting(profiles, required).min_by(order),
        };
        self.first_of(slots, best?.profile)
    }

    fn first_of(&self, slots: &Slots, profile: ProfileKey) -> Option<SlotKey> {
        match self {
            Self::Queues(queues) => queues.first_of(slots, profile),
            Self::ByUtilization(index) => index.first_of(profile),
        }
    }
}
