//! Queries: views of single records, pages and snapshots of them, requirements, the overview, and explanations.

pub(crate) mod explain;
pub(crate) mod overview;
pub(crate) mod pages;
pub(crate) mod promised_workers;
pub(crate) mod requirements;
pub(crate) mod snapshots;
pub(crate) mod views;
