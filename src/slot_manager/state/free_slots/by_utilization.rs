//! Offered slots in the order of the utilization of their task managers.

use crate::ResourceProfile;
use crate::resource_profile::Sketch;

use super::{First, TaskManagerRecords};
use crate::slot_manager::collections::arena::{Key, key};
use crate::slot_manager::collections::linked_list::List;
use crate::slot_manager::collections::pages::{PagedArena, PagedTable, shrink_if_sparse};
use crate::slot_manager::collections::tournament_tree::{Contestant, TournamentTree};
use crate::slot_manager::state::profile_queues::{ProfileKey, Profiles, Queued};
use crate::slot_manager::state::slots::{EndedOffer, Offered, Slot, SlotKey, Slots};
use crate::slot_manager::state::task_managers::{TaskManager, TaskManagerKey};

key! {
    /// The offered slots of one task manager with one profile.
    GroupKey
}

/// The rank of a group of slots; the least rank is preferred.
///
/// Below the highest bit, which is 0, it has 33 bits of ranked utilization, 62 bits of the sequence
/// number of the slot free longest, and 32 bits of the key of that slot. Sequence numbers never
/// reach 2⁶².
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(u128);

const SLOT_BITS: u32 = 32;
const FIRST_BITS: u32 = 62;
const RANKED_SHIFT: u32 = SLOT_BITS + FIRST_BITS;

impl Contestant for Rank {
    const NONE: Self = Self(u128::MAX >> 1);

    // Without a comparison: the compiler makes a jump of it, which the processor often mispredicts.
    #[inline(always)]
    fn lesser(self, other: Self) -> Self {
        // The sign is right, because both ranks are below 2¹²⁷.
        let difference = self.0.wrapping_sub(other.0);
        let if_negative = 0_u128.wrapping_sub(difference >> 127);
        Self(other.0.wrapping_add(difference & if_negative))
    }
}

impl Rank {
    #[inline]
    fn new(ranked: u64, first: u64, slot: SlotKey) -> Self {
        let (ranked, first, slot) = (u128::from(ranked), u128::from(first), slot.index() as u128);
        Self(ranked << RANKED_SHIFT | first << SLOT_BITS | slot)
    }

    #[inline]
    fn ranked(self) -> u64 {
        (self.0 >> RANKED_SHIFT) as u64
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked to 62 bits")]
    fn first(self) -> u64 {
        (self.0 >> SLOT_BITS) as u64 & (u64::MAX >> (u64::BITS - FIRST_BITS))
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked to 32 bits")]
    fn slot(self) -> SlotKey {
        SlotKey::from_index(self.0 as u32 as usize)
    }
}

/// The preferred task managers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Prefer {
    LeastUtilized,
    MostUtilized,
}

/// Offered slots by profile, and within a profile by the utilization of the task manager.
#[derive(Debug)]
pub(crate) struct UtilizationIndex {
    prefer: Prefer,
    groups: PagedArena<GroupKey, Group>,
    /// The first group of each task manager, indexed by its key.
    by_task_manager: Vec<Option<GroupKey>>,
    /// The profiles with a group.
    by_profile: PagedTable<ProfileKey, ProfileGroups>,
    /// The profiles with a group, in no particular order. A search reads little else.
    active: Vec<ActiveProfile>,
}

/// The offered slots of one task manager with one profile, longest free first.
#[derive(Debug)]
struct Group {
    slots: List<Offered, SlotKey>,
    profile: ProfileKey,
    /// The place in the tree of the profile.
    place: u32,
    /// The next group of the same task manager.
    next: Option<GroupKey>,
}

/// All groups with one profile.
#[derive(Debug, Default)]
struct ProfileGroups {
    groups: TournamentTree<Rank>,
    /// The index in `active`, while there is a group.
    position: usize,
}

/// A profile with a group.
#[derive(Debug)]
struct ActiveProfile {
    best: Rank,
    sketch: Sketch,
    profile: ProfileKey,
}

impl Prefer {
    /// Converts a utilization into a rank, and a rank into a utilization.
    fn ranked(self, utilization: u64) -> u64 {
        match self {
            Self::LeastUtilized => utilization,
            Self::MostUtilized => WHOLE - utilization,
        }
    }
}

/// The utilization of a task manager without unused slots.
const WHOLE: u64 = 1 << 32;

/// Returns the share of used slots as a fraction of 2³².
///
/// Equal shares give equal numbers. Different shares give different numbers below 65,536 slots.
/// While a task manager is being removed, it may count fewer slots than used slots.
fn utilization(task_manager: &TaskManager) -> u64 {
    (task_manager.used() as u64 * WHOLE / task_manager.slots.len().max(1) as u64).min(WHOLE)
}

impl UtilizationIndex {
    pub(crate) fn new(prefer: Prefer) -> Self {
        Self {
            prefer,
            groups: PagedArena::new(),
            by_task_manager: Vec::new(),
            by_profile: PagedTable::new(),
            active: Vec::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.prefer);
    }

    fn ranked(&self, task_manager: &TaskManager) -> u64 {
        self.prefer.ranked(utilization(task_manager))
    }

    /// Returns the groups of a task manager: one for each profile of its offered slots.
    fn groups_of(&self, task_manager: TaskManagerKey) -> impl Iterator<Item = GroupKey> {
        let first = self.first_group(task_manager);
        std::iter::successors(first, |group| self.groups[*group].next)
    }

    /// Returns the group of a task manager that leads to its other groups.
    #[inline]
    fn first_group(&self, task_manager: TaskManagerKey) -> Option<GroupKey> {
        self.by_task_manager.get(task_manager.index()).copied().flatten()
    }

    /// Returns the group of a task manager with this profile.
    #[inline(always)]
    fn group(&self, task_manager: TaskManagerKey, profile: ProfileKey) -> Option<GroupKey> {
        let first = self.first_group(task_manager)?;
        let group = &self.groups[first];
        if group.profile == profile {
            return Some(first);
        }
        self.next_group(group.next, profile)
    }

    /// Returns the group with this profile, from one group of a task manager on.
    #[inline(never)] // Most task managers have one group.
    fn next_group(&self, from: Option<GroupKey>, profile: ProfileKey) -> Option<GroupKey> {
        std::iter::successors(from, |group| self.groups[*group].next)
            .find(|group| self.groups[*group].profile == profile)
    }

    /// Updates the best rank of a profile.
    #[inline]
    fn update_best(&mut self, profile: ProfileKey) {
        let ProfileGroups { groups, position } = &self.by_profile[profile];
        match groups.first() {
            Some(best) => self.active[*position].best = best,
            None => self.deactivate(profile),
        }
    }

    /// Ends the groups of a profile that has none left.
    fn deactivate(&mut self, profile: ProfileKey) {
        let position = self.by_profile[profile].position;
        self.active.swap_remove(position);
        if let Some(moved) = self.active.get(position) {
            self.by_profile[moved.profile].position = position;
        }
        self.by_profile.vacate(profile);
        shrink_if_sparse(&mut self.active);
    }

    #[inline(never)] // It would make the callers slower that use queues.
    pub(crate) fn push(
        &mut self,
        slots: &mut Slots,
        profiles: &Profiles,
        task_managers: &TaskManagerRecords,
        slot: SlotKey,
    ) {
        let Slot {
            task_manager, profile, ..
        } = slots[slot];
        match self.group(task_manager, profile) {
            Some(group) => self.groups[group].slots.push_back(slots, slot),
            None => self.add_group(slots, profiles, task_managers, slot),
        }
    }

    /// Adds the first slot of a group.
    #[inline(never)] // Most slots have a group.
    fn add_group(&mut self, slots: &mut Slots, profiles: &Profiles, task_managers: &TaskManagerRecords, slot: SlotKey) {
        let Slot {
            task_manager, profile, ..
        } = slots[slot];
        if self.by_task_manager.len() <= task_manager.index() {
            self.by_task_manager.resize(task_manager.index() + 1, None);
        }
        let first = slots[slot].place();
        let group = self.groups.insert(Group {
            slots: List::default(),
            profile,
            place: 0,
            next: self.by_task_manager[task_manager.index()],
        });
        self.by_task_manager[task_manager.index()] = Some(group);
        let rank = Rank::new(self.ranked(&task_managers[task_manager]), first, slot);
        let of_profile = self.by_profile.occupy(profile);
        if of_profile.groups.len() == 0 {
            of_profile.position = self.active.len();
            self.active.push(ActiveProfile {
                best: rank,
                sketch: profiles[profile].sketch(),
                profile,
            });
        }
        self.groups[group].place = of_profile.groups.insert(rank);
        self.update_best(profile);
        self.groups[group].slots.push_back(slots, slot);
    }

    #[inline(never)] // It would make the callers slower that use queues.
    pub(crate) fn remove(&mut self, slots: &mut Slots, ended: EndedOffer) {
        let EndedOffer {
            task_manager,
            profile,
            links,
            ..
        } = ended;
        let Some(group) = self.group(task_manager, profile) else {
            return;
        };
        let members = &mut self.groups[group].slots;
        members.unlink(slots, links);
        if members.is_empty() {
            self.remove_group(task_manager, group);
        }
    }

    #[inline(never)] // Most removals leave a slot in the group.
    fn remove_group(&mut self, task_manager: TaskManagerKey, group: GroupKey) {
        let Group {
            profile, place, next, ..
        } = self.groups[group];
        let previous = self
            .groups_of(task_manager)
            .find(|other| self.groups[*other].next == Some(group));
        match previous {
            Some(previous) => self.groups[previous].next = next,
            None => self.by_task_manager[task_manager.index()] = next,
        }
        self.by_profile[profile].groups.remove(place);
        self.update_best(profile);
        self.groups.remove(group);
    }

    /// Returns the preferred slot among all fitting profiles.
    pub(crate) fn first_fitting(&self, profiles: &Profiles, required: &ResourceProfile) -> Option<SlotKey> {
        let sketch = required.sketch();
        let mut found: Option<&ActiveProfile> = None;
        for active in &self.active {
            if found.is_none_or(|found| active.best < found.best)
                && active.sketch.is_matching(sketch)
                && profiles[active.profile].is_matching(required)
            {
                found = Some(active);
            }
        }
        Some(found?.best.slot())
    }

    /// Returns the preferred slot of each fitting profile.
    pub(crate) fn fitting(&self, profiles: &Profiles, required: &ResourceProfile) -> impl Iterator<Item = First> {
        let sketch = required.sketch();
        self.active
            .iter()
            .filter(move |active| active.sketch.is_matching(sketch) && profiles[active.profile].is_matching(required))
            .map(|active| self.first(active.profile, active.best))
    }

    fn first(&self, profile: ProfileKey, best: Rank) -> First {
        First {
            profile,
            utilization: self.prefer.ranked(best.ranked()),
            free_order: best.first(),
        }
    }

    /// Returns the preferred slot of each fitting profile among other task managers than these.
    ///
    /// Each comes with the rank of its task manager.
    ///
    /// Cost: O(profiles + groups of the excluded task managers x log groups).
    pub(crate) fn fitting_except(
        &mut self,
        profiles: &Profiles,
        required: &ResourceProfile,
        excluded: &[TaskManagerKey],
    ) -> Vec<(u64, First, SlotKey)> {
        // They leave the trees, and come back.
        let mut hidden = Vec::new();
        for task_manager in excluded {
            for group in self.groups_of(*task_manager) {
                let Group { profile, place, .. } = self.groups[group];
                hidden.push((profile, place, self.by_profile[profile].groups.get(place)));
            }
        }
        for (profile, place, _) in &hidden {
            self.by_profile[*profile].groups.set(*place, Rank::NONE);
        }
        let fitting = self
            .active
            .iter()
            .filter(|active| profiles[active.profile].is_matching(required));
        let firsts = fitting.filter_map(|active| {
            let best = self.by_profile[active.profile].groups.first()?;
            Some((best.ranked(), self.first(active.profile, best), best.slot()))
        });
        let firsts = firsts.collect();
        for (profile, place, rank) in hidden {
            self.by_profile[profile].groups.set(place, rank);
        }
        firsts
    }

    /// Returns the preferred slot of one profile.
    pub(crate) fn first_of(&self, profile: ProfileKey) -> Option<SlotKey> {
        let best = self.by_profile.get(profile)?.groups.first()?;
        Some(best.slot())
    }

    /// Updates the ranks of the groups of a task manager.
    ///
    /// Cost: O(its groups x log groups).
    #[inline(never)] // It would make the callers slower that use queues.
    pub(crate) fn reorder(&mut self, slots: &Slots, task_managers: &TaskManagerRecords, task_manager: TaskManagerKey) {
        let Some(first) = self.first_group(task_manager) else {
            return;
        };
        let ranked = self.ranked(&task_managers[task_manager]);
        if let Some(second) = self.reorder_group(slots, first, ranked) {
            self.reorder_groups(slots, second, ranked);
        }
    }

    /// Updates the ranks of the groups of a task manager, from one on.
    #[inline(never)] // Most task managers have one group.
    fn reorder_groups(&mut self, slots: &Slots, first: GroupKey, ranked: u64) {
        let mut next = Some(first);
        while let Some(group) = next {
            next = self.reorder_group(slots, group, ranked);
        }
    }

    /// Updates the rank of a group, and returns the next group of its task manager.
    #[inline(always)]
    fn reorder_group(&mut self, slots: &Slots, group: GroupKey, ranked: u64) -> Option<GroupKey> {
        let group = &self.groups[group];
        if let Some(head) = group.slots.head() {
            let rank = Rank::new(ranked, slots[head].place(), head);
            let ProfileGroups { groups, position } = &mut self.by_profile[group.profile];
            groups.set(group.place, rank);
            if let Some(best) = groups.first() {
                self.active[*position].best = best;
            }
        }
        group.next
    }

    /// Returns `true` if all ranks, trees and lists agree; for the check of invariants.
    pub(crate) fn is_in_order(&self, slots: &Slots, task_managers: &TaskManagerRecords) -> bool {
        let ranked: usize = self
            .by_profile
            .iter()
            .map(|(_, of_profile)| of_profile.groups.len())
            .sum();
        let listed = task_managers.iter().flat_map(|(key, task_manager)| {
            let ranked = self.ranked(task_manager);
            self.groups_of(key).map(move |group| (ranked, group))
        });
        let listed: Vec<_> = listed.collect();
        let is_ranked = |(ranked, key): &(u64, GroupKey)| {
            let group = &self.groups[*key];
            group.slots.head().is_some_and(|head| {
                let rank = self.by_profile[group.profile].groups.get(group.place);
                rank == Rank::new(*ranked, slots[head].place(), head)
            })
        };
        ranked == listed.len()
            && ranked == self.groups.len()
            && self
                .by_profile
                .iter()
                .all(|(_, of_profile)| of_profile.groups.is_in_order())
            && listed.iter().all(is_ranked)
            && self.active.iter().enumerate().all(|(position, active)| {
                let of_profile = &self.by_profile[active.profile];
                of_profile.position == position && of_profile.groups.first() == Some(active.best)
            })
            && self.active.len() == self.by_profile.iter().filter(|(_, it)| it.groups.len() > 0).count()
    }

    /// Returns all offered slots with the profiles of their groups.
    pub(crate) fn iter<'a>(&'a self, slots: &'a Slots) -> impl Iterator<Item = (ProfileKey, SlotKey)> + 'a {
        let groups = self
            .by_task_manager
            .iter()
            .flat_map(|first| std::iter::successors(*first, |group| self.groups[*group].next));
        groups.flat_map(move |group| {
            let group = &self.groups[group];
            group.slots.iter(slots).map(move |slot| (group.profile, slot))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_returns_the_parts_it_was_made_of() {
        let most = (1 << 32, u64::MAX >> 2, SlotKey::from_index(u32::MAX as usize - 1));
        for (ranked, first, slot) in [(0, 1, SlotKey::from_index(0)), most] {
            let rank = Rank::new(ranked, first, slot);
            assert_eq!((rank.ranked(), rank.first(), rank.slot()), (ranked, first, slot));
            assert!(rank < Rank::NONE);
        }
    }

    #[test]
    fn lesser_rank_is_the_minimum() {
        let slot = SlotKey::from_index(0);
        let ranks = [
            Rank::new(0, 0, slot),
            Rank::new(0, 7, slot),
            Rank::new(1, 6, SlotKey::from_index(3)),
            Rank::new(1 << 32, u64::MAX >> 2, SlotKey::from_index(u32::MAX as usize - 1)),
            Rank::NONE,
        ];
        for (a, b) in ranks.iter().flat_map(|a| ranks.iter().map(move |b| (*a, *b))) {
            assert_eq!(a.lesser(b), a.min(b));
        }
    }

    #[test]
    fn utilization_counts_before_the_time_since_a_slot_became_free() {
        let rank = |ranked, first| Rank::new(ranked, first, SlotKey::from_index(0));
        assert!(rank(1, 9) < rank(2, 3) && rank(2, 3) < rank(2, 4));
    }
}
