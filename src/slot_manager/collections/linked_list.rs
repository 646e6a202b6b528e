//! Doubly linked lists threaded through the records of an arena.

use std::marker::PhantomData;

use super::arena::{Arena, Key};

/// The neighbours of a record in one list.
#[derive(Debug)]
pub(crate) struct Links<K> {
    previous: Option<K>,
    next: Option<K>,
}

impl<K> Default for Links<K> {
    fn default() -> Self {
        Self {
            previous: None,
            next: None,
        }
    }
}

/// A record that can be in a list of kind `L`. It is in at most one list of each kind at a time.
pub(crate) trait Linked<L, K> {
    fn links(&self) -> &Links<K>;
    fn links_mut(&mut self) -> &mut Links<K>;
}

/// Implements [`Linked`] for a record that keeps the links in a field.
macro_rules! linked {
    ($record:ty, $key:ty, $($list:ty => $field:ident),+ $(,)?) => {$(
        impl $crate::slot_manager::collections::linked_list::Linked<$list, $key> for $record {
            fn links(&self) -> &$crate::slot_manager::collections::linked_list::Links<$key> {
                &self.$field
            }

            fn links_mut(&mut self) -> &mut $crate::slot_manager::collections::linked_list::Links<$key> {
                &mut self.$field
            }
        }
    )+};
}
pub(crate) use linked;

/// A doubly linked list threaded through records: every operation O(1), nothing allocated.
#[derive(Debug)]
pub(crate) struct List<L, K> {
    head: Option<K>,
    tail: Option<K>,
    kind: PhantomData<L>,
}

impl<L, K> Default for List<L, K> {
    fn default() -> Self {
        Self {
            head: None,
            tail: None,
            kind: PhantomData,
        }
    }
}

impl<L, K: Key> List<L, K> {
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    pub(crate) fn head(&self) -> Option<K> {
        self.head
    }

    pub(crate) fn tail(&self) -> Option<K> {
        self.tail
    }

    #[inline]
    pub(crate) fn push_back<R: Linked<L, K>>(&mut self, records: &mut Arena<K, R>, key: K) {
        self.insert_after(records, self.tail, key);
    }

    /// Inserts after a member of the list, or at the front.
    #[inline]
    pub(crate) fn insert_after<R: Linked<L, K>>(&mut self, records: &mut Arena<K, R>, previous: Option<K>, key: K) {
        let next = match previous {
            Some(previous) => records[previous].links_mut().next.replace(key),
            None => self.head.replace(key),
        };
        match next {
            Some(next) => records[next].links_mut().previous = Some(key),
            None => self.tail = Some(key),
        }
        *records[key].links_mut() = Links { previous, next };
    }

    /// Takes a member out.
    #[inline]
    pub(crate) fn remove<R: Linked<L, K>>(&mut self, records: &mut Arena<K, R>, key: K) {
        let Links { previous, next } = std::mem::take(records[key].links_mut());
        match previous {
            Some(previous) => records[previous].links_mut().next = next,
            None => self.head = next,
        }
        match next {
            Some(next) => records[next].links_mut().previous = previous,
            None => self.tail = previous,
        }
    }

    /// The member before a member.
    pub(crate) fn before<R: Linked<L, K>>(records: &Arena<K, R>, key: K) -> Option<K> {
        records[key].links().previous
    }

    pub(crate) fn iter<R: Linked<L, K>>(&self, records: &Arena<K, R>) -> impl Iterator<Item = K> {
        std::iter::successors(self.head, |key| records[*key].links().next)
    }
}
