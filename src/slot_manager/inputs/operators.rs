//! Inputs from operators, and the answers of task executors to release checks.

use crate::message::{ReleaseCheck, ReleaseDecision};
use crate::outcome::{BlockOutcome, ReleaseAnswerOutcome, UnblockOutcome};
use crate::{ResourceId, ResourceManagerActions, ScheduledExecutor, SlotManager, TaskExecutorGateway};

/// Inputs from operators, and decisions of task executors.
impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// Blocks a worker: its free slots are not offered.
    ///
    /// Grants and attempts in flight stay. A blocked worker can still register and fulfil promises.
    /// Once idle it is released, even if the minimum or redundancy would keep it. The id stays
    /// blocked until [`unblock`](Self::unblock), registered or not (FLINK-28145), and in later
    /// leaderships of this manager, too. A worker can be blocked at any time. After the
    /// [end](Self::start_until) of a leadership, the slots show it once the leadership is renewed.
    ///
    /// Cost: O(its slots).
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, slot_id) = (InstanceId::from_u128(1), SlotId::new("worker-1", 0));
    /// # let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]);
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, ScriptedGateway::new());
    /// # let registered = manager.register_task_manager(connection, &report)?;
    /// let worker = ResourceId::new("worker-1");
    /// assert_eq!(manager.block(&worker), BlockOutcome::Blocked);
    /// assert_eq!(manager.block(&worker), BlockOutcome::AlreadyBlocked);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn block(&mut self, resource_id: &ResourceId) -> BlockOutcome {
        let leads = self.begin_input().is_ok();
        let outcome = self.core.block(resource_id);
        if outcome == BlockOutcome::Blocked {
            self.finish_order(leads);
        }
        outcome
    }

    /// Unblocks a worker: its free slots go to waiting requests at once, or are offered again.
    ///
    /// It is possible at any time, as [`block`](Self::block) is.
    ///
    /// Cost: O(its slots) + matching for each.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, slot_id) = (InstanceId::from_u128(1), SlotId::new("worker-1", 0));
    /// # let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]);
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, ScriptedGateway::new());
    /// # let registered = manager.register_task_manager(connection, &report)?;
    /// let worker = ResourceId::new("worker-1");
    /// assert_eq!(manager.unblock(&worker), UnblockOutcome::NotBlocked);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unblock(&mut self, resource_id: &ResourceId) -> UnblockOutcome {
        let leads = self.begin_input().is_ok();
        let outcome = self.core.unblock(resource_id);
        if outcome == UnblockOutcome::Unblocked {
            self.finish_order(leads);
        }
        outcome
    }

    /// Returns the blocked workers, by id, registered or not.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let mut manager: SlotManager<RecordingActions, ScriptedGateway, _> =
    /// #     SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// // The worker may come later.
    /// let worker = ResourceId::new("worker-1");
    /// assert_eq!(manager.block(&worker), BlockOutcome::Blocked);
    /// assert!(manager.blocked_workers().eq([&worker]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn blocked_workers(&self) -> impl Iterator<Item = &ResourceId> {
        self.core.blocking.workers.iter()
    }

    /// Finishes an order of an operator that has changed something. Without a leadership it has no
    /// effect outside yet.
    fn finish_order(&mut self, leads: bool) {
        match leads {
            true => self.finish_input(),
            false => self.core.changes += 1,
        }
    }

    /// Turns failing of unfulfillable requests on or off. The setting outlives the leadership.
    ///
    /// A request is unfulfillable if all of this holds:
    ///
    /// - No registered slot fits it, used or not, and no promised slot.
    /// - No worker could be started for it: a worker of the
    ///   [description](crate::config::WorkerPolicy::description) does not fit it or alone
    ///   exceeds a limit. Without a description: the resource manager declined to start one.
    ///
    /// Such a request fails with
    /// [`RequestFailure::Unfulfillable`](crate::message::RequestFailure::Unfulfillable). The
    /// failure is the error of its registration, or a later notification: when this is turned on,
    /// when a slot or a promise is lost, or when a worker request is declined again. During the
    /// [grace period](crate::SlotManagerConfig::unfulfillable_grace_period) no request fails so
    /// (FLINK-13555).
    ///
    /// Cost: O(1) when it is turned off. When it is turned on: O(distinct profiles of waiting
    /// requests x distinct profiles of slots + requests that may fail).
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, slot_id) = (InstanceId::from_u128(1), SlotId::new("worker-1", 0));
    /// # let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]);
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, ScriptedGateway::new());
    /// # let registered = manager.register_task_manager(connection, &report)?;
    /// manager.set_fail_unfulfillable_requests(true);
    /// assert!(manager.fails_unfulfillable_requests());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_fail_unfulfillable_requests(&mut self, fail: bool) {
        let changes = self.core.worker_policy.set_fails_unfulfillable(fail);
        let leads = self.begin_input().is_ok();
        if changes {
            self.finish_order(leads);
        }
    }

    /// Returns `true` if unfulfillable requests fail, as configured or set last. During the grace
    /// period none fails all the same.
    pub fn fails_unfulfillable_requests(&self) -> bool {
        self.core.worker_policy.fails_unfulfillable()
    }

    /// Applies the decision of a task executor that [decides
    /// later](crate::message::ReleaseDecision::Later).
    ///
    /// The task manager is released only while the release check is open: within its timeout, and
    /// while no slot was used since. It is kept if the minimum or
    /// [redundancy](crate::config::WorkerPolicy::redundant_task_managers) needs it by now.
    ///
    /// Cost: O(its slots) if it is released, else O(1).
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let clock = ManualScheduledExecutor::new();
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), clock.clone())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, slot_id) = (InstanceId::from_u128(1), SlotId::new("worker-1", 0));
    /// # let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]);
    /// # let gateway = ScriptedGateway::new();
    /// # gateway.answer_release_checks(ReleaseDecision::Later);
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, gateway.clone());
    /// # let registered = manager.register_task_manager(connection, &report)?;
    /// clock.advance(manager.config().task_manager_timeout);
    /// assert_eq!(manager.run_until_stalled(), 1);
    /// // The idle timeout is over: the manager has sent the first release check.
    /// let check = ReleaseCheck { instance_id, leader_id: LeaderId::from_u128(1), number: 1 };
    /// let outcome = manager.answer_release(&check, ReleaseDecision::Release);
    /// assert_eq!(outcome, ReleaseAnswerOutcome::Released);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn answer_release(&mut self, check: &ReleaseCheck, decision: ReleaseDecision) -> ReleaseAnswerOutcome {
        if self.begin_input().is_err() {
            return ReleaseAnswerOutcome::Unknown;
        }
        let outcome = self.core.answer_release(check, decision);
        if outcome == ReleaseAnswerOutcome::Stays {
            self.finish_input();
            if self.core.task_managers.by_instance(&check.instance_id).is_none() {
                return ReleaseAnswerOutcome::Released;
            }
        }
        outcome
    }
}
