//! Read-only answers: views of single items, the overview and explanations.

pub(crate) mod explain;
pub(crate) mod overview;
pub(crate) mod views;
