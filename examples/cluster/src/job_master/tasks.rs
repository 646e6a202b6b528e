//! The tasks of a job and the slots that they need: data and transitions, without clock or network.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use slot_manager::AllocationId;
use tokio::time::Instant;

/// The parallelism of a job that declares its slots, in quarters of the largest one. It changes with
/// each quarter of the tasks that is finished.
const SCHEDULE: [usize; 4] = [2, 4, 1, 4];

/// The tasks of a job, and the allocations of its slots.
///
/// A task waits, runs in one slot, is done or has failed. An allocation is here from its request
/// until its slot ends. If the job declares its slots, it is here from the offer of its slot. A slot
/// without a task is released at once.
#[derive(Debug)]
pub struct Tasks {
    count: u64,
    /// The tasks that wait for a slot, in the order in which they run.
    waiting: VecDeque<u64>,
    /// How often a task has failed, if it has.
    failures: BTreeMap<u64, u32>,
    slots: BTreeMap<AllocationId, Slot>,
    parallelism: usize,
    /// The most runs of a task that fails.
    attempts: u32,
    /// Whether a slot runs one task after the other.
    reuses_slots: bool,
    /// Whether the job declares the slots that it needs in all.
    declares: bool,
    done: u64,
    failed: u64,
}

/// The state of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Requested,
    /// Granted at this time, but the slot is not offered yet.
    Granted(Instant),
    /// The slot was offered. It runs this task, if any.
    Held(Option<u64>),
    /// The slot has run its only task. The job releases it next.
    Used,
    /// The slot is held without use, so that the job is granted another one.
    Kept,
}

/// A slot that was offered is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OfferRefused {
    #[error("the job does not want this allocation")]
    NotWanted,
    #[error("another slot holds this allocation")]
    Held,
}

/// What the end of a task's process means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEnd {
    Done,
    /// The task failed and waits to be run again.
    Again,
    /// The task failed too often.
    Failed,
}

/// How an allocation came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotEnd {
    Requested,
    Granted,
    /// The slot was held. Its task, if any, waits to be run again.
    Held {
        task: Option<u64>,
    },
}

impl Tasks {
    /// Creates tasks that are numbered from 0 and wait. At most `parallelism` run at a time.
    pub fn new(count: u64, parallelism: usize, attempts: u32) -> Self {
        Self {
            count,
            waiting: (0..count).collect(),
            failures: BTreeMap::new(),
            slots: BTreeMap::new(),
            parallelism,
            attempts,
            reuses_slots: true,
            declares: false,
            done: 0,
            failed: 0,
        }
    }

    /// Takes a new slot for each task.
    pub fn with_slot_per_task(mut self, is_so: bool) -> Self {
        self.reuses_slots = !is_so;
        self
    }

    /// Declares slots instead of requesting them. The parallelism then follows the schedule, and
    /// the slots are those that are offered.
    pub fn with_declarations(mut self, is_so: bool) -> Self {
        self.declares = is_so;
        self
    }

    /// Returns `true` if the job declares the slots that it needs in all.
    pub fn declares(&self) -> bool {
        self.declares
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn done(&self) -> u64 {
        self.done
    }

    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Returns `true` if no task waits or runs.
    pub fn is_finished(&self) -> bool {
        self.left() == 0
    }

    fn left(&self) -> u64 {
        self.count - self.done - self.failed
    }

    fn wanted(&self) -> usize {
        let most = self.most_at_a_time();
        usize::try_from(self.left()).map_or(most, |left| left.min(most))
    }

    /// Returns the most tasks that run at a time by now.
    fn most_at_a_time(&self) -> usize {
        if !self.declares {
            return self.parallelism;
        }
        let finished = (self.done + self.failed) as usize;
        let step = finished * SCHEDULE.len() / (self.count as usize).max(1);
        let share = SCHEDULE[step.min(SCHEDULE.len() - 1)];
        (self.parallelism * share).div_ceil(SCHEDULE.len())
    }

    /// Returns the number of slots to declare: those wanted, and those that are kept.
    pub fn required(&self) -> usize {
        self.wanted() + self.kept().count()
    }

    /// Returns the number of slots to request: those wanted, without those held or requested.
    pub fn missing(&self) -> usize {
        self.wanted().saturating_sub(self.useful())
    }

    /// Returns the number of allocations without those of slots that are kept.
    fn useful(&self) -> usize {
        self.slots.values().filter(|slot| **slot != Slot::Kept).count()
    }

    /// Removes the allocations that are not wanted any more, those without a grant first.
    #[must_use = "the resource manager must learn that they are not wanted"]
    pub fn take_surplus(&mut self) -> Vec<AllocationId> {
        let count = self.useful().saturating_sub(self.wanted());
        let requested = self.slots.iter().filter(|(_, slot)| matches!(slot, Slot::Requested));
        let granted = self.slots.iter().filter(|(_, slot)| matches!(slot, Slot::Granted(_)));
        let surplus = requested.chain(granted).map(|(id, _)| *id).take(count);
        let surplus = surplus.collect();
        self.take(surplus)
    }

    /// Adds an allocation that is requested now.
    pub fn request(&mut self, id: AllocationId) {
        self.slots.entry(id).or_insert(Slot::Requested);
    }

    /// Returns the requests without a grant. Each new leader must hear them.
    pub fn open_requests(&self) -> impl Iterator<Item = AllocationId> {
        let open = self.slots.iter().filter(|(_, slot)| matches!(slot, Slot::Requested));
        open.map(|(id, _)| *id)
    }

    /// Returns the allocations that were granted.
    pub fn grants(&self) -> impl Iterator<Item = AllocationId> {
        let granted = self.slots.iter().filter(|(_, slot)| !matches!(slot, Slot::Requested));
        granted.map(|(id, _)| *id)
    }

    /// Notes a grant. Returns `true` if it is news.
    pub fn grant(&mut self, id: AllocationId, now: Instant) -> bool {
        let Some(slot @ Slot::Requested) = self.slots.get_mut(&id) else {
            return false;
        };
        *slot = Slot::Granted(now);
        true
    }

    /// Removes the grants of which the slot was not offered since this time. The worker has freed
    /// such a slot, and no message tells the job.
    #[must_use = "the resource manager must learn that they are not wanted"]
    pub fn take_overdue(&mut self, granted_until: Instant) -> Vec<AllocationId> {
        let is_overdue = |slot: &Slot| matches!(slot, Slot::Granted(at) if *at <= granted_until);
        let overdue = self.slots.iter().filter(|(_, slot)| is_overdue(slot));
        let overdue = overdue.map(|(id, _)| *id).collect();
        self.take(overdue)
    }

    /// Accepts the slot that is offered for an allocation. Returns `true` if the grant is news. If the
    /// job declares its slots, it wants any that is offered while some are missing.
    ///
    /// # Errors
    /// The allocation is not wanted, or another slot holds it. Nothing changes.
    pub fn hold(&mut self, id: AllocationId) -> Result<bool, OfferRefused> {
        let wants_any = self.declares && self.missing() > 0;
        let slot = match self.slots.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) if wants_any => unknown.insert(Slot::Requested),
            Entry::Vacant(_) => return Err(OfferRefused::NotWanted),
        };
        if let Slot::Held(_) | Slot::Used | Slot::Kept = slot {
            return Err(OfferRefused::Held);
        }
        let is_news = *slot == Slot::Requested;
        *slot = Slot::Held(None);
        Ok(is_news)
    }

    /// Starts the next task in a slot that is held and idle. Returns `None`, and removes the
    /// allocation, if no task waits, the slot is used or the job holds too many: release the slot.
    pub fn next(&mut self, id: AllocationId) -> Option<u64> {
        let held = self.slots.values().filter(|slot| matches!(slot, Slot::Held(_)));
        let holds_too_many = held.count() > self.wanted();
        let slot = self.slots.get_mut(&id)?;
        let next = match slot {
            Slot::Held(None) if !holds_too_many => self.waiting.pop_front(),
            Slot::Held(None) | Slot::Used => None,
            Slot::Requested | Slot::Granted(_) | Slot::Held(Some(_)) | Slot::Kept => return None,
        };
        match next {
            Some(number) => *slot = Slot::Held(Some(number)),
            None => _ = self.slots.remove(&id),
        }
        next
    }

    /// Notes the end of a task in a slot. Returns `None` if the slot does not run the task: nothing
    /// changes.
    pub fn end(&mut self, id: AllocationId, number: u64, succeeded: bool) -> Option<TaskEnd> {
        let slot = self.slots.get_mut(&id)?;
        if *slot != Slot::Held(Some(number)) {
            return None;
        }
        *slot = match self.reuses_slots {
            true => Slot::Held(None),
            false => Slot::Used,
        };
        if succeeded {
            self.done += 1;
            return Some(TaskEnd::Done);
        }
        let failures = self.failures.entry(number).or_default();
        *failures += 1;
        if *failures < self.attempts {
            self.waiting.push_back(number);
            Some(TaskEnd::Again)
        } else {
            self.failed += 1;
            Some(TaskEnd::Failed)
        }
    }

    /// Keeps a slot that is held and idle from its use. It does not count as one of those wanted.
    pub fn keep(&mut self, id: AllocationId) {
        if let Some(slot @ (Slot::Held(None) | Slot::Used)) = self.slots.get_mut(&id) {
            *slot = Slot::Kept;
        }
    }

    /// Returns the slots that are kept.
    pub fn kept(&self) -> impl Iterator<Item = AllocationId> {
        let kept = self.slots.iter().filter(|(_, slot)| **slot == Slot::Kept);
        kept.map(|(id, _)| *id)
    }

    /// Returns `true` if an allocation has no slot yet.
    pub fn awaits_slots(&self) -> bool {
        let mut slots = self.slots.values();
        slots.any(|slot| matches!(slot, Slot::Requested | Slot::Granted(_)))
    }

    /// Returns `true` if a task is done or runs.
    pub fn has_started_any(&self) -> bool {
        self.done > 0 || self.slots.values().any(|slot| matches!(slot, Slot::Held(Some(_))))
    }

    /// Removes an allocation of which the request failed or the slot is lost. Its task waits again,
    /// ahead of the others: it has waited before.
    ///
    /// Returns `None` if the allocation is not known.
    pub fn remove(&mut self, id: AllocationId) -> Option<SlotEnd> {
        Some(match self.slots.remove(&id)? {
            Slot::Requested => SlotEnd::Requested,
            Slot::Granted(_) => SlotEnd::Granted,
            Slot::Held(task) => {
                if let Some(number) = task {
                    self.waiting.push_front(number);
                }
                SlotEnd::Held { task }
            }
            Slot::Used | Slot::Kept => SlotEnd::Held { task: None },
        })
    }

    /// Returns `true` if the allocation is requested, granted or held.
    pub fn is_known(&self, id: AllocationId) -> bool {
        self.slots.contains_key(&id)
    }

    /// Returns `true` if a slot is held for the allocation.
    pub fn is_held(&self, id: AllocationId) -> bool {
        matches!(self.slots.get(&id), Some(Slot::Held(_) | Slot::Used | Slot::Kept))
    }

    fn take(&mut self, ids: Vec<AllocationId>) -> Vec<AllocationId> {
        for id in &ids {
            self.slots.remove(id);
        }
        ids
    }
}

#[cfg(test)]
mod tests;
