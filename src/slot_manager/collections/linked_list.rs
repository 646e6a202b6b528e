//! Doubly linked lists threaded through the records of an arena.
//!
//! A list owns no nodes: it is the keys of its head and its tail. The links between the members are
//! fields of the records. Here five records are in one list by age, and in one list for each owner:
//!
//! ```text
//! arena of records     [0]     [1]     [2]     [3]     [4]
//!
//! kind ByAge            o <---> o <---> o <---> o <---> o     head 0, tail 4, by `age_links`
//!
//! kind OfOwner, ann     o <-----------> o <-----------> o     head 0, tail 4, by `owner_links`
//! kind OfOwner, bob             o <-----------> o             head 1, tail 3, by `owner_links`
//! ```
//!
//! Inserting, removing and stepping to a neighbour cost O(1). Nothing is allocated, and removing
//! needs only the key of the member.
//!
//! **Why not `BTreeSet`?** With it in the queues of slots and requests, in alternating runs of the
//! bench `operations`, a registered slot takes 1.9 times as long, a request that waits 1.5 times,
//! and a cancelled one 1.2 to 2.8 times.
//!
//! # Kinds
//!
//! `ByAge` and `OfOwner` are *kinds*: empty enums, which have no values. A kind only selects the
//! field with the links:
//!
//! - `linked!(Record, RecordKey, ByAge => age_links, OfOwner => owner_links)` implements
//!   [`Linked<ByAge, RecordKey>`](Linked) and [`Linked<OfOwner, RecordKey>`](Linked) for `Record`.
//! - A `List<OfOwner, RecordKey>` accepts only records that are `Linked<OfOwner, RecordKey>`, so it
//!   never touches the links of a list by age.
//! - A record is in at most one list of each kind at a time. Two kinds may share a field if a
//!   record is never in lists of both at once.
//!
//! Structures built on lists have the same parameter and ask the record for more: a deadline list
//! for its deadline in this kind, a queue for its place in this kind.

use std::marker::PhantomData;

use super::arena::{Arena, Key};

/// The neighbours of a record in one list.
#[derive(Debug, Clone, Copy)]
#[must_use = "the record has to keep them"]
pub(crate) struct Links<K> {
    previous: Option<K>,
    next: Option<K>,
}

impl<K> Links<K> {
    pub(crate) const NONE: Self = Self {
        previous: None,
        next: None,
    };
}

impl<K> Default for Links<K> {
    fn default() -> Self {
        Self::NONE
    }
}

/// A record that can be in a list of kind `L`, but in at most one list of each kind at a time.
pub(crate) trait Linked<L, K> {
    fn links(&self) -> &Links<K>;
    fn links_mut(&mut self) -> &mut Links<K>;
}

/// Implements [`Linked`] for a record: for each kind of list, the field with its links.
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

/// A doubly linked list of kind `L`, threaded through the records with keys of type `K`.
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

    #[inline(always)]
    pub(crate) fn push_back<R: Linked<L, K>>(&mut self, records: &mut Arena<K, R>, key: K) {
        *records[key].links_mut() = self.append(records, key);
    }

    /// Removes a member.
    #[inline(always)]
    pub(crate) fn remove<R: Linked<L, K>>(&mut self, records: &mut Arena<K, R>, key: K) {
        let links = std::mem::take(records[key].links_mut());
        self.unlink(records, links);
    }

    /// Makes a record the tail, up to its own links: the caller sets them to those returned.
    #[inline(always)]
    pub(crate) fn append<R: Linked<L, K>>(&mut self, records: &mut Arena<K, R>, key: K) -> Links<K> {
        let previous = self.tail.replace(key);
        match previous {
            Some(previous) => records[previous].links_mut().next = Some(key),
            None => self.head = Some(key),
        }
        Links { previous, next: None }
    }

    /// Inserts a record after a member or at the front, up to its own links: the caller sets them to
    /// those returned.
    pub(crate) fn link_after<R: Linked<L, K>>(
        &mut self,
        records: &mut Arena<K, R>,
        previous: Option<K>,
        key: K,
    ) -> Links<K> {
        let next = match previous {
            Some(previous) => records[previous].links_mut().next.replace(key),
            None => self.head.replace(key),
        };
        match next {
            Some(next) => records[next].links_mut().previous = Some(key),
            None => self.tail = Some(key),
        }
        Links { previous, next }
    }

    /// Removes a member with these links, up to its own links: its record is gone, or goes next.
    #[inline(always)]
    pub(crate) fn unlink<R: Linked<L, K>>(&mut self, records: &mut Arena<K, R>, links: Links<K>) {
        let Links { previous, next } = links;
        match previous {
            Some(previous) => records[previous].links_mut().next = next,
            None => self.head = next,
        }
        match next {
            Some(next) => records[next].links_mut().previous = previous,
            None => self.tail = previous,
        }
    }

    /// Returns the member before a member.
    pub(crate) fn before<R: Linked<L, K>>(records: &Arena<K, R>, key: K) -> Option<K> {
        records[key].links().previous
    }

    /// Returns the members from head to tail.
    pub(crate) fn iter<R: Linked<L, K>>(&self, records: &Arena<K, R>) -> impl Iterator<Item = K> {
        std::iter::successors(self.head, |key| records[*key].links().next)
    }
}
