//! Records and values in pages, which are freed when the last of their entries goes.
//!
//! An [`Arena`](super::arena::Arena) frees the memory of a peak when it is empty. Here each page of
//! [`PAGE`] entries frees its own memory, so a few survivors of a peak keep a few pages. The first
//! page stays. A lookup
//! reads one more cache line, which is nearly always in the cache.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use slab::Slab;

use super::arena::Key;

/// The number of entries of a page, one for each bit of a mask.
const PAGE: usize = u64::BITS as usize;

/// Returns the page of an entry and its place in the page.
#[inline]
fn page_of(index: usize) -> (usize, usize) {
    (index / PAGE, index % PAGE)
}

/// The capacity that a list keeps in any case.
const SPARE_CAPACITY: usize = 1024;

/// Frees most memory of a list that was much longer. Removing entries pays for the copy.
#[inline]
pub(crate) fn shrink_if_sparse<T>(list: &mut Vec<T>) {
    if list.capacity() > SPARE_CAPACITY && list.len() < list.capacity() / 4 {
        list.shrink_to(list.capacity() / 2);
    }
}

/// Records of one kind. A key is valid from `insert` to `remove`, as in an
/// [`Arena`](super::arena::Arena).
///
/// New records fill the pages from the first on, so that the last pages become empty.
#[derive(Debug)]
pub(crate) struct PagedArena<K, R> {
    pages: Vec<Slab<R>>,
    /// A set of pages with room, as bits. The pages beyond the last one are not in it.
    with_room: Vec<u64>,
    /// The memory of an empty page, for the next page.
    spare: Slab<R>,
    len: usize,
    key: PhantomData<K>,
}

impl<K: Key, R> PagedArena<K, R> {
    pub(crate) fn new() -> Self {
        Self {
            pages: Vec::new(),
            with_room: Vec::new(),
            spare: Slab::new(),
            len: 0,
            key: PhantomData,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a record.
    ///
    /// Cost: O(1 + pages / 64).
    pub(crate) fn insert(&mut self, record: R) -> K {
        let first = self.with_room.iter().position(|word| *word != 0);
        let page = match first {
            Some(word) => word * PAGE + self.with_room[word].trailing_zeros() as usize,
            None => self.add_page(),
        };
        if self.pages[page].capacity() == 0 {
            std::mem::swap(&mut self.pages[page], &mut self.spare);
        }
        let place = self.pages[page].insert(record);
        self.len += 1;
        if self.pages[page].len() == PAGE {
            self.set_room(page, false);
        }
        K::from_index(page * PAGE + place)
    }

    pub(crate) fn remove(&mut self, key: K) -> R {
        let (page, place) = page_of(key.index());
        let record = self.pages[page].remove(place);
        self.len -= 1;
        self.set_room(page, true);
        // The first page stays, so that a few records that come and go allocate nothing.
        if page > 0 && self.pages[page].is_empty() {
            self.spare = std::mem::take(&mut self.pages[page]);
            self.remove_last_pages();
        }
        record
    }

    /// Returns all records, in an order that depends only on the earlier insertions and removals.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &R)> {
        self.pages.iter().enumerate().flat_map(|(page, records)| {
            let key_of = move |place| K::from_index(page * PAGE + place);
            records.iter().map(move |(place, record)| (key_of(place), record))
        })
    }

    /// Removes all records and frees their memory.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    fn add_page(&mut self) -> usize {
        let page = self.pages.len();
        self.pages.push(Slab::new());
        if page % PAGE == 0 {
            self.with_room.push(0);
        }
        self.set_room(page, true);
        page
    }

    fn set_room(&mut self, page: usize, has_room: bool) {
        let (word, bit) = page_of(page);
        match has_room {
            true => self.with_room[word] |= 1 << bit,
            false => self.with_room[word] &= !(1 << bit),
        }
    }

    /// Removes the empty pages behind the last record.
    fn remove_last_pages(&mut self) {
        while self.pages.len() > 1 && self.pages.last().is_some_and(Slab::is_empty) {
            self.pages.pop();
            self.set_room(self.pages.len(), false);
        }
        self.with_room.truncate(self.pages.len().div_ceil(PAGE));
        shrink_if_sparse(&mut self.pages);
    }
}

impl<K: Key, R> Index<K> for PagedArena<K, R> {
    type Output = R;

    #[inline]
    fn index(&self, key: K) -> &R {
        let (page, place) = page_of(key.index());
        &self.pages[page][place]
    }
}

impl<K: Key, R> IndexMut<K> for PagedArena<K, R> {
    #[inline]
    fn index_mut(&mut self, key: K) -> &mut R {
        let (page, place) = page_of(key.index());
        &mut self.pages[page][place]
    }
}

/// Values by the keys of records in an arena.
///
/// A value that is not in use is empty, but may keep memory of its own until its page is freed.
#[derive(Debug)]
pub(crate) struct PagedTable<K, T> {
    pages: Vec<Page<T>>,
    /// The memory of an empty page, for the next page.
    spare: Vec<T>,
    key: PhantomData<K>,
}

#[derive(Debug)]
struct Page<T> {
    /// [`PAGE`] values, or none while no value is in use.
    values: Vec<T>,
    /// The values in use, as bits.
    used: u64,
}

impl<K: Key, T: Default> PagedTable<K, T> {
    pub(crate) fn new() -> Self {
        Self {
            pages: Vec::new(),
            spare: Vec::new(),
            key: PhantomData,
        }
    }

    /// Returns a value, which is in use from now on.
    #[inline]
    pub(crate) fn occupy(&mut self, key: K) -> &mut T {
        let (page, place) = page_of(key.index());
        if self.pages.get(page).is_none_or(|page| page.values.is_empty()) {
            self.fill_page(page);
        }
        let page = &mut self.pages[page];
        page.used |= 1 << place;
        &mut page.values[place]
    }

    /// Ends the use of a value. The caller has emptied it.
    pub(crate) fn vacate(&mut self, key: K) {
        let (page, place) = page_of(key.index());
        let used = &mut self.pages[page].used;
        *used &= !(1 << place);
        // The first page stays, so that a few values that come and go allocate nothing.
        if *used == 0 && page > 0 {
            self.free_page(page);
        }
    }

    #[cold]
    fn free_page(&mut self, page: usize) {
        self.spare = std::mem::take(&mut self.pages[page].values);
        while self.pages.len() > 1 && self.pages.last().is_some_and(|page| page.used == 0) {
            self.pages.pop();
        }
        shrink_if_sparse(&mut self.pages);
    }

    /// Returns the value of a key; `None` if no value of its page is in use.
    #[inline]
    pub(crate) fn get(&self, key: K) -> Option<&T> {
        let (page, place) = page_of(key.index());
        self.pages.get(page)?.values.get(place)
    }

    /// Returns the values in use, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.pages.iter().enumerate().flat_map(|(number, page)| {
            let values = page.values.iter().enumerate();
            let used = values.filter(|(place, _)| page.used & (1 << place) != 0);
            used.map(move |(place, value)| (K::from_index(number * PAGE + place), value))
        })
    }

    #[cold]
    fn fill_page(&mut self, page: usize) {
        while self.pages.len() <= page {
            self.pages.push(Page {
                values: Vec::new(),
                used: 0,
            });
        }
        let mut values = std::mem::take(&mut self.spare);
        values.resize_with(PAGE, T::default);
        self.pages[page].values = values;
    }
}

impl<K: Key, T> Index<K> for PagedTable<K, T> {
    type Output = T;

    #[inline]
    fn index(&self, key: K) -> &T {
        let (page, place) = page_of(key.index());
        &self.pages[page].values[place]
    }
}

impl<K: Key, T> IndexMut<K> for PagedTable<K, T> {
    #[inline]
    fn index_mut(&mut self, key: K) -> &mut T {
        let (page, place) = page_of(key.index());
        &mut self.pages[page].values[place]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::slot_manager::collections::arena::key;

    key! {
        TestKey
    }

    const MANY: usize = 10_000;

    #[test]
    fn survivor_of_a_peak_keeps_its_page_and_the_first() {
        for survivor in [0, MANY / 2, MANY - 1] {
            // given
            let mut records = PagedArena::<TestKey, usize>::new();
            let mut values = PagedTable::<TestKey, usize>::new();
            let keys: Vec<_> = (0..MANY).map(|n| records.insert(n)).collect();
            for key in &keys {
                *values.occupy(*key) = key.index();
            }

            // when
            for key in keys.iter().filter(|key| key.index() != survivor) {
                values.vacate(*key);
                assert_eq!(records.remove(*key), key.index());
            }

            // then
            let pages = if survivor < PAGE { 1 } else { 2 };
            let filled = records.pages.iter().filter(|page| page.capacity() > 0).count();
            assert_eq!((records.len(), filled), (1, pages));
            let filled = values.pages.iter().filter(|page| page.values.capacity() > 0).count();
            assert_eq!(filled, pages);
            assert_eq!(records[keys[survivor]], survivor);
            assert_eq!(values.iter().collect::<Vec<_>>(), [(keys[survivor], &survivor)]);
        }
    }

    #[test]
    fn new_records_fill_the_first_pages() {
        let mut records = PagedArena::<TestKey, usize>::new();
        let keys: Vec<_> = (0..MANY).map(|n| records.insert(n)).collect();
        for key in &keys[3..MANY - 1] {
            records.remove(*key);
        }
        for n in 3..PAGE {
            assert!(records.insert(n).index() < PAGE);
        }
        assert_eq!(records.insert(PAGE).index() / PAGE, 1);
    }

    #[test]
    fn last_record_leaves_the_first_page() {
        let mut records = PagedArena::<TestKey, usize>::new();
        let keys: Vec<_> = (0..MANY).map(|n| records.insert(n)).collect();
        for key in keys {
            records.remove(key);
        }
        assert_eq!((records.pages.len(), records.with_room.len()), (1, 1));
        assert!(records.insert(7).index() < PAGE);
    }

    #[test]
    fn sparse_list_shrinks_and_a_short_one_keeps_its_memory() {
        let mut list: Vec<usize> = (0..MANY).collect();
        while list.pop().is_some() {
            shrink_if_sparse(&mut list);
            assert!(list.capacity() <= (4 * list.len() + 4).max(SPARE_CAPACITY));
        }
        assert!(list.capacity() > SPARE_CAPACITY / 4);
    }

    proptest! {
        /// A thousand records fill sixteen pages, and removing comes in runs.
        #[test]
        fn records_and_values_are_those_of_a_map(
            steps in prop::collection::vec((any::<bool>(), 0..300_usize), 0..20)
        ) {
            let mut records = PagedArena::<TestKey, usize>::new();
            let mut values = PagedTable::<TestKey, usize>::new();
            let mut model = std::collections::BTreeMap::new();
            for (number, (inserts, count)) in steps.into_iter().enumerate() {
                for n in 0..count {
                    if inserts {
                        let key = records.insert(n);
                        *values.occupy(key) = n;
                        prop_assert_eq!(model.insert(key, n), None);
                    } else if let Some(key) = model.keys().nth(n * number % model.len().max(1)).copied() {
                        values.vacate(key);
                        prop_assert_eq!(Some(records.remove(key)), model.remove(&key));
                    }
                }
                prop_assert_eq!(records.len(), model.len());
                prop_assert!(records.iter().map(|(key, value)| (key, *value)).eq(model.clone()));
                prop_assert!(values.iter().map(|(key, value)| (key, *value)).eq(model.clone()));
                prop_assert!(model.iter().all(|(key, value)| records[*key] == *value && values[*key] == *value));
            }
        }
    }
}
