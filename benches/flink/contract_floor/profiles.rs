//! The distinct profiles, with the free slots and the waiting requests of each.

use slot_manager::ResourceProfile;

use super::Map;
use super::arena::Arena;
use super::fifo::{Fifo, NONE};
use super::records::{Phase, Slot};

pub(crate) struct Profile {
    profile: ResourceProfile,
    /// The number of slots and requests with the profile.
    users: u32,
    /// The slots in use. The totals of the cluster follow from the numbers of all profiles.
    pub(crate) in_flight: u32,
    pub(crate) held: u32,
    pub(crate) num_free: u32,
    pub(crate) free: Fifo,
    pub(crate) waiting: Fifo,
}

#[derive(Default)]
pub(crate) struct Profiles {
    pub(crate) arena: Arena<Profile>,
    by_value: Map<ResourceProfile, u32>,
    /// The profile that was acquired last. The next one is often equal.
    recent: u32,
}

impl Profiles {
    /// Returns the place of a profile, which has one more user.
    #[inline(always)]
    pub(crate) fn acquire(&mut self, profile: &ResourceProfile) -> u32 {
        match self.arena.records.get_mut(self.recent as usize) {
            Some(recent) if recent.users > 0 && recent.profile == *profile => {
                recent.users += 1;
                self.recent
            }
            _ => self.find_or_insert(profile),
        }
    }

    #[inline(never)]
    fn find_or_insert(&mut self, profile: &ResourceProfile) -> u32 {
        let at = self.by_value.get(profile).copied().unwrap_or_else(|| {
            let at = self.arena.next();
            self.arena.insert(Profile {
                profile: profile.clone(),
                users: 0,
                in_flight: 0,
                held: 0,
                num_free: 0,
                free: Fifo::default(),
                waiting: Fifo::default(),
            });
            self.by_value.insert(profile.clone(), at);
            at
        });
        self.arena.records[at as usize].users += 1;
        self.recent = at;
        at
    }

    /// Takes users of a profile away. Without one the profile is forgotten.
    #[inline(always)]
    pub(crate) fn release(&mut self, at: u32, users: u32) {
        let record = &mut self.arena.records[at as usize];
        record.users -= users;
        if record.users == 0 {
            self.forget(at);
        }
    }

    #[inline(never)]
    fn forget(&mut self, at: u32) {
        self.by_value.remove(&self.arena.records[at as usize].profile);
        self.arena.vacate(at);
    }

    /// Returns the slot that has been free for longest of those that fit.
    #[inline(always)]
    pub(crate) fn first_fit(&self, slots: &[Slot], required: &ResourceProfile) -> Option<u32> {
        let mut first = None;
        let mut lowest = u64::MAX;
        for profile in &self.arena.records {
            if profile.free.first == NONE || !profile.profile.is_matching(required) {
                continue;
            }
            if let Phase::Free { sequence } = slots[profile.free.first as usize].phase {
                if sequence < lowest {
                    (first, lowest) = (Some(profile.free.first), sequence);
                }
            }
        }
        first
    }

    /// Returns the number of slots in one of the uses, of all profiles.
    pub(crate) fn num_slots(&self, of: impl Fn(&Profile) -> u32) -> usize {
        self.arena.records.iter().map(|profile| of(profile) as usize).sum()
    }
}
