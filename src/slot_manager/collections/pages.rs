//! Records and values of which a peak leaves no memory behind.
//!
//! An [`Arena`](super::arena::Arena) frees the memory of a peak when it is empty. Here the first
//! [`FLAT`] entries are one list. Later entries are in pages of [`PAGE`]. The list and each page free
//! their own memory, so a few survivors of a peak keep little. A lookup in a page reads one more
//! cache line.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use slab::Slab;

use super::arena::Key;

/// The number of entries in the flat list. It is so large that most clusters need no page. In unit
/// tests it is small, so that they reach the pages.
const FLAT: usize = if cfg!(test) { 64 } else { 1024 };

/// The number of entries of a page, one for each bit of a mask.
const PAGE: usize = u64::BITS as usize;

/// Returns the page of an entry and its place in the page; `None` if it is in the flat list.
#[inline]
fn page_of(index: usize) -> Option<(usize, usize)> {
    let in_pages = index.checked_sub(FLAT)?;
    Some((in_pages / PAGE, in_pages % PAGE))
}

/// Returns the index of an entry in a page.
#[inline]
fn index_of(page: usize, place: usize) -> usize {
    FLAT + page * PAGE + place
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
/// New records fill the flat list first, then the pages from the first on. So the last pages become
/// empty.
#[derive(Debug)]
pub(crate) struct PagedArena<K, R> {
    flat: Slab<R>,
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
            flat: Slab::new(),
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
        self.len += 1;
        if self.flat.len() < FLAT {
            return K::from_index(self.flat.insert(record));
        }
        let first = self.with_room.iter().position(|word| *word != 0);
        let page = match first {
            Some(word) => word * u64::BITS as usize + self.with_room[word].trailing_zeros() as usize,
            None => self.add_page(),
        };
        if self.pages[page].capacity() == 0 {
            std::mem::swap(&mut self.pages[page], &mut self.spare);
        }
        let place = self.pages[page].insert(record);
        if self.pages[page].len() == PAGE {
            self.set_room(page, false);
        }
        K::from_index(index_of(page, place))
    }

    pub(crate) fn remove(&mut self, key: K) -> R {
        self.len -= 1;
        let Some((page, place)) = page_of(key.index()) else {
            let record = self.flat.remove(key.index());
            if self.flat.is_empty() && self.flat.capacity() > PAGE {
                self.flat = Slab::new();
            }
            return record;
        };
        let record = self.pages[page].remove(place);
        self.set_room(page, true);
        if self.pages[page].is_empty() {
            self.spare = std::mem::take(&mut self.pages[page]);
            self.remove_last_pages();
        }
        record
    }

    /// Returns all records, in an order that depends only on the earlier insertions and removals.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &R)> {
        let flat = self.flat.iter().map(|(index, record)| (K::from_index(index), record));
        let pages = self.pages.iter().enumerate().flat_map(|(page, records)| {
            let key_of = move |place| K::from_index(index_of(page, place));
            records.iter().map(move |(place, record)| (key_of(place), record))
        });
        flat.chain(pages)
    }

    /// Removes all records and frees their memory.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    fn add_page(&mut self) -> usize {
        let page = self.pages.len();
        self.pages.push(Slab::new());
        if page % u64::BITS as usize == 0 {
            self.with_room.push(0);
        }
        self.set_room(page, true);
        page
    }

    fn set_room(&mut self, page: usize, has_room: bool) {
        let (word, bit) = (page / u64::BITS as usize, page % u64::BITS as usize);
        match has_room {
            true => self.with_room[word] |= 1 << bit,
            false => self.with_room[word] &= !(1 << bit),
        }
    }

    /// Removes the empty pages behind the last record.
    fn remove_last_pages(&mut self) {
        while self.pages.last().is_some_and(Slab::is_empty) {
            self.pages.pop();
            self.set_room(self.pages.len(), false);
        }
        self.with_room.truncate(self.pages.len().div_ceil(u64::BITS as usize));
        shrink_if_sparse(&mut self.pages);
    }
}

impl<K: Key, R> Index<K> for PagedArena<K, R> {
    type Output = R;

    #[inline(always)]
    fn index(&self, key: K) -> &R {
        let (records, place) = match page_of(key.index()) {
            None => (&self.flat, key.index()),
            Some((page, place)) => (&self.pages[page], place),
        };
        &records[place]
    }
}

impl<K: Key, R> IndexMut<K> for PagedArena<K, R> {
    #[inline(always)]
    fn index_mut(&mut self, key: K) -> &mut R {
        match page_of(key.index()) {
            None => &mut self.flat[key.index()],
            Some((page, place)) => &mut self.pages[page][place],
        }
    }
}

/// Values by the keys of records in an arena.
///
/// A value that is not in use is empty, but may keep memory of its own until its page is freed.
#[derive(Debug)]
pub(crate) struct PagedTable<K, T> {
    flat: Vec<T>,
    /// The values of the flat list in use, as bits.
    flat_used: Vec<u64>,
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
            flat: Vec::new(),
            flat_used: Vec::new(),
            pages: Vec::new(),
            spare: Vec::new(),
            key: PhantomData,
        }
    }

    /// Returns a value, which is in use from now on.
    #[inline]
    pub(crate) fn occupy(&mut self, key: K) -> &mut T {
        let Some((page, place)) = page_of(key.index()) else {
            if self.flat.len() <= key.index() {
                self.grow_flat(key.index() + 1);
            }
            self.flat_used[key.index() / PAGE] |= 1 << (key.index() % PAGE);
            return &mut self.flat[key.index()];
        };
        if self.pages.get(page).is_none_or(|page| page.values.is_empty()) {
            self.fill_page(page);
        }
        let page = &mut self.pages[page];
        page.used |= 1 << place;
        &mut page.values[place]
    }

    /// Ends the use of a value. The caller has emptied it.
    pub(crate) fn vacate(&mut self, key: K) {
        let Some((page, place)) = page_of(key.index()) else {
            self.flat_used[key.index() / PAGE] &= !(1 << (key.index() % PAGE));
            if self.flat.len() > PAGE && self.flat_used.iter().all(|used| *used == 0) {
                self.flat = Vec::new();
                self.flat_used = Vec::new();
            }
            return;
        };
        let used = &mut self.pages[page].used;
        *used &= !(1 << place);
        if *used == 0 {
            self.free_page(page);
        }
    }

    #[cold]
    fn free_page(&mut self, page: usize) {
        self.spare = std::mem::take(&mut self.pages[page].values);
        while self.pages.last().is_some_and(|page| page.used == 0) {
            self.pages.pop();
        }
        shrink_if_sparse(&mut self.pages);
    }

    /// Returns the value of a key; `None` if there is no memory for it.
    #[inline]
    pub(crate) fn get(&self, key: K) -> Option<&T> {
        match page_of(key.index()) {
            None => self.flat.get(key.index()),
            Some((page, place)) => self.pages.get(page)?.values.get(place),
        }
    }

    /// Returns the value of a key; `None` if there is no memory for it.
    #[inline(always)]
    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        match page_of(key.index()) {
            None => self.flat.get_mut(key.index()),
            Some((page, place)) => self.pages.get_mut(page)?.values.get_mut(place),
        }
    }

    /// Returns the values in use, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        let is_used = |index: usize| self.flat_used[index / PAGE] & (1 << (index % PAGE)) != 0;
        let flat = self.flat.iter().enumerate();
        let flat = flat.filter(move |(index, _)| is_used(*index));
        let pages = self.pages.iter().enumerate().flat_map(|(number, page)| {
            let values = page.values.iter().enumerate();
            let used = values.filter(|(place, _)| page.used & (1 << place) != 0);
            used.map(move |(place, value)| (index_of(number, place), value))
        });
        flat.chain(pages).map(|(index, value)| (K::from_index(index), value))
    }

    #[cold]
    fn grow_flat(&mut self, len: usize) {
        self.flat.resize_with(len, T::default);
        self.flat_used.resize(len.div_ceil(PAGE), 0);
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

    #[inline(always)]
    fn index(&self, key: K) -> &T {
        match page_of(key.index()) {
            None => &self.flat[key.index()],
            Some((page, place)) => &self.pages[page].values[place],
        }
    }
}

impl<K: Key, T> IndexMut<K> for PagedTable<K, T> {
    #[inline(always)]
    fn index_mut(&mut self, key: K) -> &mut T {
        match page_of(key.index()) {
            None => &mut self.flat[key.index()],
            Some((page, place)) => &mut self.pages[page].values[place],
        }
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
    fn survivor_of_a_peak_keeps_its_page() {
        for survivor in [0, FLAT + MANY / 4, MANY - 1] {
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
            let pages = usize::from(survivor >= FLAT);
            let filled = records.pages.iter().filter(|page| page.capacity() > 0).count();
            assert_eq!((records.len(), filled), (1, pages));
            let filled = values.pages.iter().filter(|page| page.values.capacity() > 0).count();
            assert_eq!(filled, pages);
            assert_eq!(records[keys[survivor]], survivor);
            assert_eq!(values.iter().collect::<Vec<_>>(), [(keys[survivor], &survivor)]);
        }
    }

    #[test]
    fn new_records_fill_the_flat_list_and_the_first_pages() {
        let mut records = PagedArena::<TestKey, usize>::new();
        let keys: Vec<_> = (0..MANY).map(|n| records.insert(n)).collect();
        for key in &keys[3..MANY - 1] {
            records.remove(*key);
        }
        for n in 3..FLAT {
            assert!(records.insert(n).index() < FLAT);
        }
        for n in 0..PAGE {
            assert_eq!(page_of(records.insert(n).index()).map(|(page, _)| page), Some(0));
        }
        assert_eq!(page_of(records.insert(0).index()), Some((1, 0)));
    }

    #[test]
    fn last_record_leaves_no_page() {
        let mut records = PagedArena::<TestKey, usize>::new();
        let keys: Vec<_> = (0..MANY).map(|n| records.insert(n)).collect();
        for key in keys {
            records.remove(key);
        }
        assert_eq!((records.pages.len(), records.with_room.len()), (0, 0));
        assert!(records.insert(7).index() < FLAT);
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
        /// A thousand records beyond the flat list fill sixteen pages. Removing comes in runs.
        #[test]
        fn records_and_values_are_those_of_a_map(
            steps in prop::collection::vec((any::<bool>(), 0..300_usize), 0..20)
        ) {
            let mut records = PagedArena::<TestKey, usize>::new();
            let mut values = PagedTable::<TestKey, usize>::new();
            let mut model = std::collections::BTreeMap::new();
            for n in 0..FLAT {
                model.insert(records.insert(n), n);
                *values.occupy(TestKey::from_index(n)) = n;
            }
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
