//! Declared requirements: what is charged to them, and the requests that they make.
//!
//! The requests of a declaration are called units. The manager chooses their allocation ids. They
//! have no timeout, otherwise they are requests as any other.

use std::sync::Arc;

use crate::error::RequirementsError;
use crate::message::{FreeInactiveSlots, ResourceShortage, ShortageCause};
use crate::outcome::{RequirementsOutcome, Stale};
use crate::{AllocationId, JobId, ResourceId, ResourceRequirements};

use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::effects::RequirementEffect;
use crate::slot_manager::state::profile_queues::ProfileKey;
use crate::slot_manager::state::requests::{RequestKey, RequestPhase};
use crate::slot_manager::state::requirements::{
    AccountKey, AccountTimer, Requirement, ToldShortages, UNITS_PER_CALL, requirement_for, unit_id,
};
use crate::slot_manager::state::slots::{SlotKey, SlotPhase};

/// The way in which a job ceases to hold a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndOfHolding {
    /// The slot is free. The job may be about to need less.
    Freed,
    /// The slot is gone, or another holds it.
    Lost,
}

/// The declaration.
impl Core {
    /// Replaces the requirements of a job, unless the declaration is refused or is no news.
    pub(crate) fn declare(
        &mut self,
        declared: &ResourceRequirements,
    ) -> Result<RequirementsOutcome, RequirementsError> {
        let (job_id, revision) = (declared.job_id(), declared.revision());
        let known = self.ledger.find(job_id);
        let highest_seen = known.and_then(|account| self.ledger.accounts[account].highest_revision);
        if let (Some(revision), Some(highest_seen)) = (revision, highest_seen) {
            if revision < highest_seen {
                tracing::debug!(%job_id, revision, highest_seen, "stale requirements ignored");
                return Ok(RequirementsOutcome::Ignored(Stale { revision, highest_seen }));
            }
        }
        let is_declaring = self.ledger.declares(job_id);
        if !is_declaring && self.requests.has_job(&job_id) {
            return Err(RequirementsError::HasSlotRequests { job_id });
        }
        let is_same = match is_declaring {
            true => known.is_some_and(|account| self.is_declared(account, declared)),
            false => declared.is_empty(),
        };
        if !is_same {
            self.turn_on_ledger();
            self.check_limit(declared)?;
        }
        if is_same && revision <= highest_seen {
            return Ok(RequirementsOutcome::Unchanged);
        }
        self.changes += 1;
        self.turn_on_ledger();
        let account = self.ledger.account_of(job_id);
        let record = &mut self.ledger.accounts[account];
        record.highest_revision = record.highest_revision.max(revision);
        record.has_declared = true;
        if is_same {
            return Ok(RequirementsOutcome::Unchanged);
        }
        let outcome = self.replace_requirements(declared);
        self.counters.requirements_declared += 1;
        tracing::debug!(%job_id, slots = declared.slots(), %outcome, "requirements replaced");
        Ok(outcome)
    }

    /// Returns `true` if an account has these requirements already.
    fn is_declared(&self, account: AccountKey, declared: &ResourceRequirements) -> bool {
        let account = &self.ledger.accounts[account];
        let known = account.requirements.iter();
        account.declared_by.as_ref() == Some(declared.target_address())
            && known
                .map(|known| (&self.profiles[known.profile], known.declared))
                .eq(declared.iter())
    }

    /// Refuses a declaration that asks for more than before and for more requests than are allowed.
    fn check_limit(&self, declared: &ResourceRequirements) -> Result<(), RequirementsError> {
        let Some(limit) = self.config.max_pending_requests else {
            return Ok(());
        };
        let job_id = declared.job_id();
        let others = self.requests.records.len() - self.requests.num_requests_of(job_id);
        let needed = self.count_units(declared);
        if others + needed <= limit || needed <= self.present_need(job_id) {
            return Ok(());
        }
        tracing::warn!(%job_id, limit, "requirements refused: too many pending requests");
        Err(RequirementsError::TooManyPendingRequests { limit })
    }

    /// Returns the number of declared slots that a job does not hold.
    fn present_need(&self, job_id: JobId) -> usize {
        let account = self.ledger.find(job_id);
        let requirements = account.map_or(&[][..], |account| &self.ledger.accounts[account].requirements);
        requirements.iter().map(|requirement| requirement.need() as usize).sum()
    }

    /// Returns the number of requests that a declaration would leave pending.
    fn count_units(&self, declared: &ResourceRequirements) -> usize {
        let mut needs: Vec<_> = declared.iter().collect();
        if let Some(account) = self.ledger.find(declared.job_id()) {
            let mut uncharged: Vec<_> = self.ledger.excess_of(account).collect();
            for requirement in &self.ledger.accounts[account].requirements {
                let profile = &self.profiles[requirement.profile];
                let need = needs.iter_mut().find(|(needed, _)| *needed == profile);
                let kept = need.map_or(0, |(_, need)| {
                    let kept = requirement.charged.min(*need);
                    *need -= kept;
                    kept
                });
                let surplus = (requirement.charged - kept) as usize;
                uncharged.extend(self.ledger.charged_to(requirement).take(surplus));
            }
            for holding in uncharged {
                let slot = self.ledger.holdings[holding].slot;
                let profile = &self.profiles[self.slots[slot].profile];
                if let Some(place) = requirement_for(profile, needs.iter().copied()) {
                    needs[place].1 -= 1;
                }
            }
        }
        needs.iter().map(|(_, need)| *need as usize).sum()
    }

    /// Replaces the requirements of a job. The commit makes the units.
    fn replace_requirements(&mut self, declared: &ResourceRequirements) -> RequirementsOutcome {
        let account = self.ledger.account_of(declared.job_id());
        let mut former = std::mem::take(&mut self.ledger.accounts[account].requirements);
        let mut requirements = Vec::with_capacity(declared.iter().len());
        for (profile, slots) in declared.iter() {
            let key = self.profiles.acquire(profile, 1);
            let requirement = match former.iter().position(|former| former.profile == key) {
                Some(place) => {
                    self.profiles.release(key, 1);
                    former.remove(place)
                }
                None => Requirement::new(key, 0),
            };
            requirements.push(requirement.redeclared(slots));
        }
        // Those that are not declared any more go once nothing refers to them.
        requirements.extend(former.into_iter().map(|former| former.redeclared(0)));
        self.ledger.accounts[account].requirements = requirements;
        let target_address = (!declared.is_empty()).then(|| Arc::clone(declared.target_address()));
        if target_address != self.ledger.accounts[account].declared_by {
            let target_address = declared.target_address();
            self.requests.set_target_address(declared.job_id(), target_address);
        }
        self.ledger.set_declared_by(account, target_address);
        for timer in [AccountTimer::Batch, AccountTimer::Refill, AccountTimer::Shortage] {
            self.ledger.disarm(timer, account);
        }
        self.ledger.accounts[account].told = ToldShortages::default();
        self.uncharge_surplus(account);
        self.charge_excess(account);
        let withdrawn = self.withdraw_surplus(account);
        self.drop_former_requirements(account);
        // A shortage that was told before is told again.
        self.worker_policy.check_all();
        self.note_account(account);
        let record = &self.ledger.accounts[account];
        let requested = record.requirements.iter().map(Requirement::missing).sum::<u32>() as usize;
        let excess = record.num_excess;
        RequirementsOutcome::Declared {
            requested,
            withdrawn,
            excess,
        }
    }

    fn drop_former_requirements(&mut self, account: AccountKey) {
        self.ledger.accounts[account].requirements.retain(|requirement| {
            if requirement.declared == 0 {
                self.profiles.release(requirement.profile, 1);
            }
            requirement.declared > 0
        });
    }

    /// Forgets the requirements of a job that has ended. The task executors that hold its slots are
    /// asked to free those that nobody uses.
    ///
    /// The units have been cancelled.
    ///
    /// Returns `false`, without a change, if the job has not declared.
    pub(crate) fn forget_requirements(&mut self, job_id: JobId) -> bool {
        let has_declared = |account: &AccountKey| self.ledger.accounts[*account].has_declared;
        let Some(account) = self.ledger.find(job_id).filter(has_declared) else {
            return false;
        };
        let nothing = ResourceRequirements::new(job_id, "");
        if self.ledger.accounts[account].declared_by.is_some() {
            // The outcome tells nothing that the caller does not know.
            let _ = self.replace_requirements(&nothing);
        }
        self.ask_to_free_inactive(account);
        let record = &mut self.ledger.accounts[account];
        record.highest_revision = None;
        self.note_account(account);
        self.ledger.accounts[account].has_declared = false;
        true
    }

    /// Asks each task executor that holds slots of a job to free the inactive ones, in the order of
    /// slots.
    fn ask_to_free_inactive(&mut self, account: AccountKey) {
        let Some(leader_id) = self.leader_id else {
            return;
        };
        let slots = self.ledger.excess_of(account);
        let mut owners: Vec<_> = slots
            .map(|holding| self.slots[self.ledger.holdings[holding].slot].task_manager)
            .collect();
        let worker_of = |owner| -> &ResourceId { &self.task_managers.records[owner].resource_id };
        owners.sort_by(|a, b| worker_of(*a).cmp(worker_of(*b)));
        owners.dedup();
        let job_id = self.ledger.accounts[account].job_id;
        for owner in owners {
            let message = FreeInactiveSlots {
                job_id,
                leader_id,
                instance_id: self.task_managers.records[owner].instance_id,
                attempt: self.attempts,
            };
            self.effects
                .of_requirements
                .push(RequirementEffect::FreeInactive(owner, message));
        }
    }
}

/// Held slots.
impl Core {
    /// Notes that a job holds a slot, if it matters. A slot that was granted to a unit is charged to
    /// the profile of the unit.
    #[inline(always)]
    pub(crate) fn note_holding(&mut self, slot: SlotKey, job_id: JobId, unit: Option<ProfileKey>) {
        if self.ledger.is_on() {
            self.add_holding(slot, job_id, unit);
        }
    }

    /// Notes that a job ceases to hold a slot, if it matters.
    #[inline(always)]
    pub(crate) fn note_end_of_holding(&mut self, slot: SlotKey, end: EndOfHolding) {
        if self.ledger.is_on() {
            self.end_holding_of(slot, end);
        }
    }

    #[inline(never)]
    fn add_holding(&mut self, slot: SlotKey, job_id: JobId, unit: Option<ProfileKey>) {
        let account = self.ledger.account_of(job_id);
        if let Some(unit) = unit {
            self.note_end_of_unit(account, unit);
        }
        let record = &mut self.ledger.accounts[account];
        let of_unit = unit.filter(|unit| record.requirement(*unit).is_some_and(|known| known.need() > 0));
        let charged_to = of_unit.or_else(|| self.charge_for(account, slot));
        self.ledger.hold(slot, account, charged_to);
        self.note_account(account);
    }

    #[inline(never)]
    fn end_holding_of(&mut self, slot: SlotKey, end: EndOfHolding) {
        let Some((account, charged_to)) = self.ledger.release(slot) else {
            return;
        };
        if end == EndOfHolding::Freed {
            let record = &mut self.ledger.accounts[account];
            if let Some(requirement) = charged_to.and_then(|profile| record.requirement(profile)) {
                requirement.freed += 1;
                if !self.ledger.is_armed(AccountTimer::Refill, account) {
                    // Also a delay of zero is a deadline. A task executor whose answers are old would
                    // otherwise be asked without end in one call.
                    let at = self.deadline_in(self.config.requirement_check_delay);
                    self.ledger.arm(AccountTimer::Refill, account, at);
                }
            }
        }
        self.note_account(account);
    }

    /// Returns `true` if the job that holds a slot has declared requirements.
    pub(crate) fn is_held_by_declaring_job(&self, slot: SlotKey) -> bool {
        let account = self
            .ledger
            .holding(slot)
            .map(|holding| self.ledger.holdings[holding].account);
        account.is_some_and(|account| self.ledger.accounts[account].has_declared)
    }

    /// Notes the account of the job that holds a slot: the slot may be charged now.
    pub(crate) fn note_holder(&mut self, slot: SlotKey) {
        if let Some(holding) = self.ledger.holding(slot) {
            self.note_account(self.ledger.holdings[holding].account);
        }
    }

    /// Returns the declared profile that a slot of a job is charged to; `None` if it is excess.
    fn charge_for(&self, account: AccountKey, slot: SlotKey) -> Option<ProfileKey> {
        let requirements = &self.ledger.accounts[account].requirements;
        let needs = requirements
            .iter()
            .map(|requirement| (&self.profiles[requirement.profile], requirement.need()));
        let place = requirement_for(&self.profiles[self.slots[slot].profile], needs)?;
        Some(requirements[place].profile)
    }

    /// Opens the accounts of all jobs that hold slots, in the order of slots.
    fn turn_on_ledger(&mut self) {
        if self.ledger.is_on() {
            return;
        }
        self.ledger.turn_on();
        let owners: Vec<_> = (self.task_managers.registered.iter(&self.task_managers.records)).collect();
        for owner in owners {
            for at in 0..self.task_managers.records[owner].slots.len() {
                let (_, slot) = self.task_managers.records[owner].slots[at];
                if let SlotPhase::Allocated {
                    allocation,
                    secondary: false,
                } = self.slots[slot].phase
                {
                    let account = self.ledger.account_of(allocation.job);
                    self.ledger.hold(slot, account, None);
                }
            }
        }
    }

    /// Notes an account whose charges have changed, or closes one of which nothing has to be
    /// remembered.
    fn note_account(&mut self, account: AccountKey) {
        let record = &mut self.ledger.accounts[account];
        if record.is_noted {
            return;
        }
        if record.has_declared {
            record.is_noted = true;
            self.transaction.accounts.push(account);
        } else {
            self.ledger.close_if_unused(account);
        }
    }

    /// Uncharges the slots beyond the declared numbers, the last charged first.
    fn uncharge_surplus(&mut self, account: AccountKey) {
        for at in 0..self.ledger.accounts[account].requirements.len() {
            let requirement = &self.ledger.accounts[account].requirements[at];
            let surplus = requirement.charged.saturating_sub(requirement.declared) as usize;
            let surplus: Vec<_> = self.ledger.charged_to(requirement).take(surplus).collect();
            for holding in surplus {
                self.ledger.charge(holding, None);
            }
        }
    }

    /// Charges excess slots to needs that they fit, the oldest first.
    fn charge_excess(&mut self, account: AccountKey) {
        let record = &self.ledger.accounts[account];
        let has_need = |requirements: &[Requirement]| requirements.iter().any(|requirement| requirement.need() > 0);
        if record.num_excess == 0 || !has_need(&record.requirements) {
            return;
        }
        let excess: Vec<_> = self.ledger.excess_of(account).collect();
        for holding in excess {
            let slot = self.ledger.holdings[holding].slot;
            if let Some(profile) = self.charge_for(account, slot) {
                self.ledger.charge(holding, Some(profile));
            } else if !has_need(&self.ledger.accounts[account].requirements) {
                return;
            }
        }
    }
}

/// Units.
impl Core {
    /// Brings the charges of changed accounts up to date, and withdraws units that are not needed
    /// any more.
    pub(crate) fn settle_accounts(&mut self) {
        for at in 0..self.transaction.accounts.len() {
            let account = self.transaction.accounts[at];
            self.charge_excess(account);
            self.withdraw_surplus(account);
        }
    }

    /// Makes the units that changed accounts lack.
    pub(crate) fn make_missing_units(&mut self) {
        let mut accounts = std::mem::take(&mut self.transaction.accounts);
        for &account in &accounts {
            self.ledger.accounts[account].is_noted = false;
            self.make_units(account);
            self.update_shortage_timer(account);
            self.ledger.close_if_unused(account);
        }
        accounts.clear();
        self.transaction.accounts = accounts;
    }

    fn make_units(&mut self, account: AccountKey) {
        let mut left = UNITS_PER_CALL;
        for at in 0..self.ledger.accounts[account].requirements.len() {
            let record = &mut self.ledger.accounts[account];
            let is_batch_armed = record.is_batch_armed();
            let requirement = &mut record.requirements[at];
            // A slot that came meanwhile has replaced a freed one.
            requirement.freed = requirement.freed.min(requirement.unrequested());
            let (profile, missing) = (requirement.profile, requirement.missing());
            if missing == 0 || is_batch_armed {
                continue;
            }
            let made = missing.min(left);
            left -= made;
            if made < missing {
                let at = self.deadline_in(std::time::Duration::ZERO);
                self.ledger.arm(AccountTimer::Batch, account, at);
            }
            for _ in 0..made {
                self.make_unit(account, profile);
            }
        }
    }

    /// Makes a request of a declaration and gives it a free slot, or lets it wait.
    fn make_unit(&mut self, account: AccountKey, profile: ProfileKey) {
        let record = &mut self.ledger.accounts[account];
        let Some(target_address) = record.declared_by.clone() else {
            return;
        };
        let job_id = record.job_id;
        if let Some(requirement) = record.requirement(profile) {
            requirement.units += 1;
        }
        let allocation_id = self.next_unit_id();
        let profile = self.profiles.acquire(&self.profiles[profile].clone(), 1);
        let request = self
            .requests
            .insert_unit(allocation_id, job_id, profile, target_address);
        let fingerprint = self.allocations.fingerprint(allocation_id);
        self.allocations.insert(fingerprint, AllocationEntry::Pending(request));
        self.counters.requests_accepted += 1;
        self.note_new_request(request);
        self.place(request);
    }

    /// Returns the allocation id of the next unit, which nothing else has.
    fn next_unit_id(&mut self) -> AllocationId {
        // Units exist only while there is a leader.
        let leader_id = self.leader_id.unwrap_or(crate::LeaderId::from_u128(0));
        loop {
            self.units += 1;
            let id = unit_id(leader_id, self.units);
            if self.find_allocation(id).is_none() && !self.allocations.secondaries().contains_key(&id) {
                return id;
            }
        }
    }

    /// Withdraws the units beyond the needs of a job: those that back off, then those that wait,
    /// then those in flight, the newest first in each. Returns their number.
    fn withdraw_surplus(&mut self, account: AccountKey) -> usize {
        let mut withdrawn = 0;
        for at in 0..self.ledger.accounts[account].requirements.len() {
            let record = &self.ledger.accounts[account];
            let requirement = &record.requirements[at];
            let surplus = requirement.surplus() as usize;
            if surplus == 0 {
                continue;
            }
            let (job_id, profile) = (record.job_id, requirement.profile);
            for request in self.newest_units(job_id, profile, surplus) {
                self.cancel(request);
                self.note_end_of_unit(account, profile);
                withdrawn += 1;
            }
        }
        withdrawn
    }

    /// Returns the units of one profile to withdraw, the first one first.
    ///
    /// Cost: O(units of the job).
    fn newest_units(&self, job_id: JobId, profile: ProfileKey, number: usize) -> Vec<RequestKey> {
        let of_profile = |request: &RequestKey| self.requests.records[*request].profile == profile;
        let mut units: Vec<_> = self.requests.newest_of_job(&job_id).filter(of_profile).collect();
        // Units of equal rank stay in their order.
        units.sort_by_key(|request| match self.requests.records[*request].phase {
            RequestPhase::BackingOff { .. } => 0,
            RequestPhase::Bound(_) | RequestPhase::Unbound(_) | RequestPhase::Detached => 1,
            RequestPhase::InFlight(_) => 2,
        });
        units.truncate(number);
        units
    }

    /// Counts a unit that is over.
    pub(crate) fn note_end_of_unit(&mut self, account: AccountKey, profile: ProfileKey) {
        if let Some(requirement) = self.ledger.accounts[account].requirement(profile) {
            requirement.units -= 1;
        }
    }

    /// Counts a unit that its job has cancelled by ending.
    pub(crate) fn note_cancelled(&mut self, request: RequestKey) {
        let record = &self.requests.records[request];
        if record.is_declared {
            let profile = record.profile;
            if let Some(account) = self.ledger.find(record.job_id) {
                self.note_end_of_unit(account, profile);
            }
        }
    }

    /// Gives a detached unit a new allocation id, because another job holds a slot under the old
    /// one. It keeps its place, and the commit places it.
    pub(crate) fn renew_unit(&mut self, request: RequestKey) {
        let id = self.next_unit_id();
        let former = std::mem::replace(&mut self.requests.records[request].allocation_id, id);
        // The entry is found by its key, not by the id in the record.
        self.allocations.remove(former, AllocationEntry::Pending(request));
        let fingerprint = self.allocations.fingerprint(id);
        self.allocations.insert(fingerprint, AllocationEntry::Pending(request));
        self.transaction.detached.push(request);
        tracing::warn!(%former, %id, "another job holds the allocation of a declared request, which gets a new id");
    }
}

/// Time and shortages.
impl Core {
    /// Handles the deadline of an account that falls due first.
    pub(crate) fn handle_account_timer(&mut self) -> Option<()> {
        let (timer, account) = self.ledger.take_first_due()?;
        match timer {
            AccountTimer::Batch => {}
            AccountTimer::Refill => {
                for requirement in &mut self.ledger.accounts[account].requirements {
                    requirement.freed = 0;
                }
            }
            AccountTimer::Shortage => {
                self.ledger.accounts[account].told.timeout = true;
                let timeout = self.config.request_timeout;
                self.tell_shortage(account, ShortageCause::Timeout { timeout });
            }
        }
        self.note_account(account);
        Some(())
    }

    /// Arms the time at which a shortage is told while units wait, and ends the period of shortages
    /// without units.
    fn update_shortage_timer(&mut self, account: AccountKey) {
        let record = &mut self.ledger.accounts[account];
        if !record.has_units() {
            record.told = ToldShortages::default();
            self.ledger.disarm(AccountTimer::Shortage, account);
        } else if !record.told.timeout && !self.ledger.is_armed(AccountTimer::Shortage, account) {
            let at = self.deadline_in(self.config.request_timeout);
            self.ledger.arm(AccountTimer::Shortage, account, at);
        }
    }

    /// Tells the job of a unit once that nothing can serve the unit.
    pub(crate) fn note_unfulfillable_unit(&mut self, request: RequestKey) {
        let record = &self.requests.records[request];
        let Some(account) = self.ledger.find(record.job_id) else {
            return;
        };
        let resource_profile = self.profiles[record.profile].clone();
        let told = &mut self.ledger.accounts[account].told;
        if !std::mem::replace(&mut told.unfulfillable, true) {
            self.tell_shortage(account, ShortageCause::Unfulfillable { resource_profile });
        }
    }

    fn tell_shortage(&mut self, account: AccountKey, cause: ShortageCause) {
        let job_id = self.ledger.accounts[account].job_id;
        tracing::warn!(%job_id, %cause, "not enough resources for the requirements of a job");
        self.counters.shortages_notified += 1;
        let effect = RequirementEffect::Shortage(job_id, cause);
        self.effects.of_requirements.push(effect);
    }

    /// Returns the message about a shortage, with the numbers of the present. `None` if the job
    /// declares nothing any more.
    pub(crate) fn shortage(&self, job_id: JobId, cause: &ShortageCause) -> Option<ResourceShortage> {
        let account = &self.ledger.accounts[self.ledger.find(job_id)?];
        account.declared_by.as_ref()?;
        let requirements = account.requirements.iter();
        let (declared, charged) = requirements.fold((0, 0), |(declared, charged), requirement| {
            (declared + requirement.declared, charged + requirement.charged)
        });
        Some(ResourceShortage {
            declared,
            charged,
            cause: cause.clone(),
        })
    }
}
