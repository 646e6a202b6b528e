//! The calls that the manager made to its traits, in their order, each with its answer.

use std::cell::RefCell;
use std::rc::Rc;

use slot_manager::error::ResourceManagerError;
use slot_manager::message::{Release, ReleaseDecision, Withdrawal, WorkerPromise};
use slot_manager::testing::Effect;

pub(crate) type Promise = Result<WorkerPromise, ResourceManagerError>;

/// The answer to an effect within the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallAnswer {
    Nothing,
    Promise(Promise),
    Withdrawal(Withdrawal),
    Release(Release),
    ReleaseCheck(ReleaseDecision),
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) effect: Effect,
    pub(crate) answer: CallAnswer,
}

/// The calls that the cluster has not handled yet. Clones share one list.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallLog(Rc<RefCell<Vec<Call>>>);

impl CallLog {
    pub(crate) fn record(&self, effect: impl Into<Effect>, answer: CallAnswer) {
        let effect = effect.into();
        self.0.borrow_mut().push(Call { effect, answer });
    }

    pub(crate) fn take(&self) -> Vec<Call> {
        self.0.take()
    }
}
