//! Workers whose free slots are not handed out.

use std::collections::BTreeSet;

use crate::ResourceId;

use crate::slot_manager::state::task_managers::TaskManagerKey;

/// The blocked workers, whether registered or not.
#[derive(Debug, Default)]
pub(crate) struct Blocking {
    pub(crate) workers: BTreeSet<ResourceId>,
    /// Those that are registered.
    pub(crate) task_managers: BTreeSet<TaskManagerKey>,
    /// How many slots these have, in whatever state.
    pub(crate) slots: usize,
}

impl Blocking {
    /// Whether any registered one is.
    #[inline]
    pub(crate) fn is_any(&self) -> bool {
        !self.task_managers.is_empty()
    }

    #[inline]
    pub(crate) fn is_blocked(&self, task_manager: TaskManagerKey) -> bool {
        self.is_any() && self.task_managers.contains(&task_manager)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
