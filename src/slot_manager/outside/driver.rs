//! What is reported to the outside, and to whom.

use std::collections::TryReserveError;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;

use crate::{
    AllocateSlot, AllocationFailureCause, Capacity, Release, ReleaseCause, ReleaseDecision, ResourceManagerActions,
    ResourceManagerError, ScheduledExecutor, SlotRequest, TaskExecutorGateway, Timestamp, Withdrawal, WorkerPromise,
    WorkerRequestId,
};

use crate::slot_manager::collections::arena::Key;
use crate::slot_manager::outside::pending_answers::{PendingAnswers, RpcAnswer};
use crate::slot_manager::outside::rounds::Backlog;
use crate::slot_manager::rules::idle_release::BegunRelease;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::effects::{NotedRelease, Notification, NotificationKind, UnsentAttempt};
use crate::slot_manager::state::profile_queues::ProfileKey;
use crate::slot_manager::state::requests::RequestKey;
use crate::slot_manager::state::slots::RpcKey;
use crate::slot_manager::state::slots::{RpcState, SlotKey};
use crate::slot_manager::state::task_managers::TaskManagerKey;

type ResultOf<G> = <<G as TaskExecutorGateway>::RequestSlotFuture as Future>::Output;

/// The outside: the collaborators, what is awaited from them, and the armed delay.
pub(crate) struct Driver<A, G: TaskExecutorGateway, E: ScheduledExecutor> {
    pub(crate) actions: Option<A>,
    /// By the index of the key of the task manager.
    gateways: Vec<Option<G>>,
    pub(crate) pending_answers: PendingAnswers<G::RequestSlotFuture>,
    pub(crate) answers: Vec<RpcAnswer<ResultOf<G>>>,
    pub(crate) backlog: Backlog,
    pub(crate) executor: E,
    pub(crate) delay: Pin<Box<Option<E::Delay>>>,
    /// What the delay is polled with.
    pub(crate) delay_waker: Waker,
    /// The deadline the delay is armed for; `MAX` if there is none.
    pub(crate) armed_for: Timestamp,
    /// The earliest deadline for which the task was woken since its last poll; `MAX` if there is none.
    woken_for: Timestamp,
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
            backlog: Backlog::default(),
            executor,
            delay: Box::pin(None),
            armed_for: Timestamp::MAX,
            woken_for: Timestamp::MAX,
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        self.executor.now()
    }

    /// Takes the memory that the configuration asks for.
    pub(crate) fn try_reserve(&mut self, capacity: Capacity) -> Result<(), TryReserveError> {
        self.gateways.try_reserve(capacity.task_managers)
    }

    pub(crate) fn start(&mut self, actions: A) {
        self.actions = Some(actions);
    }

    pub(crate) fn actions_mut(&mut self) -> Option<&mut A> {
        self.actions.as_mut()
    }

    pub(crate) fn suspend(&mut self) -> Option<A> {
        let actions = self.actions.take()?;
        self.gateways = Vec::new();
        self.pending_answers.clear();
        self.answers.clear();
        self.backlog = Backlog::default();
        self.disarm();
        Some(actions)
    }

    pub(crate) fn insert_gateway(&mut self, index: usize, gateway: G) {
        if self.gateways.len() <= index {
            self.gateways.resize_with(index + 1, || None);
        }
        // There is room for it now.
        self.gateways[index] = Some(gateway);
    }

    pub(crate) fn remove_gateway(&mut self, index: usize) {
        if let Some(gateway) = self.gateways.get_mut(index) {
            *gateway = None;
        }
    }

    /// Says everything that waits to be reported, in the documented order, until the answers that come at once cause no
    /// more; then looks once at what there is too much and too little of. Returns whether an answer is awaited that was not
    /// before.
    #[inline]
    pub(crate) fn flush_and_reconcile(&mut self, core: &mut Core) -> bool {
        if core.effects.is_empty() && self.answers.is_empty() && !core.needs_reconcile() {
            return false;
        }
        self.flush_all(core, true)
    }

    /// The same without the look at the end.
    #[inline]
    pub(crate) fn flush(&mut self, core: &mut Core) -> bool {
        if core.effects.is_empty() && self.answers.is_empty() {
            return false;
        }
        self.flush_all(core, false)
    }

    fn flush_all(&mut self, core: &mut Core, reconciles: bool) -> bool {
        let mut has_pending_rpc = false;
        while !core.effects.is_empty() || !self.answers.is_empty() {
            if !self.answers.is_empty() {
                self.apply_answers(core);
            }
            if !core.effects.abandoned.is_empty() {
                self.drop_abandoned(core);
            }
            if core.effects.has_notifications() {
                self.send_notifications(core);
            }
            if !core.effects.frees.is_empty() {
                self.send_frees(core);
            }
            if !core.effects.slot_requests.is_empty() {
                has_pending_rpc |= self.send_slot_requests(core);
            }
            if !core.effects.worker_asks.is_empty() {
                self.ask_for_workers(core);
            }
            if !core.effects.releases.is_empty() {
                self.ask_for_releases(core);
            }
        }
        if reconciles {
            has_pending_rpc |= self.reconcile(core);
        }
        has_pending_rpc
    }

    /// Applies the answers at hand. Their futures are gone: none is to be dropped because of what another answer says.
    pub(crate) fn apply_answers(&mut self, core: &mut Core) {
        for answer in &self.answers {
            if core.current_attempt(answer.slot, answer.attempt).is_some() {
                core.set_rpc_state(answer.slot, RpcState::Answered);
            }
        }
        for answer in self.answers.drain(..) {
            core.apply_answer(answer.slot, answer.attempt, answer.result);
        }
    }

    fn drop_abandoned(&mut self, core: &mut Core) {
        for cell in core.effects.abandoned.drain(..) {
            self.pending_answers.drop_future(cell);
        }
    }

    fn send_notifications(&mut self, core: &mut Core) {
        let Some(actions) = &mut self.actions else {
            return;
        };
        let losses = &mut core.effects.losses;
        // Stable: what happened to one slot is told in the order in which it happened.
        core.effects.notifications.sort_by(|a, b| a.order(b, losses));
        let mut reported = None;
        for notification in core.effects.notifications.drain(..) {
            let Notification {
                job_id,
                allocation_id,
                kind,
            } = notification;
            match kind {
                NotificationKind::Allocated(slot_id) => actions.notify_slot_allocated(job_id, allocation_id, &slot_id),
                NotificationKind::Lost(lost) => {
                    actions.notify_allocation_failure(job_id, allocation_id, losses.cause(lost, &mut reported));
                }
                NotificationKind::Failed(failure) => {
                    let cause = AllocationFailureCause::RequestFailed(*failure);
                    actions.notify_allocation_failure(job_id, allocation_id, &cause);
                }
            }
        }
        losses.clear();
    }

    /// Says that a slot was granted, when nothing else is to be reported.
    #[inline]
    pub(crate) fn notify_slot_allocated(&mut self, request: &AllocateSlot) {
        if let Some(actions) = &mut self.actions {
            actions.notify_slot_allocated(request.job_id, request.allocation_id, &request.slot_id);
        }
    }

    fn send_frees(&mut self, core: &mut Core) {
        for (task_manager, free) in core.effects.frees.drain(..) {
            if let Some(Some(gateway)) = self.gateways.get_mut(task_manager.index()) {
                gateway.free_slot(free);
            }
        }
    }

    fn send_slot_requests(&mut self, core: &mut Core) -> bool {
        core.effects.slot_requests.sort_unstable();
        let mut has_pending_rpc = false;
        // Sending changes no slot but those it sends to: nothing is added or removed meanwhile.
        for at in 0..core.effects.slot_requests.len() {
            let UnsentAttempt { slot, attempt, .. } = core.effects.slot_requests[at];
            has_pending_rpc |= self.send_slot_request(core, slot, attempt);
        }
        core.effects.slot_requests.clear();
        has_pending_rpc
    }

    /// Calls the gateway for an attempt that is still wanted. Returns whether its answer is awaited.
    fn send_slot_request(&mut self, core: &mut Core, slot: SlotKey, number: u64) -> bool {
        let (Some(leader_id), Some(attempt)) = (core.leader_id, core.current_attempt(slot, number)) else {
            return false;
        };
        let request = &core.requests.records[attempt.request];
        let request = SlotRequest::new(
            request.job_id,
            request.allocation_id,
            core.profiles[request.profile].clone(),
            Arc::clone(&core.requests.addresses[request.target_address].0),
        );
        let request = core.request_slot(leader_id, slot, number, request);
        match self.call_gateway(core, slot, &request) {
            Some(answer) => self.take_answer(core, slot, number, answer),
            None => false,
        }
    }

    /// Calls the gateway of a slot, and polls the answer once. `None` if there is no gateway: never, while the slot is
    /// registered.
    #[inline]
    pub(crate) fn call_gateway(
        &mut self,
        core: &Core,
        slot: SlotKey,
        request: &AllocateSlot,
    ) -> Option<Result<ResultOf<G>, RpcKey>> {
        let task_manager = core.slots[slot].task_manager;
        let gateway = self.gateways.get_mut(task_manager.index())?.as_mut()?;
        let answer = gateway.request_slot(request);
        Some(self.pending_answers.start(slot, request.attempt, answer))
    }

    /// Takes note of what came of calling the gateway: an answer, to be applied with the effects, or the place where it
    /// is awaited. Returns whether it is awaited.
    pub(crate) fn take_answer(
        &mut self,
        core: &mut Core,
        slot: SlotKey,
        attempt: u64,
        answer: Result<ResultOf<G>, RpcKey>,
    ) -> bool {
        match answer {
            Ok(result) => {
                core.set_rpc_state(slot, RpcState::Answered);
                self.answers.push(RpcAnswer { attempt, slot, result });
                false
            }
            Err(cell) => {
                core.set_rpc_state(slot, RpcState::Awaited(cell));
                true
            }
        }
    }

    fn ask_for_workers(&mut self, core: &mut Core) {
        core.effects.worker_asks.sort_unstable();
        let asks = core.effects.worker_asks.len();
        for at in 0..asks {
            // Answers add to the list, and take nothing away.
            let (sequence, request) = core.effects.worker_asks[at];
            if let Some((worker_request, profile)) = core.begin_ask(sequence, request) {
                self.ask_for(core, request, worker_request, profile);
            }
        }
        // An answer may have left others to be asked for: that is next.
        core.effects.worker_asks.drain(..asks);
    }

    /// Asks for a worker for a request. Inlined, or each request that waits pays for the call.
    #[inline(always)]
    fn ask_for(&mut self, core: &mut Core, request: RequestKey, worker_request: WorkerRequestId, profile: ProfileKey) {
        let Some(actions) = &mut self.actions else {
            return;
        };
        let answer = actions.allocate_resource(worker_request, &core.profiles[profile]);
        let answer = Self::within_limits(core, actions, worker_request, answer);
        core.apply_promise(request, worker_request, answer);
    }

    /// An answer that promises more than the limits allow counts as declined, and what it promises is not wanted.
    #[inline]
    fn within_limits(
        core: &Core,
        actions: &mut A,
        worker_request: WorkerRequestId,
        answer: Result<WorkerPromise, ResourceManagerError>,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        if core.is_beyond_limits(worker_request, &answer) {
            let _: Withdrawal = actions.withdraw_resource(worker_request);
            return Ok(WorkerPromise::Declined);
        }
        answer
    }

    fn ask_for_releases(&mut self, core: &mut Core) {
        let mut at = 0;
        while let Some(noted) = core.effects.releases.get(at).copied() {
            self.ask_for_release(core, noted);
            at += 1;
        }
        core.effects.releases.clear();
    }

    fn ask_for_release(&mut self, core: &mut Core, noted: NotedRelease) {
        let task_manager = noted.task_manager;
        let check = match core.begin_release(noted) {
            None => return,
            Some(BegunRelease::Confirmed) => return self.release(core, task_manager),
            Some(BegunRelease::Check(check)) => check,
        };
        let Some(Some(gateway)) = self.gateways.get_mut(task_manager.index()) else {
            return;
        };
        match gateway.can_be_released(&check) {
            ReleaseDecision::Release => self.release(core, task_manager),
            ReleaseDecision::Keep => core.release_refused(task_manager),
            ReleaseDecision::Later => core.await_release_answer(task_manager, &check),
        }
    }

    /// Asks the resource manager to stop an idle task manager.
    fn release(&mut self, core: &mut Core, task_manager: TaskManagerKey) {
        let record = &core.task_managers.records[task_manager];
        let (Some(actions), Some(idle_since)) = (&mut self.actions, record.idle_since) else {
            return;
        };
        let instance_id = record.instance_id;
        let cause = ReleaseCause::IdleTimeout {
            idle_since,
            idle_period: record.idle_periods,
        };
        let release = actions.release_resource(instance_id, cause);
        tracing::info!(%instance_id, ?release, "idle task manager: release asked for");
        // If declined, it is asked again after another idle timeout: that is armed already.
        if release == Release::Accepted {
            core.counters.task_managers_released += 1;
            core.forget_idle_task_manager(task_manager);
            self.remove_gateway(task_manager.index());
        }
    }

    /// Looks once, when all has been reported, at what there is too much and too little of.
    #[inline]
    pub(crate) fn reconcile(&mut self, core: &mut Core) -> bool {
        core.needs_reconcile() && self.reconcile_all(core)
    }

    #[inline(never)]
    fn reconcile_all(&mut self, core: &mut Core) -> bool {
        core.fail_all_unfulfillable();
        let mut has_pending_rpc = self.flush(core);
        self.withdraw_workers(core);
        while let Some(kept) = core.next_kept_to_release() {
            self.ask_for_release(core, kept);
        }
        // The last slot that fitted some may be gone by that.
        core.fail_all_unfulfillable();
        has_pending_rpc |= self.flush(core);
        while let Some((request, worker_request, profile)) = core.begin_deferred_ask() {
            self.ask_for(core, request, worker_request, profile);
        }
        self.ask_for_reserve_workers(core);
        self.flush(core) || has_pending_rpc
    }

    fn withdraw_workers(&mut self, core: &mut Core) {
        let Some(actions) = &mut self.actions else {
            return;
        };
        while let Some(worker_request) = core.begin_withdrawal() {
            let withdrawal = actions.withdraw_resource(worker_request);
            core.apply_withdrawal(worker_request, withdrawal);
        }
    }

    fn ask_for_reserve_workers(&mut self, core: &mut Core) {
        let Some(actions) = &mut self.actions else {
            return;
        };
        for _ in 0..core.missing_workers() {
            let Some((worker_request, profile)) = core.begin_reserve_ask() else {
                return;
            };
            let answer = actions.allocate_resource(worker_request, &profile);
            let answer = Self::within_limits(core, actions, worker_request, answer);
            if !core.apply_reserve_promise(worker_request, answer) {
                return;
            }
        }
    }

    /// Keeps the waker of the task that drives the manager, which is looking at everything right now.
    pub(crate) fn keep_waker(&mut self, waker: &Waker) {
        self.pending_answers.signal().register(waker);
        self.woken_for = Timestamp::MAX;
    }

    /// Wakes the task that drives the manager if an input left it something that it does not wait for yet, and was not
    /// woken for already.
    #[inline]
    pub(crate) fn wake_after_input(&mut self, core: &Core, has_pending_rpc: bool) {
        let deadline = core.earliest_deadline();
        if has_pending_rpc || deadline < self.armed_for.min(self.woken_for) {
            self.woken_for = deadline;
            self.pending_answers.signal().wake_task();
        }
    }

    pub(crate) fn disarm(&mut self) {
        self.delay.set(None);
        self.armed_for = Timestamp::MAX;
    }
}
