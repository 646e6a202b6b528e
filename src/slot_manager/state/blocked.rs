//! Blocked workers: their free slots are not offered.

use std::collections::BTreeSet;

use crate::ResourceId;

use crate::slot_manager::state::task_managers::TaskManagerKey;

/// The blocked workers, registered or not.
#[derive(Debug, Default)]
pub(crate) struct Blocking {
    /// The decisions of operators, which outlive a leadership.
    pub(crate) workers: BTreeSet<ResourceId>,
    /// The workers that were blocked or unblocked since the leadership has ended. Their slots do
    /// not show it yet.
    pub(crate) unapplied: BTreeSet<ResourceId>,
    /// The blocked workers that are registered.
    pub(crate) task_managers: BTreeSet<TaskManagerKey>,
    /// The number of slots of blocked task managers, in any phase.
    pub(crate) slots: usize,
}

impl Blocking {
    /// Returns `true` if a registered worker is blocked.
    #[inline]
    pub(crate) fn is_any(&self) -> bool {
        !self.task_managers.is_empty()
    }

    #[inline]
    pub(crate) fn is_blocked(&self, task_manager: TaskManagerKey) -> bool {
        self.is_any() && self.task_managers.contains(&task_manager)
    }

    /// Forgets the task managers. The decisions of operators stay.
    pub(crate) fn clear(&mut self) {
        self.unapplied.clear();
        self.task_managers.clear();
        self.slots = 0;
    }
}
