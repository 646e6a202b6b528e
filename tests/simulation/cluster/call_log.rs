//! What the manager did to its outside, in order, and what it was told there and then.

use std::cell::RefCell;
use std::rc::Rc;

use slot_manager::testing::Effect;
use slot_manager::{Release, ReleaseAnswer, ResourceManagerError, Withdrawal, WorkerPromise};

pub(crate) type Promise = Result<WorkerPromise, ResourceManagerError>;

/// What an effect was answered within the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Nothing,
    Promise(Promise),
    Withdrawal(Withdrawal),
    Release(Release),
    AboutRelease(ReleaseAnswer),
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) effect: Effect,
    pub(crate) said: Said,
}

/// The calls that the cluster has not taken yet. Clones share one list.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallLog(Rc<RefCell<Vec<Call>>>);

impl CallLog {
    pub(crate) fn record(&self, effect: impl Into<Effect>, said: Said) {
        let effect = effect.into();
        self.0.borrow_mut().push(Call { effect, said });
    }

    pub(crate) fn take(&self) -> Vec<Call> {
        self.0.take()
    }
}
