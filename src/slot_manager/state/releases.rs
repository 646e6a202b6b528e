//! Idle task managers on their way out: those that are kept because they are needed, and questions that are open.

use std::collections::{BTreeMap, BTreeSet};

use crate::Timestamp;

use crate::slot_manager::collections::arena::{Records, key};
use crate::slot_manager::collections::deadline_list::{DeadlineList, Timed};
use crate::slot_manager::collections::linked_list::{Links, linked};
use crate::slot_manager::state::task_managers::TaskManagerKey;

key! {
    /// A question that is open.
    QuestionKey
}

/// A task executor has been asked whether it can be stopped.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) task_manager: TaskManagerKey,
    pub(crate) number: u64,
    slots: usize,
    /// Then it counts as no.
    until: Timestamp,
    links: Links<QuestionKey>,
}

impl Question {
    /// How many slots the task manager has.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }
}

/// The list of open questions.
#[derive(Debug)]
pub(crate) enum Open {}

linked!(Question, QuestionKey, Open => links);

impl Timed<Open, QuestionKey> for Question {
    fn due_at(&self) -> Timestamp {
        self.until
    }
}

/// The place of a task manager among those that are kept: the number of its slots, then who was kept first.
type Place = (usize, u64);

#[derive(Debug)]
pub(crate) struct Releases {
    kept: BTreeSet<(Place, TaskManagerKey)>,
    places: BTreeMap<TaskManagerKey, Place>,
    next_place: u64,
    questions: Records<QuestionKey, Question>,
    pub(crate) deadlines: DeadlineList<Open, QuestionKey>,
    open: BTreeMap<TaskManagerKey, QuestionKey>,
    /// How many slots these task managers have.
    asked_slots: usize,
    /// The number of the last question; not reset by a new leadership.
    asked: u64,
}

impl Releases {
    pub(crate) fn new() -> Self {
        Self {
            kept: BTreeSet::new(),
            places: BTreeMap::new(),
            next_place: 0,
            questions: Records::new(),
            deadlines: DeadlineList::default(),
            open: BTreeMap::new(),
            asked_slots: 0,
            asked: 0,
        }
    }

    /// Keeps a task manager with so many slots, if it is not kept already.
    pub(crate) fn keep(&mut self, task_manager: TaskManagerKey, slots: usize) {
        if !self.is_kept(task_manager) {
            self.next_place += 1;
            self.put(task_manager, (slots, self.next_place));
        }
    }

    /// Notes that a task manager has so many slots now.
    pub(crate) fn update_slots(&mut self, task_manager: TaskManagerKey, slots: usize) {
        if let Some((_, order)) = self.take(task_manager) {
            self.put(task_manager, (slots, order));
        }
        if let Some(question) = self.open.get(&task_manager) {
            let counted = &mut self.questions[*question].slots;
            self.asked_slots = self.asked_slots - *counted + slots;
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

    /// A task manager is not kept any more.
    pub(crate) fn let_go(&mut self, task_manager: TaskManagerKey) {
        self.take(task_manager);
    }

    /// The task manager that goes first, of those that are kept.
    pub(crate) fn first_kept(&self) -> Option<TaskManagerKey> {
        let (_, task_manager) = self.kept.first()?;
        Some(*task_manager)
    }

    pub(crate) fn is_kept(&self, task_manager: TaskManagerKey) -> bool {
        self.places.contains_key(&task_manager)
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    /// Notes that the answer comes later.
    pub(crate) fn open(&mut self, task_manager: TaskManagerKey, slots: usize, number: u64, until: Timestamp) {
        self.asked_slots += slots;
        let question = self.questions.insert(Question {
            task_manager,
            number,
            slots,
            until,
            links: Links::default(),
        });
        self.open.insert(task_manager, question);
        self.deadlines.arm(&mut self.questions, question);
    }

    /// The open question about a task manager.
    pub(crate) fn question(&self, task_manager: TaskManagerKey) -> Option<&Question> {
        Some(&self.questions[*self.open.get(&task_manager)?])
    }

    /// The open question that falls due first.
    pub(crate) fn first_due(&self) -> Option<TaskManagerKey> {
        Some(self.questions[self.deadlines.head()?].task_manager)
    }

    /// How many slots the task managers have that may go as soon as they say so.
    pub(crate) fn asked_slots(&self) -> usize {
        self.asked_slots
    }

    pub(crate) fn close(&mut self, task_manager: TaskManagerKey) {
        if let Some(question) = self.open.remove(&task_manager) {
            self.deadlines.disarm(&mut self.questions, question);
            self.asked_slots -= self.questions.remove(question).slots;
        }
    }

    /// Forgets a task manager that is not idle any more, or gone.
    pub(crate) fn forget(&mut self, task_manager: TaskManagerKey) {
        if !self.places.is_empty() {
            self.let_go(task_manager);
        }
        if !self.open.is_empty() {
            self.close(task_manager);
        }
    }

    /// Whether everything in here is about such task managers, and in order; for the check of invariants.
    pub(crate) fn is_consistent(&self, slots_if_idle: impl Fn(TaskManagerKey) -> Option<usize>) -> bool {
        let is_listed = |(task_manager, place): (&TaskManagerKey, &Place)| {
            slots_if_idle(*task_manager) == Some(place.0) && self.kept.contains(&(*place, *task_manager))
        };
        let is_open = |(task_manager, question): (&TaskManagerKey, &QuestionKey)| {
            let question = self.questions.get(*question);
            question.is_some_and(|question| {
                question.task_manager == *task_manager && slots_if_idle(*task_manager) == Some(question.slots)
            })
        };
        let asked_slots: usize = self.questions.iter().map(|(_, question)| question.slots).sum();
        self.kept.len() == self.places.len()
            && self.places.iter().all(is_listed)
            && self.questions.len() == self.open.len()
            && self.asked_slots == asked_slots
            && self.open.iter().all(is_open)
            && self.deadlines.iter(&self.questions).count() == self.open.len()
            && self.deadlines.is_in_order(&self.questions)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.open.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self {
            asked: self.asked,
            ..Self::new()
        };
    }
}
