//! The collaborators outside the manager, and how effects leave.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;

use crate::error::ResourceManagerError;
use crate::message::{
    AllocateSlot, Allocation, Release, ReleaseCheck, ReleaseDecision, ReleaseResource, SlotAnswer, SlotResult,
    WithdrawResource, Withdrawal, WorkerPromise,
};
use crate::{
    ResourceManagerActions, ResourceProfile, ScheduledExecutor, SlotId, TaskExecutorGateway, Timestamp, WorkerRequestId,
};

use super::pending_answers::{PendingAnswers, RpcAnswer};
use super::rounds::Backlog;
use crate::slot_manager::collections::arena::Key;
use crate::slot_manager::rules::Outside;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::effects::RequirementEffect;
use crate::slot_manager::state::effects::UnsentAttempt;
use crate::slot_manager::state::notifications::Event;
use crate::slot_manager::state::slots::{RpcState, SlotKey};
use crate::slot_manager::state::task_managers::TaskManagerKey;
use crate::slot_manager::state::transaction::DroppedGrant;

/// The collaborators, the answers they owe, and the armed delay.
pub(crate) struct Driver<A, G: TaskExecutorGateway, E: ScheduledExecutor> {
    /// Set from `start` to `suspend`.
    pub(crate) actions: Option<A>,
    /// By the index of the task manager's key.
    gateways: Vec<Option<RegisteredGateway<G>>>,
    pub(crate) pending_answers: PendingAnswers<G::RequestSlotFuture>,
    /// Answers at hand, not applied yet.
    pub(crate) answers: Vec<RpcAnswer>,
    /// Set when an RPC became pending since the driving task was last woken.
    pub(crate) has_new_rpc: bool,
    pub(crate) backlog: Backlog,
    pub(crate) executor: E,
    pub(crate) delay: Pin<Box<Option<E::Delay>>>,
    /// Polls the delay.
    pub(crate) delay_waker: Waker,
    /// The deadline for which the delay is armed; `MAX` if it is not. All deadlines before it are new
    /// since then.
    pub(crate) armed_for: Timestamp,
}

/// The gateway of a registration.
struct RegisteredGateway<G> {
    gateway: G,
    /// Set once it was checked that the task executor sends revisions.
    is_checked: bool,
}

impl<A, G, E> Driver<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    pub(crate) fn new(executor: E) -> Self {
        let pending_answers = PendingAnswers::new();
        Self {
            actions: None,
            gateways: Vec::new(),
            delay_waker: Waker::from(Arc::clone(pending_answers.signal())),
            pending_answers,
            answers: Vec::new(),
            has_new_rpc: false,
            backlog: Backlog::default(),
            executor,
            delay: Box::pin(None),
            armed_for: Timestamp::MAX,
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        self.executor.now()
    }

    /// Reserves memory for the gateways of this many task managers.
    pub(crate) fn reserve(&mut self, task_managers: usize) {
        self.gateways.reserve(task_managers);
    }

    pub(crate) fn start(&mut self, actions: A) {
        self.actions = Some(actions);
    }

    pub(crate) fn suspend(&mut self) -> Option<A> {
        let actions = self.actions.take()?;
        // First the futures: a gateway that drops their senders then wakes no task.
        self.pending_answers.clear();
        self.gateways = Vec::new();
        self.answers.clear();
        self.has_new_rpc = false;
        self.backlog = Backlog::default();
        self.disarm();
        Some(actions)
    }

    /// Keeps the gateway of a new registration, and confirms the registration.
    pub(crate) fn insert_gateway(&mut self, core: &mut Core, task_manager: TaskManagerKey, mut gateway: G) {
        // The new registration may have the key of an ended one.
        self.drop_ended_gateways(core);
        gateway.confirm_registration();
        let index = task_manager.index();
        if self.gateways.len() <= index {
            self.gateways.resize_with(index + 1, || None);
        }
        // The line above made room.
        self.gateways[index] = Some(RegisteredGateway {
            gateway,
            is_checked: false,
        });
    }

    /// Drops the gateways of registrations that ended.
    fn drop_ended_gateways(&mut self, core: &mut Core) {
        for task_manager in core.effects.ended_registrations.drain(..) {
            self.drop_gateway(task_manager);
        }
    }

    /// Drops the gateway of a registration that ended.
    #[inline]
    pub(crate) fn drop_gateway(&mut self, task_manager: TaskManagerKey) {
        if let Some(gateway) = self.gateways.get_mut(task_manager.index()) {
            *gateway = None;
        }
    }
}

impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> Driver<A, G, E> {
    /// Returns the gateway of a registration.
    pub(crate) fn gateway(&self, task_manager: TaskManagerKey) -> Option<&G> {
        let registered = self.gateways.get(task_manager.index())?.as_ref()?;
        Some(&registered.gateway)
    }

    /// Returns the gateway of a registration.
    pub(crate) fn gateway_mut(&mut self, task_manager: TaskManagerKey) -> Option<&mut G> {
        let registered = self.gateways.get_mut(task_manager.index())?.as_mut()?;
        Some(&mut registered.gateway)
    }
}

/// Warns if the task manager has reported no revision: its answers by futures can overtake its
/// reports.
#[cold]
fn warn_without_revision(core: &Core, task_manager: TaskManagerKey) {
    let owner = &core.task_managers.records[task_manager];
    if owner.reported_revision().is_none() {
        tracing::warn!(
            resource_id = %owner.resource_id,
            "reports have no revision beside answers by futures: an answer that overtakes a report loses its grant"
        );
    }
}

/// Effects.
impl<A, G, E> Driver<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// Flushes all effects, then reconciles.
    #[inline(always)]
    pub(crate) fn flush_and_reconcile(&mut self, core: &mut Core) {
        self.flush(core);
        if core.needs_reconcile() {
            core.reconcile(self);
        }
    }

    /// Flushes in rounds: each sends the effects by kind and commits. Answers at hand may cause
    /// another round.
    #[inline(never)]
    fn flush_rounds(&mut self, core: &mut Core) {
        // Effects come from a change, also when an input has noted none.
        core.changes += 1;
        while self.has_work(core) {
            if !core.effects.ended_registrations.is_empty() {
                self.drop_ended_gateways(core);
            }
            if !self.answers.is_empty() {
                self.apply_answers(core);
            }
            if !core.effects.abandoned.is_empty() {
                self.drop_abandoned(core);
            }
            if !core.effects.notifications.is_empty() {
                self.send_notifications(core);
            }
            if !core.effects.of_requirements.is_empty() {
                self.send_shortages(core);
            }
            if !core.effects.frees.is_empty() {
                self.send_frees(core);
            }
            if !core.effects.of_requirements.is_empty() {
                self.send_inactive_frees(core);
            }
            if !core.effects.slot_requests.is_empty() {
                self.send_slot_requests(core);
            }
            if !core.effects.withdrawals.is_empty() {
                core.withdraw_ended_worker_requests(self);
            }
            if !core.effects.worker_asks.is_empty() {
                core.request_workers(self);
            }
            if !core.effects.releases.is_empty() {
                core.release_noted_task_managers(self);
            }
            core.commit();
        }
    }

    #[inline]
    fn has_work(&self, core: &Core) -> bool {
        !core.effects.is_empty() || !self.answers.is_empty()
    }

    /// Applies the answers at hand.
    pub(crate) fn apply_answers(&mut self, core: &mut Core) {
        for RpcAnswer { slot, attempt, result } in self.answers.drain(..) {
            core.apply_answer(slot, attempt, result);
        }
    }

    fn drop_abandoned(&mut self, core: &mut Core) {
        for abandoned in core.effects.abandoned.drain(..) {
            self.pending_answers.drop_future(abandoned.rpc, abandoned.attempt);
        }
    }

    fn send_notifications(&mut self, core: &mut Core) {
        let Some(actions) = &mut self.actions else {
            return;
        };
        core.effects.notifications.send_all(|allocation, event| {
            let Allocation {
                id: allocation_id,
                job: job_id,
            } = allocation;
            match event {
                Event::Granted(slot_id) => actions.notify_slot_allocated(job_id, allocation_id, slot_id),
                Event::Failed(cause) => actions.notify_allocation_failure(job_id, allocation_id, cause),
            }
        });
    }

    /// Notifies a grant of a fast path, where no other notification waits.
    #[inline]
    pub(crate) fn notify_slot_allocated(&mut self, allocation: Allocation, slot_id: &SlotId) {
        if let Some(actions) = &mut self.actions {
            actions.notify_slot_allocated(allocation.job, allocation.id, slot_id);
        }
    }

    /// Notifies the dropped grants of a fast path as lost, where no other notification waits.
    #[inline]
    pub(crate) fn notify_losses(&mut self, core: &mut Core) {
        let notifications = &mut core.effects.notifications;
        if let Some(actions) = &mut self.actions {
            for DroppedGrant { slot, allocation } in core.transaction.dropped.drain(..) {
                actions.notify_allocation_failure(allocation.job, allocation.id, notifications.cause_of(slot));
            }
        }
        notifications.forget_losses();
    }

    fn send_frees(&mut self, core: &mut Core) {
        for (task_manager, free) in core.effects.frees.drain(..) {
            if let Some(gateway) = self.gateway_mut(task_manager) {
                gateway.free_slot(&free);
            }
        }
    }

    fn send_shortages(&mut self, core: &mut Core) {
        let Some(actions) = &mut self.actions else {
            return;
        };
        let mut effects = std::mem::take(&mut core.effects.of_requirements);
        effects.retain(|effect| {
            let RequirementEffect::Shortage(job_id, cause) = effect else {
                return true;
            };
            if let Some(shortage) = core.shortage(*job_id, cause) {
                actions.notify_not_enough_resources(*job_id, &shortage);
            }
            false
        });
        core.effects.of_requirements = effects;
    }

    /// Sends the messages about inactive slots. The shortages have been sent.
    fn send_inactive_frees(&mut self, core: &mut Core) {
        for effect in core.effects.of_requirements.drain(..) {
            if let RequirementEffect::FreeInactive(task_manager, request) = effect {
                if let Some(gateway) = self.gateway_mut(task_manager) {
                    gateway.free_inactive_slots(&request);
                }
            }
        }
    }

    fn send_slot_requests(&mut self, core: &mut Core) {
        core.effects.slot_requests.sort_unstable();
        let mut message = None;
        // Sending adds no slot request and ends no other attempt.
        for at in 0..core.effects.slot_requests.len() {
            let UnsentAttempt { slot, attempt, .. } = core.effects.slot_requests[at];
            // The attempt may have ended meanwhile.
            if let Some(request) = core.message_of(slot, attempt, &mut message) {
                match self.request_slot(core, slot, request) {
                    Some(Ok(rpc)) => core.await_answer(slot, rpc),
                    Some(Err(result)) => self.take_result(core, slot, attempt, result),
                    None => {}
                }
            }
        }
        core.effects.slot_requests.clear();
    }

    /// Calls the gateway of a slot, and polls the future of its answer once. Returns how the answer
    /// is awaited, or the result that is at hand.
    ///
    /// Returns `None` without a gateway: never, because a registered slot has one.
    #[inline(always)]
    pub(crate) fn request_slot(
        &mut self,
        core: &Core,
        slot: SlotKey,
        request: &AllocateSlot,
    ) -> Option<Result<RpcState, SlotResult>> {
        let task_manager = core.slots[slot].task_manager;
        let Some(Some(registered)) = self.gateways.get_mut(task_manager.index()) else {
            debug_assert!(false, "task manager {task_manager:?} has no gateway");
            return None;
        };
        let future = match registered.gateway.request_slot(request) {
            SlotAnswer::Ready(result) => return Some(Err(result)),
            SlotAnswer::Later => return Some(Ok(RpcState::AwaitedAsInput)),
            SlotAnswer::Future(future) => future,
        };
        let answer = self.pending_answers.start(slot, request.attempt, future);
        Some(match answer {
            Ok(result) => Err(result),
            Err(rpc) => {
                if !registered.is_checked {
                    registered.is_checked = true;
                    warn_without_revision(core, task_manager);
                }
                self.has_new_rpc = true;
                Ok(RpcState::Awaited(rpc))
            }
        })
    }

    /// Applies an acknowledgement that only grants the slot. Queues any other result: it may cause
    /// effects, which are sent after those of this round.
    #[inline]
    pub(crate) fn take_result(&mut self, core: &mut Core, slot: SlotKey, attempt: u64, result: SlotResult) {
        if let Ok(acknowledge) = &result {
            if self.answers.is_empty() && core.grant_answered(slot, attempt, acknowledge.revision()) {
                return;
            }
        }
        core.note_answered(slot);
        self.answers.push(RpcAnswer { attempt, slot, result });
    }
}

impl<A, G, E> Outside for Driver<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    // Rules run only while the manager is started: the answers for the other case are never used.

    #[inline]
    fn allocate_resource(
        &mut self,
        worker_request: WorkerRequestId,
        resource_profile: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        match &mut self.actions {
            Some(actions) => actions.allocate_resource(worker_request, resource_profile),
            None => Ok(WorkerPromise::Declined),
        }
    }

    fn withdraw_resource(&mut self, withdraw: &WithdrawResource) -> Withdrawal {
        match &mut self.actions {
            Some(actions) => actions.withdraw_resource(withdraw),
            None => Withdrawal::TooLate,
        }
    }

    fn release_resource(&mut self, task_manager: TaskManagerKey, release: &ReleaseResource) -> Release {
        let answer = match &mut self.actions {
            Some(actions) => actions.release_resource(release),
            None => Release::Declined,
        };
        if let (Release::Accepted, Some(gateway)) = (answer, self.gateway_mut(task_manager)) {
            gateway.stop(release);
        }
        answer
    }

    fn can_be_released(&mut self, task_manager: TaskManagerKey, check: &ReleaseCheck) -> ReleaseDecision {
        match self.gateway_mut(task_manager) {
            Some(gateway) => gateway.can_be_released(check),
            None => ReleaseDecision::Keep,
        }
    }

    #[inline]
    fn flush(&mut self, core: &mut Core) {
        core.commit();
        if self.has_work(core) {
            self.flush_rounds(core);
        }
    }
}
