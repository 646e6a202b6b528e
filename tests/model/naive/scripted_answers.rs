//! Answers that a script gives in advance.

use std::collections::VecDeque;

/// The next answers in their order; after them, always the same answer.
#[derive(Debug, Clone)]
pub(super) struct ScriptedAnswers<T> {
    always: T,
    next: VecDeque<T>,
}

impl<T: Clone> ScriptedAnswers<T> {
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
