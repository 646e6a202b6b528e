//! Compile tests: a call whose outcome is ignored is a warning.
//!
//! Each test has two halves that differ only in the use of the outcome. The first compiles. The
//! second does not, because it denies the warning.

/// The beginning of each half: a function that has an argument for each kind of input.
macro_rules! beginning {
    () => {
        "use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
        use slot_manager::{error::*, message::*, outcome::*, *};

        type Manager = SlotManager<RecordingActions, ScriptedGateway, ManualScheduledExecutor>;

        struct Arguments<'a> {
            connection: TaskExecutorConnection<ScriptedGateway>,
            report: &'a SlotReport,
            request: SlotRequest,
            requirements: &'a ResourceRequirements,
            attempt_id: AttemptId,
            freed: &'a SlotFreed,
            check: &'a ReleaseCheck,
            worker_request: WorkerRequestId,
        }

        fn call(manager: &mut Manager, with: Arguments<'_>) -> Result<(), SlotManagerError> {
        "
    };
}

macro_rules! is_warned_about {
    ($($name:ident: $call:literal;)*) => {
        $(
            #[doc = concat!(
                "```\n", beginning!(), "let _outcome = ", $call, "; Ok(()) }\n```\n\n",
                "```compile_fail\n#![deny(unused_must_use)]\n", beginning!(), $call, "; Ok(()) }\n```\n",
            )]
            struct $name;
        )*
    };
}

is_warned_about! {
    Start: "manager.start(LeaderId::from_u128(1), RecordingActions::new())";
    RenewLeadership: "manager.renew_leadership(Timestamp::MAX)";
    RegisterSlotRequest: "manager.register_slot_request(with.request)?";
    UnregisterSlotRequest: "manager.unregister_slot_request(AllocationId::from_u128(1))";
    DeclareRequirements: "manager.declare_requirements(with.requirements)?";
    SlotFreed: "manager.slot_freed(with.freed)";
    RegisterTaskManager: "manager.register_task_manager(with.connection, with.report)?";
    ReportSlotStatus: "manager.report_slot_status(InstanceId::from_u128(1), with.report)?";
    UnregisterTaskManager: "manager.unregister_task_manager(InstanceId::from_u128(1), \"lost\")";
    AnswerSlotRequest: "manager.answer_slot_request(with.attempt_id, Ok(Acknowledge::new()))";
    AnswerRelease: "manager.answer_release(with.check, ReleaseDecision::Keep)";
    WorkerFailed: "manager.worker_failed(with.worker_request, \"lost\")";
    ExpectWorkers: "manager.expect_workers([])";
    EndRecovery: "manager.end_recovery()";
    Block: "manager.block(&ResourceId::new(\"worker-1\"))";
    Unblock: "manager.unblock(&ResourceId::new(\"worker-1\"))";
}
