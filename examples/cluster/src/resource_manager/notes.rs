//! Notable events, for people who look at the dashboard.

use std::fmt;
use std::sync::Arc;

/// The subject of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Leader,
    Worker,
    Request,
    Job,
}

/// A notable event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub subject: Subject,
    /// The event should not have happened.
    pub is_warning: bool,
    pub text: String,
}

/// The receiver of notes. It must not block. The default drops them.
#[derive(Clone, Default)]
pub struct Notes(Option<Arc<dyn Fn(Note) + Send + Sync>>);

impl Notes {
    pub fn new(receiver: impl Fn(Note) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(receiver)))
    }

    /// Notes a usual event.
    pub fn info(&self, subject: Subject, text: fmt::Arguments<'_>) {
        self.note(subject, false, text);
    }

    /// Notes an event that should not have happened.
    pub fn warn(&self, subject: Subject, text: fmt::Arguments<'_>) {
        self.note(subject, true, text);
    }

    fn note(&self, subject: Subject, is_warning: bool, text: fmt::Arguments<'_>) {
        if let Some(receiver) = &self.0 {
            receiver(Note {
                subject,
                is_warning,
                text: text.to_string(),
            });
        }
    }
}
