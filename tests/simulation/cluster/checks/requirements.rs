//! The declarations that the manager has accepted, compared with its view of requirements: each
//! declared slot is held, requested or replaced later, and each shortage is told once.

use std::collections::{BTreeMap, BTreeSet};

use slot_manager::message::ShortageCause;
use slot_manager::testing::{Action, Effect};
use slot_manager::view::SlotState;
use slot_manager::{AllocationId, JobId, ResourceProfile, ResourceRequirements};

use crate::cluster::call_log::Call;
use crate::cluster::run::Check;
use crate::cluster::simulation::Manager;

#[derive(Debug, Default)]
pub(crate) struct RequirementChecks {
    /// The accepted declarations of this leadership.
    accepted: BTreeMap<JobId, Accepted>,
}

#[derive(Debug, Default)]
struct Accepted {
    needs: Vec<(ResourceProfile, u32)>,
    highest_revision: Option<u64>,
    /// The shortages that were told since the declaration or since a time without requests.
    told: ToldShortages,
}

#[derive(Debug, Default)]
struct ToldShortages {
    unfulfillable: bool,
    timeout: bool,
}

impl RequirementChecks {
    /// Clears everything at the end of a leadership.
    pub(crate) fn clear(&mut self) {
        self.accepted.clear();
    }

    /// Returns what the manager has accepted from a job.
    pub(crate) fn in_force(&self, job_id: JobId) -> &[(ResourceProfile, u32)] {
        self.accepted.get(&job_id).map_or(&[], |accepted| &accepted.needs)
    }

    /// Returns the highest revision that a job has declared, if a declaration is older.
    pub(crate) fn newer_than(&self, declared: &ResourceRequirements) -> Option<u64> {
        let highest = self.accepted.get(&declared.job_id())?.highest_revision?;
        declared
            .revision()
            .is_some_and(|revision| revision < highest)
            .then_some(highest)
    }

    /// Returns `true` if a declaration has what is in force.
    pub(crate) fn is_in_force(&self, declared: &ResourceRequirements) -> bool {
        let in_force = self.in_force(declared.job_id());
        declared
            .iter()
            .eq(in_force.iter().map(|(profile, slots)| (profile, *slots)))
    }

    pub(crate) fn accept(&mut self, declared: &ResourceRequirements) {
        let is_same = self.is_in_force(declared);
        let accepted = self.accepted.entry(declared.job_id()).or_default();
        accepted.highest_revision = accepted.highest_revision.max(declared.revision());
        if !is_same {
            let needs = declared.iter();
            accepted.needs = needs.map(|(profile, slots)| (profile.clone(), slots)).collect();
            accepted.told = ToldShortages::default();
        }
    }

    pub(crate) fn end_job(&mut self, job_id: JobId) {
        self.accepted.remove(&job_id);
    }

    /// Compares with the manager after a call. In a call with several events, a period without
    /// requests may lie between two shortages.
    pub(crate) fn compare(&mut self, manager: &Manager, calls: &[Call], events: usize) -> Check {
        for call in calls {
            self.check_shortage(call, events > 1)?;
        }
        let mut declaring = BTreeSet::new();
        for view in manager.declared_requirements() {
            let job_id = view.job_id;
            declaring.insert(job_id);
            let profiles = view.profiles.iter();
            let in_force: Vec<_> = profiles
                .map(|it| (it.resource_profile.clone(), it.counts.declared as u32))
                .collect();
            if in_force != self.in_force(job_id) {
                return Err(format!("{view:?} is in force, accepted is {:?}", self.in_force(job_id)));
            }
            let mut requests = manager.pending_slot_requests().filter(|it| it.job_id() == job_id);
            let (in_flight, waiting) =
                requests
                    .by_ref()
                    .fold((0, 0), |(in_flight, waiting), request| match request.in_flight_to() {
                        Some(_) => (in_flight + 1, waiting),
                        None => (in_flight, waiting + 1),
                    });
            let counts = view.in_all;
            let requested = counts.declared - counts.charged - counts.delayed;
            let held = held_by(manager, job_id).len();
            let agrees = (counts.in_flight, counts.waiting) == (in_flight, waiting)
                && requested == in_flight + waiting
                && counts.charged + view.excess == held;
            if !agrees {
                return Err(format!("{in_flight} and {waiting} requests, {held} slots: {view:?}"));
            }
            if requested == 0 || events > 1 {
                self.accepted.entry(job_id).or_default().told = ToldShortages::default();
            }
        }
        match self
            .accepted
            .iter()
            .find(|(id, it)| it.needs.is_empty() == declaring.contains(id))
        {
            Some(accepted) => Err(format!("the declaration {accepted:?} is not in force")),
            None => Ok(()),
        }
    }

    fn check_shortage(&mut self, call: &Call, may_repeat: bool) -> Check {
        let Effect::Action(Action::NotifyNotEnoughResources { job_id, shortage }) = &call.effect else {
            return Ok(());
        };
        let accepted = self.accepted.entry(*job_id).or_default();
        let declared: u32 = accepted.needs.iter().map(|(_, slots)| slots).sum();
        let told = match shortage.cause {
            ShortageCause::Unfulfillable { .. } => &mut accepted.told.unfulfillable,
            _ => &mut accepted.told.timeout,
        };
        let is_repeated = std::mem::replace(told, true) && !may_repeat;
        if is_repeated || shortage.declared != declared || shortage.charged > declared {
            return Err(format!(
                "told {job_id} {shortage:?}, repeated: {is_repeated}; declared are {declared}"
            ));
        }
        Ok(())
    }
}

/// Returns the allocations of a job that hold a slot.
fn held_by(manager: &Manager, job: JobId) -> BTreeSet<AllocationId> {
    let holder = |state| match state {
        SlotState::Allocated { allocation_id, job_id } if job_id == job => Some(allocation_id),
        _ => None,
    };
    manager.slots().filter_map(|slot| holder(slot.state())).collect()
}
