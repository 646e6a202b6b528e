//! Records that are addressed by small numbers.

/// Records with places that are used again.
///
/// A removed record stays until its place is used again. Its owner takes out the values that own
/// memory.
pub(crate) struct Arena<T> {
    pub(crate) records: Vec<T>,
    vacant: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            vacant: Vec::new(),
        }
    }
}

impl<T> Arena<T> {
    /// Returns an arena with room for this number of records.
    pub(crate) fn with_room(room: usize) -> Self {
        Self {
            records: Vec::with_capacity(room),
            vacant: Vec::with_capacity(room),
        }
    }

    /// Returns the place that the next record will get.
    #[inline(always)]
    pub(crate) fn next(&self) -> u32 {
        match self.vacant.last() {
            Some(place) => *place,
            None => self.records.len() as u32,
        }
    }

    /// Adds a record at the next place.
    #[inline(always)]
    pub(crate) fn insert(&mut self, record: T) {
        match self.vacant.pop() {
            Some(place) => self.records[place as usize] = record,
            None => self.records.push(record),
        }
    }

    /// Lets the next record have the place of this one.
    #[inline(always)]
    pub(crate) fn vacate(&mut self, place: u32) {
        self.vacant.push(place);
    }

    /// Returns the number of records that are not removed.
    pub(crate) fn len(&self) -> usize {
        self.records.len() - self.vacant.len()
    }
}
