//! The rows in which the indexes of dynamic workers compare resources.

use std::sync::Arc;

use crate::ResourceProfile;

use crate::slot_manager::collections::cover_tree::{COLUMNS, Row};

/// The columns of a row that are not for an extended resource: whether a default slot fits, cores,
/// and four kinds of memory.
const FIXED_COLUMNS: usize = 6;

/// The extended resources that have a column in rows: those of the first totals.
///
/// A row says nothing about the others. So a worker whose row fits must still be compared.
#[derive(Debug, Default)]
pub(crate) struct RowColumns(Vec<Arc<str>>);

impl RowColumns {
    /// Gives the extended resources of a total a column, while there are some.
    pub(crate) fn add(&mut self, total: &ResourceProfile) {
        for (name, _) in total.extended_units() {
            if self.0.len() < COLUMNS - FIXED_COLUMNS && !self.0.contains(name) {
                self.0.push(Arc::clone(name));
            }
        }
    }

    /// Returns the row of what remains of a worker.
    pub(crate) fn of_worker(&self, remainder: &ResourceProfile, fits_default_slot: bool) -> Row {
        self.row(remainder, fits_default_slot)
    }

    /// Returns the row of a request.
    #[inline]
    pub(crate) fn of_request(&self, required: &ResourceProfile) -> Row {
        self.row(required, *required == ResourceProfile::UNKNOWN)
    }

    #[inline]
    fn row(&self, profile: &ResourceProfile, default_slot: bool) -> Row {
        // `ANY` has the most of resources without a column, too: they may get one later.
        let mut row = match *profile == ResourceProfile::ANY {
            true => [u64::MAX; COLUMNS],
            false => [0; COLUMNS],
        };
        row[0] = u64::from(default_slot);
        row[1..FIXED_COLUMNS].copy_from_slice(&profile.fixed_amounts());
        for (column, name) in row[FIXED_COLUMNS..].iter_mut().zip(&self.0) {
            *column = profile.extended_units_of(name);
        }
        Row(row)
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
