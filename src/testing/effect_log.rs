//! One ordered list of what the manager does to its outside.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex};

use super::{Action, GatewayCall, lock};

/// Something the manager did, to whichever of the doubles.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// A call of [`ResourceManagerActions`](crate::ResourceManagerActions).
    Action(Action),
    /// A call of a [`TaskExecutorGateway`](crate::TaskExecutorGateway).
    Gateway(GatewayCall),
}

impl From<Action> for Effect {
    fn from(action: Action) -> Self {
        Self::Action(action)
    }
}

impl From<GatewayCall> for Effect {
    fn from(call: GatewayCall) -> Self {
        Self::Gateway(call)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action(action) => action.fmt(f),
            Self::Gateway(call) => call.fmt(f),
        }
    }
}

/// A list of effects in the order in which they happened, into which several doubles write.
///
/// Clones share one list. An effect is in it until it is taken, here or from the double that wrote it.
#[derive(Debug, Clone, Default)]
pub struct EffectLog {
    records: Arc<Mutex<Records>>,
}

#[derive(Debug, Default)]
struct Records {
    list: Vec<Record>,
    recorders: u64,
}

#[derive(Debug)]
struct Record {
    effect: Effect,
    /// `None` for what was not written by one of the doubles.
    recorder: Option<u64>,
}

impl EffectLog {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes all effects, in order; the list is empty afterwards.
    pub fn take(&self) -> Vec<Effect> {
        let taken = mem::take(&mut lock(&self.records).list);
        taken.into_iter().map(|record| record.effect).collect()
    }

    /// Whether nothing was recorded since the last time everything was taken.
    pub fn is_empty(&self) -> bool {
        lock(&self.records).list.is_empty()
    }

    /// Adds an effect: for a double of your own.
    pub fn record(&self, effect: impl Into<Effect>) {
        self.push(effect.into(), None);
    }

    fn push(&self, effect: Effect, recorder: Option<u64>) {
        lock(&self.records).list.push(Record { effect, recorder });
    }
}

/// One double's access to a log: it can take back what it wrote. Clones count as the same double.
#[derive(Debug, Clone)]
pub(super) struct Recorder {
    log: EffectLog,
    number: u64,
}

impl Recorder {
    pub(super) fn new(log: &EffectLog) -> Self {
        let number = {
            let mut records = lock(&log.records);
            records.recorders += 1;
            records.recorders
        };
        Self {
            log: log.clone(),
            number,
        }
    }

    pub(super) fn record(&self, effect: impl Into<Effect>) {
        self.log.push(effect.into(), Some(self.number));
    }

    pub(super) fn take(&self) -> impl Iterator<Item = Effect> + use<> {
        let own = {
            let mut records = lock(&self.log.records);
            let (own, others): (Vec<_>, _) = mem::take(&mut records.list)
                .into_iter()
                .partition(|record| record.recorder == Some(self.number));
            records.list = others;
            own
        };
        own.into_iter().map(|record| record.effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::samples::{ALLOCATION, free_slot, request_slot};
    use crate::testing::{RecordingActions, ScriptedGateway};
    use crate::{ResourceManagerActions, ResourceProfile, TaskExecutorGateway, WorkerRequestId};

    fn ask_for_worker(actions: &mut RecordingActions, number: u64) -> Effect {
        let worker_request = WorkerRequestId::new(number);
        let resource_profile = ResourceProfile::ZERO;
        actions
            .allocate_resource(worker_request, &resource_profile)
            .expect("declined, not refused");
        Action::AllocateResource {
            worker_request,
            resource_profile,
        }
        .into()
    }

    #[test]
    fn a_shared_log_has_the_effects_of_all_doubles_in_order() {
        let log = EffectLog::new();
        let mut actions = RecordingActions::with_log(&log);
        let mut left = ScriptedGateway::with_log(&log);
        let mut right = ScriptedGateway::with_log(&log);
        assert!(log.is_empty());

        let (request, free) = (request_slot(0, ALLOCATION, 1), free_slot(1, ALLOCATION, 2));
        drop(right.request_slot(&request));
        let first_ask = ask_for_worker(&mut actions, 1);
        left.free_slot(free.clone());
        let second_ask = ask_for_worker(&mut actions, 2);

        assert!(!log.is_empty());
        assert_eq!(
            log.take(),
            [
                Effect::Gateway(GatewayCall::RequestSlot(request)),
                first_ask,
                Effect::Gateway(GatewayCall::FreeSlot(free)),
                second_ask,
            ]
        );
        assert_eq!(log.take(), []);
    }

    #[test]
    fn what_a_double_takes_is_its_own_and_gone_from_the_log() {
        let log = EffectLog::new();
        let mut actions = RecordingActions::with_log(&log);
        let mut left = ScriptedGateway::with_log(&log);
        let mut right = ScriptedGateway::with_log(&log);
        let (to_left, to_right) = (free_slot(0, ALLOCATION, 1), free_slot(1, ALLOCATION, 2));

        right.free_slot(to_right.clone());
        left.free_slot(to_left.clone());
        let ask = ask_for_worker(&mut actions, 1);

        assert_eq!(left.take_calls(), [GatewayCall::FreeSlot(to_left)]);
        assert_eq!(log.take(), [Effect::Gateway(GatewayCall::FreeSlot(to_right)), ask]);
        assert_eq!(actions.take(), []);
    }

    #[test]
    fn doubles_of_others_can_write_into_the_log() {
        let log = EffectLog::new();
        let call = GatewayCall::FreeSlot(free_slot(0, ALLOCATION, 1));
        log.record(call.clone());
        assert_eq!(log.take(), [call.into()]);
    }
}
