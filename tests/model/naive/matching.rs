//! Matching: which offered slot a request takes, and which dynamic worker.

use slot_manager::matching::SlotMatchingStrategy;
use slot_manager::{ResourceProfile, SlotId};

use super::limits::{cpu_units, extended_units, memory_bytes};
use super::set_aside::used_share;
use super::{NaiveSlotManager, Request, State, TaskManager};

impl NaiveSlotManager {
    /// Returns the best fitting slot by the strategy. Among equal ones, the slot that was offered
    /// first.
    ///
    /// Only workers count on which the request was tried, or only the others.
    pub(super) fn best_offered(&self, request: &Request, tried: bool) -> Option<SlotId> {
        let required = &request.profile;
        let mut fitting = Vec::new();
        let of = |it: &&TaskManager| request.was_tried_on(it) == tried && !self.is_held_back(request, it);
        for task_manager in self.task_managers.iter().filter(of) {
            for slot in &task_manager.slots {
                if let (State::Offered(order), true) = (&slot.state, slot.profile.is_matching(required)) {
                    let rank = self.rank(task_manager, &slot.profile, required);
                    fitting.push((rank, *order, slot.id.clone()));
                }
            }
        }
        let best = fitting.into_iter().min_by_key(|(rank, order, _)| (*rank, *order));
        best.map(|(_, _, slot)| slot)
    }

    /// Returns three numbers that rank a slot. The smallest is best, and the first number that
    /// differs decides.
    fn rank(&self, of: &TaskManager, profile: &ResourceProfile, required: &ResourceProfile) -> [u128; 3] {
        // The parts of the share are so small that different shares are different numbers.
        let share = || (of.used() as u128 * (1 << 64)) / of.slots.len() as u128;
        match self.config.slot_matching_strategy {
            SlotMatchingStrategy::BestFit => waste(profile, required),
            SlotMatchingStrategy::LeastUtilization => [share(), 0, 0],
            SlotMatchingStrategy::MostUtilization => [u128::MAX - share(), 0, 0],
            _ => [0; 3],
        }
    }

    /// Returns a number that ranks a dynamic worker. The smallest is best.
    pub(super) fn worker_rank(&self, of: &TaskManager) -> u128 {
        match self.config.slot_matching_strategy {
            SlotMatchingStrategy::LeastUtilization => used_share(of),
            SlotMatchingStrategy::BestFit | SlotMatchingStrategy::MostUtilization => 64 - used_share(of),
            _ => 0,
        }
    }
}

/// Returns the resources that a slot has beyond a request: extended resources, memory and cores.
pub(super) fn waste(profile: &ResourceProfile, required: &ResourceProfile) -> [u128; 3] {
    if *profile == ResourceProfile::UNKNOWN {
        return [0; 3];
    }
    if *profile == ResourceProfile::ANY {
        return [u128::MAX; 3];
    }
    let extended = profile
        .extended_resources()
        .map(|(name, _)| extended_units(profile, name).saturating_sub(extended_units(required, name)));
    [
        extended.sum(),
        memory_bytes(profile).saturating_sub(memory_bytes(required)),
        cpu_units(profile).saturating_sub(cpu_units(required)),
    ]
}
