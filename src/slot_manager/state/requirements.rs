//! The ledger: the slots that each job holds, and the requirements that they are charged to.
//!
//! It is off until a job declares requirements, so that others pay one branch. From then on it has
//! an account for each job that holds a slot or declares.

use std::sync::Arc;

use crate::{AllocationId, JobId, LeaderId, ResourceProfile, Timestamp};

use crate::slot_manager::collections::arena::{Arena, key};
use crate::slot_manager::collections::deadline_list::{DeadlineList, Timed};
use crate::slot_manager::collections::fingerprint_table::IdHasher;
use crate::slot_manager::collections::id_index::{IdIndex, Identified};
use crate::slot_manager::collections::linked_list::{Links, List, linked};
use crate::slot_manager::collections::pages::PagedTable;
use crate::slot_manager::state::profile_queues::ProfileKey;
use crate::slot_manager::state::slots::SlotKey;

key! {
    /// The account of a job.
    AccountKey
}

key! {
    /// A slot that a job holds, as its account has it.
    HoldingKey
}

/// The most units that one call makes for a job. The others follow in later rounds.
pub(crate) const UNITS_PER_CALL: u32 = 1024;

/// The distance of the allocation ids of successive units.
///
/// It is 2¹²⁸ divided by the golden ratio, which spreads its multiples evenly: the first 2⁶⁴ are
/// more than 2³² apart from each other. So leaders with neighbouring ids make different units.
const UNIT_ID_DISTANCE: u128 = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;

/// Returns the allocation id of a unit by the number of the unit.
pub(crate) fn unit_id(leader_id: LeaderId, number: u64) -> AllocationId {
    let offset = u128::from(number).wrapping_mul(UNIT_ID_DISTANCE);
    AllocationId::from_u128(leader_id.as_u128().wrapping_add(offset))
}

/// A slot that a job holds, as its account has it.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) slot: SlotKey,
    pub(crate) account: AccountKey,
    /// The declared profile that the slot is charged to. `None`: the slot is excess.
    pub(crate) charged_to: Option<ProfileKey>,
    links: Links<HoldingKey>,
}

/// The kind of the lists of slots that are charged alike, in the order in which they were.
#[derive(Debug)]
pub(crate) enum ChargedAlike {}

linked!(Holding, HoldingKey, ChargedAlike => links);

/// The declared slots of one profile.
#[derive(Debug)]
pub(crate) struct Requirement {
    pub(crate) profile: ProfileKey,
    pub(crate) declared: u32,
    pub(crate) charged: u32,
    /// The pending requests for these slots.
    pub(crate) units: u32,
    /// The charged slots that were freed, and are replaced only at the end of the check delay.
    pub(crate) freed: u32,
    holdings: List<ChargedAlike, HoldingKey>,
}

impl Requirement {
    pub(crate) fn new(profile: ProfileKey, declared: u32) -> Self {
        Self {
            profile,
            declared,
            charged: 0,
            units: 0,
            freed: 0,
            holdings: List::default(),
        }
    }

    /// Returns the requirement with another declared number. Freed slots are replaced at once.
    pub(crate) fn redeclared(self, declared: u32) -> Self {
        Self {
            declared,
            freed: 0,
            ..self
        }
    }

    /// Returns the number of slots that the job does not hold.
    pub(crate) fn need(&self) -> u32 {
        self.declared.saturating_sub(self.charged)
    }

    /// Returns the number of needed slots that are not requested.
    pub(crate) fn unrequested(&self) -> u32 {
        self.need().saturating_sub(self.units)
    }

    /// Returns the number of units to make now.
    pub(crate) fn missing(&self) -> u32 {
        self.unrequested().saturating_sub(self.freed)
    }

    /// Returns the number of units to withdraw.
    pub(crate) fn surplus(&self) -> u32 {
        self.units.saturating_sub(self.need())
    }
}

/// A reason for a shortage that the job was told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ToldShortages {
    pub(crate) unfulfillable: bool,
    pub(crate) timeout: bool,
}

/// The account of a job: its declaration, and the slots that it holds.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) job_id: JobId,
    /// The target address of the declaration. `None`: the job declares nothing.
    pub(crate) declared_by: Option<Arc<str>>,
    /// The requirements in the order of the declaration.
    pub(crate) requirements: Vec<Requirement>,
    excess: List<ChargedAlike, HoldingKey>,
    pub(crate) num_excess: usize,
    pub(crate) num_held: usize,
    pub(crate) highest_revision: Option<u64>,
    /// The job has declared since it was last unregistered.
    pub(crate) has_declared: bool,
    /// The transaction has the account already.
    pub(crate) is_noted: bool,
    pub(crate) told: ToldShortages,
    /// The end of the check delay, if it runs.
    refill_at: Option<Timestamp>,
    /// The time at which more units are made, if some are left.
    batch_at: Option<Timestamp>,
    /// The time at which a shortage is told, if units wait.
    shortage_at: Option<Timestamp>,
    refill_links: Links<AccountKey>,
    batch_links: Links<AccountKey>,
    shortage_links: Links<AccountKey>,
}

impl Identified<JobId> for Account {
    fn id(&self) -> &JobId {
        &self.job_id
    }
}

impl Account {
    fn new(job_id: JobId) -> Self {
        Self {
            job_id,
            declared_by: None,
            requirements: Vec::new(),
            excess: List::default(),
            num_excess: 0,
            num_held: 0,
            highest_revision: None,
            has_declared: false,
            is_noted: false,
            told: ToldShortages::default(),
            refill_at: None,
            batch_at: None,
            shortage_at: None,
            refill_links: Links::NONE,
            batch_links: Links::NONE,
            shortage_links: Links::NONE,
        }
    }

    /// Returns `true` if nothing has to be remembered of the job.
    pub(crate) fn is_unused(&self) -> bool {
        self.num_held == 0 && self.declared_by.is_none() && self.highest_revision.is_none()
    }

    pub(crate) fn requirement(&mut self, profile: ProfileKey) -> Option<&mut Requirement> {
        self.requirements
            .iter_mut()
            .find(|requirement| requirement.profile == profile)
    }

    /// Returns `true` if a slot is requested or left to be requested.
    pub(crate) fn has_units(&self) -> bool {
        self.batch_at.is_some() || self.requirements.iter().any(|requirement| requirement.units > 0)
    }

    pub(crate) fn is_batch_armed(&self) -> bool {
        self.batch_at.is_some()
    }
}

/// The kinds of deadlines of an account. Those due at one time are handled in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccountTimer {
    /// The next batch of units is made.
    Batch,
    /// Freed slots are replaced.
    Refill,
    /// A shortage is told.
    Shortage,
}

/// The kinds of the deadline lists.
#[derive(Debug)]
pub(crate) enum Batch {}
#[derive(Debug)]
pub(crate) enum Refill {}
#[derive(Debug)]
pub(crate) enum Shortage {}

linked!(
    Account, AccountKey,
    Batch => batch_links,
    Refill => refill_links,
    Shortage => shortage_links,
);

impl Timed<Batch, AccountKey> for Account {
    fn due_at(&self) -> Timestamp {
        self.batch_at.unwrap_or(Timestamp::MAX)
    }
}

impl Timed<Refill, AccountKey> for Account {
    fn due_at(&self) -> Timestamp {
        self.refill_at.unwrap_or(Timestamp::MAX)
    }
}

impl Timed<Shortage, AccountKey> for Account {
    fn due_at(&self) -> Timestamp {
        self.shortage_at.unwrap_or(Timestamp::MAX)
    }
}

/// The accounts of all jobs that hold slots or declare requirements.
#[derive(Debug)]
pub(crate) struct Ledger {
    is_on: bool,
    pub(crate) accounts: Arena<AccountKey, Account>,
    by_job: IdIndex<JobId, AccountKey>,
    /// The account found last. The next slot is often of the same job.
    recent: Option<AccountKey>,
    pub(crate) holdings: Arena<HoldingKey, Holding>,
    by_slot: PagedTable<SlotKey, Option<HoldingKey>>,
    batches: DeadlineList<Batch, AccountKey>,
    refills: DeadlineList<Refill, AccountKey>,
    shortages: DeadlineList<Shortage, AccountKey>,
    num_declaring: usize,
}

impl Ledger {
    pub(crate) fn new(hasher: &IdHasher) -> Self {
        Self {
            is_on: false,
            accounts: Arena::new(),
            by_job: IdIndex::with_hasher(hasher.clone()),
            recent: None,
            holdings: Arena::new(),
            by_slot: PagedTable::new(),
            batches: DeadlineList::default(),
            refills: DeadlineList::default(),
            shortages: DeadlineList::default(),
            num_declaring: 0,
        }
    }

    /// Returns `true` if a job has declared requirements since the start.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    pub(crate) fn turn_on(&mut self) {
        self.is_on = true;
    }

    pub(crate) fn clear(&mut self) {
        self.is_on = false;
        self.accounts.clear();
        self.by_job.clear();
        self.recent = None;
        self.holdings.clear();
        self.by_slot = PagedTable::new();
        self.batches = DeadlineList::default();
        self.refills = DeadlineList::default();
        self.shortages = DeadlineList::default();
        self.num_declaring = 0;
    }
}

/// Accounts.
impl Ledger {
    pub(crate) fn find(&self, job_id: JobId) -> Option<AccountKey> {
        match self.recent {
            Some(recent) if self.accounts[recent].job_id == job_id => Some(recent),
            _ => self.by_job.find(&self.accounts, &job_id),
        }
    }

    /// Returns the account of a job, which is opened if there is none.
    pub(crate) fn account_of(&mut self, job_id: JobId) -> AccountKey {
        let known = self.find(job_id);
        let account = known.unwrap_or_else(|| {
            let account = self.accounts.insert(Account::new(job_id));
            self.by_job.insert(&self.accounts, account);
            account
        });
        self.recent = Some(account);
        account
    }

    /// Closes an account of which nothing has to be remembered.
    pub(crate) fn close_if_unused(&mut self, account: AccountKey) {
        if !self.accounts[account].is_unused() || self.accounts[account].is_noted {
            return;
        }
        self.by_job.remove(&self.accounts, account);
        self.accounts.remove(account);
        if self.recent == Some(account) {
            self.recent = None;
        }
    }

    /// Returns `true` if a job declares requirements.
    #[inline]
    pub(crate) fn declares(&self, job_id: JobId) -> bool {
        self.num_declaring > 0 && self.is_declared(job_id)
    }

    fn is_declared(&self, job_id: JobId) -> bool {
        let account = self.find(job_id);
        account.is_some_and(|account| self.accounts[account].declared_by.is_some())
    }

    /// Returns the number of jobs that declare.
    pub(crate) fn num_declaring(&self) -> usize {
        self.num_declaring
    }

    /// Sets the target address of a declaration, or ends the declaration.
    pub(crate) fn set_declared_by(&mut self, account: AccountKey, target_address: Option<Arc<str>>) {
        let record = &mut self.accounts[account];
        self.num_declaring += usize::from(target_address.is_some());
        self.num_declaring -= usize::from(record.declared_by.is_some());
        record.declared_by = target_address;
    }
}

/// Held slots.
impl Ledger {
    /// Returns the holding of a slot; `None` if no job holds it.
    pub(crate) fn holding(&self, slot: SlotKey) -> Option<HoldingKey> {
        *self.by_slot.get(slot)?
    }

    /// Notes that a job holds a slot, charged to a declared profile or in excess.
    pub(crate) fn hold(&mut self, slot: SlotKey, account: AccountKey, charged_to: Option<ProfileKey>) {
        let holding = self.holdings.insert(Holding {
            slot,
            account,
            charged_to: None,
            links: Links::NONE,
        });
        *self.by_slot.occupy(slot) = Some(holding);
        self.accounts[account].num_held += 1;
        self.link(holding, charged_to);
    }

    /// Notes that no job holds a slot any more. Returns its account and its charge, if one held it.
    pub(crate) fn release(&mut self, slot: SlotKey) -> Option<(AccountKey, Option<ProfileKey>)> {
        let holding = self.by_slot.get_mut(slot)?.take()?;
        self.by_slot.vacate(slot);
        let charged_to = self.unlink(holding);
        let account = self.holdings.remove(holding).account;
        self.accounts[account].num_held -= 1;
        Some((account, charged_to))
    }

    /// Charges a held slot to another declared profile, or to none.
    pub(crate) fn charge(&mut self, holding: HoldingKey, charged_to: Option<ProfileKey>) {
        self.unlink(holding);
        self.link(holding, charged_to);
    }

    fn link(&mut self, holding: HoldingKey, charged_to: Option<ProfileKey>) {
        let Self { accounts, holdings, .. } = self;
        let account = &mut accounts[holdings[holding].account];
        let requirement = charged_to.and_then(|profile| account.requirement(profile));
        holdings[holding].charged_to = requirement.as_ref().map(|requirement| requirement.profile);
        match requirement {
            Some(requirement) => {
                requirement.charged += 1;
                requirement.holdings.push_back(holdings, holding);
            }
            None => {
                account.num_excess += 1;
                account.excess.push_back(holdings, holding);
            }
        }
    }

    fn unlink(&mut self, holding: HoldingKey) -> Option<ProfileKey> {
        let Self { accounts, holdings, .. } = self;
        let Holding {
            account, charged_to, ..
        } = holdings[holding];
        let account = &mut accounts[account];
        match charged_to.and_then(|profile| account.requirement(profile)) {
            Some(requirement) => {
                requirement.charged -= 1;
                requirement.holdings.remove(holdings, holding);
            }
            None => {
                account.num_excess -= 1;
                account.excess.remove(holdings, holding);
            }
        }
        charged_to
    }

    /// Returns the slots in excess, in the order in which they became so.
    pub(crate) fn excess_of(&self, account: AccountKey) -> impl Iterator<Item = HoldingKey> {
        self.accounts[account].excess.iter(&self.holdings)
    }

    /// Returns the slots that are charged to a requirement, the last charged first.
    pub(crate) fn charged_to<'a>(&'a self, requirement: &Requirement) -> impl Iterator<Item = HoldingKey> + 'a {
        let last = requirement.holdings.tail();
        std::iter::successors(last, |holding| {
            List::<ChargedAlike, _>::before(&self.holdings, *holding)
        })
    }
}

/// Deadlines.
impl Ledger {
    /// Returns the earliest deadline of all accounts; `MAX` if none is armed.
    #[inline]
    pub(crate) fn earliest(&self) -> Timestamp {
        let others = self.refills.earliest().min(self.shortages.earliest());
        self.batches.earliest().min(others)
    }

    /// Disarms the deadline that falls due first, and returns it.
    pub(crate) fn take_first_due(&mut self) -> Option<(AccountTimer, AccountKey)> {
        let earliest = self.earliest();
        let (timer, account) = if self.batches.earliest() == earliest {
            (AccountTimer::Batch, self.batches.head()?)
        } else if self.refills.earliest() == earliest {
            (AccountTimer::Refill, self.refills.head()?)
        } else {
            (AccountTimer::Shortage, self.shortages.head()?)
        };
        self.disarm(timer, account);
        Some((timer, account))
    }

    pub(crate) fn is_armed(&self, timer: AccountTimer, account: AccountKey) -> bool {
        let account = &self.accounts[account];
        match timer {
            AccountTimer::Batch => account.batch_at.is_some(),
            AccountTimer::Refill => account.refill_at.is_some(),
            AccountTimer::Shortage => account.shortage_at.is_some(),
        }
    }

    /// Arms a deadline that is not armed.
    pub(crate) fn arm(&mut self, timer: AccountTimer, account: AccountKey, at: Timestamp) {
        let accounts = &mut self.accounts;
        match timer {
            AccountTimer::Batch => {
                accounts[account].batch_at = Some(at);
                self.batches.arm(accounts, account);
            }
            AccountTimer::Refill => {
                accounts[account].refill_at = Some(at);
                self.refills.arm(accounts, account);
            }
            AccountTimer::Shortage => {
                accounts[account].shortage_at = Some(at);
                self.shortages.arm(accounts, account);
            }
        }
    }

    /// Disarms a deadline, if it is armed.
    pub(crate) fn disarm(&mut self, timer: AccountTimer, account: AccountKey) {
        if !self.is_armed(timer, account) {
            return;
        }
        let accounts = &mut self.accounts;
        match timer {
            AccountTimer::Batch => {
                self.batches.disarm(accounts, account);
                accounts[account].batch_at = None;
            }
            AccountTimer::Refill => {
                self.refills.disarm(accounts, account);
                accounts[account].refill_at = None;
            }
            AccountTimer::Shortage => {
                self.shortages.disarm(accounts, account);
                accounts[account].shortage_at = None;
            }
        }
    }

    /// Returns `true` if the deadlines are in order; for the check of invariants.
    pub(crate) fn are_deadlines_in_order(&self) -> bool {
        self.batches.is_in_order(&self.accounts)
            && self.refills.is_in_order(&self.accounts)
            && self.shortages.is_in_order(&self.accounts)
    }
}

/// Returns the place of the requirement that a held slot is charged to: one of an equal profile with
/// a need, else the fitting one that it wastes least on. `None`: the slot is excess.
pub(crate) fn requirement_for<'a>(
    slot: &ResourceProfile,
    needs: impl Iterator<Item = (&'a ResourceProfile, u32)> + Clone,
) -> Option<usize> {
    let open = needs.enumerate().filter(|(_, (_, need))| *need > 0);
    let equal = open.clone().find(|(_, (profile, _))| *profile == slot);
    let found = equal.or_else(|| {
        let fitting = open.filter(|(_, (profile, _))| slot.is_matching(profile));
        // The first of several minima.
        fitting.min_by_key(|(_, (profile, _))| slot.waste(profile))
    });
    found.map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Returns the least distance of two of the first multiples of a number, modulo 2^128.
    ///
    /// The distances that get smaller from multiple to multiple are the remainders of Euclid's
    /// algorithm.
    fn least_distance(step: u128, multiples: u128) -> u128 {
        // Two of the first n multiples differ by one of the first n - 1.
        let (mut small, mut large) = ((step, 1_u128), (step.wrapping_neg(), 1_u128));
        if small.0 > large.0 {
            std::mem::swap(&mut small, &mut large);
        }
        let mut least = small.0;
        loop {
            // Both lie on different sides of zero. Their sum is the next that may be nearer.
            let times = (large.0 - 1) / small.0;
            let fitting = (multiples - large.1) / small.1;
            let times = times.min(fitting);
            if times == 0 {
                return least;
            }
            large = (large.0 - times * small.0, large.1 + times * small.1);
            least = least.min(large.0);
            std::mem::swap(&mut small, &mut large);
        }
    }

    #[test]
    fn units_of_neighbouring_leaders_are_far_apart() {
        assert_eq!(least_distance(1 << 100, 1 << 20), 1 << 100);
        assert!(least_distance(UNIT_ID_DISTANCE, 1 << 64) > 1 << 32);
    }

    #[test]
    fn units_of_two_leaders_have_different_ids() {
        let numbers = 1..=100_000;
        let ids_of = |leader| {
            numbers
                .clone()
                .map(move |number| unit_id(LeaderId::from_u128(leader), number))
        };
        let ids: BTreeSet<_> = ids_of(1).chain(ids_of(2)).collect();
        assert_eq!(ids.len(), 200_000);
    }
}
