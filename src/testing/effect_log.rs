//! One ordered log of the effects of a manager.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex};

use super::{Action, GatewayCall, lock};

/// An effect of the manager: a call of one of the two traits.
///
/// `Display` writes it in one line.
///
/// ```
/// use slot_manager::message::{WithdrawResource, WithdrawalCause};
/// use slot_manager::testing::{Action, Effect};
/// use slot_manager::{LeaderId, WorkerRequestId};
///
/// let worker_request = WorkerRequestId::new(LeaderId::from_u128(1), 12);
/// let withdrawal = WithdrawResource { worker_request, cause: WithdrawalCause::NotNeeded };
/// let effect = Effect::from(Action::WithdrawResource(withdrawal));
/// assert_eq!(effect.to_string(), "withdraw_resource(12)");
/// ```
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

/// A log of effects in the order in which they happened. Several doubles can write into it.
///
/// Clones share one log. An effect stays in the log until it is taken, from the log or from the
/// double that wrote it.
///
/// ```
/// use slot_manager::testing::{Effect, EffectLog, ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// use slot_manager::outcome::{AllocationStatus, RegistrationOutcome, SlotRequestOutcome};
/// use slot_manager::{
///     AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig,
///     SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection,
/// };
///
/// let log = EffectLog::new();
/// let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
/// manager.start(LeaderId::from_u128(1), RecordingActions::with_log(&log))?;
///
/// let report = SlotReport::new(vec![SlotStatus::free(SlotId::new("tm", 0), ResourceProfile::ANY)]);
/// let gateway = ScriptedGateway::with_log(&log);
/// let connection = TaskExecutorConnection::new("tm", InstanceId::from_u128(1), gateway);
/// let registered = manager.register_task_manager(connection, &report)?;
/// assert_eq!(registered, RegistrationOutcome::Registered);
/// let (job, allocation) = (JobId::from_u128(7), AllocationId::from_u128(1));
/// let request = SlotRequest::new(job, allocation, ResourceProfile::ZERO, "job-master");
/// let outcome = manager.register_slot_request(request)?;
/// let status = AllocationStatus::Granted { slot_id: SlotId::new("tm", 0) };
/// assert_eq!(outcome, SlotRequestOutcome::Accepted(status));
///
/// // The slot is requested from the task executor, then the grant is notified.
/// let effects = log.take();
/// assert!(matches!(effects[..], [Effect::Gateway(_), Effect::Action(_)]));
/// assert!(log.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct EffectLog {
    state: Arc<Mutex<LogState>>,
}

#[derive(Debug, Default)]
struct LogState {
    effects: Vec<LoggedEffect>,
    /// The number of recorders made for this log.
    recorders: u64,
}

#[derive(Debug)]
struct LoggedEffect {
    effect: Effect,
    /// The recorder that wrote it; `None` if [`EffectLog::record`] was called.
    recorder: Option<u64>,
}

impl EffectLog {
    /// Creates an empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes all effects, in order. The log is empty afterwards.
    pub fn take(&self) -> Vec<Effect> {
        let taken = mem::take(&mut lock(&self.state).effects);
        taken.into_iter().map(|logged| logged.effect).collect()
    }

    /// Returns `true` if no effect is in the log.
    pub fn is_empty(&self) -> bool {
        lock(&self.state).effects.is_empty()
    }

    /// Adds an effect. Use it to write a double of your own.
    pub fn record(&self, effect: impl Into<Effect>) {
        self.push(effect.into(), None);
    }

    fn push(&self, effect: Effect, recorder: Option<u64>) {
        lock(&self.state).effects.push(LoggedEffect { effect, recorder });
    }
}

/// The access of one double to a log. It can take the effects that it wrote.
///
/// Clones count as the same double.
#[derive(Debug, Clone)]
pub(super) struct Recorder {
    log: EffectLog,
    number: u64,
}

impl Recorder {
    /// Creates a recorder with a number that is new in this log.
    pub(super) fn new(log: &EffectLog) -> Self {
        let number = {
            let mut state = lock(&log.state);
            state.recorders += 1;
            state.recorders
        };
        Self {
            log: log.clone(),
            number,
        }
    }

    pub(super) fn record(&self, effect: impl Into<Effect>) {
        self.log.push(effect.into(), Some(self.number));
    }

    /// Takes the effects that this recorder wrote, in order.
    pub(super) fn take(&self) -> impl Iterator<Item = Effect> + use<> {
        let own = {
            let mut state = lock(&self.log.state);
            let (own, others): (Vec<_>, _) = mem::take(&mut state.effects)
                .into_iter()
                .partition(|logged| logged.recorder == Some(self.number));
            state.effects = others;
            own
        };
        own.into_iter().map(|logged| logged.effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::samples::{ALLOCATION, LEADER, free_slot, request_slot};
    use crate::testing::{RecordingActions, ScriptedGateway};
    use crate::{ResourceManagerActions, ResourceProfile, TaskExecutorGateway, WorkerRequestId};

    /// Requests a worker, and returns the effect that the log must show.
    fn request_worker(actions: &mut RecordingActions, number: u64) -> Effect {
        let worker_request = WorkerRequestId::new(LEADER, number);
        let resource_profile = ResourceProfile::ZERO;
        actions
            .allocate_resource(worker_request, &resource_profile)
            .expect("declined, not an error");
        Action::AllocateResource {
            worker_request,
            resource_profile,
        }
        .into()
    }

    #[test]
    fn shared_log_has_the_effects_of_all_doubles_in_order() {
        let log = EffectLog::new();
        let mut actions = RecordingActions::with_log(&log);
        let mut left = ScriptedGateway::with_log(&log);
        let mut right = ScriptedGateway::with_log(&log);
        assert!(log.is_empty());

        let (request, free) = (request_slot(0, ALLOCATION, 1), free_slot(1, ALLOCATION, 2));
        drop(right.request_slot(&request));
        let first_worker = request_worker(&mut actions, 1);
        left.free_slot(&free);
        let second_worker = request_worker(&mut actions, 2);

        assert!(!log.is_empty());
        assert_eq!(
            log.take(),
            [
                Effect::Gateway(GatewayCall::RequestSlot(request)),
                first_worker,
                Effect::Gateway(GatewayCall::FreeSlot(free)),
                second_worker,
            ]
        );
        assert_eq!(log.take(), []);
    }

    #[test]
    fn double_takes_its_own_effects_from_the_log() {
        let log = EffectLog::new();
        let mut actions = RecordingActions::with_log(&log);
        let mut left = ScriptedGateway::with_log(&log);
        let mut right = ScriptedGateway::with_log(&log);
        let (to_left, to_right) = (free_slot(0, ALLOCATION, 1), free_slot(1, ALLOCATION, 2));

        right.free_slot(&to_right);
        left.free_slot(&to_left);
        let worker = request_worker(&mut actions, 1);

        assert_eq!(left.take_calls(), [GatewayCall::FreeSlot(to_left)]);
        assert_eq!(log.take(), [Effect::Gateway(GatewayCall::FreeSlot(to_right)), worker]);
        assert_eq!(actions.take(), []);
    }

    #[test]
    fn foreign_doubles_can_write_into_the_log() {
        let log = EffectLog::new();
        let call = GatewayCall::FreeSlot(free_slot(0, ALLOCATION, 1));
        log.record(call.clone());
        assert_eq!(log.take(), [call.into()]);
    }
}
