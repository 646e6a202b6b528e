//! The index of the slots that may be handed out.

use std::collections::{BTreeMap, BTreeSet};

use crate::{ResourceProfile, SlotMatchingStrategy};

use super::profiles::{Fitting, ProfileKey, ProfileQueues, Profiles, Queued};
use super::records::{Key, List, Records, key};
use super::slots::{Offered, Slot, SlotKey};
use super::task_managers::{TaskManager, TaskManagerKey};

type Slots = Records<SlotKey, Slot>;
type TaskManagerRecords = Records<TaskManagerKey, TaskManager>;

/// The offered slots. A slot is here exactly while its state is [`Offered`](super::slots::SlotState::Offered).
#[derive(Debug)]
pub(super) struct FreeSlots {
    index: FreeIndex,
    next_sequence: u64,
}

#[derive(Debug)]
enum FreeIndex {
    FirstFit(ProfileQueues<Offered, SlotKey>),
    LeastUtilization(UtilizationIndex),
}

impl FreeSlots {
    pub(super) fn new(strategy: SlotMatchingStrategy) -> Self {
        Self {
            index: match strategy {
                SlotMatchingStrategy::FirstFit => FreeIndex::FirstFit(ProfileQueues::new()),
                SlotMatchingStrategy::LeastUtilization => FreeIndex::LeastUtilization(UtilizationIndex::default()),
            },
            next_sequence: 0,
        }
    }

    /// The sequence number of the next slot that becomes free.
    #[inline]
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    pub(super) fn push(
        &mut self,
        slots: &mut Slots,
        profiles: &Profiles,
        task_managers: &TaskManagerRecords,
        slot: SlotKey,
    ) {
        match &mut self.index {
            FreeIndex::FirstFit(queues) => {
                let profile = slots[slot].profile;
                queues.push(slots, profiles, profile, slot);
            }
            FreeIndex::LeastUtilization(index) => index.push(slots, task_managers, slot),
        }
    }

    pub(super) fn remove(&mut self, slots: &mut Slots, slot: SlotKey) {
        match &mut self.index {
            FreeIndex::FirstFit(queues) => {
                let profile = slots[slot].profile;
                queues.remove(slots, profile, slot);
            }
            FreeIndex::LeastUtilization(index) => index.remove(slots, slot),
        }
    }

    /// The slot that the strategy chooses among those that fit. It stays in the index.
    #[inline]
    pub(super) fn find(&self, slots: &Slots, profiles: &Profiles, required: &ResourceProfile) -> Option<SlotKey> {
        match &self.index {
            FreeIndex::FirstFit(queues) => {
                let (_, slot) = queues.first_fitting(slots, profiles, Fitting::Request(required))?;
                Some(slot)
            }
            FreeIndex::LeastUtilization(index) => index.find(profiles, required),
        }
    }

    /// Called when the share of used slots of a task manager has changed.
    #[inline]
    pub(super) fn utilization_changed(&mut self, task_managers: &TaskManagerRecords, task_manager: TaskManagerKey) {
        if let FreeIndex::LeastUtilization(index) = &mut self.index {
            index.utilization_changed(task_managers, task_manager);
        }
    }

    pub(super) fn clear(&mut self) {
        match &mut self.index {
            FreeIndex::FirstFit(queues) => queues.clear(),
            FreeIndex::LeastUtilization(index) => *index = UtilizationIndex::default(),
        }
    }

    /// Whether the index knows which slots come first; for the check of invariants.
    pub(super) fn is_in_order(&self, slots: &Slots, task_managers: &TaskManagerRecords) -> bool {
        match &self.index {
            FreeIndex::FirstFit(queues) => queues.are_in_order(slots),
            FreeIndex::LeastUtilization(index) => index.is_in_order(slots, task_managers),
        }
    }

    /// All offered slots with the profile they are filed under, in no particular order.
    pub(super) fn iter<'a>(&'a self, slots: &'a Slots) -> Box<dyn Iterator<Item = (ProfileKey, SlotKey)> + 'a> {
        match &self.index {
            FreeIndex::FirstFit(queues) => Box::new(queues.iter(slots)),
            FreeIndex::LeastUtilization(index) => Box::new(index.iter(slots)),
        }
    }
}

key! {
    /// The free slots of one task manager that have one profile.
    GroupKey
}

/// Free slots by profile, and there by the utilization of their task manager.
#[derive(Debug, Default)]
struct UtilizationIndex {
    /// Never fewer while there are keys of them.
    groups: Vec<Group>,
    unused_groups: Vec<GroupKey>,
    by_task_manager: BTreeMap<(TaskManagerKey, ProfileKey), GroupKey>,
    by_profile: Ranking,
}

/// First the utilization of the task manager, then how long its longest free slot has been free.
type Rank = (u64, u64);

#[derive(Debug, Default)]
struct Group {
    rank: Rank,
    slots: List<Offered, SlotKey>,
}

/// The share of used slots, as a fraction of 2³². Equal shares are equal numbers; different ones differ below 65,536
/// slots.
fn utilization(task_manager: &TaskManager) -> u64 {
    ((task_manager.used() as u64) << 32) / task_manager.slots.len().max(1) as u64
}

/// The groups of each profile, best first.
type Ranking = BTreeMap<ProfileKey, BTreeSet<(Rank, GroupKey)>>;

fn set_rank(groups: &mut [Group], ranking: &mut Ranking, profile: ProfileKey, group: GroupKey, rank: Rank) {
    let present = &mut groups[group.index()].rank;
    if *present == rank {
        return;
    }
    if let Some(ranks) = ranking.get_mut(&profile) {
        ranks.remove(&(*present, group));
        ranks.insert((rank, group));
    }
    *present = rank;
}

impl UtilizationIndex {
    fn push(&mut self, slots: &mut Slots, task_managers: &TaskManagerRecords, slot: SlotKey) {
        let Slot {
            task_manager, profile, ..
        } = slots[slot];
        if let Some(group) = self.by_task_manager.get(&(task_manager, profile)) {
            self.groups[group.index()].slots.push_back(slots, slot);
            return;
        }
        let group = self.unused_groups.pop().unwrap_or_else(|| {
            self.groups.push(Group::default());
            GroupKey::from_index(self.groups.len() - 1)
        });
        let rank = (utilization(&task_managers[task_manager]), slots[slot].place());
        self.groups[group.index()].rank = rank;
        self.groups[group.index()].slots.push_back(slots, slot);
        self.by_task_manager.insert((task_manager, profile), group);
        self.by_profile.entry(profile).or_default().insert((rank, group));
    }

    fn remove(&mut self, slots: &mut Slots, slot: SlotKey) {
        let Slot {
            task_manager, profile, ..
        } = slots[slot];
        let Some(&group) = self.by_task_manager.get(&(task_manager, profile)) else {
            return;
        };
        let members = &mut self.groups[group.index()].slots;
        members.remove(slots, slot);
        match members.head() {
            Some(head) => {
                let sequence = slots[head].place();
                let (utilization, _) = self.groups[group.index()].rank;
                set_rank(
                    &mut self.groups,
                    &mut self.by_profile,
                    profile,
                    group,
                    (utilization, sequence),
                );
            }
            None => {
                self.by_task_manager.remove(&(task_manager, profile));
                if let Some(ranks) = self.by_profile.get_mut(&profile) {
                    ranks.remove(&(self.groups[group.index()].rank, group));
                    if ranks.is_empty() {
                        self.by_profile.remove(&profile);
                    }
                }
                self.unused_groups.push(group);
            }
        }
    }

    fn find(&self, profiles: &Profiles, required: &ResourceProfile) -> Option<SlotKey> {
        let (_, group) = self
            .by_profile
            .iter()
            .filter(|(profile, _)| profiles[**profile].is_matching(required))
            .filter_map(|(_, ranks)| ranks.first())
            .min()?;
        self.groups[group.index()].slots.head()
    }

    #[inline]
    fn utilization_changed(&mut self, task_managers: &TaskManagerRecords, task_manager: TaskManagerKey) {
        let utilization = utilization(&task_managers[task_manager]);
        let all = (task_manager, ProfileKey::FIRST)..=(task_manager, ProfileKey::LAST);
        for ((_, profile), group) in self.by_task_manager.range(all) {
            let (_, sequence) = self.groups[group.index()].rank;
            set_rank(
                &mut self.groups,
                &mut self.by_profile,
                *profile,
                *group,
                (utilization, sequence),
            );
        }
    }

    fn is_in_order(&self, slots: &Slots, task_managers: &TaskManagerRecords) -> bool {
        let ranked = self.by_profile.values().map(BTreeSet::len).sum::<usize>();
        ranked == self.by_task_manager.len()
            && self.by_task_manager.iter().all(|((task_manager, profile), key)| {
                let group = &self.groups[key.index()];
                let first = group.slots.head().map(|head| slots[head].place());
                let rank = first.map(|first| (utilization(&task_managers[*task_manager]), first));
                let ranks = self.by_profile.get(profile);
                rank == Some(group.rank) && ranks.is_some_and(|ranks| ranks.contains(&(group.rank, *key)))
            })
    }

    fn iter<'a>(&'a self, slots: &'a Slots) -> impl Iterator<Item = (ProfileKey, SlotKey)> + 'a {
        self.by_task_manager.iter().flat_map(move |((_, profile), group)| {
            self.groups[group.index()]
                .slots
                .iter(slots)
                .map(move |slot| (*profile, slot))
        })
    }
}
