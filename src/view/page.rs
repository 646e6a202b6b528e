//! Pages, and cursors from one page to the next.

use std::fmt;
use std::str::FromStr;

use crate::error::ParseIdError;
use crate::id::parse_number;

/// A part of a list, and the cursor of the next part.
///
/// [`task_managers_from`](crate::SlotManager::task_managers_from) and
/// [`pending_slot_requests_from`](crate::SlotManager::pending_slot_requests_from) return it.
///
/// ```
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// use slot_manager::view::{Page, PageCursor, TaskManagerSnapshot};
/// use slot_manager::{SlotManager, SlotManagerConfig};
///
/// # let (config, time) = (SlotManagerConfig::default(), ManualScheduledExecutor::new());
/// # let manager = SlotManager::<RecordingActions, ScriptedGateway, _>::new(config, time)?;
/// let page: Page<TaskManagerSnapshot> = manager
///     .task_managers_from(PageCursor::default(), 100)
///     .map(|task_manager| task_manager.snapshot());
/// assert!(page.items.is_empty() && page.next.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
#[must_use]
pub struct Page<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` if this page is the last.
    pub next: Option<PageCursor>,
}

impl<T> Page<T> {
    /// Returns the page with each item converted, for example from a view to its snapshot.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(convert).collect(),
            next: self.next,
        }
    }
}

/// The place in a list from which a page begins. The default is the start of the list.
///
/// It is opaque. Its text form fits a URL and parses back. A cursor ends with its leadership.
///
/// ```
/// use slot_manager::view::PageCursor;
///
/// let start = PageCursor::default();
/// assert_eq!(start.to_string().parse(), Ok(start));
/// assert!("next".parse::<PageCursor>().is_err());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "String", into = "String")
)]
pub struct PageCursor(usize);

impl PageCursor {
    pub(crate) fn new(index: usize) -> Self {
        Self(index)
    }

    pub(crate) fn index(self) -> usize {
        self.0
    }
}

impl fmt::Display for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PageCursor {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        parse_number(text)
            .map(Self)
            .ok_or_else(|| ParseIdError::new(text, "a page cursor (a number)"))
    }
}

impl From<PageCursor> for String {
    fn from(cursor: PageCursor) -> Self {
        cursor.to_string()
    }
}

impl TryFrom<String> for PageCursor {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}
