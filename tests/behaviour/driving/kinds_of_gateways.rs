//! The parts of a manager: it is `Send` if all its parts are, and its gateways can be of several
//! kinds.

use std::future::{Pending, Ready, pending, ready};
use std::marker::PhantomData;
use std::rc::Rc;

use slot_manager::error::{ResourceManagerError, SlotAllocationError};
use slot_manager::message::{
    Acknowledge, AllocateSlot, AllocationFailureCause, FreeSlot, Release, ReleaseResource, SlotAnswer, WorkerPromise,
};
use slot_manager::outcome::SlotRequestOutcome;
use slot_manager::task_executor::PendingAnswer;
use slot_manager::testing::{
    GatewayAnswer, ManualScheduledExecutor, RecordingActions, ScriptedGateway, SimulatedGateway, SimulatedTaskExecutor,
};
use slot_manager::{
    AllocationId, JobId, LeaderId, ResourceManagerActions, ResourceProfile, ScheduledExecutor, SlotManager,
    TaskExecutorConnection, TaskExecutorGateway, Timestamp, TokioScheduledExecutor, WorkerRequestId,
};

use crate::common::{acknowledged, allocation, free_report, granted, instance, patient, request, slot, small};

type Answer = Result<Acknowledge, SlotAllocationError>;

/// A gateway with a value of type `T` inside, and futures of type `F`.
struct Gateway<T, F> {
    _inside: T,
    make: fn() -> F,
}

impl<T, F: Future<Output = Answer> + Unpin> TaskExecutorGateway for Gateway<T, F> {
    type RequestSlotFuture = F;

    fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<F> {
        SlotAnswer::Future((self.make)())
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}

/// A future that is not `Send`.
struct LocalAnswer(PhantomData<Rc<()>>);

impl Future for LocalAnswer {
    type Output = Answer;

    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Answer> {
        std::task::Poll::Pending
    }
}

struct LocalActions(Rc<()>);

impl ResourceManagerActions for LocalActions {
    fn allocate_resource(
        &mut self,
        _: WorkerRequestId,
        _: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        let _ = Rc::strong_count(&self.0);
        Ok(WorkerPromise::Declined)
    }

    fn release_resource(&mut self, _: &ReleaseResource) -> Release {
        Release::Declined
    }

    fn notify_allocation_failure(&mut self, _: JobId, _: AllocationId, _: &AllocationFailureCause) {}
}

struct LocalTime;

impl ScheduledExecutor for LocalTime {
    type Delay = LocalDelay;

    fn now(&self) -> Timestamp {
        Timestamp::ZERO
    }

    fn delay_until(&mut self, _: Timestamp) -> LocalDelay {
        LocalDelay(PhantomData, pending())
    }
}

/// A delay that is not `Send`.
struct LocalDelay(PhantomData<Rc<()>>, Pending<()>);

impl Future for LocalDelay {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        std::pin::Pin::new(&mut self.1).poll(context)
    }
}

/// An executor that is not `Send`, with delays that are.
struct LocalClock(PhantomData<Rc<()>>);

impl ScheduledExecutor for LocalClock {
    type Delay = Pending<()>;

    fn now(&self) -> Timestamp {
        let _ = self.0;
        Timestamp::ZERO
    }

    fn delay_until(&mut self, _: Timestamp) -> Pending<()> {
        pending()
    }
}

fn assert_send<T: Send>() {}

/// Compiles only if the type is not `Send`: otherwise the compiler cannot tell which of two
/// implementations is meant.
macro_rules! assert_not_send {
    ($type:ty) => {{
        trait AmbiguousIfSend<Which> {
            fn which() {}
        }
        struct Send_;
        impl<T: ?Sized> AmbiguousIfSend<()> for T {}
        impl<T: ?Sized + Send> AmbiguousIfSend<Send_> for T {}
        <$type as AmbiguousIfSend<_>>::which();
    }};
}

type SendGateway = Gateway<(), Ready<Answer>>;

#[test]
fn manager_whose_parts_are_send_is_send() {
    assert_send::<SlotManager<RecordingActions, ScriptedGateway, ManualScheduledExecutor>>();
    assert_send::<SlotManager<RecordingActions, SimulatedGateway, TokioScheduledExecutor>>();
    assert_send::<SlotManager<RecordingActions, SendGateway, ManualScheduledExecutor>>();
    type Boxed = Box<dyn TaskExecutorGateway<RequestSlotFuture = PendingAnswer> + Send>;
    assert_send::<SlotManager<RecordingActions, Boxed, ManualScheduledExecutor>>();

    // So is the future that drives it.
    fn assert_progress_is_send(
        manager: &mut SlotManager<RecordingActions, ScriptedGateway, ManualScheduledExecutor>,
    ) -> impl Future<Output = usize> + Send {
        manager.progress()
    }
    let mut manager = SlotManager::new(patient(), ManualScheduledExecutor::new()).expect("a valid configuration");
    drop(assert_progress_is_send(&mut manager));
}

#[test]
fn manager_with_one_part_that_is_not_send_is_not_send() {
    assert_not_send!(SlotManager<RecordingActions, Gateway<Rc<()>, Ready<Answer>>, ManualScheduledExecutor>);
    assert_not_send!(SlotManager<RecordingActions, Gateway<(), LocalAnswer>, ManualScheduledExecutor>);
    assert_not_send!(SlotManager<LocalActions, SendGateway, ManualScheduledExecutor>);
    assert_not_send!(SlotManager<RecordingActions, SendGateway, LocalTime>);
    assert_not_send!(SlotManager<RecordingActions, SendGateway, LocalClock>);
    // Each of these managers has exactly one part that is not `Send`.
    assert_send::<SendGateway>();
    assert_send::<Gateway<(), LocalAnswer>>();
    assert_send::<LocalTime>();
    assert_send::<<LocalClock as ScheduledExecutor>::Delay>();
    assert_send::<<Gateway<Rc<()>, Ready<Answer>> as TaskExecutorGateway>::RequestSlotFuture>();
    type Boxed = Box<dyn TaskExecutorGateway<RequestSlotFuture = PendingAnswer>>;
    assert_not_send!(SlotManager<RecordingActions, Boxed, ManualScheduledExecutor>);
}

#[test]
fn manager_of_parts_that_are_not_send_works() {
    // given: actions and a gateway that share a counter
    let mut manager = SlotManager::new(patient(), LocalTime).expect("a valid configuration");
    let shared = Rc::new(());
    manager
        .start(LeaderId::from_u128(1), LocalActions(Rc::clone(&shared)))
        .expect("not started");
    let gateway = Gateway {
        _inside: Rc::clone(&shared),
        make: || ready(acknowledged()),
    };
    manager
        .register_task_manager(
            TaskExecutorConnection::new("tm", instance(1), gateway),
            &free_report("tm", &[small()]),
        )
        .expect("a valid report");

    // when, then
    assert_eq!(
        manager.register_slot_request(request(1, 1, &small())),
        Ok(SlotRequestOutcome::Accepted(granted(&slot("tm", 0))))
    );
    assert_eq!(Rc::strong_count(&shared), 3);

    // when, then: actions and gateway are dropped
    drop(manager.suspend());
    assert_eq!(Rc::strong_count(&shared), 1);
}

#[test]
fn boxed_gateways_of_several_kinds_serve_side_by_side() {
    // given
    type Boxed = Box<dyn TaskExecutorGateway<RequestSlotFuture = PendingAnswer>>;
    let clock = ManualScheduledExecutor::new();
    let mut manager: SlotManager<_, Boxed, _> =
        SlotManager::new(patient(), clock.clone()).expect("a valid configuration");
    let leader = LeaderId::from_u128(1);
    manager.start(leader, RecordingActions::new()).expect("not started");

    let simulated = SimulatedTaskExecutor::new("simulated", [small()], clock);
    simulated.connect(leader, instance(1));
    let scripted = ScriptedGateway::new();
    let gateways: [(&str, Boxed); 2] = [
        ("simulated", Box::new(simulated.gateway())),
        ("scripted", Box::new(scripted.clone())),
    ];
    for ((worker, gateway), number) in gateways.into_iter().zip(1..) {
        manager
            .register_task_manager(
                TaskExecutorConnection::new(worker, instance(number), gateway),
                &free_report(worker, &[small()]),
            )
            .expect("a valid report");
    }

    // when, then
    for (id, worker) in [(1, "simulated"), (2, "scripted")] {
        assert_eq!(
            manager.register_slot_request(request(1, id, &small())),
            Ok(SlotRequestOutcome::Accepted(granted(&slot(worker, 0))))
        );
    }
    assert_eq!(simulated.current_allocation(0), Some(allocation(1)));
    assert_eq!(scripted.take_calls().len(), 1);
    manager.check_invariants().expect("they hold");
}

/// A box passes on the methods with a default implementation, too.
#[test]
fn boxed_gateway_is_told_to_free() {
    struct Freed(Rc<std::cell::Cell<u32>>);
    impl TaskExecutorGateway for Freed {
        type RequestSlotFuture = Pending<Answer>;

        fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<Pending<Answer>> {
            SlotAnswer::Future(pending())
        }

        fn free_slot(&mut self, _: &FreeSlot) {
            self.0.set(self.0.get() + 1);
        }
    }
    // given: a request in flight
    let freed = Rc::<std::cell::Cell<u32>>::default();
    let mut manager = SlotManager::new(patient(), ManualScheduledExecutor::new()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), RecordingActions::new())
        .expect("not started");
    let gateway: Box<dyn TaskExecutorGateway<RequestSlotFuture = Pending<Answer>>> = Box::new(Freed(Rc::clone(&freed)));
    manager
        .register_task_manager(
            TaskExecutorConnection::new("tm", instance(1), gateway),
            &free_report("tm", &[small()]),
        )
        .expect("a valid report");
    assert!(manager.register_slot_request(request(1, 1, &small())).is_ok());

    // when
    manager.unregister_slot_request(allocation(1));

    // then
    assert_eq!(freed.get(), 1);
}

/// A service reaches the connection of a worker through the manager.
#[test]
fn gateway_and_actions_are_reached_through_the_manager() {
    // given
    let actions = RecordingActions::new();
    let mut manager = SlotManager::new(patient(), ManualScheduledExecutor::new()).expect("a valid configuration");
    assert!(manager.actions().is_none());
    manager.start(LeaderId::from_u128(1), actions).expect("not started");
    let gateway = ScriptedGateway::new();
    let connection = TaskExecutorConnection::new("tm", instance(1), gateway.clone());
    manager
        .register_task_manager(connection, &free_report("tm", &[small()]))
        .expect("a valid report");

    // when, then
    assert!(manager.actions().is_some() && manager.actions_mut().is_some());
    let reached = manager.gateway_mut(instance(1)).expect("registered");
    reached.answer_requests(GatewayAnswer::Later);
    assert!(manager.register_slot_request(request(1, 1, &small())).is_ok());
    assert_eq!(manager.gateway(instance(1)).expect("registered").take_calls().len(), 1);
    assert!(manager.gateway(instance(2)).is_none() && manager.gateway_mut(instance(2)).is_none());

    // when, then: the gateway goes with its registration
    manager.unregister_task_manager(instance(1), "lost");
    assert!(manager.gateway(instance(1)).is_none());
}

/// Calls all methods through a pointer, also those with a default.
fn exercise(manager: &mut SlotManager<impl ResourceManagerActions, ScriptedGateway, ManualScheduledExecutor>) {
    let connection = TaskExecutorConnection::new("tm", instance(1), ScriptedGateway::new());
    manager
        .register_task_manager(connection, &free_report("tm", &[small()]))
        .expect("a valid report");
    // Granted, and a worker that is requested and withdrawn.
    assert!(manager.register_slot_request(request(1, 1, &small())).is_ok());
    assert!(manager.register_slot_request(request(1, 2, &small())).is_ok());
    manager.unregister_slot_request(allocation(2));
    // The grant is lost.
    manager
        .report_slot_status(instance(1), &free_report("tm", &[small()]))
        .expect("a valid report");
}

#[test]
fn actions_behind_a_pointer_are_actions() {
    let expected = [
        "notify_slot_allocated",
        "allocate_resource",
        "withdraw_resource",
        "notify_allocation_failure",
    ];
    let called = |actions: &RecordingActions| -> Vec<String> {
        let calls = actions.take();
        let names = calls
            .iter()
            .map(|call| call.to_string().split('(').next().unwrap_or_default().to_owned());
        names.collect()
    };
    let recorded = RecordingActions::new();
    recorded.answer_allocations(Ok(WorkerPromise::Unspecified));
    let leader_id = LeaderId::from_u128(1);

    // when, then: a reference
    let mut lent = recorded.clone();
    let mut manager = SlotManager::new(patient(), ManualScheduledExecutor::new()).expect("a valid configuration");
    manager.start(leader_id, &mut lent).expect("not started");
    exercise(&mut manager);
    assert_eq!(called(&recorded), expected);

    // when, then: a box
    let boxed: Box<dyn ResourceManagerActions> = Box::new(recorded.clone());
    let mut manager = SlotManager::new(patient(), ManualScheduledExecutor::new()).expect("a valid configuration");
    manager.start(leader_id, boxed).expect("not started");
    exercise(&mut manager);
    assert_eq!(called(&recorded), expected);
}
