//! How many slots of each profile are in which state, and what they have together: counted as it changes, never again.

use crate::ResourceProfile;
use crate::config::Quantity;

use crate::slot_manager::collections::arena::Key;
use crate::slot_manager::state::profile_queues::{ProfileKey, Profiles};
use crate::slot_manager::state::slots::SlotPhase;

/// How a slot is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotUsage {
    /// Not counted: it is what is left.
    Free,
    BackingOff,
    Blocked,
    InFlight,
    Allocated,
}

impl SlotUsage {
    pub(crate) const ALL: [Self; 5] = [
        Self::Free,
        Self::BackingOff,
        Self::Blocked,
        Self::InFlight,
        Self::Allocated,
    ];

    #[inline]
    pub(crate) fn of(state: &SlotPhase) -> Self {
        match state {
            SlotPhase::Detached | SlotPhase::Offered { .. } => Self::Free,
            SlotPhase::BackingOff { .. } => Self::BackingOff,
            SlotPhase::Blocked => Self::Blocked,
            SlotPhase::InFlight(_) => Self::InFlight,
            SlotPhase::Allocated { .. } => Self::Allocated,
        }
    }
}

/// The counts of one profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ProfileTotals {
    /// What one slot has.
    cpu: u64,
    memory: u64,
    registered: u32,
    promised: u32,
    /// Of the registered ones, by their use.
    not_free: [u32; SlotUsage::ALL.len()],
}

impl ProfileTotals {
    pub(crate) fn slots(&self, used: SlotUsage) -> usize {
        let slots = match used {
            SlotUsage::Free => self.registered - self.not_free.iter().sum::<u32>(),
            _ => self.not_free[used as usize],
        };
        slots as usize
    }

    pub(crate) fn registered(&self) -> usize {
        self.registered as usize
    }

    pub(crate) fn promised(&self) -> usize {
        self.promised as usize
    }

    fn is_empty(&self) -> bool {
        self.registered | self.promised == 0
    }

    fn one(&self) -> Quantity {
        Quantity {
            slots: 1,
            cpu: self.cpu.into(),
            memory: self.memory.into(),
        }
    }

    fn quantity(&self, used: SlotUsage) -> Quantity {
        self.one().times(self.slots(used))
    }
}

/// Slots, with what they have together modulo 2⁶⁴: that is what they have, unless all that are registered have more. It
/// changes with every grant, and half the digits are half the work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    slots: usize,
    cpu: u64,
    memory: u64,
}

impl Sum {
    #[inline]
    fn add(&mut self, one: &ProfileTotals) {
        self.slots += 1;
        self.cpu = self.cpu.wrapping_add(one.cpu);
        self.memory = self.memory.wrapping_add(one.memory);
    }

    #[inline]
    fn remove(&mut self, one: &ProfileTotals) {
        self.slots -= 1;
        self.cpu = self.cpu.wrapping_sub(one.cpu);
        self.memory = self.memory.wrapping_sub(one.memory);
    }
}

/// All slots, registered and promised.
#[derive(Debug, Default)]
pub(crate) struct SlotTotals {
    /// By the index of the key of the profile.
    by_profile: Vec<ProfileTotals>,
    registered: Quantity,
    promised: Quantity,
    /// Of the registered ones, by their use.
    not_free: [Sum; SlotUsage::ALL.len()],
    /// The last slot of some profile is gone since this was last asked.
    has_vanished: bool,
}

/// Profiles for which memory is kept when nothing is counted.
const SPARE_PROFILES: usize = 1024;

impl SlotTotals {
    /// Adds so many free slots.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "there are fewer slots than keys of slots, which have 32 bits"
    )]
    pub(crate) fn add_slots(&mut self, profiles: &Profiles, profile: ProfileKey, slots: usize) {
        let counts = self.counts_of(profiles, profile);
        counts.registered += slots as u32;
        self.registered += Quantity::of_slots(slots, &profiles[profile]);
    }

    /// Removes a slot that is free.
    pub(crate) fn remove_slot(&mut self, profile: ProfileKey) {
        let counts = &mut self.by_profile[profile.index()];
        counts.registered -= 1;
        let (one, is_empty) = (counts.one(), counts.is_empty());
        self.registered -= one;
        self.note_vanished(is_empty);
    }

    /// Counts a slot in another way than before.
    #[inline]
    pub(crate) fn move_slot(&mut self, profile: ProfileKey, before: SlotUsage, after: SlotUsage) {
        let counts = &mut self.by_profile[profile.index()];
        if before != SlotUsage::Free {
            counts.not_free[before as usize] -= 1;
            self.not_free[before as usize].remove(counts);
        }
        if after != SlotUsage::Free {
            counts.not_free[after as usize] += 1;
            self.not_free[after as usize].add(counts);
        }
    }

    pub(crate) fn add_promised(&mut self, profiles: &Profiles, profile: ProfileKey) {
        let counts = self.counts_of(profiles, profile);
        counts.promised += 1;
        let one = counts.one();
        self.promised += one;
    }

    pub(crate) fn remove_promised(&mut self, profile: ProfileKey) {
        let counts = &mut self.by_profile[profile.index()];
        counts.promised -= 1;
        let (one, is_empty) = (counts.one(), counts.is_empty());
        self.promised -= one;
        self.note_vanished(is_empty);
    }

    fn note_vanished(&mut self, is_empty: bool) {
        self.has_vanished |= is_empty;
        if is_empty && self.by_profile.len() > SPARE_PROFILES && self.registered.slots + self.promised.slots == 0 {
            self.by_profile = Vec::new();
        }
    }

    /// The counts of a profile of which a slot is added.
    fn counts_of(&mut self, profiles: &Profiles, profile: ProfileKey) -> &mut ProfileTotals {
        if self.by_profile.len() <= profile.index() {
            self.by_profile.resize(profile.index() + 1, ProfileTotals::default());
        }
        // There is room for it now.
        let counts = &mut self.by_profile[profile.index()];
        if counts.is_empty() {
            counts.cpu = profiles[profile].cpu_units();
            counts.memory = profiles[profile].memory_or_nothing();
        }
        counts
    }

    /// How many slots are in which state.
    #[inline]
    pub(crate) fn slots(&self, used: SlotUsage) -> usize {
        let slots = |sum: &Sum| sum.slots;
        match used {
            SlotUsage::Free => self.registered.slots - self.not_free.iter().map(slots).sum::<usize>(),
            _ => self.not_free[used as usize].slots,
        }
    }

    /// The same with what they have together. O(1), unless all that are registered have more than 64 bits can count.
    pub(crate) fn of(&self, used: SlotUsage) -> Quantity {
        let is_exact = [self.registered.cpu, self.registered.memory]
            .into_iter()
            .all(|amount| amount <= u128::from(u64::MAX));
        if !is_exact {
            let parts = self.by_profile.iter().map(|counts| counts.quantity(used));
            return parts.fold(Quantity::default(), |sum, part| sum + part);
        }
        let quantity = |sum: &Sum| Quantity {
            slots: sum.slots,
            cpu: sum.cpu.into(),
            memory: sum.memory.into(),
        };
        match used {
            SlotUsage::Free => (self.not_free.iter().map(quantity)).fold(self.registered, |rest, part| rest - part),
            _ => quantity(&self.not_free[used as usize]),
        }
    }

    pub(crate) fn registered(&self) -> Quantity {
        self.registered
    }

    pub(crate) fn promised(&self) -> Quantity {
        self.promised
    }

    pub(crate) fn used_slots(&self) -> usize {
        self.slots(SlotUsage::InFlight) + self.slots(SlotUsage::Allocated)
    }

    /// Whether the last slot of some profile has gone since this was asked before.
    pub(crate) fn take_vanished(&mut self) -> bool {
        std::mem::take(&mut self.has_vanished)
    }

    /// The profiles of which there are slots, registered or promised. O(distinct profiles there have ever been at a
    /// time).
    pub(crate) fn profiles(&self) -> impl Iterator<Item = (ProfileKey, &ProfileTotals)> {
        self.by_profile
            .iter()
            .enumerate()
            .filter(|(_, counts)| !counts.is_empty())
            .map(|(index, counts)| (ProfileKey::from_index(index), counts))
    }

    /// Whether a slot, registered or promised, fits.
    pub(crate) fn has_fitting(&self, profiles: &Profiles, required: &ResourceProfile) -> bool {
        self.profiles()
            .any(|(profile, _)| profiles[profile].is_matching(required))
    }

    /// Whether another one counts the same; for the check of invariants.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        self.profiles().eq(other.profiles())
            && (self.registered, self.promised, self.not_free) == (other.registered, other.promised, other.not_free)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
