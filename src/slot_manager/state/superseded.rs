//! The instances that were replaced last. A delayed registration of such an instance is refused.

use std::collections::VecDeque;

use crate::InstanceId;

/// The number of replaced instances that are remembered.
const MOST: usize = 1024;

/// The instances that were replaced last, oldest first.
#[derive(Debug, Default)]
pub(crate) struct SupersededInstances(VecDeque<InstanceId>);

impl SupersededInstances {
    /// Notes a replaced instance. The oldest of too many is forgotten.
    pub(crate) fn note(&mut self, instance_id: InstanceId) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(instance_id);
    }

    /// Returns `true` if an instance was replaced.
    ///
    /// Cost: O(remembered instances).
    pub(crate) fn contains(&self, instance_id: &InstanceId) -> bool {
        self.0.contains(instance_id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
