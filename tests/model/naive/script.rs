//! Answers given in advance.

use std::collections::VecDeque;

/// The next few, then always the same.
#[derive(Debug, Clone)]
pub(super) struct Script<T> {
    always: T,
    next: VecDeque<T>,
}

impl<T: Clone> Script<T> {
    pub(super) fn new(always: T) -> Self {
        Self {
            always,
            next: VecDeque::new(),
        }
    }

    pub(super) fn set(&mut self, once: bool, answer: T) {
        match once {
            true => self.next.push_back(answer),
            false => self.always = answer,
        }
    }

    pub(super) fn take(&mut self) -> T {
        self.next.pop_front().unwrap_or_else(|| self.always.clone())
    }
}
