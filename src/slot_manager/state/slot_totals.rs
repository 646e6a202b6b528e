//! Slot totals: numbers and resources of slots by profile and usage, updated with each change.

use crate::ResourceProfile;
use crate::config::{Measure, Quantity};

use crate::slot_manager::collections::pages::PagedTable;
use crate::slot_manager::state::profile_queues::{ProfileKey, Profiles};
use crate::slot_manager::state::slots::SlotPhase;

/// The usage under which a slot is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotUsage {
    /// Free and on offer. It has no counter: it is the rest of the registered slots.
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
    pub(crate) fn of(phase: &SlotPhase) -> Self {
        match phase {
            SlotPhase::Detached | SlotPhase::Offered { .. } => Self::Free,
            SlotPhase::BackingOff { .. } | SlotPhase::WorkerBackoff => Self::BackingOff,
            SlotPhase::Blocked => Self::Blocked,
            SlotPhase::InFlight(_) => Self::InFlight,
            SlotPhase::Allocated { .. } => Self::Allocated,
        }
    }
}

/// The totals of one profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ProfileTotals {
    /// The quantity of one slot.
    one: Quantity,
    registered: u32,
    /// The registered slots that are cut from dynamic workers.
    cut: u32,
    promised: u32,
    /// The registered slots that are not free, by usage.
    not_free: [u32; SlotUsage::ALL.len()],
}

impl ProfileTotals {
    pub(crate) fn slots(&self, usage: SlotUsage) -> usize {
        let slots = match usage {
            SlotUsage::Free => self.registered - self.not_free.iter().sum::<u32>(),
            _ => self.not_free[usage as usize],
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

    /// Returns `true` if a slot with this profile is registered or promised, other than a cut. A cut
    /// ends when it is freed, so it serves nothing else.
    fn can_serve(&self) -> bool {
        self.registered > self.cut || self.promised > 0
    }
}

/// The totals of all slots, registered and promised.
#[derive(Debug)]
pub(crate) struct SlotTotals {
    measure: Measure,
    /// The totals of profiles with slots.
    by_profile: PagedTable<ProfileKey, ProfileTotals>,
    /// The quantity of registered slots, without cuts.
    registered: Quantity,
    promised: Quantity,
    /// The number of cuts.
    cuts: usize,
    /// The numbers of registered slots that are not free, by usage.
    not_free: [usize; SlotUsage::ALL.len()],
    /// Set when a profile loses its last slot; reset by `take_lost_profile`.
    has_lost_profile: bool,
}

impl SlotTotals {
    pub(crate) fn new(measure: Measure) -> Self {
        Self {
            measure,
            by_profile: PagedTable::new(),
            registered: Quantity::default(),
            promised: Quantity::default(),
            cuts: 0,
            not_free: [0; SlotUsage::ALL.len()],
            has_lost_profile: false,
        }
    }

    pub(crate) fn measure(&self) -> &Measure {
        &self.measure
    }

    /// Adds `slots` free slots.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "there are fewer slots than keys of slots, which have 32 bits"
    )]
    pub(crate) fn add_slots(&mut self, profiles: &Profiles, profile: ProfileKey, slots: usize) {
        let totals = self.totals_of(profiles, profile);
        totals.registered += slots as u32;
        let added = totals.one.times(slots);
        self.registered += added;
    }

    /// Removes slots with this usage.
    pub(crate) fn remove_slots(&mut self, profile: ProfileKey, usage: SlotUsage, slots: u32) {
        let totals = &mut self.by_profile[profile];
        totals.registered -= slots;
        if usage != SlotUsage::Free {
            totals.not_free[usage as usize] -= slots;
            self.not_free[usage as usize] -= slots as usize;
        }
        let removed = totals.one.times(slots as usize);
        self.registered -= removed;
        self.note_lost_profile(profile);
    }

    /// Adds a free slot that is cut from a dynamic worker. The worker counts for its quantity.
    pub(crate) fn add_cut(&mut self, profiles: &Profiles, profile: ProfileKey) {
        let totals = self.totals_of(profiles, profile);
        totals.registered += 1;
        totals.cut += 1;
        self.cuts += 1;
    }

    /// Removes cuts with this usage.
    pub(crate) fn remove_cuts(&mut self, profile: ProfileKey, usage: SlotUsage, cuts: u32) {
        let totals = &mut self.by_profile[profile];
        totals.registered -= cuts;
        totals.cut -= cuts;
        self.cuts -= cuts as usize;
        if usage != SlotUsage::Free {
            totals.not_free[usage as usize] -= cuts;
            self.not_free[usage as usize] -= cuts as usize;
        }
        if totals.is_empty() {
            self.by_profile.vacate(profile);
        }
    }

    /// Changes the usage of a slot.
    #[inline(always)]
    pub(crate) fn move_slot(&mut self, profile: ProfileKey, before: SlotUsage, after: SlotUsage) {
        let totals = &mut self.by_profile[profile];
        if before != SlotUsage::Free {
            totals.not_free[before as usize] -= 1;
            self.not_free[before as usize] -= 1;
        }
        if after != SlotUsage::Free {
            totals.not_free[after as usize] += 1;
            self.not_free[after as usize] += 1;
        }
    }

    pub(crate) fn add_promised(&mut self, profiles: &Profiles, profile: ProfileKey) {
        let totals = self.totals_of(profiles, profile);
        totals.promised += 1;
        let one = totals.one;
        self.promised += one;
    }

    pub(crate) fn remove_promised(&mut self, profile: ProfileKey) {
        let totals = &mut self.by_profile[profile];
        totals.promised -= 1;
        let one = totals.one;
        self.promised -= one;
        self.note_lost_profile(profile);
    }

    fn note_lost_profile(&mut self, profile: ProfileKey) {
        let totals = &self.by_profile[profile];
        self.has_lost_profile |= !totals.can_serve();
        if totals.is_empty() {
            self.by_profile.vacate(profile);
        }
    }

    /// Returns the totals of a profile to which a slot is added.
    fn totals_of(&mut self, profiles: &Profiles, profile: ProfileKey) -> &mut ProfileTotals {
        let totals = self.by_profile.occupy(profile);
        if totals.is_empty() {
            totals.one = self.measure.of_slot(&profiles[profile]);
        }
        totals
    }

    /// Returns the number of slots with this usage.
    #[inline]
    pub(crate) fn slots(&self, usage: SlotUsage) -> usize {
        match usage {
            SlotUsage::Free => self.registered.slots + self.cuts - self.not_free.iter().sum::<usize>(),
            _ => self.not_free[usage as usize],
        }
    }

    /// Returns the number of slots that are cut from dynamic workers.
    pub(crate) fn cuts(&self) -> usize {
        self.cuts
    }

    /// Returns the quantity of registered slots, without cuts.
    pub(crate) fn registered(&self) -> Quantity {
        self.registered
    }

    pub(crate) fn promised(&self) -> Quantity {
        self.promised
    }

    /// Returns the number of slots in flight or allocated.
    pub(crate) fn used_slots(&self) -> usize {
        self.slots(SlotUsage::InFlight) + self.slots(SlotUsage::Allocated)
    }

    /// Returns what `take_lost_profile` would return.
    pub(crate) fn has_lost_profile(&self) -> bool {
        self.has_lost_profile
    }

    /// Returns `true` if a profile has lost its last slot since the previous call.
    pub(crate) fn take_lost_profile(&mut self) -> bool {
        std::mem::take(&mut self.has_lost_profile)
    }

    /// Returns all profiles with registered or promised slots.
    ///
    /// Cost: O(profiles with slots + highest profile key / 64).
    pub(crate) fn profiles(&self) -> impl Iterator<Item = (ProfileKey, &ProfileTotals)> {
        self.by_profile.iter()
    }

    /// Returns `true` if a registered or promised slot fits, other than a cut.
    pub(crate) fn has_fitting(&self, profiles: &Profiles, required: &ResourceProfile) -> bool {
        self.profiles()
            .any(|(profile, totals)| totals.can_serve() && profiles[profile].is_matching(required))
    }

    /// Returns `true` if two totals are equal; for the check of invariants.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        self.profiles().eq(other.profiles())
            && (self.registered, self.promised, self.cuts) == (other.registered, other.promised, other.cuts)
            && self.not_free == other.not_free
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.measure.clone());
    }
}
