//! Lists that are read a page at a time.

use serde::{Deserialize, Serialize};
use slot_manager::Timestamp;

use super::error::ApiError;

/// The most items of a page.
const LIMIT: usize = 100;

/// The part of a list that is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    pub cursor: Option<String>,
    pub limit: Option<usize>,
}

impl PageQuery {
    /// Returns where the page begins; `None` is the start of the list.
    pub fn cursor<C>(&self) -> Result<Option<C>, ApiError>
    where
        C: std::str::FromStr<Err: std::fmt::Display>,
    {
        let cursor = self.cursor.as_ref().map(|cursor| cursor.parse());
        cursor
            .transpose()
            .map_err(|error| ApiError::Invalid(format!("cursor: {error}")))
    }

    pub fn limit(&self) -> Result<usize, ApiError> {
        match self.limit.unwrap_or(LIMIT) {
            limit @ 1..=LIMIT => Ok(limit),
            limit => Err(ApiError::Invalid(format!(
                "limit: {limit} is not a number from 1 to {LIMIT}"
            ))),
        }
    }
}

/// A part of a list.
#[derive(Serialize)]
pub struct PageView<T, C> {
    /// The time of the answer, on the clock of all other times in it.
    pub now: Timestamp,
    pub items: Vec<T>,
    /// The cursor of the next page; `null` if this page is the last.
    pub next: Option<C>,
}
