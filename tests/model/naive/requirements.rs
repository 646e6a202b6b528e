//! Declared requirements: a list of declarations, and a list of the slots that jobs hold.

use slot_manager::error::RequirementsError;
use slot_manager::message::{FreeInactiveSlots, ResourceShortage, ShortageCause};
use slot_manager::outcome::{RequirementsOutcome, Stale};
use slot_manager::testing::{Action, GatewayCall};
use slot_manager::{AllocationId, JobId, ResourceProfile, ResourceRequirements, SlotId, Timestamp};

use super::{NaiveSlotManager, Request, Stage, State, Timer};
use crate::observation::{RequiredView, RequirementsView};

/// The most units that one call makes for a job.
const MOST_UNITS: usize = 1024;

/// The distance of the allocation ids of two units that follow each other.
const UNIT_DISTANCE: u128 = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;

/// What a job has declared.
#[derive(Debug, Clone)]
pub(super) struct Declaration {
    job_id: JobId,
    /// The requirements are in force.
    is_in_force: bool,
    required: Vec<Required>,
    highest_revision: Option<u64>,
    batch: Option<Timer>,
    refill: Option<Timer>,
    shortage: Option<Timer>,
    told_unfulfillable: bool,
    told_timeout: bool,
}

#[derive(Debug, Clone)]
struct Required {
    profile: ResourceProfile,
    declared: usize,
    /// Slots that were freed, and are replaced later.
    freed: usize,
}

/// A slot that a job holds.
#[derive(Debug, Clone)]
pub(super) struct Holding {
    slot: SlotId,
    job_id: JobId,
    charged_to: Option<ResourceProfile>,
    /// Smaller numbers were charged, or became excess, before.
    order: u64,
}

/// The deadlines of a declaration.
#[derive(Debug, Clone, Copy)]
pub(super) enum RequirementTimer {
    Batch,
    Refill,
    Shortage,
}

impl NaiveSlotManager {
    /// Replaces the requirements of a job.
    pub(super) fn declare(
        &mut self,
        declared: &ResourceRequirements,
    ) -> Result<RequirementsOutcome, RequirementsError> {
        self.begin_input()?;
        let (job_id, revision) = (declared.job_id(), declared.revision());
        let known = self.declarations.iter().find(|it| it.job_id == job_id);
        let highest = known.and_then(|it| it.highest_revision);
        if let (Some(revision), Some(highest_seen)) = (revision, highest) {
            if revision < highest_seen {
                return Ok(RequirementsOutcome::Ignored(Stale { revision, highest_seen }));
            }
        }
        let is_in_force = self.declares(job_id);
        if !is_in_force && self.requests.iter().any(|it| it.job_id == job_id) {
            return Err(RequirementsError::HasSlotRequests { job_id });
        }
        let present: Vec<_> = known.map_or(Vec::new(), |it| it.required.clone());
        let present = present.iter().map(|it| (&it.profile, it.declared));
        let is_same = present.eq(declared.iter().map(|(profile, slots)| (profile, slots as usize)));
        if !is_same {
            // Tries it out.
            let mut trial = self.clone();
            trial.replace_requirements(declared);
            let others = trial.requests.iter().filter(|it| it.job_id != job_id).count();
            let needed = trial.whole_need(job_id);
            let limit = self.config.max_pending_requests;
            if let Some(limit) = limit.filter(|limit| others + needed > *limit && needed > self.whole_need(job_id)) {
                self.turn_on_accounts();
                return Err(RequirementsError::TooManyPendingRequests { limit });
            }
        }
        if !is_same || revision.is_some() {
            self.turn_on_accounts();
            let declaration = self.declaration_of(job_id);
            declaration.highest_revision = declaration.highest_revision.max(revision);
        }
        if is_same {
            self.forget_unused_declarations();
            return Ok(RequirementsOutcome::Unchanged);
        }
        let outcome = self.replace_requirements(declared);
        self.end_input();
        Ok(outcome)
    }

    fn declares(&self, job_id: JobId) -> bool {
        self.declarations.iter().any(|it| it.job_id == job_id && it.is_in_force)
    }

    /// Returns `true` if a job that declares may request no single slots.
    pub(super) fn must_not_request(&self, job_id: JobId) -> bool {
        self.declares(job_id)
    }

    fn declaration_of(&mut self, job_id: JobId) -> &mut Declaration {
        if !self.declarations.iter().any(|it| it.job_id == job_id) {
            self.declarations.push(Declaration {
                job_id,
                is_in_force: false,
                required: Vec::new(),
                highest_revision: None,
                batch: None,
                refill: None,
                shortage: None,
                told_unfulfillable: false,
                told_timeout: false,
            });
        }
        let known = self.declarations.iter_mut().find(|it| it.job_id == job_id);
        known.expect("it is known now")
    }

    fn forget_unused_declarations(&mut self) {
        self.declarations.retain(|it| {
            let holds = self.holdings.iter().any(|holding| holding.job_id == it.job_id);
            it.is_in_force || it.highest_revision.is_some() || holds
        });
    }

    fn required_of(&self, job_id: JobId) -> impl Iterator<Item = &Required> {
        let of_job = self.declarations.iter().filter(move |it| it.job_id == job_id);
        of_job.flat_map(|it| &it.required)
    }

    fn charged(&self, job_id: JobId, profile: &ResourceProfile) -> usize {
        let charged = |it: &&Holding| it.job_id == job_id && it.charged_to.as_ref() == Some(profile);
        self.holdings.iter().filter(charged).count()
    }

    fn need(&self, job_id: JobId, required: &Required) -> usize {
        required
            .declared
            .saturating_sub(self.charged(job_id, &required.profile))
    }

    fn whole_need(&self, job_id: JobId) -> usize {
        self.required_of(job_id).map(|it| self.need(job_id, it)).sum()
    }

    fn units(&self, job_id: JobId, profile: &ResourceProfile) -> usize {
        let is_unit = |it: &&Request| it.is_declared && it.job_id == job_id && it.profile == *profile;
        self.requests.iter().filter(is_unit).count()
    }

    fn replace_requirements(&mut self, declared: &ResourceRequirements) -> RequirementsOutcome {
        self.turn_on_accounts();
        let job_id = declared.job_id();
        let declaration = self.declaration_of(job_id);
        let wanted = declared.iter().map(|(profile, slots)| Required {
            profile: profile.clone(),
            declared: slots as usize,
            freed: 0,
        });
        let mut required: Vec<_> = wanted.collect();
        let former = declaration.required.iter();
        let gone = former.filter(|it| declared.iter().all(|(profile, _)| *profile != it.profile));
        let gone: Vec<_> = gone
            .map(|it| Required {
                declared: 0,
                freed: 0,
                ..it.clone()
            })
            .collect();
        required.extend(gone);
        declaration.required.clone_from(&required);
        declaration.is_in_force = !declared.is_empty();
        (declaration.batch, declaration.refill, declaration.shortage) = (None, None, None);
        (declaration.told_unfulfillable, declaration.told_timeout) = (false, false);
        for Required { profile, declared, .. } in &required {
            while self.charged(job_id, profile) > *declared {
                let order = self.next();
                let charged = self.holdings.iter_mut();
                let charged = charged.filter(|it| it.job_id == job_id && it.charged_to.as_ref() == Some(profile));
                let last = charged.max_by_key(|it| it.order).expect("one is charged");
                (last.charged_to, last.order) = (None, order);
            }
        }
        self.charge_excess(job_id);
        let withdrawn = self.withdraw_surplus(job_id);
        self.declaration_of(job_id).required.retain(|it| it.declared > 0);
        self.note_job(job_id);
        let missing = |it: &Required| self.need(job_id, it) - self.units(job_id, &it.profile);
        RequirementsOutcome::Declared {
            requested: self.required_of(job_id).map(missing).sum(),
            withdrawn,
            excess: self.excess_of(job_id).len(),
        }
    }

    /// Ends the declaration of a job. Returns `true` if it has declared.
    pub(super) fn forget_requirements(&mut self, job_id: JobId) -> bool {
        if !self.declarations.iter().any(|it| it.job_id == job_id) {
            return false;
        }
        if self.declares(job_id) {
            let _ = self.replace_requirements(&ResourceRequirements::new(job_id, ""));
        }
        let mut owners: Vec<_> = self.holdings.iter().filter(|it| it.job_id == job_id).collect();
        owners.sort_by(|a, b| a.slot.resource_id().cmp(b.slot.resource_id()));
        owners.dedup_by_key(|it| it.slot.resource_id());
        let messages: Vec<_> = owners
            .into_iter()
            .map(|it| FreeInactiveSlots {
                job_id,
                leader_id: self.leader.expect("started"),
                instance_id: self.owner(&it.slot).expect("a registered slot").instance_id,
                attempt: self.attempts,
            })
            .collect();
        let messages = messages.into_iter().map(GatewayCall::FreeInactiveSlots);
        self.outbox.inactive_frees.extend(messages);
        self.declarations.retain(|it| it.job_id != job_id);
        self.transaction.jobs.retain(|it| *it != job_id);
        true
    }

    /// Notes all held slots, once a job declares.
    fn turn_on_accounts(&mut self) {
        if std::mem::replace(&mut self.has_accounts, true) {
            return;
        }
        let held: Vec<_> = self
            .slots()
            .filter_map(|slot| match slot.state {
                State::Allocated {
                    allocation,
                    secondary: None,
                } => Some((slot.id.clone(), allocation.job)),
                _ => None,
            })
            .collect();
        for (slot, job_id) in held {
            let order = self.next();
            self.holdings.push(Holding {
                slot,
                job_id,
                charged_to: None,
                order,
            });
        }
    }

    /// Notes that a job holds a slot, which was granted to a unit of this profile, if any.
    pub(super) fn note_holding(&mut self, slot: &SlotId, job_id: JobId, unit: Option<&ResourceProfile>) {
        if !self.has_accounts {
            return;
        }
        let of_unit = self.required_of(job_id).find(|it| Some(&it.profile) == unit);
        let of_unit = of_unit
            .filter(|it| self.need(job_id, it) > 0)
            .map(|it| it.profile.clone());
        let charged_to = of_unit.or_else(|| self.charge_for(slot, job_id));
        let order = self.next();
        self.holdings.push(Holding {
            slot: slot.clone(),
            job_id,
            charged_to,
            order,
        });
        self.note_job(job_id);
    }

    /// Notes that no job holds a slot any more: it was freed, or it is lost.
    pub(super) fn note_end_of_holding(&mut self, slot: &SlotId, was_freed: bool) {
        let Some(at) = self.holdings.iter().position(|it| it.slot == *slot) else {
            return;
        };
        let Holding { job_id, charged_to, .. } = self.holdings.remove(at);
        if was_freed && charged_to.is_some() {
            let refill = self.timer(self.config.requirement_check_delay);
            let declaration = self.declaration_of(job_id);
            let mut required = declaration.required.iter_mut();
            let required = required.find(|it| Some(&it.profile) == charged_to.as_ref());
            required.expect("it is charged to a requirement").freed += 1;
            declaration.refill.get_or_insert(refill);
        }
        self.note_job(job_id);
    }

    /// Notes that the slot of a job may be charged now.
    pub(super) fn note_holder(&mut self, slot: &SlotId) {
        let holding = self.holdings.iter().find(|it| it.slot == *slot);
        if let Some(job_id) = holding.map(|it| it.job_id) {
            self.note_job(job_id);
        }
    }

    fn note_job(&mut self, job_id: JobId) {
        let has_declared = self.declarations.iter().any(|it| it.job_id == job_id);
        if has_declared && !self.transaction.jobs.contains(&job_id) {
            self.transaction.jobs.push(job_id);
        }
    }

    /// Returns the profile that a slot of a job is charged to.
    fn charge_for(&self, slot: &SlotId, job_id: JobId) -> Option<ResourceProfile> {
        let slot = &self.find_slot(slot).expect("a registered slot").profile;
        let open = self.required_of(job_id).filter(|it| self.need(job_id, it) > 0);
        let open: Vec<_> = open.map(|it| &it.profile).collect();
        if open.contains(&slot) {
            return Some(slot.clone());
        }
        let mut best: Option<&ResourceProfile> = None;
        for profile in open.into_iter().filter(|it| slot.is_matching(it)) {
            if best.is_none_or(|best| super::matching::waste(slot, profile) < super::matching::waste(slot, best)) {
                best = Some(profile);
            }
        }
        best.cloned()
    }

    /// Returns the slots in excess, oldest first.
    fn excess_of(&self, job_id: JobId) -> Vec<SlotId> {
        let excess = self
            .holdings
            .iter()
            .filter(|it| it.job_id == job_id && it.charged_to.is_none());
        let mut excess: Vec<_> = excess.collect();
        excess.sort_by_key(|it| it.order);
        excess.into_iter().map(|it| it.slot.clone()).collect()
    }

    fn charge_excess(&mut self, job_id: JobId) {
        for slot in self.excess_of(job_id) {
            if let Some(profile) = self.charge_for(&slot, job_id) {
                let order = self.next();
                let mut holdings = self.holdings.iter_mut();
                let holding = holdings.find(|it| it.slot == slot).expect("a held slot");
                (holding.charged_to, holding.order) = (Some(profile), order);
            }
        }
    }

    /// Withdraws the units that are not needed. Returns their number.
    fn withdraw_surplus(&mut self, job_id: JobId) -> usize {
        let required: Vec<_> = self.required_of(job_id).cloned().collect();
        let mut withdrawn = 0;
        for it in &required {
            while self.units(job_id, &it.profile) > self.need(job_id, it) {
                let units = self.requests.iter();
                let units =
                    units.filter(|unit| unit.is_declared && unit.job_id == job_id && unit.profile == it.profile);
                let rank = |unit: &&Request| match unit.stage {
                    Stage::BackingOff(_) => (2, unit.order),
                    Stage::InFlight { .. } => (0, unit.order),
                    _ => (1, unit.order),
                };
                let first = units.max_by_key(rank).expect("there is a unit");
                let id = first.allocation_id;
                self.remove_request(id);
                withdrawn += 1;
            }
        }
        withdrawn
    }

    /// Brings the charges of changed jobs up to date.
    pub(super) fn settle_accounts(&mut self) {
        for job_id in self.transaction.jobs.clone() {
            self.charge_excess(job_id);
            self.withdraw_surplus(job_id);
        }
    }

    /// Makes the units that changed jobs lack.
    pub(super) fn make_missing_units(&mut self) {
        for job_id in std::mem::take(&mut self.transaction.jobs) {
            self.make_units(job_id);
            self.update_shortage_timer(job_id);
        }
        self.forget_unused_declarations();
    }

    fn make_units(&mut self, job_id: JobId) {
        let required: Vec<_> = self.required_of(job_id).cloned().collect();
        let mut left = MOST_UNITS;
        for mut it in required {
            let unrequested = self.need(job_id, &it) - self.units(job_id, &it.profile);
            it.freed = it.freed.min(unrequested);
            let mut all = self.declaration_of(job_id).required.iter_mut();
            all.find(|other| other.profile == it.profile)
                .expect("it is required")
                .freed = it.freed;
            if self.declaration_of(job_id).batch.is_some() {
                continue;
            }
            let missing = unrequested - it.freed;
            if missing > left {
                let batch = self.timer(std::time::Duration::ZERO);
                self.declaration_of(job_id).batch = Some(batch);
            }
            let made = missing.min(left);
            left -= made;
            for _ in 0..made {
                self.make_unit(job_id, &it.profile);
            }
        }
    }

    fn make_unit(&mut self, job_id: JobId, profile: &ResourceProfile) {
        let allocation_id = self.next_unit_id();
        let order = self.next();
        let young_until = self.new_wait();
        self.requests.push(Request {
            allocation_id,
            job_id,
            profile: profile.clone(),
            order,
            deadline: Timestamp::MAX,
            failed_attempts: 0,
            last_failure: None,
            tried_on: Vec::new(),
            must_back_off: false,
            is_declared: true,
            young_until,
            stage: Stage::Detached,
        });
        self.place(allocation_id);
    }

    fn next_unit_id(&mut self) -> AllocationId {
        loop {
            self.units += 1;
            let offset = u128::from(self.units).wrapping_mul(UNIT_DISTANCE);
            let leader = self.leader.expect("started").as_u128();
            let id = AllocationId::from_u128(leader.wrapping_add(offset));
            let is_held = self
                .slots()
                .any(|slot| self.holder(&slot.id).is_some_and(|it| it.id == id));
            if self.find_request(id).is_none() && !is_held {
                return id;
            }
        }
    }

    /// Gives a unit another id, because another job holds a slot under its own. The unit looks for
    /// a slot.
    pub(super) fn renew_unit(&mut self, former: AllocationId) {
        let id = self.next_unit_id();
        self.request_mut(former).allocation_id = id;
        self.transaction.detached.push(id);
    }

    fn update_shortage_timer(&mut self, job_id: JobId) {
        let has_units = self.requests.iter().any(|it| it.is_declared && it.job_id == job_id);
        let timer = self.timer(self.config.request_timeout);
        let declaration = self.declaration_of(job_id);
        if !has_units && declaration.batch.is_none() {
            (declaration.told_unfulfillable, declaration.told_timeout) = (false, false);
            declaration.shortage = None;
        } else if !declaration.told_timeout {
            declaration.shortage.get_or_insert(timer);
        }
    }

    /// Returns the deadlines of declarations.
    pub(super) fn requirement_timers(&self) -> impl Iterator<Item = (JobId, RequirementTimer, Timer)> {
        self.declarations.iter().flat_map(|it| {
            let batch = it.batch.map(|timer| (it.job_id, RequirementTimer::Batch, timer));
            let refill = it.refill.map(|timer| (it.job_id, RequirementTimer::Refill, timer));
            let shortage = it.shortage.map(|timer| (it.job_id, RequirementTimer::Shortage, timer));
            [batch, refill, shortage].into_iter().flatten()
        })
    }

    pub(super) fn requirement_timer_ended(&mut self, job_id: JobId, timer: RequirementTimer) {
        let timeout = self.config.request_timeout;
        let declaration = self.declaration_of(job_id);
        match timer {
            RequirementTimer::Batch => declaration.batch = None,
            RequirementTimer::Refill => {
                declaration.refill = None;
                declaration.required.iter_mut().for_each(|it| it.freed = 0);
            }
            RequirementTimer::Shortage => {
                declaration.shortage = None;
                declaration.told_timeout = true;
                self.tell_shortage(job_id, ShortageCause::Timeout { timeout });
            }
        }
        self.note_job(job_id);
    }

    /// Tells a job once that nothing serves one of its units.
    pub(super) fn tell_unfulfillable(&mut self, id: AllocationId) {
        let request = self.request_mut(id);
        let (job_id, resource_profile) = (request.job_id, request.profile.clone());
        if !std::mem::replace(&mut self.declaration_of(job_id).told_unfulfillable, true) {
            self.tell_shortage(job_id, ShortageCause::Unfulfillable { resource_profile });
        }
    }

    fn tell_shortage(&mut self, job_id: JobId, cause: ShortageCause) {
        self.outbox.shortages.push((job_id, cause));
    }

    /// Tells the shortages, with the numbers of the present.
    pub(super) fn send_shortages(&mut self) {
        for (job_id, cause) in std::mem::take(&mut self.outbox.shortages) {
            let number = |number: usize| u32::try_from(number).expect("few slots");
            let declared = self.required_of(job_id).map(|it| it.declared).sum();
            let charged = self
                .required_of(job_id)
                .map(|it| self.charged(job_id, &it.profile))
                .sum();
            let shortage = ResourceShortage {
                declared: number(declared),
                charged: number(charged),
                cause,
            };
            if self.declares(job_id) {
                self.effects
                    .push(Action::NotifyNotEnoughResources { job_id, shortage }.into());
            }
        }
    }

    /// Returns the requirements in force, by job.
    pub(super) fn view_of_requirements(&self) -> Vec<RequirementsView> {
        let in_force = self.declarations.iter().filter(|it| it.is_in_force);
        let mut views: Vec<_> = in_force
            .map(|it| RequirementsView {
                job_id: it.job_id,
                revision: it.highest_revision,
                excess: self.excess_of(it.job_id).len(),
                required: it
                    .required
                    .iter()
                    .map(|required| RequiredView {
                        profile: required.profile.clone(),
                        declared: required.declared,
                        charged: self.charged(it.job_id, &required.profile),
                        delayed: required.freed,
                    })
                    .collect(),
            })
            .collect();
        views.sort_by_key(|it| it.job_id);
        views
    }
}
