//! Free slots in the order of the utilization of their task managers.

use std::collections::{BTreeMap, BTreeSet};

use crate::ResourceProfile;

use super::{First, Slots, TaskManagerRecords};
use crate::slot_manager::profiles::{ProfileKey, Profiles, Queued};
use crate::slot_manager::records::{Key, List, key};
use crate::slot_manager::slots::{Offered, Slot, SlotKey};
use crate::slot_manager::task_managers::{TaskManager, TaskManagerKey};

key! {
    /// The free slots of one task manager that have one profile.
    GroupKey
}

/// Which task managers come first.
#[derive(Debug, Clone, Copy)]
pub(super) enum Prefer {
    LeastUtilized,
    MostUtilized,
}

/// Free slots by profile, and there by the utilization of their task manager.
#[derive(Debug)]
pub(super) struct UtilizationIndex {
    prefer: Prefer,
    /// Never fewer while there are keys of them.
    groups: Vec<Group>,
    unused_groups: Vec<GroupKey>,
    by_task_manager: BTreeMap<(TaskManagerKey, ProfileKey), GroupKey>,
    by_profile: Ranking,
}

/// First the utilization of the task manager, such that the preferred ones are less, then how long its longest free slot
/// has been free.
type Rank = (u64, u64);

#[derive(Debug, Default)]
struct Group {
    rank: Rank,
    slots: List<Offered, SlotKey>,
}

impl Prefer {
    /// The utilization of a task manager as it is ranked; and back again.
    fn ranked(self, utilization: u64) -> u64 {
        match self {
            Self::LeastUtilized => utilization,
            Self::MostUtilized => WHOLE - utilization,
        }
    }
}

/// The utilization of a task manager all of whose slots are used.
const WHOLE: u64 = 1 << 32;

/// The share of used slots, as a fraction of 2³². Equal shares are equal numbers; different ones differ below 65,536
/// slots. While a task manager is being forgotten, there may be fewer slots than used ones.
fn utilization(task_manager: &TaskManager) -> u64 {
    (task_manager.used() as u64 * WHOLE / task_manager.slots.len().max(1) as u64).min(WHOLE)
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
    pub(super) fn new(prefer: Prefer) -> Self {
        Self {
            prefer,
            groups: Vec::new(),
            unused_groups: Vec::new(),
            by_task_manager: BTreeMap::new(),
            by_profile: Ranking::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.prefer);
    }

    fn ranked(&self, task_manager: &TaskManager) -> u64 {
        self.prefer.ranked(utilization(task_manager))
    }

    pub(super) fn push(&mut self, slots: &mut Slots, task_managers: &TaskManagerRecords, slot: SlotKey) {
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
        let rank = (self.ranked(&task_managers[task_manager]), slots[slot].place());
        self.groups[group.index()].rank = rank;
        self.groups[group.index()].slots.push_back(slots, slot);
        self.by_task_manager.insert((task_manager, profile), group);
        self.by_profile.entry(profile).or_default().insert((rank, group));
    }

    pub(super) fn remove(&mut self, slots: &mut Slots, slot: SlotKey) {
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

    /// The best among all profiles that fit.
    pub(super) fn first_fitting(&self, profiles: &Profiles, required: &ResourceProfile) -> Option<SlotKey> {
        let (_, group) = self.best_fitting(profiles, required).map(|(_, best)| best).min()?;
        self.groups[group.index()].slots.head()
    }

    /// The best of each profile that fits.
    pub(super) fn fitting(&self, profiles: &Profiles, required: &ResourceProfile) -> impl Iterator<Item = First> {
        let best = self.best_fitting(profiles, required);
        best.map(|(profile, ((ranked, free_order), _))| First {
            profile,
            utilization: self.prefer.ranked(ranked),
            free_order,
        })
    }

    fn best_fitting(
        &self,
        profiles: &Profiles,
        required: &ResourceProfile,
    ) -> impl Iterator<Item = (ProfileKey, (Rank, GroupKey))> {
        self.by_profile
            .iter()
            .filter(|(profile, _)| profiles[**profile].is_matching(required))
            .filter_map(|(profile, ranks)| Some((*profile, *ranks.first()?)))
    }

    /// The best of one profile.
    pub(super) fn first_of(&self, profile: ProfileKey) -> Option<SlotKey> {
        let (_, group) = self.by_profile.get(&profile)?.first()?;
        self.groups[group.index()].slots.head()
    }

    #[inline]
    pub(super) fn utilization_changed(&mut self, task_managers: &TaskManagerRecords, task_manager: TaskManagerKey) {
        let utilization = self.ranked(&task_managers[task_manager]);
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

    pub(super) fn is_in_order(&self, slots: &Slots, task_managers: &TaskManagerRecords) -> bool {
        let ranked = self.by_profile.values().map(BTreeSet::len).sum::<usize>();
        ranked == self.by_task_manager.len()
            && self.by_task_manager.iter().all(|((task_manager, profile), key)| {
                let group = &self.groups[key.index()];
                let first = group.slots.head().map(|head| slots[head].place());
                let rank = first.map(|first| (self.ranked(&task_managers[*task_manager]), first));
                let ranks = self.by_profile.get(profile);
                rank == Some(group.rank) && ranks.is_some_and(|ranks| ranks.contains(&(group.rank, *key)))
            })
    }

    pub(super) fn iter<'a>(&'a self, slots: &'a Slots) -> impl Iterator<Item = (ProfileKey, SlotKey)> + 'a {
        self.by_task_manager.iter().flat_map(move |((_, profile), group)| {
            self.groups[group.index()]
                .slots
                .iter(slots)
                .map(move |slot| (*profile, slot))
        })
    }
}
