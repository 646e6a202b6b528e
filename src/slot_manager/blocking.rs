//! Workers whose free slots are not handed out.

use std::collections::BTreeSet;

use crate::ResourceId;

use super::task_managers::TaskManagerKey;

/// The blocked workers, whether registered or not.
#[derive(Debug, Default)]
pub(super) struct Blocking {
    pub(super) workers: BTreeSet<ResourceId>,
    /// Those that are registered.
    pub(super) task_managers: BTreeSet<TaskManagerKey>,
    /// How many slots these have, in whatever state.
    pub(super) slots: usize,
}

impl Blocking {
    /// Whether any registered one is.
    #[inline]
    pub(super) fn is_any(&self) -> bool {
        !self.task_managers.is_empty()
    }

    #[inline]
    pub(super) fn is_blocked(&self, task_manager: TaskManagerKey) -> bool {
        self.is_any() && self.task_managers.contains(&task_manager)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
