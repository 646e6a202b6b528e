//! Idle task managers that are not released yet: kept task managers and open release checks.

use std::collections::{BTreeMap, BTreeSet};

use crate::Timestamp;

use crate::slot_manager::collections::arena::{Arena, key};
use crate::slot_manager::collections::deadline_list::{DeadlineList, Timed};
use crate::slot_manager::collections::linked_list::{Links, linked};
use crate::slot_manager::state::task_managers::TaskManagerKey;

key! {
    /// An open release check.
    CheckKey
}

/// A release check whose task executor has not answered.
#[derive(Debug)]
pub(crate) struct OpenCheck {
    pub(crate) task_manager: TaskManagerKey,
    pub(crate) number: u64,
    slots: usize,
    /// The time at which the missing answer counts as `Keep`.
    until: Timestamp,
    links: Links<CheckKey>,
}

impl OpenCheck {
    /// Returns the number of slots of the task manager.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }
}

/// The kind of the list of open checks.
#[derive(Debug)]
pub(crate) enum Open {}

linked!(OpenCheck, CheckKey, Open => links);

impl Timed<Open, CheckKey> for OpenCheck {
    fn due_at(&self) -> Timestamp {
        self.until
    }
}

/// The place of a kept task manager in the order of release: its number of slots, then the order in
/// which they were kept.
type Place = (usize, u64);

/// Kept task managers and open release checks. No task manager is both.
#[derive(Debug)]
pub(crate) struct Releases {
    kept: BTreeSet<(Place, TaskManagerKey)>,
    places: BTreeMap<TaskManagerKey, Place>,
    next_place: u64,
    checks: Arena<CheckKey, OpenCheck>,
    pub(crate) deadlines: DeadlineList<Open, CheckKey>,
    open: BTreeMap<TaskManagerKey, CheckKey>,
    /// The number of slots of the task managers with an open check.
    checked_slots: usize,
    /// The number of the last check; not reset by a new leadership.
    last_check: u64,
}

impl Releases {
    pub(crate) fn new() -> Self {
        Self {
            kept: BTreeSet::new(),
            places: BTreeMap::new(),
            next_place: 0,
            checks: Arena::new(),
            deadlines: DeadlineList::default(),
            open: BTreeMap::new(),
            checked_slots: 0,
            last_check: 0,
        }
    }

    /// Keeps a task manager, unless it is kept already.
    pub(crate) fn keep(&mut self, task_manager: TaskManagerKey, slots: usize) {
        if !self.is_kept(task_manager) {
            self.next_place += 1;
            self.put(task_manager, (slots, self.next_place));
        }
    }

    /// Updates the number of slots of a task manager.
    pub(crate) fn update_slots(&mut self, task_manager: TaskManagerKey, slots: usize) {
        if let Some((_, order)) = self.take(task_manager) {
            self.put(task_manager, (slots, order));
        }
        if let Some(check) = self.open.get(&task_manager) {
            let counted = &mut self.checks[*check].slots;
            self.checked_slots = self.checked_slots - *counted + slots;
            *counted = slots;
        }
    }

    fn put(&mut self, task_manager: TaskManagerKey, place: Place) {
        self.kept.insert((place, task_manager));
        self.places.insert(task_manager, place);
    }

    fn take(&mut self, task_manager: TaskManagerKey) -> Option<Place> {
        let place = self.places.remove(&task_manager)?;
        self.kept.remove(&(place, task_manager));
        Some(place)
    }

    /// Stops keeping a task manager.
    pub(crate) fn let_go(&mut self, task_manager: TaskManagerKey) {
        self.take(task_manager);
    }

    /// Returns the kept task manager that is released first.
    pub(crate) fn first_kept(&self) -> Option<TaskManagerKey> {
        let (_, task_manager) = self.kept.first()?;
        Some(*task_manager)
    }

    /// Returns all kept task managers in the order of their release.
    pub(crate) fn kept(&self) -> impl Iterator<Item = TaskManagerKey> {
        self.kept.iter().map(|(_, task_manager)| *task_manager)
    }

    pub(crate) fn is_kept(&self, task_manager: TaskManagerKey) -> bool {
        self.places.contains_key(&task_manager)
    }

    /// Returns the number of the next check.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.last_check += 1;
        self.last_check
    }

    /// Opens a check whose answer comes later, and arms its deadline.
    pub(crate) fn open(&mut self, task_manager: TaskManagerKey, slots: usize, number: u64, until: Timestamp) {
        self.checked_slots += slots;
        let check = self.checks.insert(OpenCheck {
            task_manager,
            number,
            slots,
            until,
            links: Links::default(),
        });
        self.open.insert(task_manager, check);
        self.deadlines.arm(&mut self.checks, check);
    }

    /// Returns the open check of a task manager.
    pub(crate) fn check(&self, task_manager: TaskManagerKey) -> Option<&OpenCheck> {
        Some(&self.checks[*self.open.get(&task_manager)?])
    }

    /// Returns all task managers with an open check.
    pub(crate) fn checked(&self) -> impl Iterator<Item = TaskManagerKey> {
        self.open.keys().copied()
    }

    /// Returns the task manager whose open check falls due first.
    pub(crate) fn first_due(&self) -> Option<TaskManagerKey> {
        Some(self.checks[self.deadlines.head()?].task_manager)
    }

    /// Returns the number of slots of all task managers with an open check.
    pub(crate) fn checked_slots(&self) -> usize {
        self.checked_slots
    }

    /// Closes the check of a task manager, if any.
    pub(crate) fn close(&mut self, task_manager: TaskManagerKey) {
        if let Some(check) = self.open.remove(&task_manager) {
            self.deadlines.disarm(&mut self.checks, check);
            self.checked_slots -= self.checks.remove(check).slots;
        }
    }

    /// Forgets a task manager that is no longer idle or no longer registered.
    pub(crate) fn forget(&mut self, task_manager: TaskManagerKey) {
        if !self.places.is_empty() {
            self.let_go(task_manager);
        }
        if !self.open.is_empty() {
            self.close(task_manager);
        }
    }

    /// Returns `true` if all task managers are idle, in one role only and counted; for the check of
    /// invariants.
    pub(crate) fn is_consistent(&self, slots_if_idle: impl Fn(TaskManagerKey) -> Option<usize>) -> bool {
        let is_listed = |(task_manager, place): (&TaskManagerKey, &Place)| {
            slots_if_idle(*task_manager) == Some(place.0) && self.kept.contains(&(*place, *task_manager))
        };
        let is_open = |(task_manager, check): (&TaskManagerKey, &CheckKey)| {
            let check = self.checks.get(*check);
            check.is_some_and(|check| {
                check.task_manager == *task_manager && slots_if_idle(*task_manager) == Some(check.slots)
            })
        };
        let checked_slots: usize = self.checks.iter().map(|(_, check)| check.slots).sum();
        self.kept.len() == self.places.len()
            && self.places.iter().all(is_listed)
            && self.checks.len() == self.open.len()
            && self.checked_slots == checked_slots
            && self.open.iter().all(is_open)
            && self.deadlines.iter(&self.checks).count() == self.open.len()
            && !self.places.keys().any(|kept| self.open.contains_key(kept))
    }

    /// Returns `true` if the deadlines of open checks are in order; for the check of invariants.
    pub(crate) fn are_checks_in_order(&self) -> bool {
        self.deadlines.is_in_order(&self.checks)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.open.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self {
            last_check: self.last_check,
            ..Self::new()
        };
    }
}
