//! Slot reports. Each is one transaction, validated before anything changes.

use crate::error::InvalidReport;
use crate::message::{Allocation, GrantLoss};
use crate::outcome::{ReportOutcome, Stale};
use crate::{AllocationId, ResourceId, ResourceProfile, SlotReport, SlotStatus};

use crate::slot_manager::rules::requirements::EndOfHolding;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::slot_totals::SlotUsage;
use crate::slot_manager::state::slots::{Slot, SlotKey, SlotPhase};
use crate::slot_manager::state::task_managers::TaskManagerKey;

impl Core {
    /// Applies the report of a registered task manager, unless it is stale.
    ///
    /// `is_unchanged` is `true` only if [`is_unchanged_by`](Self::is_unchanged_by) has said so.
    pub(crate) fn report(
        &mut self,
        task_manager: TaskManagerKey,
        report: &SlotReport,
        is_unchanged: bool,
    ) -> Result<ReportOutcome, InvalidReport> {
        if report.dynamic().is_some() != self.is_dynamic(task_manager) {
            return Err(self.refuse_change_of_kind(task_manager));
        }
        let changes_nothing = match report.dynamic() {
            None => is_unchanged,
            Some(resources) => self.is_unchanged_by_dynamic(task_manager, report, resources),
        };
        if !changes_nothing {
            let resource_id = self.task_managers.records[task_manager].resource_id.clone();
            self.validate(&resource_id, report)?;
        }
        let record = &self.task_managers.records[task_manager];
        if let (Some(revision), Some(highest_seen)) = (report.revision(), record.highest_revision()) {
            if revision < highest_seen {
                tracing::debug!(resource_id = %record.resource_id, revision, highest_seen, "stale slot report ignored");
                self.counters.reports_stale += 1;
                return Ok(ReportOutcome::Ignored(Stale { revision, highest_seen }));
            }
        }
        let is_newer = report.revision() > record.highest_revision();
        self.note_revision(task_manager, report);
        // The fast path may miss that a report changes nothing.
        let differs = !changes_nothing && self.differs(task_manager, report);
        self.changes += u64::from(is_newer || differs);
        if differs {
            self.apply(task_manager, report, &[]);
        }
        Ok(ReportOutcome::Applied)
    }

    /// Refuses the report of a worker that was static and is dynamic, or the reverse.
    #[cold]
    fn refuse_change_of_kind(&mut self, task_manager: TaskManagerKey) -> InvalidReport {
        self.counters.reports_refused += 1;
        let resource_id = self.task_managers.records[task_manager].resource_id.clone();
        tracing::warn!(%resource_id, "slot report refused: the worker changed between static and dynamic");
        InvalidReport::KindChanged { resource_id }
    }

    /// Returns `true` if a valid report, in any order, differs from the view.
    fn differs(&self, task_manager: TaskManagerKey, report: &SlotReport) -> bool {
        if let Some(resources) = report.dynamic() {
            return self.differs_from_dynamic(task_manager, report, resources);
        }
        let known = self.task_managers.records[task_manager].slots.len();
        let is_unchanged = |status: &SlotStatus| {
            let slot = self.reported_slot(task_manager, status).map(|slot| &self.slots[slot]);
            slot.is_some_and(|slot| {
                slot.phase.is_unchanged_by(status.allocation_ref())
                    && self.profiles[slot.profile] == *status.resource_profile()
            })
        };
        known != report.statuses().len() || !report.statuses().iter().all(is_unchanged)
    }

    /// Validates a report and counts it if it is refused.
    pub(crate) fn validate(&mut self, resource_id: &ResourceId, report: &SlotReport) -> Result<(), InvalidReport> {
        validate(resource_id, report).inspect_err(|_| self.counters.reports_refused += 1)
    }

    /// Notes the revision of a report that is applied.
    pub(crate) fn note_revision(&mut self, task_manager: TaskManagerKey, report: &SlotReport) {
        if let Some(revision) = report.revision() {
            self.task_managers.records[task_manager].see_reported_revision(revision);
        }
    }

    /// Brings the view of a task manager to a valid report. The commit follows.
    ///
    /// `previous_slots` are the sorted numbers of slots known in the registration before: they
    /// fulfil no promise.
    pub(crate) fn apply(&mut self, task_manager: TaskManagerKey, report: &SlotReport, previous_slots: &[u32]) {
        if let Some(resources) = report.dynamic() {
            return self.apply_dynamic(task_manager, report, resources);
        }
        let known_before = self.task_managers.records[task_manager].slots.len();
        let mut new = Vec::new();
        let mut changed = false;
        if known_before == 0 {
            new.extend(report.statuses());
        } else {
            for status in report.statuses() {
                match self.reported_slot(task_manager, status) {
                    Some(slot) => changed |= self.drop_contradicted(slot, status),
                    None => new.push(status),
                }
            }
        }
        let omits = report.statuses().len() - new.len() < known_before;
        if omits {
            self.remove_omitted(task_manager, report);
        }
        if !changed && !omits && new.is_empty() {
            return;
        }
        self.insert_slots(task_manager, &new);
        if !self.releases.is_empty() {
            let slots = self.task_managers.records[task_manager].slots.len();
            self.releases.update_slots(task_manager, slots);
        }
        self.adopt_reported(task_manager, report);
        if self.promises.is_empty() || new.is_empty() {
            return;
        }
        self.transaction.has_newcomer |= known_before == 0 && previous_slots.is_empty();
        let is_known = |status: &SlotStatus| previous_slots.binary_search(&status.number()).is_ok();
        let new_free = (new.into_iter()).filter(|status| status.allocation().is_none() && !is_known(status));
        let new_free: Vec<_> = new_free
            .filter_map(|status| self.reported_slot(task_manager, status))
            .collect();
        self.fulfil_promises(task_manager, new_free);
    }

    /// Adopts the reported holders of slots that hold something else or nothing. Slots without a
    /// holder become free.
    pub(crate) fn adopt_reported(&mut self, task_manager: TaskManagerKey, report: &SlotReport) {
        for status in report.statuses() {
            if let Some(allocation) = status.allocation() {
                if let Some(slot) = self.reported_slot(task_manager, status) {
                    if self.slots[slot].allocation() != Some(allocation) {
                        self.note_if_taken_back(slot, allocation.id);
                        self.adopt(slot, allocation);
                    }
                }
            }
        }
        let owner = &self.task_managers.records[task_manager];
        let reported = (report.statuses().iter()).filter_map(|status| owner.slot(status.number()));
        let is_detached = |slot: &SlotKey| matches!(self.slots[*slot].phase, SlotPhase::Detached);
        self.transaction.free.extend(reported.filter(is_detached));
    }

    /// Counts a slot that a report gives back to the allocation for which it was freed just before.
    fn note_if_taken_back(&mut self, slot: SlotKey, allocation_id: AllocationId) {
        if self.recent_frees.take(slot, allocation_id) {
            self.counters.frees_taken_back += 1;
            tracing::warn!(
                slot_id = %self.slot_id(slot), %allocation_id,
                "report takes back a slot that was just freed: it is older, and reports or frees lack revisions"
            );
        }
    }

    pub(crate) fn reported_slot(&self, task_manager: TaskManagerKey, status: &SlotStatus) -> Option<SlotKey> {
        self.task_managers.records[task_manager].slot(status.number())
    }

    /// Ends the grant or attempt that a status contradicts, and completes the attempt that it
    /// confirms.
    ///
    /// Returns `true` if the slot must be adopted or offered again.
    pub(crate) fn drop_contradicted(&mut self, slot: SlotKey, status: &SlotStatus) -> bool {
        let mut changed = self.update_profile(slot, status);
        match (&self.slots[slot].phase, status.allocation()) {
            (SlotPhase::Allocated { secondary, .. }, Some(reported))
                if self.slots[slot].allocation() == Some(reported) =>
            {
                if *secondary {
                    self.transaction.secondaries.push(slot);
                }
            }
            (SlotPhase::Allocated { .. }, Some(Allocation { id, job })) => {
                // The slot stays used: its new holder is adopted below.
                let loss = self.note_loss(
                    self.slots[slot].task_manager,
                    GrantLoss::HeldByAnother {
                        allocation_id: id,
                        job_id: job,
                    },
                );
                self.drop_grant(slot, loss, EndOfHolding::Lost);
                changed = true;
            }
            (SlotPhase::Allocated { .. }, None) => {
                self.drop_grant_and_detach(slot, GrantLoss::ReportedFree);
                changed = true;
            }
            (SlotPhase::InFlight(attempt), Some(reported)) => {
                let attempt = *attempt;
                let request = &self.requests.records[attempt.request];
                if request.allocation() == reported {
                    // Before the other slots of the report: if they hold the allocation too, this
                    // one is its grant.
                    self.complete_attempt(slot, attempt);
                } else {
                    // Another allocation holds the slot.
                    self.give_up_attempt(slot, attempt);
                    self.transaction.detached.push(attempt.request);
                    self.note_probe(self.slots[slot].task_manager);
                    changed = true;
                }
            }
            // The report may be older than the request, so the attempt goes on.
            (SlotPhase::InFlight(_), None) => {}
            (_, Some(_)) => changed = true,
            (_, None) => {}
        }
        changed
    }

    /// Updates the profile of a slot. Returns `true` if the slot was offered and must be offered
    /// again.
    fn update_profile(&mut self, slot: SlotKey, status: &SlotStatus) -> bool {
        let before = self.slots[slot].profile;
        if self.profiles[before] == *status.resource_profile() {
            return false;
        }
        let offered = matches!(
            self.slots[slot].phase,
            SlotPhase::Offered { .. } | SlotPhase::WorkerBackoff
        );
        if offered {
            self.detach_slot(slot);
        } else if let SlotPhase::BackingOff { .. } = self.slots[slot].phase {
            // It may fit another request that it admits.
            self.transaction.free.push(slot);
        }
        let after = self.profiles.acquire(status.resource_profile(), 1);
        let used = SlotUsage::of(&self.slots[slot].phase);
        self.slots[slot].profile = after;
        let is_cut = self.is_cut(slot);
        match is_cut {
            true => self.slot_totals.add_cut(&self.profiles, after),
            false => self.slot_totals.add_slots(&self.profiles, after, 1),
        }
        self.slot_totals.move_slot(after, SlotUsage::Free, used);
        self.slot_totals.move_slot(before, used, SlotUsage::Free);
        match is_cut {
            true => self.slot_totals.remove_cuts(before, SlotUsage::Free, 1),
            false => self.slot_totals.remove_slots(before, SlotUsage::Free, 1),
        }
        self.profiles.release(before, 1);
        if self.ledger.is_on() {
            self.note_holder(slot);
        }
        offered
    }

    /// Removes the slots that a report does not mention.
    fn remove_omitted(&mut self, task_manager: TaskManagerKey, report: &SlotReport) {
        let mut mentioned: Vec<u32> = report.statuses().iter().map(SlotStatus::number).collect();
        mentioned.sort_unstable();
        let slots = &mut self.task_managers.records[task_manager].slots;
        let omitted = slots.split_off(|number, _| mentioned.binary_search(&number).is_ok());
        let loss = self.note_loss(task_manager, GrantLoss::SlotRemoved);
        let resource_id = &self.task_managers.records[task_manager].resource_id;
        for (number, _) in &omitted {
            tracing::warn!(%resource_id, slot_number = number, "slot is not reported any more");
        }
        self.remove_slots(task_manager, &omitted, loss);
    }

    /// Forgets free slots that this report has removed: a new slot may get the key of one.
    pub(crate) fn forget_removed_slots(&mut self) {
        if !self.transaction.free.is_empty() {
            let slots = &self.slots;
            self.transaction.free.retain(|slot| slots.get(*slot).is_some());
        }
    }

    /// Adds new slots, detached.
    fn insert_slots(&mut self, task_manager: TaskManagerKey, new: &[&SlotStatus]) {
        self.forget_removed_slots();
        let mut slots = std::mem::take(&mut self.task_managers.records[task_manager].slots).into_vec();
        slots.reserve_exact(new.len());
        // Most task managers have slots of one profile: they are counted together.
        for alike in new.chunk_by(|a, b| a.resource_profile() == b.resource_profile()) {
            let profile = self.profiles.acquire(alike[0].resource_profile(), alike.len());
            self.count_new_slots(task_manager, profile, alike.len());
            for status in alike {
                let number = status.number();
                // A constant, then its fields: a record made elsewhere would be copied in pieces.
                let slot = self.slots.insert(Slot::BLANK);
                let record = &mut self.slots[slot];
                record.number = number;
                record.task_manager = task_manager;
                record.profile = profile;
                slots.push((number, slot));
            }
        }
        if !slots.is_sorted() {
            slots.sort_unstable();
        }
        self.task_managers.records[task_manager].slots = slots.into();
        // New slots lower the utilization.
        self.free_slots
            .reorder(&self.slots, &self.task_managers.records, task_manager);
    }
}

/// Checks that a report names only slots of its worker and of its kind, and each once.
fn validate(resource_id: &ResourceId, report: &SlotReport) -> Result<(), InvalidReport> {
    let result = validate_resources(resource_id, report)
        .and_then(|()| (report.statuses().iter()).try_for_each(|status| validate_status(resource_id, report, status)))
        .and_then(|()| validate_numbers(report.statuses()));
    result.inspect_err(|error| tracing::warn!(%resource_id, %error, "slot report refused"))
}

fn validate_resources(resource_id: &ResourceId, report: &SlotReport) -> Result<(), InvalidReport> {
    match report.dynamic() {
        Some(resources) if *resources.total() == ResourceProfile::UNKNOWN => Err(InvalidReport::UnknownTotal {
            resource_id: resource_id.clone(),
        }),
        _ => Ok(()),
    }
}

fn validate_status(resource_id: &ResourceId, report: &SlotReport, status: &SlotStatus) -> Result<(), InvalidReport> {
    let slot_id = status.slot_id();
    let is_dynamic = report.dynamic().is_some();
    if slot_id.resource_id() != resource_id {
        return Err(InvalidReport::ForeignSlot {
            resource_id: resource_id.clone(),
            slot_id: slot_id.clone(),
        });
    }
    if slot_id.is_dynamic() != is_dynamic {
        return Err(InvalidReport::MixedSlots {
            slot_id: slot_id.clone(),
        });
    }
    match status.allocation_ref() {
        None if is_dynamic => Err(InvalidReport::FreeDynamicSlot {
            slot_id: slot_id.clone(),
        }),
        _ => Ok(()),
    }
}

fn validate_numbers(statuses: &[SlotStatus]) -> Result<(), InvalidReport> {
    if statuses.is_sorted_by(|a, b| a.number() < b.number()) {
        return Ok(());
    }
    let mut sorted: Vec<&SlotStatus> = statuses.iter().collect();
    sorted.sort_by_key(|status| status.number());
    let twice = |pair: &[&SlotStatus]| match pair {
        [first, second] if first.number() == second.number() => Some(first.slot_id().clone()),
        _ => None,
    };
    match sorted.windows(2).find_map(twice) {
        Some(slot_id) => Err(InvalidReport::DuplicateSlot { slot_id }),
        None => Ok(()),
    }
}
