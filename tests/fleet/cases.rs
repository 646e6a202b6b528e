//! Known cases, each as a small fleet: the oracle finds no violation, and the numbers are right.

use std::time::Duration;

use slot_manager::config::{WorkerDescription, WorkerPolicy};
use slot_manager::matching::SlotMatchingStrategy;
use slot_manager::{ResourceProfile, SlotManagerConfig};

use crate::fleet::history::History;
use crate::fleet::jobs::JobSpec;
use crate::fleet::resource_manager::{Shape, Start, StartPolicy};
use crate::fleet::scenario::{Order, Scenario, cores};
use crate::fleet::simulation::{Ended, Simulation};
use crate::fleet::workers::{Conduct, Naming, WorkerSpec};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Runs a scenario without a violation.
#[track_caller]
fn run(scenario: &Scenario) -> Ended {
    let history = History::on();
    let ended = Simulation::new(scenario, history.clone()).run();
    if let Some(broken) = ended.broken.first() {
        panic!(
            "{}\n{:?} at {}: {}",
            history.lines().join("\n"),
            broken.rule,
            broken.at,
            broken.text
        );
    }
    ended
}

/// Returns the waits of a job, the longest last.
fn waits(ended: &Ended, job: u64) -> Vec<Duration> {
    let of_job = ended.waits.iter().filter(|(of, _)| *of == job);
    let mut waits: Vec<Duration> = of_job.map(|(_, wait)| *wait).collect();
    waits.sort_unstable();
    waits
}

/// Checks that a job got this number of slots, each within a time.
#[track_caller]
fn all_granted(ended: &Ended, job: u64, number: usize, within: Duration) {
    let waits = waits(ended, job);
    assert_eq!(waits.len(), number, "grants of job {job}");
    assert!(waits.last() <= Some(&within), "{waits:?}");
}

fn worker(slots: usize, conduct: Conduct) -> Order {
    Order::Worker(WorkerSpec::healthy(vec![cores(1); slots]).with_conduct(conduct))
}

/// A job that requests one-core slots at one second, and holds them.
fn job(job: u64, requests: u32) -> JobSpec {
    JobSpec {
        first: SECOND,
        ..JobSpec::once(job, requests, &cores(1))
    }
}

fn poisoned(number: u64, requests: u32) -> JobSpec {
    JobSpec {
        is_poisoned: true,
        ..job(number, requests)
    }
}

fn described(slots: u32, profile: ResourceProfile) -> WorkerPolicy {
    WorkerPolicy::new(WorkerDescription::new(slots, profile).expect("a valid description"))
}

/// The start of a healthy worker.
fn start(delay: Duration, shape: Shape, naming: Naming) -> Start {
    let spec = WorkerSpec {
        naming,
        ..WorkerSpec::healthy(Vec::new())
    };
    Start::Worker { delay, shape, spec }
}

fn always(start: Start) -> StartPolicy {
    StartPolicy::new(0, vec![(1, start)])
}

#[test]
fn poisoned_job_does_not_delay_another_job() {
    let scenario = Scenario::new(SlotManagerConfig::default(), 310)
        .at(0.0, worker(4, Conduct::Healthy))
        .job(&poisoned(1, 8))
        .job(&job(2, 1));
    all_granted(&run(&scenario), 2, 1, SECOND);
}

#[test]
fn poisoned_job_does_not_delay_a_job_that_comes_much_later() {
    let scenario = Scenario::new(SlotManagerConfig::default(), 310)
        .at(0.0, worker(4, Conduct::Healthy))
        .job(&poisoned(1, 8))
        .job(&JobSpec {
            first: SECOND * 200,
            ..job(2, 1)
        });
    all_granted(&run(&scenario), 2, 1, SECOND);
}

#[test]
fn request_leaves_a_refusing_worker_after_one_attempt() {
    let scenario = Scenario::new(SlotManagerConfig::default(), 310)
        .at(0.0, worker(40, Conduct::Refusing))
        .at(0.1, worker(4, Conduct::Healthy))
        .job(&job(1, 1));
    let ended = run(&scenario);
    all_granted(&ended, 1, 1, SECOND);
    assert_eq!(ended.attempts, 2);
}

#[test]
fn hanging_worker_costs_one_rpc_timeout() {
    let config = SlotManagerConfig::default();
    let within = config.rpc_timeout + SECOND;
    let scenario = Scenario::new(config, 310)
        .at(0.0, worker(16, Conduct::Hanging))
        .at(0.1, worker(4, Conduct::Healthy))
        .job(&job(1, 1));
    all_granted(&run(&scenario), 1, 1, within);
}

#[test]
fn refusing_worker_that_is_least_utilized_delays_no_request() {
    let config = SlotManagerConfig::default()
        .with_slot_matching_strategy(SlotMatchingStrategy::LeastUtilization)
        .with_task_manager_timeout(Duration::MAX);
    let mut scenario = Scenario::new(config, 800).at(0.0, worker(40, Conduct::Refusing));
    for _ in 0..4 {
        scenario = scenario.at(0.0, worker(40, Conduct::Healthy));
    }
    let scenario = scenario.job(&JobSpec {
        every: SECOND * 5,
        bursts: 100,
        hold: SECOND * 60,
        ..job(1, 1)
    });
    let ended = run(&scenario);
    all_granted(&ended, 1, 100, SECOND);
    assert!(waits(&ended, 1)[50] < MILLISECOND * 100);
}

#[test]
fn many_poisoned_jobs_with_one_request_each_delay_no_good_request() {
    let mut scenario = Scenario::new(SlotManagerConfig::default(), 290).at(0.0, worker(4, Conduct::Healthy));
    for number in 2..102 {
        scenario = scenario.job(&poisoned(number, 1));
    }
    let scenario = scenario.job(&JobSpec {
        first: SECOND * 60,
        every: SECOND * 20,
        bursts: 10,
        hold: SECOND,
        ..job(1, 1)
    });
    all_granted(&run(&scenario), 1, 10, SECOND);
}

#[test]
fn huge_poisoned_job_delays_no_good_request() {
    let scenario = Scenario::new(SlotManagerConfig::default(), 60)
        .at(0.0, worker(10, Conduct::Healthy))
        .job(&poisoned(1, 10_000))
        .job(&JobSpec {
            every: SECOND,
            bursts: 50,
            hold: SECOND * 5,
            ..job(2, 1)
        });
    all_granted(&run(&scenario), 2, 50, SECOND);
}

#[test]
fn slots_that_a_named_worker_did_not_bring_are_requested_again() {
    let gpu = ResourceProfile::builder()
        .extended_resource("gpu", 1.0)
        .build()
        .expect("valid amounts");
    let config = SlotManagerConfig::default().with_workers(described(4, gpu.clone()));
    let mut scenario = Scenario::new(config, 310).job(&JobSpec {
        profile: gpu,
        ..job(1, 4)
    });
    scenario.starts = always(start(SECOND * 10, Shape::AsPromised, Naming::Request)).with_script([start(
        SECOND * 10,
        Shape::Short,
        Naming::Request,
    )]);
    let ended = run(&scenario);
    all_granted(&ended, 1, 4, SECOND * 21);
    assert_eq!(ended.worker_requests, 2);
}

#[test]
fn late_worker_is_admitted_at_the_limit() {
    let config = SlotManagerConfig::default()
        .with_request_timeout(SECOND * 3_600)
        .with_worker_registration_timeout(SECOND * 300)
        .with_workers(described(1, cores(1)).with_max_slots(Some(1)));
    let mut scenario = Scenario::new(config, 3_700).job(&job(1, 1));
    scenario.starts = always(start(SECOND * 310, Shape::AsPromised, Naming::Request));
    scenario.starts.confirms_withdrawals = false;
    all_granted(&run(&scenario), 1, 1, SECOND * 311);
}

#[test]
fn unnamed_worker_of_a_known_shape_ends_a_promise_of_any_shape() {
    let config = SlotManagerConfig::default().with_workers(described(1, ResourceProfile::ANY));
    let mut scenario = Scenario::new(config, 400).job(&JobSpec {
        every: SECOND,
        bursts: 60,
        ..job(1, 1)
    });
    scenario.starts = always(start(MILLISECOND * 10, Shape::AsPromised, Naming::Unnamed));
    scenario.starts.slot_profile = Some(cores(4));
    all_granted(&run(&scenario), 1, 60, SECOND);
}

#[test]
fn unnamed_smaller_worker_keeps_the_minimum() {
    let config = SlotManagerConfig::default().with_workers(described(2, cores(1)).with_min_slots(2));
    let mut scenario = Scenario::new(config, 1_740);
    scenario.starts = always(start(SECOND, Shape::Smaller, Naming::Unnamed));
    assert_eq!(run(&scenario).worker_requests, 1);
}

#[test]
fn idle_worker_of_an_old_shape_makes_room_in_a_pool_of_fixed_size() {
    let policy = described(1, cores(2)).with_min_slots(1).with_max_slots(Some(1));
    let config = SlotManagerConfig::default().with_workers(policy);
    let mut scenario = Scenario::new(config, 310)
        .at(0.0, worker(1, Conduct::Healthy))
        .at(5.0, worker(1, Conduct::Healthy))
        .job(&JobSpec {
            first: SECOND * 10,
            profile: cores(2),
            ..job(1, 1)
        });
    scenario.starts = always(start(SECOND, Shape::AsPromised, Naming::Request)).with_script([Start::Declined]);
    all_granted(&run(&scenario), 1, 1, SECOND * 40);
}

#[test]
fn failing_starts_slow_down() {
    let config = SlotManagerConfig::default().with_workers(described(1, cores(1)));
    let mut scenario = Scenario::new(config, 21).job(&job(1, 1));
    scenario.starts = always(Start::Fails {
        after: MILLISECOND * 10,
    });
    let ended = run(&scenario);
    assert!(ended.worker_requests <= 50, "{} worker requests", ended.worker_requests);
}

#[test]
fn late_registration_of_a_replaced_instance_is_refused() {
    let scenario = Scenario::new(SlotManagerConfig::default(), 60)
        .at(0.0, worker(2, Conduct::Healthy))
        .at(
            5.0,
            Order::Restart {
                position: 0,
                late_after: SECOND * 5,
            },
        )
        .job(&JobSpec {
            first: SECOND * 6,
            ..job(1, 2)
        });
    all_granted(&run(&scenario), 1, 2, SECOND);
}

#[test]
fn worker_that_silently_does_not_come_is_requested_again_in_time() {
    let config = SlotManagerConfig::default().with_workers(described(1, cores(1)));
    let mut scenario = Scenario::new(config, 310).job(&job(1, 1));
    scenario.starts = always(start(SECOND * 10, Shape::AsPromised, Naming::Request)).with_script([Start::Silent]);
    let ended = run(&scenario);
    all_granted(&ended, 1, 1, SECOND * 299);
    assert_eq!(ended.worker_requests, 2);
}

#[test]
fn recovered_worker_is_used_after_one_backoff() {
    let config = SlotManagerConfig::default();
    let within = config.max_retry_backoff + SECOND;
    let spec = WorkerSpec {
        changes: vec![(SECOND * 100, Conduct::Healthy)],
        ..WorkerSpec::healthy(vec![cores(1); 40]).with_conduct(Conduct::Refusing)
    };
    let scenario = Scenario::new(config, 310).at(0.0, Order::Worker(spec)).job(&job(1, 40));
    all_granted(&run(&scenario), 1, 40, SECOND * 99 + within);
}

#[test]
fn refusing_worker_is_tried_rarely_whatever_its_number_of_slots() {
    let scenario = Scenario::new(SlotManagerConfig::default(), 290)
        .at(0.0, worker(100, Conduct::Refusing))
        .job(&job(1, 100));
    let ended = run(&scenario);
    // The first hundred attempts leave before the first answer comes.
    assert!(ended.attempts < 200, "{} attempts", ended.attempts);
}

/// The declaration of a job that holds its slots.
fn declared(job: u64, slots: u32, is_poisoned: bool) -> Order {
    Order::Declare {
        job,
        is_poisoned,
        profile: cores(1),
        slots,
        hold: Duration::MAX,
    }
}

#[test]
fn declared_slots_are_served_beside_bad_workers() {
    let config = SlotManagerConfig::default();
    let within = config.rpc_timeout + SECOND;
    let mut scenario = Scenario::new(config, 310);
    for conduct in [Conduct::Refusing, Conduct::Unreachable, Conduct::Hanging] {
        scenario = scenario.at(0.0, worker(4, conduct));
    }
    let scenario = scenario
        .at(0.1, worker(4, Conduct::Healthy))
        .at(1.0, declared(1, 4, false));
    all_granted(&run(&scenario), 1, 4, within);
}

#[test]
fn poisoned_declaration_does_not_delay_another_job() {
    // Its requests have no timeout.
    let scenario = Scenario::new(SlotManagerConfig::default(), 310)
        .at(0.0, worker(4, Conduct::Healthy))
        .at(1.0, declared(1, 40, true))
        .job(&job(2, 1))
        .job(&JobSpec {
            first: SECOND * 300,
            ..job(3, 3)
        });
    let ended = run(&scenario);
    all_granted(&ended, 2, 1, SECOND);
    all_granted(&ended, 3, 3, SECOND);
}

#[test]
fn declared_slots_of_a_lost_worker_are_replaced() {
    let scenario = Scenario::new(SlotManagerConfig::default(), 60)
        .at(0.0, worker(4, Conduct::Healthy))
        .at(1.0, declared(1, 4, false))
        .at(5.0, worker(4, Conduct::Healthy))
        .at(10.0, Order::Lose { position: 0 });
    all_granted(&run(&scenario), 1, 8, SECOND);
}

#[test]
fn job_that_declares_less_leaves_the_slots_to_others() {
    let scenario = Scenario::new(SlotManagerConfig::default(), 60)
        .at(1.0, declared(1, 100, false))
        .at(2.0, declared(1, 1, false))
        .job(&JobSpec {
            first: SECOND * 3,
            ..job(2, 3)
        })
        .at(4.0, worker(4, Conduct::Healthy));
    let ended = run(&scenario);
    all_granted(&ended, 1, 1, SECOND * 4);
    all_granted(&ended, 2, 3, SECOND * 2);
}

fn dynamic(total: u32, conduct: Conduct) -> Order {
    Order::Worker(WorkerSpec::dynamic(cores(total)).with_conduct(conduct))
}

#[test]
fn bad_dynamic_worker_delays_no_request() {
    for conduct in [Conduct::Refusing, Conduct::Unreachable, Conduct::Lying] {
        let scenario = Scenario::new(SlotManagerConfig::default(), 310)
            .at(0.0, dynamic(40, conduct))
            .at(0.1, dynamic(8, Conduct::Healthy))
            .job(&job(1, 4))
            .job(&JobSpec {
                profile: cores(2),
                ..job(2, 2)
            });
        let ended = run(&scenario);
        all_granted(&ended, 1, 4, SECOND);
        all_granted(&ended, 2, 2, SECOND);
    }
}

#[test]
fn hanging_dynamic_worker_costs_one_rpc_timeout() {
    let config = SlotManagerConfig::default();
    let within = config.rpc_timeout + SECOND;
    let scenario = Scenario::new(config, 310)
        .at(0.0, dynamic(40, Conduct::Hanging))
        .at(0.1, dynamic(4, Conduct::Healthy))
        .job(&job(1, 4));
    all_granted(&run(&scenario), 1, 4, within);
}

#[test]
fn poisoned_job_on_a_dynamic_worker_does_not_delay_another_job() {
    let scenario = Scenario::new(SlotManagerConfig::default(), 310)
        .at(0.0, dynamic(4, Conduct::Healthy))
        .job(&poisoned(1, 8))
        .job(&job(2, 1));
    all_granted(&run(&scenario), 2, 1, SECOND);
}

#[test]
fn dynamic_worker_that_recovers_serves_again() {
    let recovers = WorkerSpec {
        changes: vec![(SECOND * 60, Conduct::Healthy)],
        ..WorkerSpec::dynamic(cores(8)).with_conduct(Conduct::Refusing)
    };
    let scenario = Scenario::new(SlotManagerConfig::default(), 290)
        .at(0.0, Order::Worker(recovers))
        .job(&job(1, 4))
        .job(&job(2, 4));
    let ended = run(&scenario);
    let within = SECOND * 60 + SlotManagerConfig::default().max_retry_backoff + SECOND;
    all_granted(&ended, 1, 4, within);
    all_granted(&ended, 2, 4, within);
}

#[test]
fn good_workers_serve_beside_bad_dynamic_ones() {
    let mut scenario = Scenario::new(SlotManagerConfig::default(), 600);
    for conduct in [
        Conduct::Lying,
        Conduct::Refusing,
        Conduct::Unreachable,
        Conduct::Lying,
        Conduct::Healthy,
    ] {
        scenario = scenario.at(0.0, dynamic(12, conduct));
    }
    let scenario = scenario
        .at(0.0, worker(4, Conduct::Healthy))
        .at(0.0, worker(4, Conduct::Refusing))
        .job(&poisoned(1, 20))
        .job(&JobSpec {
            every: SECOND * 5,
            bursts: 100,
            hold: SECOND * 20,
            profile: cores(2),
            ..job(2, 1)
        });
    let ended = run(&scenario);
    all_granted(&ended, 2, 100, SECOND);
}
