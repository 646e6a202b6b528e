//! What the manager did to its outside, in order, and what it was told there and then.

use std::cell::RefCell;
use std::rc::Rc;

use slot_manager::testing::Effect;
use slot_manager::{Release, ReleaseDecision, ResourceManagerError, Withdrawal, WorkerPromise};

pub(super) type Promise = Result<WorkerPromise, ResourceManagerError>;

/// What an effect was answered within the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Promise(Promise),
    Withdrawal(Withdrawal),
    Release(Release),
    AboutRelease(ReleaseDecision),
}

#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) effect: Effect,
    pub(super) said: Said,
}

/// The calls that the cluster has not taken yet. Clones share one list.
#[derive(Debug, Clone, Default)]
pub(super) struct CallLog(Rc<RefCell<Vec<Call>>>);

impl CallLog {
    pub(super) fn record(&self, effect: impl Into<Effect>, said: Said) {
        let effect = effect.into();
        self.0.borrow_mut().push(Call { effect, said });
    }

    pub(super) fn take(&self) -> Vec<Call> {
        self.0.take()
    }
}
