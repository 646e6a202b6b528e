//! Traits that all public types implement: `Debug`, `Send`, `Sync`, and for errors `Error`, `Clone`
//! and `PartialEq`.
#![allow(unused_must_use, reason = "the steps that lead to a state are judged by the state")]

mod common;

use std::fmt::Debug;
use std::future::Pending;

use slot_manager::config::{Capacity, Limit, WorkerDescription, WorkerPolicy};
use slot_manager::error::{
    ConfigError, Conflict, InvalidReport, InvariantViolation, NotStarted, ParseIdError, RegistrationError,
    ResourceManagerError, ResourceProfileError, SlotAllocationError, SlotManagerError, SlotReportError,
    SlotRequestError, StartError, WorkerDescriptionError,
};
use slot_manager::matching::{Candidate, SlotMatchingStrategy, SlotOrder};
use slot_manager::message::{
    Acknowledge, AllocateSlot, AllocationFailureCause, AttemptId, FreeSlot, GrantLoss, NoFuture, Release, ReleaseCause,
    ReleaseCheck, ReleaseDecision, ReleaseResource, RequestFailure, SlotAnswer, SlotFreed, WithdrawResource,
    Withdrawal, WithdrawalCause, WorkerPromise,
};
use slot_manager::outcome::{
    AllocationStatus, BlockOutcome, CancelOutcome, RecoveryOutcome, RegistrationOutcome, ReleaseAnswerOutcome,
    RenewalOutcome, ReportOutcome, SlotAnswerOutcome, SlotFreedOutcome, SlotRequestOutcome, Stale, UnblockOutcome,
    UnregistrationOutcome, WorkerFailedOutcome,
};
use slot_manager::overview::{Counters, Overview, Resources, SlotCounts, SlotOverview, TaskManagerOverview};
use slot_manager::task_executor::{AnswerSender, ChannelGateway, PendingAnswer, TaskExecutorMessage, TaskSlotTable};
use slot_manager::testing::{
    Action, Delivery, Effect, EffectLog, GatewayAnswer, GatewayCall, GatewayMessage, ManualDelay,
    ManualScheduledExecutor, NotPending, RecordingActions, ScriptedGateway, SimulatedGateway, SimulatedTaskExecutor,
};
use slot_manager::view::{
    Page, PageCursor, PendingSlotRequest, PendingSlotRequestSnapshot, PromisedSlot, PromisedSlotSnapshot,
    PromisedWorker, PromisedWorkerSnapshot, SlotState, TaskManagerRegistration, TaskManagerSlot,
    TaskManagerSlotSnapshot, TaskManagerSnapshot,
};
use slot_manager::{
    AllocationId, DynamicResources, InstanceId, JobId, LeaderId, ResourceAmounts, ResourceId, ResourceManagerActions,
    ResourceProfile, ResourceProfileBuilder, ResourceProfileKind, ScheduledExecutor, SlotId, SlotManager,
    SlotManagerConfig, SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection, TaskExecutorGateway, Timestamp,
    TokioScheduledExecutor, WorkerRequestId,
};

use common::{Fixture, report, small};

fn can<T: Debug + Send + Sync>() {}

fn errors_can<T: std::error::Error + Clone + PartialEq + Send + Sync + 'static>() {}

macro_rules! each {
    ($can:ident: $($type:ty),+ $(,)?) => {
        $($can::<$type>();)+
    };
}

#[test]
fn every_type_can_be_printed_and_sent_and_shared() {
    each!(can: Acknowledge, AllocationFailureCause, AllocationId, AllocationStatus, BlockOutcome, CancelOutcome,
    Candidate<'_>, Capacity, Conflict, DynamicResources, FreeSlot, SlotFreedOutcome, GrantLoss, InstanceId, InvariantViolation, JobId, LeaderId, Limit, PendingSlotRequest<'_>, PromisedSlot<'_>, PromisedWorker<'_>, RegistrationOutcome, Release,
        ReleaseDecision, ReleaseAnswerOutcome, ReleaseCause, ReleaseCheck, ReportOutcome, RequestFailure, AllocateSlot,
        ResourceAmounts, ResourceId, ResourceProfile, ResourceProfileBuilder, ResourceProfileKind, SlotCounts, SlotId, SlotManagerConfig,
        SlotMatchingStrategy, SlotOrder, SlotReport, SlotRequest, SlotRequestOutcome, SlotState, SlotStatus, Stale,
        TaskExecutorConnection<()>, TaskManagerRegistration<'_>, TaskManagerSlot<'_>, Timestamp, TokioScheduledExecutor,
        UnblockOutcome, UnregistrationOutcome, Withdrawal, WorkerDescription, WorkerFailedOutcome, WorkerPolicy,
        WorkerPromise, WorkerRequestId);
    each!(can: Counters, Overview, Page<()>, PageCursor, PendingSlotRequestSnapshot, PromisedSlotSnapshot, PromisedWorkerSnapshot, Resources,
        SlotOverview, TaskManagerOverview, TaskManagerSlotSnapshot, TaskManagerSnapshot);
    each!(can: Action, Delivery, Effect, EffectLog, GatewayAnswer, GatewayCall, GatewayMessage,
        ManualDelay, ManualScheduledExecutor, NotPending, RecordingActions, ScriptedGateway, SimulatedGateway,
        SimulatedTaskExecutor);
    each!(can: AnswerSender, AttemptId, ChannelGateway, NoFuture, PendingAnswer, RecoveryOutcome, ReleaseResource,
        RenewalOutcome, SlotAnswer<NoFuture>, SlotAnswerOutcome, SlotFreed, TaskExecutorMessage, TaskSlotTable,
        WithdrawResource, WithdrawalCause);
}

#[test]
fn every_error_can_be_compared_and_kept() {
    each!(errors_can: AllocationFailureCause, ConfigError, GrantLoss, InvalidReport, NotPending, NotStarted, ParseIdError, RegistrationError, RequestFailure,
        ResourceManagerError, ResourceProfileError, SlotAllocationError, SlotManagerError, SlotReportError,
        SlotRequestError, StartError, WorkerDescriptionError);
}

/// Parts of a manager that do not implement `Debug`.
struct Opaque;

impl ResourceManagerActions for Opaque {
    fn allocate_resource(
        &mut self,
        _: WorkerRequestId,
        _: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        Ok(WorkerPromise::Declined)
    }

    fn release_resource(&mut self, _: &ReleaseResource) -> Release {
        Release::Declined
    }

    fn notify_allocation_failure(&mut self, _: JobId, _: AllocationId, _: &AllocationFailureCause) {}
}

impl TaskExecutorGateway for Opaque {
    type RequestSlotFuture = NoFuture;

    fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<NoFuture> {
        SlotAnswer::Ready(Ok(Acknowledge::new()))
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}

impl ScheduledExecutor for Opaque {
    type Delay = Pending<()>;

    fn now(&self) -> Timestamp {
        Timestamp::ZERO
    }

    fn delay_until(&mut self, _: Timestamp) -> Pending<()> {
        std::future::pending()
    }
}

#[test]
fn manager_is_debug_even_if_its_parts_are_not() {
    // given
    let mut manager: SlotManager<Opaque, Opaque, Opaque> =
        SlotManager::new(SlotManagerConfig::default(), Opaque).expect("a valid configuration");

    // when, then
    assert!(format!("{manager:?}").starts_with("SlotManager { leader_id: None, task_managers: 0, "));
    manager.start(LeaderId::from_u128(1), Opaque).expect("not started");
    assert!(format!("{manager:?}").contains("leader_id: Some"));
}

/// A manager is printed in log lines, so it prints counts and never its contents.
#[test]
fn manager_prints_its_counts() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(7), None, None]));
    fixture.request(1, &small());
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(2, &common::profile(9.0, 0));

    // when, then
    assert_eq!(
        format!("{:?}", fixture.manager),
        "SlotManager { leader_id: Some(LeaderId(00000000000000000000000000000001)), task_managers: 1, \
         slots: SlotCounts { registered: 3, free: 1, blocked: 0, in_flight: 0, allocated: 2 }, \
         pending_slot_requests: 1, promised_slots: 1, .. }"
    );
}
