//! Queries: views of single records, the overview, and explanations.

pub(crate) mod explain;
pub(crate) mod overview;
pub(crate) mod views;
