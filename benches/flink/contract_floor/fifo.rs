//! Lists in the order of arrival, threaded through records.

/// The number of no record.
pub(crate) const NONE: u32 = u32::MAX;

/// A list of records. Each list has its own links in them.
#[derive(Clone, Copy)]
pub(crate) struct Fifo {
    pub(crate) first: u32,
    last: u32,
}

/// The neighbours of a record in a list.
#[derive(Clone, Copy)]
pub(crate) struct Links {
    before: u32,
    behind: u32,
}

impl Default for Fifo {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
        }
    }
}

impl Links {
    pub(crate) const NONE: Self = Self {
        before: NONE,
        behind: NONE,
    };
}

impl Fifo {
    /// Adds a record to the end. The caller sets its links to the returned ones.
    #[inline(always)]
    pub(crate) fn append<T>(&mut self, records: &mut [T], at: u32, links: impl Fn(&mut T) -> &mut Links) -> Links {
        let before = self.last;
        match records.get_mut(before as usize) {
            Some(last) => links(last).behind = at,
            None => self.first = at,
        }
        self.last = at;
        Links { before, behind: NONE }
    }

    /// Removes the record with these links.
    #[inline(always)]
    pub(crate) fn remove<T>(&mut self, records: &mut [T], removed: Links, links: impl Fn(&mut T) -> &mut Links) {
        let Links { before, behind } = removed;
        match records.get_mut(before as usize) {
            Some(neighbour) => links(neighbour).behind = behind,
            None => self.first = behind,
        }
        match records.get_mut(behind as usize) {
            Some(neighbour) => links(neighbour).before = before,
            None => self.last = before,
        }
    }
}
