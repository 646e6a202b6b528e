//! The slots of one task manager, ordered by number.

use std::ops::Deref;

use crate::slot_manager::state::slots::SlotKey;

/// The slots of a task manager with their numbers, ordered by number.
#[derive(Debug)]
pub(crate) enum SlotList {
    /// The slots of a static worker. They change only with reports, so the list has no room to grow.
    Static(Box<[(u32, SlotKey)]>),
    /// The slots cut from a dynamic worker. They come and go. Boxed, so that a list takes no more
    /// memory than a box of slots.
    #[expect(
        clippy::box_collection,
        reason = "the list would fill more than a quarter of a cache line"
    )]
    Dynamic(Box<Vec<(u32, SlotKey)>>),
}

impl Default for SlotList {
    fn default() -> Self {
        Self::Static(Box::default())
    }
}

impl Deref for SlotList {
    type Target = [(u32, SlotKey)];

    #[inline]
    fn deref(&self) -> &Self::Target {
        match self {
            Self::Static(slots) => slots,
            Self::Dynamic(slots) => slots,
        }
    }
}

impl From<Vec<(u32, SlotKey)>> for SlotList {
    fn from(slots: Vec<(u32, SlotKey)>) -> Self {
        Self::Static(slots.into_boxed_slice())
    }
}

impl SlotList {
    /// Returns the empty list of a dynamic worker.
    pub(crate) fn dynamic() -> Self {
        Self::Dynamic(Box::default())
    }

    pub(crate) fn is_dynamic(&self) -> bool {
        matches!(self, Self::Dynamic(_))
    }

    /// Returns the slots of a static worker; `None` for a dynamic one.
    #[inline]
    pub(crate) fn as_static(&self) -> Option<&[(u32, SlotKey)]> {
        match self {
            Self::Static(slots) => Some(slots),
            Self::Dynamic(_) => None,
        }
    }

    /// Returns the place of a number.
    fn place_of(&self, number: u32) -> Result<usize, usize> {
        self.binary_search_by_key(&number, |(number, _)| *number)
    }

    /// Adds a slot with an unknown number to the list of a dynamic worker.
    ///
    /// Cost: O(1) for the highest number, else O(slots).
    pub(crate) fn insert_cut(&mut self, number: u32, slot: SlotKey) {
        let Err(place) = self.place_of(number) else {
            return;
        };
        if let Self::Dynamic(slots) = self {
            slots.insert(place, (number, slot));
        }
    }

    /// Removes a slot from the list of a dynamic worker.
    ///
    /// Cost: O(slots).
    pub(crate) fn remove_cut(&mut self, number: u32) {
        let Ok(place) = self.place_of(number) else {
            return;
        };
        if let Self::Dynamic(slots) = self {
            slots.remove(place);
        }
    }

    /// Returns the slots of a static worker, to be changed.
    pub(crate) fn into_vec(self) -> Vec<(u32, SlotKey)> {
        match self {
            Self::Static(slots) => slots.into_vec(),
            Self::Dynamic(slots) => *slots,
        }
    }

    /// Keeps the slots for which a condition holds, and returns the others.
    pub(crate) fn split_off(&mut self, is_kept: impl Fn(u32, SlotKey) -> bool) -> Vec<(u32, SlotKey)> {
        let slots = std::mem::take(self);
        let is_dynamic = slots.is_dynamic();
        let (kept, others) = (slots.iter().copied()).partition::<Vec<_>, _>(|(number, slot)| is_kept(*number, *slot));
        *self = match is_dynamic {
            true => Self::Dynamic(Box::new(kept)),
            false => kept.into(),
        };
        others
    }
}
