//! The lives of gateways, and the state after a panic of an action or a gateway.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use slot_manager::error::ResourceManagerError;
use slot_manager::message::{
    Acknowledge, AllocateSlot, AllocationFailureCause, FreeSlot, NoFuture, Release, ReleaseCheck, ReleaseDecision,
    ReleaseResource, SlotAnswer, WithdrawResource, Withdrawal, WorkerPromise,
};
use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
use slot_manager::testing::{ManualScheduledExecutor, RecordingActions};
use slot_manager::{
    AllocationId, JobId, LeaderId, ResourceManagerActions, ResourceProfile, SlotId, SlotManager, SlotManagerConfig,
    TaskExecutorConnection, TaskExecutorGateway, WorkerRequestId,
};

use crate::common::{SECOND, allocation, granted, instance, patient, report, request, slot, small};

/// A gateway that counts as long as it lives.
struct Counted(#[expect(dead_code, reason = "it is only counted")] Rc<()>);

impl TaskExecutorGateway for Counted {
    type RequestSlotFuture = NoFuture;

    fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<NoFuture> {
        SlotAnswer::Ready(Ok(Acknowledge::new()))
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}

type Manager = SlotManager<RecordingActions, Counted, ManualScheduledExecutor>;

fn started(config: SlotManagerConfig) -> (Manager, ManualScheduledExecutor) {
    let clock = ManualScheduledExecutor::new();
    let mut manager = Manager::new(config, clock.clone()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), RecordingActions::new())
        .expect("not started");
    (manager, clock)
}

/// Registers a worker, and returns a counter that its gateway shares while it lives.
fn register(manager: &mut Manager, worker: &str, id: u128) -> Rc<()> {
    let life = Rc::new(());
    let connection = TaskExecutorConnection::new(worker, instance(id), Counted(Rc::clone(&life)));
    manager
        .register_task_manager(connection, &report(worker, &[None]))
        .expect("a valid registration");
    life
}

#[track_caller]
fn assert_lives(life: &Rc<()>, lives: bool) {
    assert_eq!(Rc::strong_count(life) == 2, lives);
}

#[test]
fn gateway_is_dropped_with_its_registration() {
    // when, then: unregistered
    let (mut manager, clock) = started(patient().with_task_manager_timeout(SECOND));
    let unregistered = register(&mut manager, "tm", 1);
    let other = register(&mut manager, "other", 2);
    assert_lives(&unregistered, true);
    manager.unregister_task_manager(instance(1), "lost");
    assert_lives(&unregistered, false);

    // when, then: replaced by a newer registration
    let replaced = register(&mut manager, "tm", 3);
    let newer = register(&mut manager, "tm", 4);
    assert_lives(&replaced, false);
    assert_lives(&newer, true);

    // when, then: the known registration keeps its gateway
    let not_needed = register(&mut manager, "tm", 4);
    assert_lives(&not_needed, false);
    assert_lives(&newer, true);
    assert_lives(&other, true);

    // when, then: released
    clock.advance(SECOND);
    manager.run_until_stalled();
    assert_eq!(manager.overview().task_managers, 0);
    assert_lives(&newer, false);
    assert_lives(&other, false);

    // when, then: suspended
    let suspended = register(&mut manager, "tm", 5);
    assert_lives(&suspended, true);
    manager.suspend().expect("started");
    assert_lives(&suspended, false);
}

/// The call that panics next.
#[derive(Clone, Default)]
struct Fuse(Rc<Cell<Option<Call>>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    AllocateSlot,
    FreeSlot,
    AllocateResource,
    CanBeReleased,
    ReleaseResource,
    WithdrawResource,
    NotifyFailure,
    NotifyAllocated,
}

impl Fuse {
    fn burn(&self, call: Call) {
        if self.0.get() == Some(call) {
            self.0.set(None);
            panic!("{call:?} panics");
        }
    }
}

/// Actions and gateway that agree to everything, until one call panics.
struct Fragile(Fuse);

impl TaskExecutorGateway for Fragile {
    type RequestSlotFuture = NoFuture;

    fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<NoFuture> {
        self.0.burn(Call::AllocateSlot);
        SlotAnswer::Ready(Ok(Acknowledge::new()))
    }

    fn free_slot(&mut self, _: &FreeSlot) {
        self.0.burn(Call::FreeSlot);
    }

    fn can_be_released(&mut self, _: &ReleaseCheck) -> ReleaseDecision {
        self.0.burn(Call::CanBeReleased);
        ReleaseDecision::Release
    }
}

impl ResourceManagerActions for Fragile {
    fn allocate_resource(
        &mut self,
        _: WorkerRequestId,
        _: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        self.0.burn(Call::AllocateResource);
        Ok(WorkerPromise::Unspecified)
    }

    fn release_resource(&mut self, _: &ReleaseResource) -> Release {
        self.0.burn(Call::ReleaseResource);
        Release::Accepted
    }

    fn withdraw_resource(&mut self, _: &WithdrawResource) -> Withdrawal {
        self.0.burn(Call::WithdrawResource);
        Withdrawal::Confirmed
    }

    fn notify_allocation_failure(&mut self, _: JobId, _: AllocationId, _: &AllocationFailureCause) {
        self.0.burn(Call::NotifyFailure);
    }

    fn notify_slot_allocated(&mut self, _: JobId, _: AllocationId, _: &SlotId) {
        self.0.burn(Call::NotifyAllocated);
    }
}

#[test]
fn leadership_after_a_panic_of_an_action_or_a_gateway_begins_with_nothing() {
    let calls = [
        Call::AllocateSlot,
        Call::FreeSlot,
        Call::AllocateResource,
        Call::CanBeReleased,
        Call::ReleaseResource,
        Call::WithdrawResource,
        Call::NotifyFailure,
        Call::NotifyAllocated,
    ];
    for call in calls {
        // given: an idle task manager, and a used one, where one allocation holds two slots
        let (fuse, clock) = (Fuse::default(), ManualScheduledExecutor::new());
        let config = patient().with_task_manager_timeout(SECOND);
        let mut manager = SlotManager::<Fragile, Fragile, _>::new(config, clock.clone()).expect("valid");
        let register = |manager: &mut SlotManager<_, _, _>, worker: &str, id, holders: &[Option<u128>]| {
            let connection = TaskExecutorConnection::new(worker, instance(id), Fragile(fuse.clone()));
            manager
                .register_task_manager(connection, &report(worker, holders))
                .expect("a valid registration");
        };
        manager
            .start(LeaderId::from_u128(1), Fragile(fuse.clone()))
            .expect("not started");
        register(&mut manager, "idle", 1, &[]);
        register(&mut manager, "tm", 2, &[Some(7), Some(7), Some(8)]);
        fuse.0.set(Some(call));

        // when: the call panics, with more effects still to come
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            for id in 1..4 {
                let _ = manager.register_slot_request(request(1, id, &small()));
            }
            // Repeats the second slot of allocation 7, loses 8, and serves two of the waiting
            // requests.
            let more = report("tm", &[Some(7), Some(7), None, None]);
            manager.report_slot_status(instance(2), &more).expect("valid");
            clock.advance(SECOND);
            manager.run_until_stalled();
        }));
        assert!(panicked.is_err(), "{call:?}");
        assert_eq!(fuse.0.get(), None);

        // then: the next leadership begins with nothing, and works
        manager.suspend().expect("started");
        manager.check_invariants().expect("empty");
        manager
            .start(LeaderId::from_u128(2), Fragile(fuse.clone()))
            .expect("suspended");
        manager.check_invariants().expect("empty");
        register(&mut manager, "tm", 3, &[None]);
        let outcome = manager.register_slot_request(request(1, 1, &small()));
        let status = granted(&slot("tm", 0));
        assert_eq!(outcome, Ok(SlotRequestOutcome::Accepted(status.clone())), "{call:?}");
        manager.run_until_stalled();
        manager.check_invariants().expect("consistent");
        assert_eq!(
            manager.allocation_status(allocation(1)),
            Some::<AllocationStatus>(status)
        );
    }
}
